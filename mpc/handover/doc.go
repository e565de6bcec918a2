// Package handover moves a key from one epoch to the next so that no crash loses
// it and no vault signs in both: the two-phase commit of refresh and reshare
// (docs/spec/handover.md).
//
// A Machine is one party's side of it, for one key. It is a pure state machine:
// it does no I/O, reads no clock and draws no randomness. Every call returns
// Effects, which the caller carries out in order: make the state durable (Save),
// have the identity sign (Sign), and only then send (Send).
//
//	ACTIVE(e) → shares of e+1 sealed → PREPARED → READY → CLOSED(e) → ACTIVE(e+1) → e erased
//
// Votes are durable before they are signed, and exclusive. Whoever holds the READY
// of all n′ new parties and the CLOSED of n−t+1 old ones holds a commit
// certificate, which convinces anybody; there is no coordinator whose decision
// could be lost.
//
// Nobody is trusted for safety up to the faults that the page names: a new party
// that signs READY and ABORT is found out and named, and can at worst split the
// key's holders into two provable epochs.
//
// What the package does NOT do: it does not deal shares (mpc/lifecycle), does not
// store or erase them, and does not judge whether the move was ordered: the caller
// joins only plans that it has checked.
package handover
