package solana

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cofferhq/coffer/internal/chain"
)

// Transaction is what a message means. It is a plain value: Read made it of a
// message, or the coordinator built it to be proposed.
type Transaction struct {
	Payer     Address // the wallet: signs, pays the fee, sends every transfer
	Blockhash [32]byte
	// Nonce is the account of a durable nonce that the first instruction advances;
	// Blockhash is then, so the coordinator says, its value.
	Nonce  *Address
	Budget *Budget
	Intent
}

// Budget is the compute units that a transaction may use and what it offers for
// each, in millionths of a lamport.
type Budget struct {
	Limit uint32
	Price uint64
}

// What a transaction costs.
const (
	SignatureFee = 5000      // lamports
	maxUnits     = 1_400_000 // the chain cuts a higher limit down to this
)

// Fee is what the payer pays, exactly, in lamports: a constant for its signature
// and, rounded up, price × limit.
func (tx *Transaction) Fee() chain.Amount {
	var fee chain.Amount
	if tx.Budget != nil {
		high, low := bits.Mul64(tx.Budget.Price, uint64(min(tx.Budget.Limit, maxUnits)))
		low, carry := bits.Add64(low, 999_999, 0)
		fee[0], fee[1] = low, high+carry
		var million chain.Amount
		fee.Div(&fee, million.SetUint64(1_000_000))
	}
	return *fee.AddUint64(&fee, SignatureFee)
}

// System and Compute Budget instructions, by their first bytes.
const (
	systemTransfer     = 2
	systemAdvanceNonce = 4
	budgetLimit        = 2
	budgetPrice        = 3
)

// Read says what a message means. It refuses whatever it does not understand, and
// an account that is writable, or not, other than what the message does takes.
func (m *Message) Read() (*Transaction, error) {
	tx := &Transaction{Payer: m.Accounts[0], Blockhash: m.Blockhash}
	r := &interpreter{Message: m, tx: tx, writes: map[uint8]bool{0: true}}
	for i := range m.Instructions {
		if err := r.instruction(i, &m.Instructions[i]); err != nil {
			return nil, fmt.Errorf("instruction %d: %w", i+1, err)
		}
	}
	if err := tx.Intent.check(); err != nil {
		return nil, err
	}
	if (r.limit == nil) != (r.price == nil) {
		return nil, errors.New("it sets a compute unit limit or a price without the other, want both or none: the fee would depend on the cluster's version")
	}
	if r.limit != nil {
		tx.Budget = &Budget{*r.limit, *r.price}
	}
	for i, a := range m.Accounts {
		if got, want := m.writable(i), r.writes[uint8(i)]; got != want {
			return nil, fmt.Errorf("account %v is %s, want it %s", a, access(got), access(want))
		}
	}
	return tx, nil
}

func access(writable bool) string {
	if writable {
		return "writable"
	}
	return "read-only"
}

// interpreter reads the instructions of a message.
type interpreter struct {
	*Message
	tx     *Transaction
	writes map[uint8]bool // accounts that what was read so far writes to
	limit  *uint32
	price  *uint64
	memo   bool
}

func (r *interpreter) instruction(i int, in *Instruction) error {
	switch program := r.Accounts[in.Program]; program {
	case SystemProgram:
		return r.system(i, in)
	case ComputeBudgetProgram:
		return r.budget(in)
	case MemoProgram:
		if r.memo {
			return errors.New("a second memo, want one at most")
		}
		if len(in.Accounts) != 0 {
			return fmt.Errorf("a memo with %d accounts, want none", len(in.Accounts))
		}
		if len(in.Data) == 0 {
			return errors.New("a memo without text")
		}
		r.memo, r.tx.Memo = true, string(in.Data)
		return nil
	default:
		return fmt.Errorf("calls program %v, which is not understood", program)
	}
}

// system reads an instruction of the System Program: u32 little-endian, then its
// fields.
func (r *interpreter) system(i int, in *Instruction) error {
	if len(in.Data) < 4 {
		return fmt.Errorf("data of %d bytes of the System Program is not understood", len(in.Data))
	}
	switch kind := binary.LittleEndian.Uint32(in.Data); kind {
	case systemTransfer:
		if len(in.Data) != 12 || len(in.Accounts) != 2 {
			return fmt.Errorf("a transfer of %d bytes and %d accounts, want 12 bytes, sender and recipient", len(in.Data), len(in.Accounts))
		}
		if in.Accounts[0] != 0 {
			return fmt.Errorf("a transfer from %v, want one from the wallet that signs", r.Accounts[in.Accounts[0]])
		}
		r.writes[in.Accounts[1]] = true
		r.tx.Transfers = append(r.tx.Transfers, Transfer{To: r.Accounts[in.Accounts[1]], Lamports: binary.LittleEndian.Uint64(in.Data[4:])})
		return nil
	case systemAdvanceNonce:
		switch {
		case i != 0:
			return errors.New("a durable nonce is advanced by the first instruction only")
		case len(in.Data) != 4 || len(in.Accounts) != 3 || r.Accounts[in.Accounts[1]] != RecentBlockhashes:
			return errors.New("want the nonce's account, the recent blockhashes and the wallet, and no data")
		case in.Accounts[2] != 0:
			return fmt.Errorf("the nonce's authority is %v, want the wallet that signs", r.Accounts[in.Accounts[2]])
		case in.Accounts[0] == 0:
			return errors.New("the nonce's account is the wallet itself, want another")
		}
		r.writes[in.Accounts[0]] = true
		r.tx.Nonce = &r.Accounts[in.Accounts[0]]
		return nil
	default:
		return fmt.Errorf("instruction %d of the System Program is not understood", kind)
	}
}

