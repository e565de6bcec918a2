// Package cluster is what the coordinator and the vaults say to each other:
// commands, their replies, and a vault's status.
//
// A command carries no authority. The coordinator is not trusted: whatever a
// command asks for must be justified by signatures that the vault checks itself.
// Encodings are specified in docs/spec/cluster.md.
package cluster
