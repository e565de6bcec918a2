// Package lifecycle takes a key from one epoch to the next: refresh and reshare
// (Session), repair of a lost share (Repair), and import of a key that exists
// already (docs/spec/lifecycle.md). The public key stays; shares and zero-share
// seeds are new.
//
// A Session has the shape of a key generation. Its participants are the dealers,
// who hold shares, and the new parties; newcomers only receive, leavers only deal:
//
//	Round0 → R0 broadcast      Round1(R0) → R1 broadcast
//	Round2(R1) → R2 broadcast  Round3(R2) → R3 to each peer
//	Finish(R3) → Output{Share, Certificate}
//
// The caller authenticates every message and encrypts R3 to its recipient. The
// old share is copied and never changed: when a session aborts, or a participant
// stays silent until the caller gives up and destroys it, the old epoch is what it
// was. The new share is pending until all new parties have signed its certificate.
//
// A share that a repair, an import or a backup brings forth is dormant
// (dkg.KeyShare.Dormant): it does not sign before the next refresh or reshare.
//
// Nobody is trusted: up to t−1 old parties and t'−1 new ones may be corrupt and
// lie in any message; a dealer's lie about what it deals is evidence that
// VerifyEvidence shows to others. What the package does NOT do: it does not decide
// when an epoch ends, keep a node from signing in two, or erase anything (that is
// mpc/handover); it does not authenticate, encrypt, store or send; and a refresh
// does not help against somebody who holds t shares of one epoch.
package lifecycle
