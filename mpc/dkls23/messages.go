package dkls23

import (
	"errors"
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

// body2 is of the R2 broadcast. The points are kept as sent: the commitments are
// to these bytes. Presigning V1 has the pk only: every R and its salt follow
// online.
type body2 struct {
	slots      []opening
	pk         [33]byte // pkᵢ
	attachment []byte
}

// opening is of one slot.
type opening struct {
	r    [33]byte // Rᵢ
	salt [32]byte
}

func (b *body2) write(w *wire.Writer, l layout) {
	if l.opens {
		l.writeCount(w, len(b.slots))
		for k := range b.slots {
			w.Fixed(b.slots[k].r[:]).Fixed(b.slots[k].salt[:])
		}
	}
	w.Fixed(b.pk[:]).Var(b.attachment)
}

func readBody2(r *wire.Reader, l layout) (*body2, error) {
	b := new(body2)
	if l.opens {
		b.slots = make([]opening, l.count(r, "openings", 33+32))
		for k := range b.slots {
			r.Into("R", b.slots[k].r[:])
			r.Into("salt", b.slots[k].salt[:])
		}
	}
	r.Into("pk", b.pk[:])
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// opened is what a peer said in R2, decoded.
type opened struct {
	body2
	public *secp256k1.Point // pkⱼ
	gammaU *secp256k1.Point // Γ^u_{j→i} (nil in presigning V1)
	gammaV *secp256k1.Point // Γ^v_{j→i}
	points []openedSlot
	vole   *vole.Message2
	mu     [32]byte // of the VOLE message
}

type openedSlot struct {
	r   *secp256k1.Point // Rⱼ (nil in presigning V1)
	psi secp256k1.Scalar
}

// readOpened decodes both messages of R2 of one peer, in a session of l.slots.
func readOpened(broadcast, private *wire.Reader, l layout) (*opened, error) {
	b, err := readBody2(broadcast, l)
	if err != nil {
		return nil, err
	}
	o := &opened{body2: *b, points: make([]openedSlot, l.slots)}
	var u, v [33]byte
	if l.opens {
		private.Into("gamma u", u[:])
	}
	private.Into("gamma v", v[:])
	l.count(private, "psi", 32)
	psi := make([][32]byte, l.slots)
	for k := range psi {
		private.Into("psi", psi[k][:])
	}
	m := private.Var("VOLE message", vole.Message2Size(l.slots))
	if err := private.Done(); err != nil {
		return nil, err
	}
	for k := range psi {
		if err := o.points[k].psi.SetBytes(psi[k][:]); err != nil {
			return nil, fmt.Errorf("psi: %w", err)
		}
	}
	if err := o.decode(&u, &v, l); err != nil {
		return nil, err
	}
	if o.vole, err = vole.DecodeMessage2(m, l.slots); err != nil {
		return nil, err
	}
	o.mu = muOf(m)
	return o, nil
}

// decode decodes the points.
func (o *opened) decode(u, v *[33]byte, l layout) error {
	point := func(name string, dst **secp256k1.Point, b *[33]byte) error {
		*dst = secp256k1.NewPoint()
		if err := (*dst).SetBytes(b[:]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if err := errors.Join(point("pk", &o.public, &o.pk), point("gamma v", &o.gammaV, v)); err != nil || !l.opens {
		return err
	}
	for k := range o.points {
		if err := point("R", &o.points[k].r, &o.slots[k].r); err != nil {
			return err
		}
	}
	return point("gamma u", &o.gammaU, u)
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
