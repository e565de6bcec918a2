// Package evm is the chain family eip155 inside the vault's boundary: Ethereum
// and the chains that share its transactions.
//
// It decodes an unsigned transaction (type 0 with EIP-155 replay protection,
// type 2 of EIP-1559), encodes again what it decoded, refuses when the two
// differ, and takes the digest from its own encoding. What the transaction does
// is told as chain.Effects: native transfers, the methods of tokens, those that a
// policy declares, with their arguments, calls within calls of contracts that it
// declares them for, and contract creations. Everything else carries the reason
// in Effects.Undecoded, and policy denies it.
//
// What it does not do: it does not talk to a node (internal/chain/evm/rpc does),
// it does not know balances, code or prices, it signs nothing. It cannot know
// that a contract is an ERC-20 token: a call that reads transfer(address,uint256)
// means what ERC-20 says only at a contract that a policy's list of assets
// names. A policy without such a list trusts whoever wrote the contract.
//
// Nobody is trusted: bytes, senders, fees and signatures come from the
// coordinator. Formats: docs/spec/evm.md; EIP-55, EIP-155, EIP-1559, EIP-2294,
// EIP-2681, EIP-2718, EIP-2930, ERC-20, CAIP-2, CAIP-10, CAIP-19, and RLP of the
// Ethereum yellow paper, appendix B.
package evm
