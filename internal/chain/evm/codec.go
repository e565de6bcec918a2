package evm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/internal/chain"
)

// Codec implements chain.Codec for eip155. It has no state.
type Codec struct{}

var _ chain.Codec = Codec{}

// Namespace is "eip155".
func (Codec) Namespace() string { return Namespace }

// Scheme is ECDSA over secp256k1.
func (Codec) Scheme() chain.Scheme { return chain.ECDSASecp256k1 }

// Address derives the account of a group public key.
func (Codec) Address(chain string, publicKey []byte) (string, error) {
	if _, err := ParseChain(chain); err != nil {
		return "", err
	}
	a, err := AddressOf(publicKey)
	if err != nil {
		return "", err
	}
	return Account(chain, a), nil
}

// Intent decodes what people sign.
func (Codec) Intent(chainName, sender string, intent []byte, maxFee chain.Amount, methods []chain.Method) (*chain.Effects, error) {
	from, err := senderOn(chainName, sender)
	if err != nil {
		return nil, err
	}
	if IsMessage(intent) {
		m, err := DecodeTypedData(intent)
		if err != nil {
			return nil, err
		}
		return messageEffects(chainName, from, m, methods)
	}
	in, err := DecodeIntent(intent)
	if err != nil {
		return nil, err
	}
	return effects(chainName, from, in, maxFee, methods), nil
}

// senderOn returns the address of the sender, which must be on that chain.
func senderOn(chain, sender string) (Address, error) {
	if _, err := ParseChain(chain); err != nil {
		return Address{}, err
	}
	on, a, err := ParseAccount(sender)
	if err != nil {
		return Address{}, fmt.Errorf("sender: %w", err)
	}
	if on != chain {
		return Address{}, fmt.Errorf("sender %s is an account on %s, want one on %s", sender, on, chain)
	}
	return a, nil
}

// Prepare decodes the final transaction and checks it against the intent.
func (Codec) Prepare(chainName, sender string, intent []byte, maxFee chain.Amount, unsigned []byte, methods []chain.Method) (*chain.Prepared, error) {
	from, err := senderOn(chainName, sender)
	if err != nil {
		return nil, err
	}
	if IsMessage(intent) {
		return prepareMessage(chainName, sender, from, intent, unsigned, methods)
	}
	in, err := DecodeIntent(intent)
	if err != nil {
		return nil, err
	}
	tx, err := DecodeUnsigned(unsigned)
	if err != nil {
		return nil, err
	}
	if err := tx.matches(chainName, in); err != nil {
		return nil, fmt.Errorf("the transaction is not the approved one: %w", err)
	}
	fee, err := tx.checkFees(&maxFee)
	if err != nil {
		return nil, err
	}
	e := effects(chainName, from, in, fee, methods)
	if len(tx.AccessList) > 0 && e.Undecoded == "" {
		e.Undecoded = "has an access list, which nobody approved"
	}
	canonical, err := tx.Encode()
	if err != nil {
		return nil, err
	}
	return &chain.Prepared{
		Effects: e, Canonical: canonical, Digests: [][32]byte{keccak256(canonical)},
		Slots: []string{sender + "/nonce/" + strconv.FormatUint(tx.Nonce, 10)},
	}, nil
}

// prepareMessage: a message is what people signed, to the byte; what is to be
// signed is computed here and only compared with what came. Its slot is its
// digest, so that of one request there are never two versions.
func prepareMessage(chainName, sender string, from Address, intent, unsigned []byte, methods []chain.Method) (*chain.Prepared, error) {
	m, err := DecodeTypedData(intent)
	if err != nil {
		return nil, err
	}
	e, err := messageEffects(chainName, from, m, methods)
	if err != nil {
		return nil, err
	}
	canonical := m.Unsigned()
	if !bytes.Equal(unsigned, canonical) {
		return nil, fmt.Errorf("what is to be signed is %s, the approved message gives %s", dataText(unsigned), dataText(canonical))
	}
	digest := keccak256(canonical)
	return &chain.Prepared{
		Effects: e, Canonical: canonical, Digests: [][32]byte{digest},
		Slots: []string{fmt.Sprintf("%s/message/%x", sender, digest)},
	}, nil
}

// matches checks every field that the intent and the chain fix.
func (tx *Transaction) matches(chainName string, in *Intent) error {
	if got := ChainName(tx.ChainID); got != chainName {
		return fmt.Errorf("chain is %s, want %s", got, chainName)
	}
	if got, want := recipient(tx.To), recipient(in.To); got != want {
		return fmt.Errorf("recipient is %s, want %s", got, want)
	}
	if tx.Value != in.Value {
		return fmt.Errorf("value is %s wei, want %s wei", tx.Value.Dec(), in.Value.Dec())
	}
	if !bytes.Equal(tx.Data, in.Data) {
		return fmt.Errorf("data is %s, want %s", dataText(tx.Data), dataText(in.Data))
	}
	return nil
}

func recipient(to *Address) string {
	if to == nil {
		return "none (creates a contract)"
	}
	return to.String()
}

// dataText is data as an error shows it: in full when it is short, else so that
// two of them can be told apart.
func dataText(data []byte) string {
	if len(data) <= 100 {
		return fmt.Sprintf("%d bytes 0x%x", len(data), data)
	}
	return fmt.Sprintf("%d bytes 0x%x… with keccak256 %x", len(data), data[:36], keccak256(data))
}

