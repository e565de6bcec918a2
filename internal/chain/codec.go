package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/ecdsa"
)

// Codec is a chain family inside the boundary. It has one implementation a
// family; the vault holds them in a map by CAIP-2 namespace.
type Codec interface {
	// Namespace is the CAIP-2 namespace, e.g. "eip155".
	Namespace() string

	// Scheme is the signature scheme of the family.
	Scheme() Scheme

	// Address derives the chain's address of a group public key (secp256k1: 33
	// bytes, SEC1 compressed; Ed25519: 32 bytes) as a CAIP-10 account.
	Address(chain string, publicKey []byte) (string, error)

	// Intent decodes what people sign (Request.Intent) and says what it does when
	// sent from the account sender with fees of at most maxFee. Methods are those
	// that the policy declares; nil: only what is built in is understood.
	Intent(chain, sender string, intent []byte, maxFee Amount, methods []Method) (*Effects, error)

	// Prepare decodes the final unsigned transaction strictly, checks that it does
	// exactly what the intent says, on that chain, with fees of at most maxFee,
	// and returns what is needed to decide and to sign. The error says which field
	// differs, what it is and what it should be.
	Prepare(chain, sender string, intent []byte, maxFee Amount, unsigned []byte, methods []Method) (*Prepared, error)

	// Assemble returns the raw signed transaction and its id on the chain. It
	// refuses a signature that is not the sender's.
	Assemble(sender string, unsigned []byte, signatures []Signature) (raw []byte, txid string, err error)

	// Text is a raw signed transaction as the chain's tools take it.
	Text(raw []byte) string
}

// Scheme is a signature scheme.
type Scheme uint8

// The schemes.
const (
	ECDSASecp256k1 Scheme = 1
	Ed25519        Scheme = 2 // RFC 8032
)

// Suite is the suite of the keys that sign so.
func (s Scheme) Suite() mpc.Suite {
	switch s {
	case ECDSASecp256k1:
		return mpc.DKLS23Secp256k1
	case Ed25519:
		return mpc.FROSTEd25519
	}
	return ""
}

func (s Scheme) String() string {
	switch s {
	case ECDSASecp256k1:
		return "ECDSA over secp256k1"
	case Ed25519:
		return "Ed25519"
	}
	return "unknown scheme"
}

// Verify checks one signature by a verifier that is not ours: over the digest, or
// with Ed25519 over the message that the digest names.
func (s Scheme) Verify(publicKey []byte, digest [32]byte, message []byte, sig *Signature) error {
	switch s {
	case ECDSASecp256k1:
		if len(publicKey) != 33 {
			return fmt.Errorf("public key of %d bytes, want 33", len(publicKey))
		}
		return ecdsa.Verify([33]byte(publicKey), digest, &ecdsa.Signature{R: sig.R, S: sig.S, RecoveryID: sig.RecoveryID})
	case Ed25519:
		b := sig.Bytes()
		switch {
		case len(publicKey) != ed25519.PublicKeySize:
			return fmt.Errorf("public key of %d bytes, want %d", len(publicKey), ed25519.PublicKeySize)
		case sha256.Sum256(message) != digest:
			return errors.New("the message is another")
		case sig.RecoveryID != 0:
			return errors.New("an Ed25519 signature has no recovery id")
		case !ed25519.Verify(publicKey, message, b[:]):
			return errors.New("the signature does not verify")
		}
		return nil
	}
	return errors.New("unknown signature scheme")
}

// SchemeOf is what keys of a suite sign.
func SchemeOf(suite mpc.Suite) (Scheme, error) {
	for _, s := range []Scheme{ECDSASecp256k1, Ed25519} {
		if s.Suite() == suite {
			return s, nil
		}
	}
	return 0, fmt.Errorf("no chain takes signatures of suite %q", string(suite))
}

// Prepared is a final transaction, decoded.
type Prepared struct {
	Effects   *Effects
	Canonical []byte // the re-encoding of what was decoded; what the log keeps
	// Digests are derived from Canonical, one a signature. An ECDSA signature signs
	// the digest. An Ed25519 signature signs the message itself: then the digest is
	// the message's SHA-256, and only a name for it.
	Digests [][32]byte
	// Messages are what Ed25519 signatures sign; nil where digests are signed.
	Messages [][]byte
	// Slots name what a transaction uses up on its chain: an account's nonce
	// ("eip155:1:0x…/nonce/7"), inputs, or nothing but the message itself. Two
	// versions of one request conflict when they share a slot: at most one of them
	// can happen. Each slot begins with the sender and "/".
	Slots []string
}

// Message is what the i-th signature signs, when that is no digest.
func (p *Prepared) Message(i int) []byte {
	if p.Messages == nil {
		return nil
	}
	return p.Messages[i]
}

// Signature is an ECDSA signature over secp256k1 with its recovery id, or the two
// halves of an Ed25519 signature, whose RecoveryID is 0.
type Signature struct {
	R, S       [32]byte
	RecoveryID byte
}

// Bytes is R and S.
func (s *Signature) Bytes() (b [64]byte) {
	copy(b[:32], s.R[:])
	copy(b[32:], s.S[:])
	return b
}
