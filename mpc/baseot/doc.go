// Package baseot makes the 128 base OTs of one direction of a pair of vaults:
// endemic OT after McQuoid, Rosulek and Roy (eprint 2021/682) over secp256k1, as
// docs/spec/base-ot.md writes it out byte for byte.
//
// The base-OT sender is the later OT-extension receiver (Bob), the base-OT
// receiver is Alice with her correlation Δ.
//
// What it does NOT do: it authenticates nobody and encrypts nothing (the channel
// does); it does not show that the peer's keys match (the self-test of package
// pair does); its outputs have no encoding, since they must never be stored.
//
// The peer must not be trusted: every point that arrives is decoded strictly
// and the identity is refused. Each party may bias its own keys, which the
// extension permits. Alice's work is independent of Δ.
package baseot
