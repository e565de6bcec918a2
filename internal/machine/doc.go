// Package machine says what this machine offers to a vault: the features of its
// kernel that isolate a process, and what could carry a vault's memory away. It
// is what `coffer doctor` prints about the machine (docs/ops/doctor.md).
//
// It changes nothing, and it promises nothing: what a vault did obtain at its
// start is in its own boot entry. The machine's own answers are taken at their
// word; whoever is root on it can make them up.
package machine
