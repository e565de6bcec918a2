#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each.
set -euo pipefail
each=${1:-30s}
for dir in $(grep -rl --include='*_test.go' '^func Fuzz' . --exclude-dir=.build --exclude-dir=e2e | xargs -n1 dirname | sort -u); do
  for name in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
    echo "fuzz: $dir $name for $each"
    go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$each"
  done
done
