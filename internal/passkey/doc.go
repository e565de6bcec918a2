// Package passkey turns what a browser returns from Web Authentication into what
// Coffer keeps: a registration into a key for the roster, an assertion into a
// signature.
//
// docs/spec/passkey.md is the format. The package runs with clients, at the API and
// in tools, outside the boundary: vaults verify assertions with internal/signature
// and never see a registration. A registration proves that somebody's browser made
// a key; that it is the right person's the admins say by signing the roster. The
// authenticator's maker is not checked: attestation statements are skipped.
package passkey
