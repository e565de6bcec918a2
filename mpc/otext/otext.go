package otext

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// ErrCheck: the peer's message does not pass the consistency check. One bit of Δ
// or more may have been tested: quarantine Bob.
var ErrCheck = errors.New("OT extension: the consistency check failed")

// ReceiverOutput is Bob's: choices β (bit j, LSB first) and columns t_j, for
// j = 0 … n·416 − 1. Secret.
type ReceiverOutput struct {
	Beta []byte
	T    []Column
}

// Destroy overwrites the output.
func (o *ReceiverOutput) Destroy() {
	if o != nil {
		clear(o.Beta)
		clear(o.T)
		*o = ReceiverOutput{}
	}
}

// SenderOutput is Alice's columns q_j = t_j ⊕ β_j·Δ. Secret.
type SenderOutput struct{ Q []Column }

// Destroy overwrites the output.
func (o *SenderOutput) Destroy() {
	if o != nil {
		clear(o.Q)
		*o = SenderOutput{}
	}
}

// Receive is Bob, for n signatures in one extension. It draws β and the tail,
// n·52 + 16 bytes in one read.
func Receive(rand io.Reader, seeds *baseot.SenderOutput, dsid [32]byte, n int) (*ReceiverOutput, *Message, error) {
	if err := CheckBatch(n); err != nil {
		return nil, nil, err
	}
	xb := make([]byte, rowSize(n))
	defer clear(xb)
	if _, err := io.ReadFull(rand, xb); err != nil {
		return nil, nil, fmt.Errorf("couldn't read randomness for the choices: %w", err)
	}
	x, u := newRow(n), newRow(n)
	x.setBytes(xb, n)

	m := &Message{n: n, U: make([]byte, Rows*rowSize(n))}
	t := newRows(n)
	g := newPRG(&dsid, n)
	defer g.destroy()
	for i := range Rows {
		g.expand(t[i], &seeds.K0[i]) // T_i
		g.expand(u, &seeds.K1[i])    // T'_i
		u.xor(t[i])
		u.xor(x)
		u.bytes(m.row(i), n)
	}
	h := newHash(&dsid, m)
	h.of(x).appendTo(m.X[:0])
	hashes := make([]byte, 0, Rows*16)
	for i := range t {
		hashes = h.of(t[i]).appendTo(hashes)
	}
	m.TH = transcript.Sum(transcript.TagT, dsid[:], hashes)

	out := &ReceiverOutput{Beta: slices.Clone(xb[:n*Columns/8]), T: make([]Column, n*Columns)}
	transpose(out.T, t)
	t.destroy()
	clear(hashes)
	clear(x)
	return out, m, nil
}

// Send is Alice. ErrCheck means that Bob is to be quarantined.
func Send(seeds *baseot.ReceiverOutput, dsid [32]byte, m *Message) (*SenderOutput, error) {
	q, u := newRows(m.n), newRow(m.n)
	defer q.destroy()
	g := newPRG(&dsid, m.n)
	defer g.destroy()
	h := newHash(&dsid, m)
	x := gfFromBytes(m.X[:])
	hashes := make([]byte, 0, Rows*16)
	for i := range Rows {
		delta := -(uint64(seeds.Delta[i/8]>>(i%8)) & 1) // all ones or zero
		u.setBytes(m.row(i), m.n)
		g.expand(q[i], &seeds.K[i])
		q[i].xorMasked(u, delta)
		// h(Q_i) ⊕ Δ_i·X is h(T_i) of an honest Bob.
		v := h.of(q[i])
		v.lo ^= x.lo & delta
		v.hi ^= x.hi & delta
		hashes = v.appendTo(hashes)
	}
	th := transcript.Sum(transcript.TagT, dsid[:], hashes)
	clear(hashes)
	if subtle.ConstantTimeCompare(th[:], m.TH[:]) != 1 {
		return nil, ErrCheck
	}
	out := &SenderOutput{Q: make([]Column, m.n*Columns)}
	transpose(out.Q, q)
	return out, nil
}
