// Package roast makes FROST robust (ROAST, eprint 2022/550): a coordinator whom
// nobody trusts gets a signature as long as t of the n signers are honest and
// answer, whatever the others say or fail to say, and without a timeout
// (docs/spec/roast.md).
//
//	signer       Offer → its first nonce commitment
//	coordinator  once t signers are ready: a request with their commitments
//	signer       Answer(request) → signature share, and the next commitment
//	coordinator  as soon as one session has all its shares: the signature
//
// A signer is in at most one session at a time that it has not answered, so a
// session that fails has caught somebody who is never asked again: there are at
// most n−t+1 of them.
//
// Signer and Coordinator are pure state machines. The caller authenticates the
// signers' messages to the coordinator. Requests need no authentication: a
// signer answers any that has its own unused commitment in it, for the job that
// it was made for and nothing else, at most MaxSessions times. Whether the job may
// be signed is decided before a Signer is made.
//
// The coordinator learns signatures of the job and can withhold them; it cannot
// get anything else signed, and learns nothing about a share. The package does
// NOT keep anything across a restart: nonces are in memory only, and a signer
// that is lost offers anew.
package roast
