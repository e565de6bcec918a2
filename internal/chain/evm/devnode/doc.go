// Package devnode starts a real EVM node, anvil, on this machine, for
// development, the demo and tests: a chain of one node that mines at once, whose
// coins are given away.
//
// It is outside the vault's boundary and no part of production: whoever reaches
// the node's port owns its chain. It listens on loopback only. Anvil accepts
// signatures with the higher s (it is no judge of EIP-2) and its fees mean
// nothing.
package devnode
