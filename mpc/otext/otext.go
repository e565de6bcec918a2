package otext

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc/pprf"
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
func Receive(rand io.Reader, seeds *pprf.Full, dsid [32]byte, n int) (*ReceiverOutput, *Message, error) {
	if err := CheckBatch(n); err != nil {
		return nil, nil, err
	}
	xb := make([]byte, rowSize(n))
	defer clear(xb)
	if _, err := io.ReadFull(rand, xb); err != nil {
		return nil, nil, fmt.Errorf("couldn't read randomness for the choices: %w", err)
	}
	m := &Message{n: n, U: make([]byte, pprf.Trees*rowSize(n))}
	t := newRows(n)
	g := newPRG(&dsid, n)
	defer g.destroy()
	for i := range pprf.Trees {
		g.tree(i)
		for leaf := range pprf.Leaves {
			g.expand(leaf, &seeds.Leaf[i][leaf])
		}
		g.fold()
		subtle.XORBytes(m.row(i), xb, g.leaf[0]) // U_i = u_i ⊕ x
		for b := range depth {
			t[depth*i+b].setBytes(g.leaf[1<<b], n)
		}
	}
	h, x := newHash(&dsid, m), newRow(n)
	x.setBytes(xb, n)
	h.of(x).appendTo(m.X[:0])
	out := &ReceiverOutput{Beta: slices.Clone(xb[:n*Columns/8]), T: make([]Column, n*Columns)}
	transpose(out.T, t)
	hashes := h.ofAll(out.T, t)
	m.TH = sumOf(&dsid, &hashes)
	t.destroy()
	clear(x)
	return out, m, nil
}

// Send is Alice. ErrCheck means that Bob is to be quarantined.
func Send(seeds *pprf.Punctured, dsid [32]byte, m *Message) (*SenderOutput, error) {
	q, u := newRows(m.n), newRow(m.n)
	defer q.destroy()
	g := newPRG(&dsid, m.n)
	defer g.destroy()
	h := newHash(&dsid, m)
	x := gfFromBytes(m.X[:])
	for i := range pprf.Trees {
		g.tree(i)
		clear(g.leaf[0]) // x = Δ_i, which she lacks and which counts zero times
		for leaf := 1; leaf < pprf.Leaves; leaf++ {
			g.expand(leaf, &seeds.Leaf[i][leaf])
		}
		g.fold()
		u.setBytes(m.row(i), m.n)
		for b := range depth {
			r := depth*i + b
			delta := -(uint64(seeds.Delta[r/8]>>(r%8)) & 1) // all ones or zero
			q[r].setBytes(g.leaf[1<<b], m.n)
			q[r].xorMasked(u, delta)
		}
	}
	out := &SenderOutput{Q: make([]Column, m.n*Columns)}
	transpose(out.Q, q)
	hashes := h.ofAll(out.Q, q)
	for r := range hashes {
		// h(Q_r) ⊕ Δ_r·X is h(T_r) of an honest Bob.
		delta := -(uint64(seeds.Delta[r/8]>>(r%8)) & 1)
		hashes[r].lo ^= x.lo & delta
		hashes[r].hi ^= x.hi & delta
	}
	th := sumOf(&dsid, &hashes)
	if subtle.ConstantTimeCompare(th[:], m.TH[:]) != 1 {
		out.Destroy()
		return nil, ErrCheck
	}
	return out, nil
}

// sumOf is TH. It wipes the hashes.
func sumOf(dsid *[32]byte, hashes *[Rows]gf) [32]byte {
	b := make([]byte, 0, Rows*16)
	for r := range hashes {
		b = hashes[r].appendTo(b)
	}
	th := transcript.Sum(transcript.TagT, dsid[:], b)
	clear(b)
	clear(hashes[:])
	return th
}
