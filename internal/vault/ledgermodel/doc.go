// Package ledgermodel is a model of the vaults' ledgers (docs/spec/ledger.md), and
// its tests search it: all interleavings of small clusters, random runs of larger
// ones. It says whether the rules are exact, not whether package vault follows them;
// that is for the property tests of package vault and for internal/sim.
//
// What is modelled: reservations, R0, R1 with the ledger as it was when R1 was sent,
// evaluation, certificates, final shares, releases, crashes and restarts with what is
// durable, commands and messages that come late or never, retries as new sessions of
// one request, one attempt id given to different vaults for different things, vaults
// that lie. Time is not: an entry counts until it is released.
//
// A vault that evaluates knows of each peer's ledger what the peer's R1 brought. What
// else it may have heard is chosen by the adversary, event by event: of reservations
// nothing, of releases all of them. No order of messages can give it more room than
// that, so that what holds here holds for each, and the order in which a ledger was
// written is no part of a state.
package ledgermodel
