// Package refmodel is a second, slow implementation of the threshold ECDSA of
// suite DKLS23-SECP256K1-B4, to be compared with the first.
//
// It was written from the pages of docs/spec alone (random-oracle, session,
// dkg, base-ot, ot-extension, vole, pair-setup, dkls23, dkls23-presign, aborts)
// and from the standards that they name, by people who had not read mpc/. It
// shares no code with mpc/ or internal/wire and imports neither: its only
// common ground with them is the standard library's hashes, AES and Ed25519,
// and decred's multiplication of a point. Its tests replay the frozen vectors
// of mpc/*/testdata, every message of every party, byte for byte; the runs that
// it froze itself, in testdata, are replayed by the tests of mpc/dkg and
// mpc/dkls23. Where the two disagree, the page decides.
//
// Everything is math/big and follows the pages' formulas line by line. Nothing
// is constant-time, nothing is wiped, randomness is a named stream. What the
// pages say about repeats, reordering and state across sessions is not
// modelled: a party here runs one session in one order.
//
// No program may use it: it leaks every secret that it touches.
package refmodel
