// Package hsmtest is the conformance suite that every HSM backend passes.
//
// It checks the port of package hsm and nothing of one vendor: what a backend
// adds (a PIN, a socket, attributes) is tested beside that backend. Signatures
// are checked by crypto/ecdsa and exchanges against crypto/ecdh, not by this
// module's own code.
package hsmtest
