// Package dkls23 signs with a threshold ECDSA key over secp256k1: the three-round
// protocol of Doerner, Kondi, Lee and shelat ("Threshold ECDSA in Three Rounds",
// eprint 2023/765), with a round 0 that fixes what is signed and by whom
// (docs/spec/dkls23.md). Nothing is precomputed but the pair setups of mpc/pair.
//
// A Session is a pure state machine. The caller authenticates every message,
// encrypts the private ones, and hands in what the peers sent by authenticated
// author:
//
//	Round0 → R0 broadcast
//	Round1(R0) → R1 broadcast and one private message a peer
//	Round2(R1) → R2 broadcast and one private message a peer
//	Round3(R2) → the final share
//	Combine(final shares) → a signature, verified by a verifier that is not ours
//
// A Batch makes many signatures in one such session. A Presigning makes
// presignatures: the same rounds before any request is known, so that two small
// messages are left to exchange when it is (docs/spec/dkls23-presign.md):
//
//	Presigning: Round0 … Round3 → presignatures, kept in a Pool or by the caller
//	Open(presignature, request) → Online
//	Round0 → A; Round1(A) → the echo, from three signers on; Round2 → the final share
//	CombineOnline(final shares) → a signature, verified likewise
//
// Each broadcast carries an attachment of the caller's, bound by the echo hash;
// the Attachment functions read it before the round is run.
//
// Up to t−1 signers may be corrupt and lie in any message. What a failed session
// demands of the caller is in its *mpc.Abort (docs/spec/aborts.md). The package
// does NOT make anything durable: "final share authorised" is the caller's
// record, written before the final share leaves, and so is a quarantine. It does
// not remember sessions across a restart; neither pair setups nor presignatures
// survive one. It does not derive: that a path leads to its tweak is the caller's.
// It reads no clock: who uses a presignature says what time it is.
package dkls23
