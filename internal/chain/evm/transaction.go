package evm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// The transaction types of EIP-2718 that are understood.
const (
	TypeLegacy     = 0 // with the chain id of EIP-155
	TypeDynamicFee = 2 // EIP-1559
)

// Bounds of one unsigned transaction. A node's pool takes 128 KiB.
const (
	MaxData     = 128 << 10
	MaxUnsigned = 192 << 10
)

// Transaction is an unsigned transaction. It is a plain value: Decode made it
// from bytes, or the coordinator built it to be proposed.
type Transaction struct {
	Type    uint8
	ChainID uint64
	Nonce   uint64
	// TipCap and FeeCap are the most paid for a unit of gas, to the block's
	// producer and in all. In type 0 both are the gas price.
	TipCap, FeeCap chain.Amount
	Gas            uint64
	To             *Address // nil creates a contract
	Value          chain.Amount
	Data           []byte
	AccessList     []AccessTuple // only type 2
}

// AccessTuple names storage that a transaction says it will touch (EIP-2930).
type AccessTuple struct {
	Address Address
	Keys    [][32]byte
}

// ErrSigned says that a transaction carries a signature already.
var ErrSigned = errors.New("the transaction is signed already, want it unsigned")

// DecodeUnsigned decodes an unsigned transaction. Only the one canonical
// encoding is accepted: Encode of the result gives back the input.
func DecodeUnsigned(b []byte) (*Transaction, error) {
	tx, err := decodeUnsigned(b)
	if err != nil {
		return nil, fmt.Errorf("couldn't decode unsigned transaction: %w", err)
	}
	again, err := tx.Encode()
	if err != nil {
		return nil, fmt.Errorf("couldn't decode unsigned transaction: %w", err)
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("couldn't decode unsigned transaction: it is not in canonical form, want %#x", again)
	}
	return tx, nil
}

func decodeUnsigned(b []byte) (*Transaction, error) {
	switch {
	case len(b) == 0:
		return nil, errors.New("it is empty")
	case len(b) > MaxUnsigned:
		return nil, fmt.Errorf("it has %d bytes, at most %d", len(b), MaxUnsigned)
	case b[0] >= 0xc0:
		return decodeLegacy(b)
	case b[0] == TypeDynamicFee:
		return decodeDynamicFee(b[1:])
	case b[0] < 0x80:
		return nil, fmt.Errorf("transaction type %d, want 0 or 2", b[0])
	}
	return nil, fmt.Errorf("first byte %#02x starts neither a list (type 0) nor type 2", b[0])
}

// decodeLegacy reads type 0: [nonce, gasPrice, gas, to, value, data, chainID, 0, 0]
// (EIP-155).
func decodeLegacy(b []byte) (*Transaction, error) {
	d := newRLPDecoder(b)
	tx := &Transaction{Type: TypeLegacy, Nonce: d.uint64("nonce"), FeeCap: d.amount("gas price")}
	tx.TipCap = tx.FeeCap
	tx.Gas = d.uint64("gas")
	tx.decodeCall(d)
	if *d.err == nil && !d.more() {
		return nil, errors.New("it has 6 fields and so no chain id (before EIP-155): any chain could replay it, want 9")
	}
	tx.ChainID = d.uint64("chain id")
	r, s := d.str("r"), d.str("s")
	if err := d.done(); err != nil {
		return nil, err
	}
	if len(r) != 0 || len(s) != 0 {
		return nil, ErrSigned
	}
	return tx, checkChainID(tx.ChainID)
}

// decodeDynamicFee reads type 2 after its type byte:
// [chainID, nonce, tipCap, feeCap, gas, to, value, data, accessList] (EIP-1559).
func decodeDynamicFee(b []byte) (*Transaction, error) {
	d := newRLPDecoder(b)
	tx := &Transaction{
		Type: TypeDynamicFee, ChainID: d.uint64("chain id"), Nonce: d.uint64("nonce"),
		TipCap: d.amount("priority fee cap"), FeeCap: d.amount("fee cap"), Gas: d.uint64("gas"),
	}
	tx.decodeCall(d)
	list := d.list("access list")
	for list.more() {
		tuple := list.list("access list entry")
		var a AccessTuple
		copyExactly(tuple, "access list address", a.Address[:])
		keys := tuple.list("access list keys")
		for keys.more() {
			var k [32]byte
			copyExactly(keys, "access list key", k[:])
			a.Keys = append(a.Keys, k)
		}
		if tuple.more() {
			tuple.failf("access list entry: more than an address and its keys")
		}
		tx.AccessList = append(tx.AccessList, a)
	}
	if d.more() { // [… accessList, yParity, r, s]
		d.str("y parity")
		d.str("r")
		d.str("s")
		if err := d.done(); err != nil {
			return nil, err
		}
		return nil, ErrSigned
	}
	if err := d.done(); err != nil {
		return nil, err
	}
	return tx, checkChainID(tx.ChainID)
}