func (r *interpreter) budget(in *Instruction) error {
	if len(in.Accounts) != 0 {
		return fmt.Errorf("the Compute Budget is called with %d accounts, want none", len(in.Accounts))
	}
	switch {
	case len(in.Data) == 5 && in.Data[0] == budgetLimit:
		if r.limit != nil {
			return errors.New("a second compute unit limit")
		}
		v := binary.LittleEndian.Uint32(in.Data[1:])
		r.limit = &v
	case len(in.Data) == 9 && in.Data[0] == budgetPrice:
		if r.price != nil {
			return errors.New("a second compute unit price")
		}
		v := binary.LittleEndian.Uint64(in.Data[1:])
		r.price = &v
	default:
		return fmt.Errorf("data %x of the Compute Budget is not understood, want a limit or a price", in.Data[:min(len(in.Data), 9)])
	}
	return nil
}

// Message writes the transaction as a message: the nonce, the budget, the
// transfers, the memo; accounts in the order of their use.
func (tx *Transaction) Message() (*Message, error) {
	if err := tx.Intent.check(); err != nil {
		return nil, err
	}
	c := compiler{writable: []Address{tx.Payer}}
	if tx.Nonce != nil {
		c.write(*tx.Nonce)
	}
	for i := range tx.Transfers {
		c.write(tx.Transfers[i].To)
	}
	if tx.Nonce != nil {
		c.add(SystemProgram, binary.LittleEndian.AppendUint32(nil, systemAdvanceNonce), *tx.Nonce, RecentBlockhashes, tx.Payer)
	}
	if b := tx.Budget; b != nil {
		c.add(ComputeBudgetProgram, binary.LittleEndian.AppendUint32([]byte{budgetLimit}, b.Limit))
		c.add(ComputeBudgetProgram, binary.LittleEndian.AppendUint64([]byte{budgetPrice}, b.Price))
	}
	for _, t := range tx.Transfers {
		data := binary.LittleEndian.AppendUint32(nil, systemTransfer)
		c.add(SystemProgram, binary.LittleEndian.AppendUint64(data, t.Lamports), tx.Payer, t.To)
	}
	if tx.Memo != "" {
		c.add(MemoProgram, []byte(tx.Memo))
	}
	return c.message(tx.Blockhash)
}

// compiler collects accounts and instructions.
type compiler struct {
	writable, readOnly []Address
	calls              []call
}

type call struct {
	program  Address
	accounts []Address
	data     []byte
}

func (c *compiler) write(a Address) {
	if index(c.writable, a) < 0 {
		c.writable = append(c.writable, a)
	}
}

func (c *compiler) add(program Address, data []byte, accounts ...Address) {
	for _, a := range append(accounts, program) {
		if index(c.writable, a) < 0 && index(c.readOnly, a) < 0 {
			c.readOnly = append(c.readOnly, a)
		}
	}
	c.calls = append(c.calls, call{program, accounts, data})
}

func (c *compiler) message(blockhash [32]byte) (*Message, error) {
	all := append(c.writable, c.readOnly...)
	if len(all) > 256 {
		return nil, fmt.Errorf("%d accounts, at most 256", len(all))
	}
	m := &Message{Accounts: all, ReadOnly: uint8(len(c.readOnly)), Blockhash: blockhash}
	for _, x := range c.calls {
		in := Instruction{Program: uint8(index(all, x.program)), Data: x.data}
		for _, a := range x.accounts {
			in.Accounts = append(in.Accounts, uint8(index(all, a)))
		}
		m.Instructions = append(m.Instructions, in)
	}
	if n := len(m.Encode()); n > MaxMessage {
		return nil, fmt.Errorf("the message has %d bytes, at most %d fit into a packet: pay fewer at once", n, MaxMessage)
	}
	return m, nil
}

func index(as []Address, a Address) int {
	for i := range as {
		if bytes.Equal(as[i][:], a[:]) {
			return i
		}
	}
	return -1
}
