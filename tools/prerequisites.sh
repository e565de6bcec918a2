#!/usr/bin/env bash
# Names every prerequisite that is missing, with what to do, before anything starts.
set -u
missing=0
need() { # command, hint
  command -v "$1" >/dev/null 2>&1 && return
  printf 'error: %s is not on the PATH\nhint:  %s\n' "$1" "$2" >&2
  missing=1
}
need git  'install git, e.g. apt-get install git'
need gcc  'install a C compiler, e.g. apt-get install gcc libc6-dev: it builds the bridge to PKCS#11 devices'
need npm  'install Node.js 18 or newer with npm, e.g. apt-get install nodejs npm: the demo takes its Ethereum node (anvil) from there'
need go   'install Go 1.26 or newer: https://go.dev/doc/install'
if command -v go >/dev/null 2>&1; then
  v=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null); v=${v#go}
  major=${v%%.*}; rest=${v#*.}; minor=${rest%%.*}
  if ! [ "${major:-0}" -gt 1 ] 2>/dev/null && ! [ "${minor:-0}" -ge 26 ] 2>/dev/null; then
    printf 'error: this is Go %s, Coffer needs 1.26 or newer\nhint:  https://go.dev/doc/install\n' "$v" >&2
    missing=1
  fi
fi
exit $missing
