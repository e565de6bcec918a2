package mpc

import "fmt"

// Suite names a curve, a signature scheme and all parameters of the protocols
// that serve it. A key is made for one suite and never serves another: the suite
// is its purpose tag, and it stands in every context, certificate and key share.
type Suite string

// The suites.
const (
	DKLS23Secp256k1  Suite = "DKLS23-SECP256K1-B4"          // threshold ECDSA
	FROSTEd25519     Suite = "FROST-ED25519-SHA512-v1"      // RFC 9591: Ed25519 signatures
	FROSTSecp256k1   Suite = "FROST-secp256k1-SHA256-v1"    // RFC 9591: Schnorr signatures
	FROSTSecp256k1TR Suite = "FROST-secp256k1-SHA256-TR-v1" // BIP-340 signatures, Taproot outputs
)

// Suites lists them all.
func Suites() []Suite {
	return []Suite{DKLS23Secp256k1, FROSTEd25519, FROSTSecp256k1, FROSTSecp256k1TR}
}

// ZeroShares says whether the parties of a key of the suite hold pairwise seeds
// of zero sharings: signing with DKLs23 needs them, FROST does not.
func (s Suite) ZeroShares() bool { return s == DKLS23Secp256k1 }

// Check refuses a name that is no suite's.
func (s Suite) Check() error {
	for _, known := range Suites() {
		if s == known {
			return nil
		}
	}
	return fmt.Errorf("suite %q is unknown, want one of %q", string(s), Suites())
}
