// Package hsm is the port to a party's hardware security module: the device
// that holds the party's identity keys and the key under which the vault's
// state rests.
//
// What a device does here is sign typed statements (package signature), and seal
// and unseal small secrets. It never sees a transaction: which statement is
// worth a signature is decided by the vault. Sealing is HPKE (RFC 9180) to a
// P-256 key whose private half stays in the device, or, where a device has no such
// key, AES under a data key that the device wraps. The device does that one step and
// the caller the rest, so that neither the device nor the process that loads its
// vendor's library sees what is sealed. The formats are specified in
// docs/spec/hsm.md.
//
// What it does not do: a blob opens for whoever can talk to the device, an old blob
// opens as well as the newest until its seal key is erased (Ratchet), and the Info of
// a device is what the device says of itself, not evidence.
//
// The adapters are in soft (files, for development), pkcs11 (a vendor's library)
// and remote (another process that holds one of these). Package device opens
// them by URI; this package imports none of them.
package hsm
