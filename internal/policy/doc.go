// Package policy decides what a wallet may do: a Document of deny-guards and
// ordered rules, evaluated over the effects of a decoded transaction and the
// verified signatures of people and risk engines. Every decision explains itself.
//
// Guards come first, any that matches denies; then the first rule that matches
// decides; what no rule matches is denied, and so is what could not be decoded.
// Evaluation is total and bounded: it always ends in a Decision, whatever the
// document and the input. The format and its meaning are specified in
// docs/spec/policy.md.
//
// The package keeps no state: limits over time belong to the vault's ledger. It
// reads no transaction itself and verifies no signature; it must be handed what
// the vault decoded and verified on its own, never what a coordinator claims.
package policy
