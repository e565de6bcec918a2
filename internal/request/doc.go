// Package request is what people sign: a Request, which fixes a transaction as
// far as people decide it, the approvals, cancellations and risk verdicts over
// its id, the PriceQuotes that its value is taken from, and the Bundle of all of
// them that a vault is shown.
//
// The format is specified in docs/spec/request.md. The package says what the
// bytes mean and refuses what has no meaning; it verifies no signature and knows
// no person (internal/identity), decodes no transaction (internal/chain), and
// decides nothing (internal/policy). Whoever hands over a Bundle, the coordinator
// above all, is not trusted: only the signatures inside count.
package request
