#!/usr/bin/env bash
# Builds coffer from two copies of this tree in folders with different names, with a compiler's cache for each,
# and compares the programs. What is compared is what `make build` makes: the flags are the same
# (tools/buildflags). A difference is an error, and the first differing places are shown.
set -euo pipefail
cd "$(dirname "$0")/.."
read -r -a flags <tools/buildflags
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
sums=()
for folder in one "another folder/with a longer name"; do
  dir=$work/$folder; out=$work/coffer.${#sums[@]}
  mkdir -p "$dir/src" "$dir/tmp"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\0' "$f"; done | tar -c --null -T - | tar -x -C "$dir/src"
  (cd "$dir/src" && env -u GOFLAGS GOCACHE="$dir/cache" GOTMPDIR="$dir/tmp" TMPDIR="$dir/tmp" go build "${flags[@]}" -o "$out" ./cmd/coffer)
  rm -rf "$dir/cache"
  sums+=("$(sha256sum "$out" | cut -d' ' -f1)")
  echo "${sums[-1]}  coffer, built in $folder"
done
if [ "${sums[0]}" != "${sums[1]}" ]; then
  cmp -l "$work/coffer.0" "$work/coffer.1" | head -5 >&2 || true
  echo 'error: the same sources made two programs' >&2
  exit 1
fi
