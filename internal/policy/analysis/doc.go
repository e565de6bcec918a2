// Package analysis compares policies and proves things about them, for all inputs
// and not for tried ones: whether a new policy lets something through that the old
// one does not (Classify), whether a promise of the document holds (Invariants),
// and which of its rules and conditions are without effect (Lint).
//
// It is part of what a vault decides with: pure, deterministic, and bounded by a
// budget of steps. What it answers it has proven or found an example for, which it
// decided again with policy.Evaluate; where it can do neither it answers Unknown.
// What it understands, and why the proofs hold, is in docs/spec/analysis.md.
//
// It does not look at the ledger's past, and it believes its callers that the
// documents were checked against their rosters.
package analysis
