package dkls23

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/vole"
)

// MaxAttachment bounds what a caller may attach to a broadcast.
const MaxAttachment = 1 << 20

// The bodies of the messages, after header and echo. Each reader reads all of
// its message: bytes left over are an error.

// body0 is of R0.
type body0 struct {
	ctx, request, job, nonce [32]byte
	setups                   [][32]byte // H(pair setup) with j, j ≠ i ascending
	attachment               []byte
}

func (b *body0) write(w *wire.Writer) {
	w.Fixed(b.ctx[:]).Fixed(b.request[:]).Fixed(b.job[:]).Fixed(b.nonce[:]).Count(len(b.setups))
	for i := range b.setups {
		w.Fixed(b.setups[i][:])
	}
	w.Var(b.attachment)
}

func readBody0(r *wire.Reader) (*body0, error) {
	b := new(body0)
	r.Into("context", b.ctx[:])
	r.Into("request hash", b.request[:])
	r.Into("job", b.job[:])
	r.Into("nonce", b.nonce[:])
	b.setups = make([][32]byte, r.Count("setup hashes", mpc.MaxParties-1, 32))
	for i := range b.setups {
		r.Into("setup hash", b.setups[i][:])
	}
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// layout says what a protocol's messages hold.
type layout struct {
	counted bool // lists by slot carry their count; else there is one slot
	opens   bool // R2 opens R: all but presigning V1
	slots   int  // what a count must be; 0 = any
}

func layoutOf(p session.Protocol) layout {
	return layout{counted: p != session.DKLS23, opens: p != session.DKLS23Delayed}
}

// writeCount starts a list by slot.
func (l layout) writeCount(w *wire.Writer, n int) {
	if l.counted {
		w.Count(n)
	}
}

// count reads the length of a list by slot.
func (l layout) count(r *wire.Reader, field string, itemSize int) int {
	if !l.counted {
		return 1
	}
	n := r.Count(field, MaxBatch, itemSize)
	if r.Err() == nil && (n == 0 || l.slots != 0 && n != l.slots) {
		r.Failf("%d %s, want %d", n, field, max(l.slots, 1))
	}
	return n
}

// body1 is of the R1 broadcast.
type body1 struct {
	commitments [][32]byte // Cᵢ, by slot
	attachment  []byte
}

func (b *body1) write(w *wire.Writer, l layout) {
	l.writeCount(w, len(b.commitments))
	for k := range b.commitments {
		w.Fixed(b.commitments[k][:])
	}
	w.Var(b.attachment)
}

func readBody1(r *wire.Reader, l layout) (*body1, error) {
	b := &body1{commitments: make([][32]byte, l.count(r, "commitments", 32))}
	for k := range b.commitments {
		r.Into("commitment", b.commitments[k][:])
	}
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// body2 is of the R2 broadcast.
type body2 struct {
	slots      []opening
	attachment []byte
}

// opening is of one slot. The points are kept as sent: the commitment is to
// these bytes. Presigning V1 has the pk only: R and its salt follow online.
type opening struct {
	r    [33]byte // Rᵢ
	salt [32]byte
	pk   [33]byte // pkᵢ
}

func (b *body2) write(w *wire.Writer, l layout) {
	l.writeCount(w, len(b.slots))
	for k := range b.slots {
		if l.opens {
			w.Fixed(b.slots[k].r[:]).Fixed(b.slots[k].salt[:])
		}
		w.Fixed(b.slots[k].pk[:])
	}
	w.Var(b.attachment)
}

func readBody2(r *wire.Reader, l layout) (*body2, error) {
	size := 33
	if l.opens {
		size += 33 + 32
	}
	b := &body2{slots: make([]opening, l.count(r, "openings", size))}
	for k := range b.slots {
		if l.opens {
			r.Into("R", b.slots[k].r[:])
			r.Into("salt", b.slots[k].salt[:])
		}
		r.Into("pk", b.slots[k].pk[:])
	}
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// opened is what a peer said in R2, decoded.
type opened struct {
	slots []openedSlot
	vole  *vole.Message2
}

type openedSlot struct {
	opening
	point, public *secp256k1.Point // Rⱼ (nil in presigning V1), pkⱼ
	gammaU        *secp256k1.Point // Γ^u_{j→i} (nil in presigning V1)
	gammaV        *secp256k1.Point // Γ^v_{j→i}
	psi           secp256k1.Scalar
}

// readOpened decodes both messages of R2 of one peer.
func readOpened(broadcast, private *wire.Reader, l layout, slots int) (*opened, error) {
	b, err := readBody2(broadcast, l)
	if err != nil {
		return nil, err
	}
	o := &opened{slots: make([]openedSlot, len(b.slots))}
	size := 33 + 32
	if l.opens {
		size += 33
	}
	if n := l.count(private, "products", size); private.Err() == nil && n != len(o.slots) {
		private.Failf("%d products, want %d", n, len(o.slots))
	}
	for k := range o.slots {
		o.slots[k].opening = b.slots[k]
		if err := o.slots[k].read(private, l); err != nil {
			return nil, err
		}
	}
	m := private.Var("VOLE message", vole.Message2Size(slots))
	if err := private.Done(); err != nil {
		return nil, err
	}
	o.vole, err = vole.DecodeMessage2(m, slots)
	return o, err
}

// read decodes what the private R2 has of one slot, and the points of the
// broadcast.
func (s *openedSlot) read(private *wire.Reader, l layout) error {
	var u, v [33]byte
	var psi [32]byte
	if l.opens {
		private.Into("gamma u", u[:])
	}
	private.Into("gamma v", v[:])
	private.Into("psi", psi[:])
	if err := private.Err(); err != nil {
		return err
	}
	if err := s.psi.SetBytes(psi[:]); err != nil {
		return fmt.Errorf("psi: %w", err)
	}
	for _, f := range []struct {
		name string
		dst  **secp256k1.Point
		b    *[33]byte
		late bool
	}{{"R", &s.point, &s.r, true}, {"pk", &s.public, &s.pk, false}, {"gamma u", &s.gammaU, &u, true}, {"gamma v", &s.gammaV, &v, false}} {
		if f.late && !l.opens {
			continue
		}
		*f.dst = secp256k1.NewPoint()
		if err := (*f.dst).SetBytes(f.b[:]); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// readPrivate1 decodes the private R1.
func readPrivate1(r *wire.Reader, slots int) (*vole.Message1, error) {
	b := r.Var("VOLE message", vole.Message1Size(slots))
	if err := r.Done(); err != nil {
		return nil, err
	}
	return vole.DecodeMessage1(b, slots)
}

// reader positions a reader at the body of a broadcast of round 0 to 2.
func reader(broadcast []byte, round uint8) (*wire.Reader, layout) {
	r := wire.NewReader(broadcast, session.Version)
	h := session.ReadHeader(r)
	known := h.Protocol == session.DKLS23 || h.Protocol >= session.DKLS23Batch && h.Protocol <= session.DKLS23Full
	if r.Err() == nil && (!known || h.Round != round || h.To != session.Broadcast) {
		r.Failf("not a broadcast of dkls23 round %d", round)
	}
	if round > 0 {
		var echo [32]byte
		r.Into("echo", echo[:])
	}
	return r, layoutOf(h.Protocol)
}

// Attachment0 returns what the caller of the author attached to an R0. It
// decodes and checks nothing else: Round1 does. It reads the messages of
// sessions of any kind: single, batch and presigning.
func Attachment0(broadcast []byte) ([]byte, error) {
	r, _ := reader(broadcast, 0)
	b, err := readBody0(r)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of R0: %w", err)
	}
	return b.attachment, nil
}

// Attachment1 is Attachment0 for an R1 broadcast.
func Attachment1(broadcast []byte) ([]byte, error) {
	b, err := readBody1(reader(broadcast, 1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of R1: %w", err)
	}
	return b.attachment, nil
}

// Attachment2 is Attachment0 for an R2 broadcast.
func Attachment2(broadcast []byte) ([]byte, error) {
	b, err := readBody2(reader(broadcast, 2))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of R2: %w", err)
	}
	return b.attachment, nil
}

// FinalShare is a signer's last message: with those of all signers of the
// session it makes the signature, so it leaves only when that is durable.
type FinalShare struct {
	From  mpc.ID
	SID   [32]byte
	Epoch uint64
	Echo  [32]byte // h₂
	R     [33]byte
	W, U  secp256k1.Scalar
}

// MarshalBinary encodes the share. It never fails.
func (f *FinalShare) MarshalBinary() ([]byte, error) {
	h := session.Header{Protocol: session.DKLS23, Round: 3, Session: f.SID, Epoch: f.Epoch, From: f.From, To: session.Broadcast}
	w, u := f.W.Bytes(), f.U.Bytes()
	return h.Writer().Fixed(f.Echo[:]).Fixed(f.R[:]).Fixed(w[:]).Fixed(u[:]).Bytes(), nil
}

// UnmarshalBinary decodes strictly.
func (f *FinalShare) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Protocol != session.DKLS23 || h.Round != 3 || h.To != session.Broadcast || h.From == 0) {
		r.Failf("not a final share of dkls23")
	}
	t := FinalShare{From: h.From, SID: h.Session, Epoch: h.Epoch}
	var w, u [32]byte
	r.Into("echo", t.Echo[:])
	r.Into("R", t.R[:])
	r.Into("w", w[:])
	r.Into("u", u[:])
	err := r.Done()
	if err == nil {
		err = secp256k1.NewPoint().SetBytes(t.R[:])
	}
	if err == nil {
		err = t.W.SetBytes(w[:])
	}
	if err == nil {
		err = t.U.SetBytes(u[:])
	}
	if err != nil {
		return fmt.Errorf("couldn't decode final share: %w", err)
	}
	*f = t
	return nil
}
