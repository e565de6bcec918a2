// Package node hosts a vault: it keeps what the vault wants durable and carries
// its frames, commands and replies between the vault's socket and NATS.
//
// The node is the untrusted half of a party. Everything that it stores or
// relays is sealed or signed by a vault before; it can lose, delay, replay and
// roll back, and that costs liveness. What it must do is keep its promise to its
// own vault: Persisted is said only of what the disk holds.
//
// One change is one append to the log file, made durable, and then one bbolt
// commit, which holds the records, the newest checkpoint and the number of log
// entries. The commit is the commit point: after a crash between the two the log
// is cut back to the number that bbolt names (docs/spec/vaultlink.md).
//
// It does not read what it stores, verifies no signature and holds no key but
// the credential under which it connects to the broker.
package node
