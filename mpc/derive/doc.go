// Package derive gives the child keys of a threshold key: the scalar ε that is
// added to the key, the child public key and the child chain code, from the public
// key, the chain code and a path (docs/spec/derivation.md). Over secp256k1 it is
// BIP-32, without hardened steps; over Ed25519 it is the additive derivation of
// the specification.
//
// Nobody's share changes: the signers of package dkls23 and of package frost take
// ε as the tweak of a session, and the path's encoding as what is signed for.
//
// What it does NOT do: it derives nothing hardened, since that takes the private
// key, which nobody has; and it exports no child private key, because one of them
// together with the chain code gives the private key of its parent. It doesn't
// check that a session's tweak is that of its path: whoever starts the session
// derives the one from the other.
//
// Who must not be trusted: a path comes from anybody, and is checked. Public key
// and chain code are a key share's, which was checked when it was decoded. A chain
// code tells hosts all child keys, so they must not see it; a Child doesn't print
// it. Nothing here is secret like a share, and the time depends on all of it.
package derive
