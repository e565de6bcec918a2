// Package governance is how a cluster rules itself: its genesis, which names every
// vault's keys, the first roster and the first policy; and the chain of changes,
// each signed by a quorum of the admins of the moment, each naming the one before.
//
// The formats are specified in docs/spec/governance.md. The genesis has no
// signature: its hash is the cluster's name, which people compare. The package
// reads no clock: what a change does, and whether it waits for its cooling-off time,
// is a function of the changes and of when each was adopted (State.Apply, State.At).
// Whoever hands over a change is not trusted.
package governance
