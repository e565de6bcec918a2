// Package secp256k1 is the group secp256k1 of SEC 2 and the field of its
// scalars, for secret data, in plain Go. It also hashes to the curve (RFC 9380,
// suite secp256k1_XMD:SHA-256_SSWU_RO_). docs/spec/secp256k1.md has the
// encodings and the bounds.
//
// # Constant time
//
// Every function runs in constant time, save those with Vartime in their name,
// which are for public data. Constant means: no branch, no memory address and
// no operand of a slow instruction depends on the value of a scalar or of a
// coordinate. What may depend on a value is named where it does: whether an
// encoding is valid (SetBytes), whether a point is the identity (NewTable).
//
//   - Limbs go through math/bits Mul64, Add64 and Sub64, which the compiler
//     makes into single instructions. Carries become masks, never conditions.
//   - Point addition uses the complete formulas of Renes, Costello and Batina
//     (eprint 2015/1060): doubling, inverses and the identity are not special.
//   - Tables are read whole, and the entry is picked with masks.
//   - Scalars are cut in digits of a fixed number: signed by an offset for
//     ScalarMult, all odd for ScalarTableMult. The endomorphism's split of a
//     scalar (GLV) is arithmetic mod q and two masks for the signs.
//   - Inversions and square roots are powers with a fixed, public exponent.
//
// TestConstantTimeConditions holds the list of all branches, loops and computed
// indices, and fails on a new one. That MUL takes the same time for all
// operands is true of the processors this runs on (amd64, arm64) and is not
// checked.
//
// # What it does not do
//
// It doesn't wipe registers, the stack, or copies that the runtime makes:
// Destroy clears the value it is called on. It doesn't blind, and so doesn't
// resist somebody who measures power or injects faults. It has no signatures
// and no key formats. An identity is a valid Point: whoever receives points
// over the wire gets none from SetBytes, but sums and multiples must be checked
// with IsIdentity where the protocol says so.
//
// A Scalar refuses to be printed, logged and marshalled, with two limits of
// package fmt, which doesn't ask methods everywhere. It reads unexported fields
// of other structs by reflection, and it prints values raw under %p and a
// misplaced %w. A struct with secret scalars in unexported fields therefore
// implements fmt.Formatter itself, or embeds something that does.
//
// # Who must not be trusted
//
// Encoded points and scalars come from anybody: SetBytes accepts exactly one
// encoding of each value. The caller is trusted with slices of equal length
// (InnerProduct and the sums of multiples panic otherwise) and with conditions of
// 0 or 1 (Select).
package secp256k1
