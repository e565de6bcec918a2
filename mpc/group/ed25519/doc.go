// Package ed25519 is the subgroup of prime order ℓ of edwards25519 (RFC 8032,
// RFC 7748) and the field of its scalars, for secret data. The arithmetic is
// filippo.io/edwards25519's; this package adds what a protocol with dishonest
// parties needs from it: one encoding of each value, and points of the subgroup
// only. docs/spec/ed25519.md has the encodings and the test of the subgroup.
//
// # Constant time
//
// Every function runs in constant time, save those with Vartime in their name,
// which are for public data. What may depend on a value is whether an encoding
// is valid (SetBytes).
//
// # What it does not do
//
// It has no signatures, no key formats and no clamping: a scalar is a number
// below ℓ and nothing else. It doesn't wipe registers, the stack, or copies that
// the runtime makes: Destroy clears the value it is called on. An identity is a
// valid Point: whoever receives points over the wire gets none from SetBytes,
// but sums and multiples must be checked with IsIdentity where the protocol says
// so.
//
// A Scalar refuses to be printed, logged and marshalled, with the two limits of
// package fmt that package secp256k1 names: a struct with secret scalars in
// unexported fields implements fmt.Formatter itself, or holds pointers.
//
// # Who must not be trusted
//
// Encoded points and scalars come from anybody. SetBytes of a Point refuses what
// RFC 8032 verifiers are known to differ about: the identity, the points of
// small order and those with a part of small order, a y that is not reduced, and
// x = 0 with a sign.
package ed25519
