// Package sharing is Shamir's secret sharing over the scalar field of a curve with
// Feldman's commitments.
//
// A participant's id is its x-coordinate. Evaluation of a polynomial and the
// check of a share are constant-time in the secret; everything that starts from
// a commitment or an id is public and may take variable time.
//
// It does NOT hide a share from its dealer, encrypt or authenticate anything;
// mpc/dkg does the protocol around it (docs/spec/dkg.md).
package sharing
