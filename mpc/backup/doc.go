// Package backup encrypts a party's key share, with the certificate of its key,
// to recovery keys, any one of which opens it (docs/spec/backup.md).
//
// Every node backs up its own share, to recovery keys of its own: whoever holds
// backups of t parties and their recovery keys holds the key. A recovery key is
// an X25519 key that rests offline.
//
// What comes out is checked against the certificate and its n signatures, so
// that nobody who can write to the place where backups rest can bring in a share
// or a chain code that is not the key's. A restored share has no zero-share seeds
// and is dormant: it does not sign before the next refresh or reshare
// (mpc/lifecycle).
//
// What the package does NOT do: it does not tell an old backup from the latest
// (the caller compares the epoch with what the other parties run: of an epoch
// that is past it is useless), it does not store or send anything, and it does
// not protect a recovery key.
package backup
