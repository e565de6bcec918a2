package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// maxChainID is the bound of EIP-2294, which the codec keeps and geth does not.
const maxChainID = 1<<63 - 1 - 36

// judge is what geth makes of bytes that may be an unsigned transaction. Geth
// has no decoder for unsigned ones, so that its own decoder of signed ones gets
// the same fields with a signature after them.
func judge(b []byte) (*types.Transaction, error) {
	if len(b) > 0 && b[0] == types.DynamicFeeTxType {
		fields, rest, err := rlp.SplitList(b[1:])
		if err != nil || len(rest) != 0 {
			return nil, fmt.Errorf("not one list: %v, %d bytes left", err, len(rest))
		}
		return unmarshal([]byte{types.DynamicFeeTxType}, fields, []byte{0x80, 1, 1})
	}
	all, rest, err := rlp.SplitList(b)
	if err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("not one list: %v, %d bytes left", err, len(rest))
	}
	tail := all
	for range 6 {
		if _, _, tail, err = rlp.Split(tail); err != nil {
			return nil, err
		}
	}
	chainID, zeros, err := rlp.SplitUint64(tail)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(zeros, []byte{0x80, 0x80}) {
		return nil, fmt.Errorf("after the chain id: %x", zeros)
	}
	v := new(big.Int).SetUint64(chainID)
	v.Add(v.Lsh(v, 1), big.NewInt(35))
	enc, err := rlp.EncodeToBytes(v)
	if err != nil {
		return nil, err
	}
	return unmarshal(nil, all[:len(all)-len(tail)], append(enc, 1, 1))
}

func unmarshal(prefix, fields, signature []byte) (*types.Transaction, error) {
	body := append(bytes.Clone(fields), signature...)
	list, err := rlp.EncodeToBytes([]rlp.RawValue{body})
	if err != nil {
		return nil, err
	}
	tx := new(types.Transaction)
	return tx, tx.UnmarshalBinary(append(prefix, list...))
}

// withinBounds says whether the codec, which is stricter than geth in the sizes
// that docs/spec/evm.md names, should accept what geth accepts.
func withinBounds(tx *types.Transaction, size int) bool {
	id := tx.ChainId()
	return id.Sign() > 0 && id.IsUint64() && id.Uint64() <= maxChainID && size <= evm.MaxUnsigned &&
		len(tx.Data()) <= evm.MaxData && tx.GasFeeCap().BitLen() <= 256 && tx.GasTipCap().BitLen() <= 256 && tx.Value().BitLen() <= 256
}

// compare fails unless both agree on whether b is a transaction, on each of its
// fields, and on its digest.
func compare(t *testing.T, b []byte) {
	t.Helper()
	ours, err := evm.DecodeUnsigned(b)
	theirs, theirErr := judge(b)
	if want := theirErr == nil && withinBounds(theirs, len(b)); (err == nil) != want {
		t.Fatalf("%x\nours: %v\ngeth: %v", b, err, theirErr)
	}
	if err != nil {
		return
	}
	if digest, err := ours.Digest(); err != nil || digest != types.LatestSignerForChainID(theirs.ChainId()).Hash(theirs) {
		t.Fatalf("%x\nour digest %x, %v", b, digest, err)
	}
	if got, want := fieldsOf(ours), gethFieldsOf(theirs); got != want {
		t.Fatalf("%x\nours: %s\ngeth: %s", b, got, want)
	}
}

func fieldsOf(tx *evm.Transaction) string {
	to := "none"
	if tx.To != nil {
		to = tx.To.String()
	}
	list := ""
	for _, a := range tx.AccessList {
		list += fmt.Sprintf(" %s %x", a.Address, a.Keys)
	}
	return fmt.Sprintf("%d %d %d %s %s %d %s %s %x%s", tx.Type, tx.ChainID, tx.Nonce, tx.TipCap.Dec(), tx.FeeCap.Dec(),
		tx.Gas, to, tx.Value.Dec(), tx.Data, list)
}

