// Package dkg makes a key of which every party holds a Shamir share and nobody
// ever holds the whole: commit, open Feldman vectors with proofs of possession,
// deal shares, end in a certificate that all n parties sign (docs/spec/dkg.md).
//
// The suite says on which curve and for which signatures: ECDSA by package
// dkls23, Ed25519, Schnorr or BIP-340 by package frost. A key of one suite serves
// no other.
//
// A Session is a pure state machine. The caller authenticates every message,
// encrypts D2 (it carries the chain-code share) and D3 to their recipients, and
// hands in the messages with their authenticated authors:
//
//	Round0 → D0 broadcast      Round1(D0) → D1 broadcast
//	Round2(D1) → D2 broadcast  Round3(D2) → D3 to each peer
//	Finish(D3) → Output{Share, Certificate}
//
// The share of an Output is pending: it can be stored but does not sign until
// Activate has seen the certificate with the valid signature of every party.
//
// Nobody is trusted: up to t−1 parties may be corrupt and lie in any message.
// What the package does NOT do: it does not store, encrypt or send anything, it
// does not hide which parties take part, and it does not survive a restart (a
// session that breaks off is begun again with a new attempt id). A corrupt party
// can make it abort and so, with many attempts, choose among keys; it can't
// learn or fix a bit of the key that results.
package dkg
