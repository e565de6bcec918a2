// Package e2e judges Coffer by software that is not Coffer's: go-ethereum's
// transaction types and ABI; in the folder solana, Solana's client libraries and
// its virtual machine; in the folder noble, the FROST of @noble/curves; in the folder
// passkey, a browser.
//
// It is a module of its own, because go-ethereum takes minutes to compile and is
// LGPL: neither the product nor `make test` nor `make demo` depends on it. It has
// no code that anything imports; `make e2e` runs its tests.
package e2e
