#!/usr/bin/env bash
# Installs the EVM node (anvil) below $1 by npm; $2 is its program. Without the network an anvil on the
# PATH does too.
set -u
if (cd "$1" && npm ci --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error) && [ -x "$2" ]; then
  touch "$2"
  exit 0
fi
command -v anvil >/dev/null 2>&1 && { echo 'using the anvil on the PATH'; exit 0; }
printf 'error: the EVM node (anvil) could not be installed from the npm registry, and none is on the PATH\nhint:  make tools   (with network, on Linux on amd64); elsewhere put anvil on the PATH\n' >&2
exit 1
