// Package secp256k1 is the group secp256k1 of SEC 2 and its field of scalars,
// for secret data: everything runs in constant time, but what says Vartime in
// its name.
package secp256k1
