// Package pair sets up what two vaults need to sign together: base OTs in both
// directions, tried by one OT extension and one VOLE each way, as
// docs/spec/pair-setup.md writes it out byte for byte. Both sides run the same
// state machine and send the same five messages.
//
// What it does NOT do: it persists nothing, and has no encoding of its result; a
// vault makes its setups afresh at every start and after any failed check, since
// a host that restores snapshots could otherwise test Δ bit by bit. It neither
// authenticates nor encrypts: the channel does both.
//
// The peer must not be trusted. A failed self-test is benign: nobody is banned,
// for nothing of value has been used yet, and the whole setup with its Δ is
// thrown away.
package pair
