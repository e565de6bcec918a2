// Package governance is how a cluster rules itself: its genesis, which names every
// vault's keys, the first roster and the first policy; and the chain of changes,
// each signed by a quorum of the admins of the moment, each naming the one before.
//
// The formats are specified in docs/spec/governance.md. The genesis has no
// signature: its hash is the cluster's name, which people compare. The package
// keeps nothing and delays nothing: that tightening is instant while loosening
// waits is not built yet. Whoever hands over a change is not trusted.
package governance
