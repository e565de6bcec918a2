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

// body1 is of the R1 broadcast.
type body1 struct {
	commitment [32]byte // Cᵢ
	attachment []byte
}

func readBody1(r *wire.Reader) (*body1, error) {
	b := new(body1)
	r.Into("commitment", b.commitment[:])
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// body2 is of the R2 broadcast. The points are kept as sent: the commitment is
// to these bytes.
type body2 struct {
	r          [33]byte // Rᵢ
	salt       [32]byte
	pk         [33]byte // pkᵢ
	attachment []byte
}

func readBody2(r *wire.Reader) (*body2, error) {
	b := new(body2)
	r.Into("R", b.r[:])
	r.Into("salt", b.salt[:])
	r.Into("pk", b.pk[:])
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// opened is what a peer said in R2, decoded.
type opened struct {
	*body2
	point, public *secp256k1.Point // Rⱼ, pkⱼ
	gammaU        *secp256k1.Point // Γ^u_{j→i}
	gammaV        *secp256k1.Point // Γ^v_{j→i}
	psi           *secp256k1.Scalar
	vole          *vole.Message2
}

// readOpened decodes both messages of R2 of one peer.
func readOpened(broadcast, private *wire.Reader) (*opened, error) {
	b, err := readBody2(broadcast)
	if err != nil {
		return nil, err
	}
	o := &opened{body2: b, psi: secp256k1.NewScalar(), vole: new(vole.Message2)}
	var u, v [33]byte
	var psi [32]byte
	private.Into("gamma u", u[:])
	private.Into("gamma v", v[:])
	private.Into("psi", psi[:])
	m := private.Var("VOLE message", vole.Message2Size)
	if err := private.Done(); err != nil {
		return nil, err
	}
	if err := o.psi.SetBytes(psi[:]); err != nil {
		return nil, fmt.Errorf("psi: %w", err)
	}
	for _, f := range []struct {
		name string
		dst  **secp256k1.Point
		b    *[33]byte
	}{{"R", &o.point, &b.r}, {"pk", &o.public, &b.pk}, {"gamma u", &o.gammaU, &u}, {"gamma v", &o.gammaV, &v}} {
		*f.dst = secp256k1.NewPoint()
		if err := (*f.dst).SetBytes(f.b[:]); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return o, o.vole.UnmarshalBinary(m)
}

// readPrivate1 decodes the private R1.
func readPrivate1(r *wire.Reader) (*vole.Message1, error) {
	b := r.Var("VOLE message", vole.Message1Size)
	if err := r.Done(); err != nil {
		return nil, err
	}
	m := new(vole.Message1)
	return m, m.UnmarshalBinary(b)
}

// reader positions a reader at the body of a broadcast of this protocol.
func reader(broadcast []byte, round uint8) *wire.Reader {
	r := wire.NewReader(broadcast, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Protocol != session.DKLS23 || h.Round != round || h.To != session.Broadcast) {
		r.Failf("not a broadcast of dkls23 round %d", round)
	}
	if round > 0 {
		var echo [32]byte
		r.Into("echo", echo[:])
	}
	return r
}

// Attachment0 returns what the caller of the author attached to an R0. It
// decodes and checks nothing else: Round1 does.
func Attachment0(broadcast []byte) ([]byte, error) {
	b, err := readBody0(reader(broadcast, 0))
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
