// Package risk is the automated engine that screens requests (docs/spec/risk.md):
// a process of its own, with a key of its own, which looks at what a request
// does and signs a verdict: pass, hold or deny, with a score and its reasons.
//
// A verdict has no authority: policy says what it is worth, and an engine that
// is silent or unsure means that a request is held, never that it passes. The
// engine decodes the request's bytes itself, with the codec that the vaults use.
// What it knows of the past the coordinator tells it with every question; that
// moves the score and nothing else, since nobody trusts the coordinator.
//
// What it asks besides, the operator configures: lists of known bad accounts that a
// publisher signed, services that sign their answers, and a chain's node that
// tries the transaction. One of them that is silent, stale or forged means that
// there is no verdict, so that the request is held. The engine itself keeps no
// state.
package risk
