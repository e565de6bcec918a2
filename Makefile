# Coffer. `make` prints this help; the two that a newcomer needs are demo and test.

SHELL := /bin/bash
.DEFAULT_GOAL := help

BUILD := .build
NODE  := $(BUILD)/node
ANVIL := $(NODE)/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil
SRC   := $(shell find . -name '*.go' -not -path './.build/*' -not -path './e2e/*')

T     ?= 30s
SEEDS ?= 1-200

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@bash tools/prerequisites.sh

.PHONY: tools
tools: prerequisites $(ANVIL) ## install what demo and tests use into .build, and the HSMs of the tests when root
	@bash tools/devices.sh

$(ANVIL): tools/node/package.json tools/node/package-lock.json
	@echo "installing the EVM node (anvil) into $(NODE)"
	@mkdir -p $(NODE) && cp tools/node/package.json tools/node/package-lock.json $(NODE)/
	@bash tools/anvil.sh $(NODE) $@

$(BUILD)/coffer: $(SRC) go.mod go.sum tools/buildflags
	@mkdir -p $(BUILD)
	@go build $(shell cat tools/buildflags) -o $@ ./cmd/coffer

.PHONY: build
build: prerequisites $(BUILD)/coffer ## build .build/coffer

.PHONY: reproducible
reproducible: prerequisites ## build coffer in two folders from nothing, print both hashes, fail if they differ
	@bash tools/reproducible.sh $(if $(QUICK),quick)

.PHONY: demo
demo: tools $(BUILD)/coffer ## run the main job on this machine and check it
	@go build -o $(BUILD)/demo ./demo && go build -o $(BUILD)/attacker ./demo/attacker && go build -o $(BUILD)/auditor ./demo/auditor
	@$(BUILD)/demo -bin $(BUILD)

.PHONY: test
test: tools ## gofmt, vet, staticcheck, all tests under the race detector
	@bash tools/test.sh

.PHONY: fuzz
fuzz: ## every fuzz target for T (default 30s) each
	@bash tools/fuzz.sh $(T)

.PHONY: sim
sim: ## simulate clusters: make sim SEEDS=1-1000, or SEED=n to replay one
	@go run -tags coffer_sim ./internal/sim/cmd $(if $(SEED),-seed $(SEED),-seeds $(SEEDS))

.PHONY: bench
bench: tools $(BUILD)/coffer ## print the figures, each with its ratio to the yardstick
	@bash tools/bench.sh

.PHONY: timing
timing: prerequisites ## statistical test of constant time, with a planted leak: about a minute
	@go build -o $(BUILD)/timing ./mpc/internal/timing && $(BUILD)/timing

.PHONY: mutants
mutants: prerequisites ## take out each consistency check of mpc/ in turn: a test must fail
	@go build -o $(BUILD)/mutants ./mpc/internal/mutants && $(BUILD)/mutants

.PHONY: e2e
e2e: tools ## judge by go-ethereum (compiles it: about 5 minutes), Solana's software, noble's FROST, viem and ethers, Chromium (from apt)
	@cd e2e/solana && npm ci --silent --no-audit --no-fund
	@cd e2e/noble && npm ci --silent --no-audit --no-fund
	@cd e2e/typeddata && npm ci --silent --no-audit --no-fund
	@cd e2e && go vet ./... && go test ./...

.PHONY: clean
clean: ## remove .build
	@rm -rf $(BUILD)
