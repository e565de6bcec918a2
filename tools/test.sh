#!/usr/bin/env bash
# Everything that must hold before a change lands. Prints the runner's own lines.
set -uo pipefail
fail=0
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then printf 'not gofmt-ed:\n%s\n' "$unformatted"; fail=1; fi
go vet ./... || fail=1
go tool staticcheck ./... || fail=1
go test -race -timeout 15m $(go list ./... | grep -v /ledgermodel$) || fail=1
# What is too slow under the race detector: 9 of 16 signers, every subset, the planted bugs, every
# lie of a peer, a coordinator and a host, every interleaving of the ledgers' model.
go test -timeout 10m ./mpc/dkls23 ./internal/sim ./internal/vault/... || fail=1
exit $fail