// checkFees returns the most that the sender can pay, when that is at most max.
func (tx *Transaction) checkFees(max *chain.Amount) (chain.Amount, error) {
	if tx.Nonce == math.MaxUint64 {
		return chain.Amount{}, errors.New("nonce is 2⁶⁴−1, which no transaction may use (EIP-2681)")
	}
	if tx.TipCap.Gt(&tx.FeeCap) {
		return chain.Amount{}, fmt.Errorf("priority fee cap is %s wei, above the fee cap of %s wei", tx.TipCap.Dec(), tx.FeeCap.Dec())
	}
	fee, err := tx.MaxFee()
	if err != nil {
		return fee, err
	}
	if fee.Gt(max) {
		return fee, fmt.Errorf("fee can reach %s wei (gas %d × fee cap %s wei), want at most %s wei",
			fee.Dec(), tx.Gas, tx.FeeCap.Dec(), max.Dec())
	}
	return fee, nil
}

// Assemble puts the signature to the transaction; of a message it is the signature
// alone, and there is no transaction id.
func (Codec) Assemble(sender string, unsigned []byte, signatures []chain.Signature) (raw []byte, txid string, err error) {
	on, from, err := ParseAccount(sender)
	if err != nil {
		return nil, "", fmt.Errorf("sender: %w", err)
	}
	if len(signatures) != 1 {
		return nil, "", fmt.Errorf("%d signatures, want 1", len(signatures))
	}
	sig := &signatures[0]
	if isMessage(unsigned) {
		raw, err = assembleMessage(from, unsigned, sig)
		return raw, "", err
	}
	tx, err := decodeOn(on, unsigned)
	if err != nil {
		return nil, "", err
	}
	digest, err := tx.Digest()
	if err != nil {
		return nil, "", err
	}
	if got, err := Recover(digest, sig); err != nil {
		return nil, "", fmt.Errorf("couldn't assemble transaction: %w", err)
	} else if got != from {
		return nil, "", fmt.Errorf("couldn't assemble transaction: the signature is of %s, want %s", got, from)
	}
	raw = tx.signed(sig)
	id := keccak256(raw)
	return raw, fmt.Sprintf("0x%x", id), nil
}

func decodeOn(chainID string, unsigned []byte) (*Transaction, error) {
	tx, err := DecodeUnsigned(unsigned)
	if err != nil {
		return nil, err
	}
	if got := ChainName(tx.ChainID); got != chainID {
		return nil, fmt.Errorf("the transaction is for %s, the sender is on %s", got, chainID)
	}
	return tx, nil
}

// TransactionID is what Assemble says, of a signature that the caller has found to be
// the sender's, with its s low and its recovery id right. Messages have none.
func (Codec) TransactionID(sender string, unsigned []byte, sig *chain.Signature) (string, error) {
	on, _, err := ParseAccount(sender)
	if err != nil {
		return "", fmt.Errorf("sender: %w", err)
	}
	if isMessage(unsigned) {
		return "", nil
	}
	tx, err := decodeOn(on, unsigned)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("0x%x", keccak256(tx.signed(sig))), nil
}

func isMessage(unsigned []byte) bool {
	return len(unsigned) == messageSize && unsigned[0] == 0x19 && unsigned[1] == 0x01
}

// messageSize is the length of what is signed of a message: a prefix of two bytes
// and two hashes.
const messageSize = 66

// assembleMessage is the signature as contracts take it: r, s, and 27 or 28. A
// message has no transaction id.
func assembleMessage(from Address, unsigned []byte, sig *chain.Signature) ([]byte, error) {
	if got, err := Recover(keccak256(unsigned), sig); err != nil {
		return nil, fmt.Errorf("couldn't assemble signature: %w", err)
	} else if got != from {
		return nil, fmt.Errorf("couldn't assemble signature: it is of %s, want %s", got, from)
	}
	b := sig.Bytes()
	return append(b[:], 27+sig.RecoveryID), nil
}

// Text is 0x and hex digits.
func (Codec) Text(raw []byte) string { return fmt.Sprintf("0x%x", raw) }

// Recover returns whose signature over digest this is. Anybody's is somebody's:
// the caller must compare. It refuses s above half the group order (EIP-2).
func Recover(digest [32]byte, sig *chain.Signature) (Address, error) {
	if sig.RecoveryID > 1 {
		return Address{}, fmt.Errorf("recovery id %d, want 0 or 1", sig.RecoveryID)
	}
	var s secp256k1.ModNScalar
	if overflow := s.SetBytes(&sig.S); overflow != 0 || s.IsOverHalfOrder() {
		return Address{}, errors.New("signature has its s above half the group order, want the lower one of the two")
	}
	compact := append([]byte{27 + sig.RecoveryID}, sig.R[:]...)
	key, _, err := ecdsa.RecoverCompact(append(compact, sig.S[:]...), digest[:])
	if err != nil {
		return Address{}, fmt.Errorf("signature belongs to no key: %w", err)
	}
	return addressOfKey(key), nil
}

// signed encodes the transaction with its signature: type 0 with
// v = chainID·2 + 35 + recovery id (EIP-155), type 2 with the parity of y.
func (tx *Transaction) signed(sig *chain.Signature) []byte {
	var e rlpEncoder
	tx.encodeFields(&e)
	var r, s chain.Amount
	r.SetBytes32(sig.R[:])
	s.SetBytes32(sig.S[:])
	if tx.Type == TypeLegacy {
		return e.uint64(tx.ChainID*2 + 35 + uint64(sig.RecoveryID)).amount(&r).amount(&s).wrap()
	}
	return e.uint64(uint64(sig.RecoveryID)).amount(&r).amount(&s).wrap(TypeDynamicFee)
}
