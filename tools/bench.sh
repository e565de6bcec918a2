#!/usr/bin/env bash
# Prints the figures of the issue: the cryptography's, each with its ratio to the yardstick of the same
# run, the whole pipeline's, and how many decisions one operation of a slow device covers.
set -euo pipefail
out=$(mktemp); trap 'rm -f "$out"' EXIT
GOMAXPROCS=1 go run ./mpc/internal/bench | tee "$out"
line=$(go run ./internal/dev/pipeline -coffer .build/coffer)
echo "$line"
yardstick=$(awk '$2 == "std-ed25519-verify" {print $3}' "$out")
awk -v y="$yardstick" '{printf "bench: %s/std-ed25519-verify %.1f x\n", $2, $3 / y}' <<<"$line"
go test ./internal/vaultshell -run '^$' -bench 'DecisionsPerOp/ecdsa' -benchtime 1x | awk '
  /^BenchmarkDecisionsPerOp.*decisions/ {
    c = $1; sub(/.*-c/, "c", c); sub(/-.*/, "", c)
    for (i = 3; i < NF; i += 2) v[$(i + 1)] = $i
    printf "bench: decisions-per-hsm-op-%s %.2f decisions\n", c, v["decisions/op"]
    printf "bench: slow-hsm-sign-%s %.1f signatures/s\n", c, v["signatures/s"]
    printf "bench: slow-hsm-sign-%s-p50 %d ns\n", c, v["p50-ns"]
  }
  /FAIL|panic/ { bad = 1 }
  END { exit bad }'
# What isolation, the helper and SoftHSM cost against the same vaults with the software HSM in one process.
COFFER_BIN=$PWD/.build/coffer go test -run '^$' -bench '^BenchmarkBoundary$' -benchtime 1x ./internal/vaultshell | grep '^bench: '
# Logs: verification of a million entries, appends in groups of 64, the fsync under them.
go run ./internal/verify/bench
