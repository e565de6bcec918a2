// Package node hosts a vault: it keeps what the vault wants durable and carries
// its frames, commands and replies between the vault's socket and NATS.
//
// The node is the untrusted half of a party. Everything that it stores or
// relays is sealed or signed by a vault before; it can lose, delay, replay and
// roll back, and that costs liveness. What it must do is keep its promise to its
// own vault: Persisted is said only of what the disk holds.
//
// One change becomes durable by one write in place into a journal of fixed size
// and one fdatasync. Four times a second what the journal holds is moved to where
// it stays: the log file, for the entries, and then one bbolt commit with the
// records, the newest checkpoint and the size of the log. A crash at any point
// leaves every durable change whole, and at most one more (docs/spec/vaultlink.md).
//
// It does not read what it stores, verifies no signature and holds no key but
// the credential under which it connects to the broker.
package node
