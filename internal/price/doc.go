// Package price is a price source: a process that says what assets are worth, and
// signs it. Policy speaks of money only through such quotes (docs/spec/price.md).
//
// A source has no authority: vaults verify its signature under the roster, and policy
// says how many sources must agree and how old their word may be. Whom a source asks
// is trusted by that source alone. The coordinator carries quotes and can keep them
// back; it can make none up.
package price
