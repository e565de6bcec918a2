// Package keyfile keeps a signing key of a person, a service or a risk engine in a
// file of one line, closed to other users (docs/spec/api.md):
//
//	coffer-key-v1 alice ed25519 BASE64URL(32-byte seed)
//	coffer-key-v1 alice p256 BASE64URL(32-byte scalar)
//	coffer-key-v1 alice pkcs11 BASE64URL(65-byte point) pkcs11:URI
//
// It is the plainest credential that Coffer takes: whoever reads the file can
// sign as its owner, unless the key is on a smart card that the file only names. It does not encrypt, and it is not used by vaults, whose
// keys live in their devices.
package keyfile
