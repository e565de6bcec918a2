// Package pkcs11 is an HSM behind a vendor's PKCS#11 library (OASIS PKCS#11
// v2.40). It is tried on SoftHSM, openCryptoki, NSS and tpm2-pkcs11.
//
// No private key ever leaves the device. What works is found by trying, not from the
// list of mechanisms: to sign, ECDSA on P-256, else RSA-3072; to seal, Diffie-Hellman on
// P-256 (HPKE), else AES-GCM, AES-CBC with HMAC, RSA-OAEP (docs/spec/hsm.md). Seal keys
// go by epochs; each has a cold one beside it, which on devices that can do that asks for
// the PIN at every use. When a device is opened, each key does its work once and the
// result is checked, and the device is asked for its private keys and must refuse: a
// device that gives one away is graded boundary none, and one whose cold keys can be made
// to ask nobody, per use none.
//
// The library is foreign C code with the powers of the process that loads it, so
// that process must be a helper (`coffer hsm`) and not the vault. A call that is
// inside the library cannot be interrupted; contexts end the wait for a session
// only. After any error a session is closed. A PIN that a token refused is never tried
// again, not even by the next process, until the PIN file has changed.
//
// What it does not do: vendors' attestation and quorum keys; AES-GCM on devices that
// fail when they are asked for the size of the result first, as NSS does (CBC with HMAC
// takes its place). The shared secret of an exchange passes through C memory that nobody
// wipes. The PIN that a token asks for at each use is its user PIN, which the helper has
// in the PIN file: asking keeps out who has the vault or its socket, not who reads that
// file. Erasing is the device's: SoftHSM removes a file and overwrites nothing.
package pkcs11
