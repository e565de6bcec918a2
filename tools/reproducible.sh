#!/usr/bin/env bash
# Builds coffer from two copies of this tree, in folders with different names and with a compiler's cache for each,
# and compares the programs, which are what `make build` makes: the flags are the same (tools/buildflags).
# A difference is an error. With the argument quick the first copy uses this user's cache, which saves half
# of the time; the second never does.
set -euo pipefail
cd "$(dirname "$0")/.."
read -r -a flags <tools/buildflags
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done | tar -c --null -T - | tar -x -C "$work/tree"
sums=()
for folder in one "another folder/with a longer name"; do
  dir=$work/$folder; out=$work/coffer.${#sums[@]}
  mkdir -p "$dir/tmp"; cp -a "$work/tree" "$dir/src"
  cache=$dir/cache; [ "${1:-}" = quick ] && [ ${#sums[@]} = 0 ] && cache=$(go env GOCACHE)
  (cd "$dir/src" && env -u GOFLAGS GOCACHE="$cache" GOTMPDIR="$dir/tmp" TMPDIR="$dir/tmp" go build "${flags[@]}" -o "$out" ./cmd/coffer)
  sums+=("$(sha256sum "$out" | cut -d' ' -f1)")
  echo "${sums[-1]}  coffer, built in \"$folder\""
done
if [ "${sums[0]}" != "${sums[1]}" ]; then
  cmp -l "$work/coffer.0" "$work/coffer.1" 2>/dev/null | head -5 >&2 || true
  echo 'error: the same sources made two programs' >&2
  exit 1
fi
