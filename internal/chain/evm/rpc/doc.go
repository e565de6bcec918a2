// Package rpc talks to an EVM node: balances, nonces, fees, broadcast, receipts.
//
// It is outside the vault's boundary. The node is not trusted: it can stop the
// service, give a useless nonce or a silly fee, and hide a transaction; it cannot
// change what is signed, because every vault checks the final bytes against what
// people approved, the maximum fee included (internal/chain/evm). An answer is
// bounded in size and in time, and an answer from another chain than the expected
// one is refused before it is used.
//
// What it does not do: it does not follow a chain, keep state, retry or sign.
// Specification: docs/spec/evm.md; the Ethereum JSON-RPC API; EIP-1474.
package rpc
