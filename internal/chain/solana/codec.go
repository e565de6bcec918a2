package solana

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// Codec implements chain.Codec for solana. It has no state.
type Codec struct{}

var _ chain.Codec = Codec{}

// Namespace is "solana".
func (Codec) Namespace() string { return Namespace }

// Scheme is Ed25519.
func (Codec) Scheme() chain.Scheme { return chain.Ed25519 }

// Address derives the account of a group public key.
func (Codec) Address(chainName string, publicKey []byte) (string, error) {
	if err := ParseChain(chainName); err != nil {
		return "", err
	}
	a, err := AddressOf(publicKey)
	if err != nil {
		return "", err
	}
	return Account(a), nil
}

// Intent decodes what people sign.
func (Codec) Intent(chainName, sender string, intent []byte, maxFee chain.Amount, _ []chain.Method) (*chain.Effects, error) {
	from, err := senderOn(chainName, sender)
	if err != nil {
		return nil, err
	}
	in, err := DecodeIntent(intent)
	if err != nil {
		return nil, err
	}
	return in.effects(from, maxFee), nil
}

func senderOn(chainName, sender string) (Address, error) {
	if err := ParseChain(chainName); err != nil {
		return Address{}, err
	}
	a, err := ParseAccount(sender)
	if err != nil {
		return Address{}, fmt.Errorf("sender: %w", err)
	}
	return a, nil
}

// Prepare decodes the final message and checks it against the intent.
//
// Its slot is the message itself, so that of one request only the identical
// message may be signed again. Another blockhash makes another payment: an
// account has no counter of transactions. A durable nonce would be one, but its
// value looks like a blockhash: two messages that advance the same nonce account
// and carry the same recent blockhash instead of its value can both happen.
func (Codec) Prepare(chainName, sender string, intent []byte, maxFee chain.Amount, unsigned []byte, _ []chain.Method) (*chain.Prepared, error) {
	from, err := senderOn(chainName, sender)
	if err != nil {
		return nil, err
	}
	in, err := DecodeIntent(intent)
	if err != nil {
		return nil, err
	}
	m, err := DecodeMessage(unsigned)
	if err != nil {
		return nil, err
	}
	tx, err := m.Read()
	if err != nil {
		return nil, err
	}
	if err := tx.matches(from, in); err != nil {
		return nil, fmt.Errorf("the transaction is not the approved one: %w", err)
	}
	fee := tx.Fee()
	if fee.Gt(&maxFee) {
		return nil, fmt.Errorf("fee is %s lamports, want at most %s", fee.Dec(), maxFee.Dec())
	}
	canonical := m.Encode()
	digest := sha256.Sum256(canonical)
	return &chain.Prepared{
		Effects: tx.Intent.effects(from, fee), Canonical: canonical,
		Digests: [][32]byte{digest}, Messages: [][]byte{canonical},
		Slots: []string{fmt.Sprintf("%s/message/%x", sender, digest)},
	}, nil
}

// matches checks every field that the intent fixes.
func (tx *Transaction) matches(from Address, in *Intent) error {
	if tx.Payer != from {
		return fmt.Errorf("%v pays, want %v", tx.Payer, from)
	}
	if got, want := len(tx.Transfers), len(in.Transfers); got != want {
		return fmt.Errorf("%d transfers, want %d", got, want)
	}
	for i := range in.Transfers {
		got, want := &tx.Transfers[i], &in.Transfers[i]
		if got.To != want.To {
			return fmt.Errorf("transfer %d goes to %v, want %v", i+1, got.To, want.To)
		}
		if got.Lamports != want.Lamports {
			return fmt.Errorf("transfer %d is of %d lamports, want %d", i+1, got.Lamports, want.Lamports)
		}
	}
	if tx.Memo != in.Memo {
		return fmt.Errorf("the memo is %q, want %q", tx.Memo, in.Memo)
	}
	return nil
}

// Assemble puts the signature in front of the message.
func (Codec) Assemble(sender string, unsigned []byte, signatures []chain.Signature) (raw []byte, txid string, err error) {
	from, err := ParseAccount(sender)
	if err != nil {
		return nil, "", fmt.Errorf("sender: %w", err)
	}
	m, err := DecodeMessage(unsigned)
	if err != nil {
		return nil, "", err
	}
	if m.Accounts[0] != from {
		return nil, "", fmt.Errorf("couldn't assemble transaction: %v signs the message, want %v", m.Accounts[0], from)
	}
	if len(signatures) != 1 {
		return nil, "", fmt.Errorf("%d signatures, want 1", len(signatures))
	}
	if signatures[0].RecoveryID != 0 {
		return nil, "", errors.New("couldn't assemble transaction: an Ed25519 signature has no recovery id")
	}
	sig := signatures[0].Bytes()
	message := m.Encode()
	if !ed25519.Verify(from[:], message, sig[:]) {
		return nil, "", errors.New("couldn't assemble transaction: the signature does not verify for the sender")
	}
	raw = append(append([]byte{1}, sig[:]...), message...)
	return raw, encodeBase58(sig[:]), nil
}

// Text is a signed transaction as Solana's tools and nodes take it: base64.
func (Codec) Text(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }
