// Package vaultlink is the protocol between a vault and its node: a unix stream
// socket on which the vault listens and to which the node dials, and the
// messages on it, which are specified in docs/spec/vaultlink.md.
//
// The node brings what it has on disk (Load) and what comes from the network
// (Frame, Command); the vault has its state made durable (Persist, Persisted)
// and sends what may leave (Frame, Reply). The socket belongs to one user
// (mode 0600, and both ends compare the peer's uid with their own), and one node
// is served at a time.
//
// The node is not trusted: it may lose, delay, replay and roll back, and that
// costs liveness only. So this package checks form and bounds, and nothing that
// safety rests on. It does not encrypt; records and frames are sealed by the
// vault before they come here.
package vaultlink