// decodeCall reads the fields that both types have in common.
func (tx *Transaction) decodeCall(d *rlpDecoder) {
	switch to := d.str("to"); len(to) {
	case 0:
	case len(Address{}):
		tx.To = (*Address)(bytes.Clone(to))
	default:
		d.failf("to: address of %d bytes, want 20, or none to create a contract", len(to))
	}
	tx.Value = d.amount("value")
	data := d.str("data")
	if len(data) > MaxData {
		d.failf("data: %d bytes, at most %d", len(data), MaxData)
	}
	tx.Data = append([]byte(nil), data...)
}

func copyExactly(d *rlpDecoder, field string, dst []byte) {
	b := d.str(field)
	if *d.err == nil && len(b) != len(dst) {
		d.failf("%s: %d bytes, want %d", field, len(b), len(dst))
	}
	copy(dst, b)
}

// Encode is the canonical encoding of the unsigned transaction: what is hashed
// to be signed. It refuses a transaction that DecodeUnsigned would refuse.
func (tx *Transaction) Encode() ([]byte, error) {
	if err := tx.check(); err != nil {
		return nil, err
	}
	var e rlpEncoder
	if tx.Type == TypeLegacy {
		tx.encodeFields(&e)
		return e.uint64(tx.ChainID).uint64(0).uint64(0).wrap(), nil
	}
	tx.encodeFields(&e)
	return e.wrap(TypeDynamicFee), nil
}

func (tx *Transaction) check() error {
	if tx.Type != TypeLegacy && tx.Type != TypeDynamicFee {
		return fmt.Errorf("transaction type %d, want 0 or 2", tx.Type)
	}
	if tx.Type == TypeLegacy && (len(tx.AccessList) > 0 || tx.TipCap != tx.FeeCap) {
		return errors.New("a transaction of type 0 has one gas price and no access list")
	}
	if len(tx.Data) > MaxData {
		return fmt.Errorf("data of %d bytes, at most %d", len(tx.Data), MaxData)
	}
	return checkChainID(tx.ChainID)
}

// encodeFields appends the fields up to where a signature would follow, for
// type 0 without the chain id.
func (tx *Transaction) encodeFields(e *rlpEncoder) {
	if tx.Type == TypeLegacy {
		e.uint64(tx.Nonce).amount(&tx.FeeCap).uint64(tx.Gas)
	} else {
		e.uint64(tx.ChainID).uint64(tx.Nonce).amount(&tx.TipCap).amount(&tx.FeeCap).uint64(tx.Gas)
	}
	var to []byte
	if tx.To != nil {
		to = tx.To[:]
	}
	e.str(to).amount(&tx.Value).str(tx.Data)
	if tx.Type == TypeLegacy {
		return
	}
	var list rlpEncoder
	for i := range tx.AccessList {
		var tuple, keys rlpEncoder
		for _, k := range tx.AccessList[i].Keys {
			keys.str(k[:])
		}
		list.list(tuple.str(tx.AccessList[i].Address[:]).list(&keys))
	}
	e.list(&list)
}

// Digest is what a signature over the transaction signs.
func (tx *Transaction) Digest() ([32]byte, error) {
	b, err := tx.Encode()
	if err != nil {
		return [32]byte{}, err
	}
	return keccak256(b), nil
}

// MaxFee is the most that the sender can pay for gas: gas × fee cap. A chain that
// charges besides gas (the data fee of a rollup) takes that on top.
func (tx *Transaction) MaxFee() (chain.Amount, error) {
	var gas, fee chain.Amount
	if _, overflow := fee.MulOverflow(gas.SetUint64(tx.Gas), &tx.FeeCap); overflow {
		return chain.Amount{}, fmt.Errorf("gas %d × fee cap %s wei is above 256 bits", tx.Gas, tx.FeeCap.Dec())
	}
	return fee, nil
}
