// Package identity knows the people, services and risk engines of a cluster: the
// roster of their keys and groups, and whether a bundle of signatures is what it
// claims.
//
// The formats are specified in docs/spec/roster.md. The package decides nothing
// about a transaction (internal/policy) and does not change the roster, which
// takes a quorum of admins (internal/governance). It trusts no name that comes
// with a signature: the roster says whose key it is.
package identity
