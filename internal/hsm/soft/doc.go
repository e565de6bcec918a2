// Package soft is a software HSM: the keys are files in a directory.
//
// It is for development and for machines without a token. It seals and signs in
// the formats of docs/spec/hsm.md, so that what is written over it is written
// over a real device unchanged, but it keeps nothing: whoever reads the
// directory has the keys, and its Info says so (boundary none). It must not hold
// a key that guards value.
package soft
