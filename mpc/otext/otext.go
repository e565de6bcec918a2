package otext

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// ErrCheck: the peer's message does not pass the consistency check. One bit of Δ
// or more may have been tested: quarantine Bob.
var ErrCheck = errors.New("OT extension: the consistency check failed")

// ReceiverOutput is Bob's: choices β (bit j, LSB first) and columns t_j. Secret.
type ReceiverOutput struct {
	Beta [Columns / 8]byte
	T    [Columns]Column
}

// Destroy overwrites the output.
func (o *ReceiverOutput) Destroy() {
	if o != nil {
		*o = ReceiverOutput{}
	}
}

// SenderOutput is Alice's columns q_j = t_j ⊕ β_j·Δ. Secret.
type SenderOutput struct{ Q [Columns]Column }

// Destroy overwrites the output.
func (o *SenderOutput) Destroy() {
	if o != nil {
		*o = SenderOutput{}
	}
}

// Receive is Bob. It draws β and the tail, 68 bytes in one read.
func Receive(rand io.Reader, seeds *baseot.SenderOutput, dsid [32]byte) (*ReceiverOutput, *Message, error) {
	var xb [rowSize]byte
	defer clear(xb[:])
	if _, err := io.ReadFull(rand, xb[:]); err != nil {
		return nil, nil, fmt.Errorf("couldn't read randomness for the choices: %w", err)
	}
	var x row
	x.setBytes(&xb)

	m := new(Message)
	var t [Rows]row
	g := newPRG(&dsid)
	for i := range Rows {
		var u row
		g.expand(&t[i], &seeds.K0[i]) // T_i
		g.expand(&u, &seeds.K1[i])    // T'_i
		u.xor(&t[i])
		u.xor(&x)
		u.bytes(&m.U[i])
	}
	h := newHash(&dsid, &m.U)
	h.of(&x).appendTo(m.X[:0])
	hashes := make([]byte, 0, Rows*16)
	for i := range t {
		hashes = h.of(&t[i]).appendTo(hashes)
	}
	m.TH = transcript.Sum(transcript.TagT, dsid[:], hashes)

	out := new(ReceiverOutput)
	copy(out.Beta[:], xb[:])
	transpose(&out.T, &t)
	clear(t[:])
	clear(hashes)
	g.in = [len(g.in)]byte{}
	x = row{}
	return out, m, nil
}

// Send is Alice. ErrCheck means that Bob is to be quarantined.
func Send(seeds *baseot.ReceiverOutput, dsid [32]byte, m *Message) (*SenderOutput, error) {
	var q [Rows]row
	defer clear(q[:])
	g := newPRG(&dsid)
	h := newHash(&dsid, &m.U)
	x := gfFromBytes(m.X[:])
	hashes := make([]byte, 0, Rows*16)
	for i := range Rows {
		delta := -(uint64(seeds.Delta[i/8]>>(i%8)) & 1) // all ones or zero
		var u row
		u.setBytes(&m.U[i])
		g.expand(&q[i], &seeds.K[i])
		q[i].xorMasked(&u, delta)
		// h(Q_i) ⊕ Δ_i·X is h(T_i) of an honest Bob.
		v := h.of(&q[i])
		v.lo ^= x.lo & delta
		v.hi ^= x.hi & delta
		hashes = v.appendTo(hashes)
	}
	th := transcript.Sum(transcript.TagT, dsid[:], hashes)
	clear(hashes)
	g.in = [len(g.in)]byte{}
	if subtle.ConstantTimeCompare(th[:], m.TH[:]) != 1 {
		return nil, ErrCheck
	}
	out := new(SenderOutput)
	transpose(&out.Q, &q)
	return out, nil
}
