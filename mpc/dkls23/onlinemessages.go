package dkls23

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// bodyA is of the broadcast A. The attachment is the rest of the message.
type bodyA struct {
	job        [32]byte
	r          [33]byte // V1: Rᵢ
	salt       [32]byte // V1: of the commitment to it
	nonce      [32]byte // V2
	attachment []byte

	point *secp256k1.Point // r, decoded
}

func (b *bodyA) write(w *wire.Writer, kind Kind) {
	w.Fixed(b.job[:])
	if kind == Delayed {
		w.Fixed(b.r[:]).Fixed(b.salt[:])
	} else {
		w.Fixed(b.nonce[:])
	}
	w.Fixed(b.attachment)
}

// readBodyA returns no body if it is not in form.
func readBodyA(r *wire.Reader, kind Kind) (*bodyA, error) {
	b := new(bodyA)
	r.Into("job", b.job[:])
	if kind == Delayed {
		r.Into("R", b.r[:])
		r.Into("salt", b.salt[:])
	} else {
		r.Into("nonce", b.nonce[:])
	}
	b.attachment = r.Rest("attachment", MaxAttachment)
	if err := r.Done(); err != nil {
		return nil, err
	}
	if kind == Delayed {
		b.point = secp256k1.NewPoint()
		if err := b.point.SetBytes(b.r[:]); err != nil {
			return nil, fmt.Errorf("R: %w", err)
		}
	}
	return b, nil
}

// readGamma decodes the private A of V1: Γ^u_{j→i}.
func readGamma(r *wire.Reader) (*secp256k1.Point, error) {
	var b [33]byte
	r.Into("gamma u", b[:])
	if err := r.Done(); err != nil {
		return nil, err
	}
	p := secp256k1.NewPoint()
	if err := p.SetBytes(b[:]); err != nil {
		return nil, fmt.Errorf("gamma u: %w", err)
	}
	return p, nil
}

// kindOnline is the inverse of Kind.protocols.
func kindOnline(p session.Protocol) (Kind, error) {
	switch p {
	case session.DKLS23DelayedOnline:
		return Delayed, nil
	case session.DKLS23FullOnline:
		return Full, nil
	}
	return 0, fmt.Errorf("message is of protocol %d, want %d or %d", p, session.DKLS23DelayedOnline, session.DKLS23FullOnline)
}

// AttachmentA is Attachment0 for the broadcast A of a signature from a
// presignature.
func AttachmentA(broadcast []byte) ([]byte, error) {
	r := wire.NewReader(broadcast, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Round != 0 || h.To != session.Broadcast) {
		r.Failf("not a broadcast A")
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of A: %w", err)
	}
	kind, err := kindOnline(h.Protocol)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of A: %w", err)
	}
	b, err := readBodyA(r, kind)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the attachment of A: %w", err)
	}
	return b.attachment, nil
}

// OnlineShare is B, a signer's last message of a signature from a presignature:
// FinalShare for it. ID is over all A, so it is the echo too.
type OnlineShare struct {
	Kind  Kind
	From  mpc.ID
	ID    [32]byte
	Epoch uint64
	W, U  secp256k1.Scalar
}

// MarshalBinary encodes the share. It fails for an unknown kind only.
func (f *OnlineShare) MarshalBinary() ([]byte, error) {
	_, protocol, err := f.Kind.protocols()
	if err != nil {
		return nil, err
	}
	h := session.Header{Protocol: protocol, Round: 2, Session: f.ID, Epoch: f.Epoch, From: f.From, To: session.Broadcast}
	w, u := f.W.Bytes(), f.U.Bytes()
	return h.Writer().Fixed(w[:]).Fixed(u[:]).Bytes(), nil
}

// UnmarshalBinary decodes strictly.
func (f *OnlineShare) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Round != 2 || h.To != session.Broadcast || h.From == 0) {
		r.Failf("not a final share of a dkls23 presignature")
	}
	t := OnlineShare{From: h.From, ID: h.Session, Epoch: h.Epoch}
	var w, u [32]byte
	r.Into("w", w[:])
	r.Into("u", u[:])
	err := r.Done()
	if err == nil {
		t.Kind, err = kindOnline(h.Protocol)
	}
	if err == nil {
		err = errors.Join(t.W.SetBytes(w[:]), t.U.SetBytes(u[:]))
	}
	if err != nil {
		return fmt.Errorf("couldn't decode final share: %w", err)
	}
	*f = t
	return nil
}