func gethFieldsOf(tx *types.Transaction) string {
	to := "none"
	if tx.To() != nil {
		to = tx.To().Hex()
	}
	list := ""
	for _, a := range tx.AccessList() {
		keys := make([][]byte, len(a.StorageKeys))
		for i := range keys {
			keys[i] = a.StorageKeys[i][:]
		}
		list += fmt.Sprintf(" %s %x", a.Address.Hex(), keys)
	}
	return fmt.Sprintf("%d %d %d %s %s %d %s %s %x%s", tx.Type(), tx.ChainId(), tx.Nonce(), tx.GasTipCap(), tx.GasFeeCap(),
		tx.Gas(), to, tx.Value(), tx.Data(), list)
}

// taker makes the fields of a transaction out of fuzzed bytes; when they run out
// it gives zeros.
type taker struct{ rest []byte }

func (k *taker) bytes(n int) []byte {
	b := make([]byte, n)
	copied := copy(b, k.rest)
	k.rest = k.rest[copied:]
	return b
}
func (k *taker) byte() byte     { return k.bytes(1)[0] }
func (k *taker) uint64() uint64 { return new(big.Int).SetBytes(k.bytes(int(k.byte() % 9))).Uint64() }
func (k *taker) big() *big.Int  { return new(big.Int).SetBytes(k.bytes(int(k.byte() % 33))) }

func (k *taker) transaction() types.TxData {
	kind := k.byte()
	chainID := new(big.Int).SetUint64(1 + k.uint64()%maxChainID)
	nonce, gas, tip, feeCap, value := k.uint64(), k.uint64(), k.big(), k.big(), k.big()
	var to *common.Address
	if kind&2 == 0 {
		a := common.BytesToAddress(k.bytes(20))
		to = &a
	}
	data := k.bytes(int(k.byte()) * int(1+k.byte()%4))
	if kind&1 == 0 {
		// The chain id of a type 0 transaction is in its v.
		v := new(big.Int).Add(new(big.Int).Lsh(chainID, 1), big.NewInt(35))
		return &types.LegacyTx{Nonce: nonce, GasPrice: feeCap, Gas: gas, To: to, Value: value, Data: data,
			V: v, R: new(big.Int), S: new(big.Int)}
	}
	tx := &types.DynamicFeeTx{ChainID: chainID, Nonce: nonce, GasTipCap: tip, GasFeeCap: feeCap, Gas: gas, To: to, Value: value, Data: data}
	for range k.byte() % 4 {
		tuple := types.AccessTuple{Address: common.BytesToAddress(k.bytes(20)), StorageKeys: []common.Hash{}}
		for range k.byte() % 4 {
			tuple.StorageKeys = append(tuple.StorageKeys, common.BytesToHash(k.bytes(32)))
		}
		tx.AccessList = append(tx.AccessList, tuple)
	}
	return tx
}

