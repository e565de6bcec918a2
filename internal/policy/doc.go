// Package policy decides what a wallet may do: a Document of deny-guards and
// ordered rules, evaluated over the effects of a decoded transaction, the verified
// signatures of people, risk engines and price sources, the clock, and what the
// vaults' ledgers hold. Every decision explains itself.
//
// Guards come first, any that matches denies; then the first rule that matches
// decides; what no rule matches is denied, and so are what could not be decoded
// and what could not be computed. Conditions are small typed trees (Expr) over
// checked 256-bit numbers; evaluation is total, deterministic and bounded. People
// write conditions in CEL (internal/policy/source, outside the boundary); Format
// shows a tree as CEL again. Format and meaning are specified in
// docs/spec/policy.md.
//
// The package keeps no state: what limits count comes from a Ledger. It reads no
// transaction itself and verifies no signature; it must be handed what the vault
// decoded and verified on its own, never what a coordinator claims.
package policy
