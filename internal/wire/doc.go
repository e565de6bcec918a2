// Package wire is the one encoding of everything that Coffer signs, hashes,
// seals, logs or sends between machines.
//
// An encoding has fields in a fixed order, the version first; no optional
// field, no unknown field, no map, no float. Integers are big-endian. A byte
// string is its length as u32, then its bytes; a list is its count as u32, then
// its items. Every length is checked against the bound that the reader names
// before anything is allocated, and bytes left over at the end are an error, so
// that Decode(b) succeeds only if Encode(Decode(b)) == b.
//
// Hash is the domain-separated SHA-256 over such encodings. Changing a type
// means a new version byte, a new spec page and new vectors: a signer refuses
// what it does not understand.
//
// The package does not know any message; it must never grow one. The format is
// specified in docs/spec/wire.md.
package wire