// unsignedBytes is the preimage of geth's signing hash, by geth's RLP. That it
// is the preimage is checked against the signer.
func unsignedBytes(t testing.TB, tx *types.Transaction) []byte {
	t.Helper()
	var b []byte
	var err error
	if tx.Type() == types.LegacyTxType {
		b, err = rlp.EncodeToBytes([]any{tx.Nonce(), tx.GasPrice(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), tx.ChainId(), uint(0), uint(0)})
	} else {
		b, err = rlp.EncodeToBytes([]any{tx.ChainId(), tx.Nonce(), tx.GasTipCap(), tx.GasFeeCap(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), tx.AccessList()})
		b = append([]byte{tx.Type()}, b...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, want := crypto.Keccak256Hash(b), types.LatestSignerForChainID(tx.ChainId()).Hash(tx); got != want {
		t.Fatalf("the preimage %x has hash %x, geth signs %x", b, got, want)
	}
	return b
}

// roundTrip takes a transaction of geth's through the codec: decode, digest,
// encode, sign with geth's key, assemble, and back into geth.
func roundTrip(t *testing.T, theirs *types.Transaction, key byte, sign bool) []byte {
	t.Helper()
	b := unsignedBytes(t, theirs)
	ours, err := evm.DecodeUnsigned(b)
	if err != nil {
		t.Fatalf("%x, made by geth, is refused: %v", b, err)
	}
	if again, err := ours.Encode(); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%x is encoded again as %x, %v", b, again, err)
	}
	if !sign {
		return b
	}
	vector := signVector(t, b, bytes.Repeat([]byte{key&0x7f | 1}, 32))
	back := new(types.Transaction)
	if err := back.UnmarshalBinary(common.FromHex(vector.Raw)); err != nil {
		t.Fatalf("geth refuses %s: %v", vector.Raw, err)
	}
	from, err := types.Sender(types.LatestSignerForChainID(theirs.ChainId()), back)
	if err != nil || evm.Account(vector.Chain, evm.Address(from)) != vector.Sender {
		t.Fatalf("geth recovers %s, %v, want %s", from, err, vector.Sender)
	}
	if back.Hash().Hex() != vector.TxID || gethFieldsOf(back) != gethFieldsOf(theirs) {
		t.Fatalf("geth reads %s %s back from %s", back.Hash(), gethFieldsOf(back), vector.Raw)
	}
	return b
}

// vector is one unsigned transaction, accepted or not, with what geth makes of
// it. The root module checks them without geth (internal/chain/evm/testdata).
type vector struct {
	Name     string `json:"name"`
	Unsigned string `json:"unsigned"`
	Accepted bool   `json:"accepted"`
	Chain    string `json:"chain,omitempty"`
	Fields   string `json:"fields,omitempty"` // as fieldsOf writes them
	Digest   string `json:"digest,omitempty"`
	Key      string `json:"public_key,omitempty"`
	Sender   string `json:"sender,omitempty"`
	R        string `json:"r,omitempty"`
	S        string `json:"s,omitempty"`
	YParity  byte   `json:"y_parity,omitempty"`
	Raw      string `json:"raw,omitempty"`
	TxID     string `json:"txid,omitempty"`
}

// signVector signs unsigned bytes with geth and fails unless the codec assembles
// what geth does.
func signVector(t testing.TB, unsigned, secret []byte) vector {
	t.Helper()
	key, err := crypto.ToECDSA(secret)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := judge(unsigned)
	if err != nil {
		t.Fatal(err)
	}
	signer := types.LatestSignerForChainID(theirs.ChainId())
	digest := signer.Hash(theirs)
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := theirs.WithSignature(signer, sig)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	v := vector{
		Accepted: true, Unsigned: hex(unsigned), Chain: "eip155:" + theirs.ChainId().String(), Fields: gethFieldsOf(theirs),
		Digest: digest.Hex(), Key: hex(crypto.CompressPubkey(&key.PublicKey)), R: hex(sig[:32]), S: hex(sig[32:64]),
		YParity: sig[64], Raw: hex(raw), TxID: signed.Hash().Hex(),
	}
	v.Sender = v.Chain + ":" + crypto.PubkeyToAddress(key.PublicKey).Hex()
	if sender, err := (evm.Codec{}).Address(v.Chain, crypto.CompressPubkey(&key.PublicKey)); err != nil || sender != v.Sender {
		t.Fatalf("address %s, %v, want %s", sender, err, v.Sender)
	}
	ourRaw, ourID, err := evm.Codec{}.Assemble(v.Sender, unsigned, []chain.Signature{{R: [32]byte(sig), S: [32]byte(sig[32:]), RecoveryID: sig[64]}})
	if err != nil || !bytes.Equal(ourRaw, raw) || ourID != v.TxID {
		t.Fatalf("assembled %x %s, %v, want %s %s", ourRaw, ourID, err, v.Raw, v.TxID)
	}
	return v
}

func hex(b []byte) string { return common.Bytes2Hex(b) }

// FuzzEVMCodec compares the codec with go-ethereum in both directions: the input
// taken as an unsigned transaction; a transaction made of the input by geth; and
// that transaction with a few bytes changed.
func FuzzEVMCodec(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s.unsigned)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		compare(t, input)
		k := taker{input}
		key, edits := k.byte(), k.byte()
		position, with := k.bytes(4), k.bytes(4)
		b := roundTrip(t, types.NewTx(k.transaction()), key, edits&7 == 0)
		compare(t, b)
		for i := range edits & 3 {
			// The first bytes, which hold the lengths, are changed more often.
			at := int(binary.BigEndian.Uint16(position[i:]))
			if with[i]&1 == 0 {
				at %= 16
			}
			b[at%len(b)] ^= with[i]
			compare(t, b)
		}
	})
}
