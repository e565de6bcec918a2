// Package remote lets one process use the HSM that another process holds.
//
// A vendor's library is foreign code, so it is loaded in a helper (`coffer hsm`)
// and not in the vault. The helper serves its device on a unix socket; the vault
// talks to it through Client, which is an hsm.HSM without cgo. Over the socket go
// statements to sign and points to multiply: sealing and the rest of unsealing
// happen in the client, so that the helper never has a share in the clear. The
// protocol is specified in docs/spec/hsm.md.
//
// A device that asks before it uses a key, for its PIN or for people's signatures, waits
// at the helper's Desk for its operator, on a socket of its own.
//
// Both ends refuse a peer with another user id, and the server refuses every
// frame that is not exactly one of its requests. What this does not do: a process
// of the same user may use the device as the vault may; keeping such processes
// away is the operator's part (a user of its own for each party).
package remote
