// Package pkcs11 is an HSM behind a vendor's PKCS#11 library (OASIS PKCS#11
// v2.40). SoftHSM is the device that it is developed on.
//
// The device makes three P-256 keys, of which no private half ever leaves it: one
// to sign with for each role, and one for the Diffie-Hellman of sealing
// (docs/spec/hsm.md). What works is found by trying, when the device is opened:
// each key does its work once and the result is checked, and the device is asked
// for its private keys and must refuse.
//
// The library is foreign C code with the powers of the process that loads it, so
// that process must be a helper (`coffer hsm`) and not the vault. A call that is
// inside the library cannot be interrupted; contexts end the wait for a session
// only. A PIN that a token refused is never tried again, not even by the next
// process, until the PIN file has changed.
//
// What it does not do: devices without ECDH or ECDSA on P-256, keys that ask for a
// PIN at each use, vendors' attestation. The shared secret of an exchange passes
// through C memory that nobody wipes.
package pkcs11
