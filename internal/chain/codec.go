package chain

// Codec is a chain family inside the boundary. It has one implementation a
// family; the vault holds them in a map by CAIP-2 namespace.
type Codec interface {
	// Namespace is the CAIP-2 namespace, e.g. "eip155".
	Namespace() string

	// Address derives the chain's address of a group public key (33 bytes, SEC1
	// compressed) as a CAIP-10 account.
	Address(chain string, publicKey []byte) (string, error)

	// Intent decodes what people sign (Request.Intent) and says what it does when
	// sent from the account sender with fees of at most maxFee.
	Intent(chain, sender string, intent []byte, maxFee Amount) (*Effects, error)

	// Prepare decodes the final unsigned transaction strictly, checks that it does
	// exactly what the intent says, on that chain, with fees of at most maxFee,
	// and returns what is needed to decide and to sign. The error says which field
	// differs, what it is and what it should be.
	Prepare(chain, sender string, intent []byte, maxFee Amount, unsigned []byte) (*Prepared, error)

	// Assemble returns the raw signed transaction and its id on the chain. It
	// refuses a signature that does not recover to sender.
	Assemble(sender string, unsigned []byte, signatures []Signature) (raw []byte, txid string, err error)
}

// Prepared is a final transaction, decoded.
type Prepared struct {
	Effects   *Effects
	Canonical []byte     // the re-encoding of what was decoded; what the log keeps
	Digests   [][32]byte // what is signed, derived from Canonical, one a signature
	// Slots name what a transaction uses up on its chain: an account's nonce
	// ("eip155:1:0x…/nonce/7"), inputs. Two versions of one request conflict when
	// they share a slot: at most one of them can happen.
	Slots []string
}

// Signature is an ECDSA signature over secp256k1 with its recovery id.
type Signature struct {
	R, S       [32]byte
	RecoveryID byte
}
