package solana

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxMessage is the bound of a message with one signature: a packet has 1232
// bytes, of which the signature and its count take 65.
const MaxMessage = 1232 - 65

// Message is a legacy message that one account signs, as its bytes say: accounts
// by index, data not looked into.
type Message struct {
	// Accounts are all accounts, the fee payer first. The last ReadOnly of them are
	// not written to.
	Accounts     []Address
	ReadOnly     uint8
	Blockhash    [32]byte
	Instructions []Instruction
}

// Instruction calls a program.
type Instruction struct {
	Program  uint8   // index
	Accounts []uint8 // indexes
	Data     []byte
}

// DecodeMessage decodes a legacy message with one signer. Only the one canonical
// encoding is accepted: Encode of the result gives back the input.
func DecodeMessage(b []byte) (*Message, error) {
	m, err := decodeMessage(b)
	if err != nil {
		return nil, fmt.Errorf("couldn't decode message: %w", err)
	}
	if again := m.Encode(); !bytes.Equal(again, b) {
		return nil, fmt.Errorf("couldn't decode message: it is not in canonical form, want %x", again)
	}
	return m, nil
}

func decodeMessage(b []byte) (*Message, error) {
	switch {
	case len(b) == 0:
		return nil, errors.New("it is empty")
	case len(b) > MaxMessage:
		return nil, fmt.Errorf("it has %d bytes, at most %d fit into a packet with the signature", len(b), MaxMessage)
	case b[0] >= 0x80:
		return nil, fmt.Errorf("it is versioned (v%d), want a legacy message: what lookup tables name does not stand in the message", b[0]&0x7f)
	}
	r := &reader{b: b}
	signers, readOnlySigners := r.uint8("signers"), r.uint8("read-only signers")
	m := &Message{ReadOnly: r.uint8("read-only accounts")}
	for range r.count("accounts", 32) {
		m.Accounts = append(m.Accounts, Address(r.take("account", 32)))
	}
	copy(m.Blockhash[:], r.take("blockhash", 32))
	for range r.count("instructions", 3) {
		in := Instruction{Program: r.uint8("program")}
		in.Accounts = bytes.Clone(r.take("accounts of an instruction", r.count("accounts of an instruction", 1)))
		in.Data = bytes.Clone(r.take("data", r.count("data", 1)))
		m.Instructions = append(m.Instructions, in)
	}
	if r.err == nil && len(r.b) > 0 {
		r.failf("%d bytes after its end", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	if signers != 1 || readOnlySigners != 0 {
		return nil, fmt.Errorf("it takes %d signers, %d of them read-only, want 1, the wallet that pays", signers, readOnlySigners)
	}
	return m, m.check()
}

// check refuses what no cluster would take, or what nothing in the message is for.
func (m *Message) check() error {
	n := len(m.Accounts) // a packet holds 36
	if int(m.ReadOnly) >= n {
		return fmt.Errorf("%d of %d accounts are read-only, want the fee payer to be written to", m.ReadOnly, n)
	}
	seen := make(map[Address]bool, n)
	for _, a := range m.Accounts {
		if seen[a] {
			return fmt.Errorf("account %v is listed twice", a)
		}
		seen[a] = true
	}
	used := make([]bool, n)
	used[0] = true
	for i := range m.Instructions {
		in := &m.Instructions[i]
		for _, x := range append([]uint8{in.Program}, in.Accounts...) {
			if int(x) >= n {
				return fmt.Errorf("instruction %d names account %d of %d", i+1, x, n)
			}
			used[x] = true
		}
	}
	for i, ok := range used {
		if !ok {
			return fmt.Errorf("account %v is used by no instruction", m.Accounts[i])
		}
	}
	return nil
}

// writable says that the account with this index may be written to.
func (m *Message) writable(i int) bool { return i < len(m.Accounts)-int(m.ReadOnly) }

// Encode is the canonical encoding: what is signed.
func (m *Message) Encode() []byte {
	b := appendCount([]byte{1, 0, m.ReadOnly}, len(m.Accounts))
	for _, a := range m.Accounts {
		b = append(b, a[:]...)
	}
	b = appendCount(append(b, m.Blockhash[:]...), len(m.Instructions))
	for i := range m.Instructions {
		in := &m.Instructions[i]
		b = appendCount(append(b, in.Program), len(in.Accounts))
		b = appendCount(append(b, in.Accounts...), len(in.Data))
		b = append(b, in.Data...)
	}
	return b
}

// appendCount writes a compact-u16: seven bits a byte, the lowest first.
func appendCount(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// reader reads a message. The first error stays.
type reader struct {
	b   []byte
	err error
}

func (r *reader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// take returns n bytes, zeros after an error.
func (r *reader) take(field string, n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.failf("%s: %d bytes are left, want %d", field, len(r.b), n)
	}
	if r.err != nil {
		return make([]byte, min(n, 32))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint8(field string) uint8 { return r.take(field, 1)[0] }

// count reads a compact-u16, in its shortest form, of items that take at least
// size bytes each.
func (r *reader) count(field string, size int) int {
	n := 0
	for i := range 3 {
		c := r.uint8(field + ": count")
		n |= int(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				r.failf("%s: the count is not in its shortest form", field)
			}
			if r.err == nil && n*size > len(r.b) {
				r.failf("%s: %d of them, %d bytes are left", field, n, len(r.b))
			}
			if r.err != nil {
				return 0
			}
			return n
		}
	}
	r.failf("%s: the count has more than 3 bytes", field)
	return 0
}
