package governance

import "github.com/cofferhq/coffer/mpc"

// Purposes of keys, each with the suite that serves it.
const (
	PurposeECDSA   = "ecdsa-secp256k1" // EVM chains, Bitcoin v0, Cosmos, Tron
	PurposeEd25519 = "ed25519"         // Solana and others
	PurposeTaproot = "bip340-taproot"  // Bitcoin's Taproot outputs
)

// SuiteOf is the suite that makes and uses keys of a purpose; "" for none.
func SuiteOf(purpose string) mpc.Suite {
	switch purpose {
	case PurposeECDSA:
		return mpc.DKLS23Secp256k1
	case PurposeEd25519:
		return mpc.FROSTEd25519
	case PurposeTaproot:
		return mpc.FROSTSecp256k1TR
	}
	return ""
}
