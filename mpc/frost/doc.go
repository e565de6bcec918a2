// Package frost signs with a threshold Schnorr key: FROST of RFC 9591, for the
// suites Ed25519 with SHA-512, secp256k1 with SHA-256, and the Taproot suite,
// whose signatures are those of BIP-340 and whose keys take the tweaks of BIP-341
// and BIP-86 (docs/spec/frost.md).
//
// A Session is a pure state machine. The caller authenticates every message and
// hands in what the peers sent by authenticated author. Nothing is private but
// what the caller attaches:
//
//	Round0 → R0 broadcast: the nonce commitments
//	Exchange(R0) → R1 … as often as the terms say: the caller's attachments
//	Share(last broadcasts) → the signature shares
//	Combine(shares) → the signatures, verified by verifiers that are not ours
//
// One session makes any number of signatures under children of one key, each with
// nonces of its own. Round0 takes nonces from a NoncePool, if given: then only
// hashes and one multiplication are left to do. A Package is the protocol without
// its messages, for a caller that has a list of commitments from elsewhere
// (mpc/roast, another implementation).
//
// Up to t−1 signers may be corrupt and lie in any message. If a signature is
// refused everybody whose share was wrong is named, and nobody else: a share is
// judged only against the commitments that its author says it saw
// (docs/spec/aborts.md). A session that somebody leaves silently does not end;
// mpc/roast signs all the same.
//
// Coffer signs with exactly t signers. As in RFC 9591, t to n may.
//
// The package does NOT make anything durable: "share authorised" is the caller's
// record, written before the share leaves. Nonces are in memory only, refuse to be
// encoded, and answer once. It does NOT ask whether the job may be signed, hash a
// message first, or hide who signed.
package frost
