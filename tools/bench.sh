#!/usr/bin/env bash
# Prints the figures of the issue: the cryptography's, each with its ratio to the yardstick of the same
# run, and the whole pipeline's.
set -euo pipefail
out=$(mktemp); trap 'rm -f "$out"' EXIT
GOMAXPROCS=1 go run ./mpc/internal/bench | tee "$out"
line=$(go run ./internal/dev/pipeline -coffer .build/coffer)
echo "$line"
yardstick=$(awk '$2 == "std-ed25519-verify" {print $3}' "$out")
awk -v y="$yardstick" '{printf "bench: %s/std-ed25519-verify %.1f x\n", $2, $3 / y}' <<<"$line"
