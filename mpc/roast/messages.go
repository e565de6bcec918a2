package roast

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// The rounds in the headers.
const (
	roundOffer   = 0
	roundRequest = 1
	roundAnswer  = 2
)

const maxCommitment = 2 * 33

// offer is a signer's first message.
type offer struct {
	from  mpc.ID
	terms [32]byte
	next  []byte // D ‖ E
}

func (m *offer) encode(attempt [16]byte, epoch uint64) []byte {
	h := session.Header{Protocol: session.ROAST, Round: roundOffer, Session: session.Attempt(attempt), Epoch: epoch, From: m.from}
	return h.Writer().Fixed(m.terms[:]).Var(m.next).Bytes()
}

func decodeOffer(b []byte, attempt [16]byte, epoch uint64) (*offer, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	place(r, &h, session.Header{Round: roundOffer, Session: session.Attempt(attempt), Epoch: epoch})
	m := &offer{from: h.From}
	r.Into("terms", m.terms[:])
	m.next = r.Var("commitment", maxCommitment)
	return m, r.Done()
}

// request is what the coordinator asks the signers of one session.
type request struct {
	number      uint32 // from 1
	set         []mpc.ID
	commitments [][]byte
}

func (m *request) encode(attempt [16]byte, epoch uint64) []byte {
	h := session.Header{Protocol: session.ROAST, Round: roundRequest, Session: session.Attempt(attempt), Epoch: epoch}
	w := h.Writer().Uint32(m.number).Count(len(m.set))
	for i, id := range m.set {
		w.Uint16(uint16(id)).Var(m.commitments[i])
	}
	return w.Bytes()
}

func decodeRequest(b []byte, attempt [16]byte, epoch uint64) (*request, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	place(r, &h, session.Header{Round: roundRequest, Session: session.Attempt(attempt), Epoch: epoch})
	if r.Err() == nil && h.From != 0 {
		r.Failf("request is from participant %d, want 0, the coordinator", h.From)
	}
	m := &request{number: r.Uint32("number")}
	for range r.Count("signers", mpc.MaxParties, 6) {
		m.set = append(m.set, mpc.ID(r.Uint16("signer")))
		m.commitments = append(m.commitments, r.Var("commitment", maxCommitment))
	}
	return m, r.Done()
}

// answer is a signer's share of one session and its next commitment.
type answer struct {
	from   mpc.ID
	pkg    [32]byte // frost.Package.ID of what it signed
	number uint32
	z      []byte
	next   []byte // D ‖ E; empty: it answers no more
}

func (m *answer) encode(epoch uint64) []byte {
	h := session.Header{Protocol: session.ROAST, Round: roundAnswer, Session: m.pkg, Epoch: epoch, From: m.from}
	return h.Writer().Uint32(m.number).Fixed(m.z).Var(m.next).Bytes()
}

func decodeAnswer(b []byte, epoch uint64) (*answer, error) {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	place(r, &h, session.Header{Round: roundAnswer, Session: h.Session, Epoch: epoch})
	m := &answer{from: h.From, pkg: h.Session}
	m.number = r.Uint32("number")
	m.z = r.Fixed("signature share", 32)
	m.next = r.Var("commitment", maxCommitment)
	return m, r.Done()
}

// place refuses a message of another place than want, whose From is not read.
func place(r *wire.Reader, h *session.Header, want session.Header) {
	want.Protocol, want.From = session.ROAST, h.From
	if r.Err() == nil && *h != want {
		r.Failf("header %+v, want %+v", *h, want)
	}
}

// round says which message of a signer this is.
func round(b []byte) uint8 {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	if r.Err() != nil {
		return 0xff
	}
	return h.Round
}

func decodeScalar(c group.Curve, b []byte) (group.Scalar, error) {
	z := c.NewScalar()
	if err := z.Decode(b); err != nil {
		return nil, fmt.Errorf("signature share: %w", err)
	}
	return z, nil
}

// Terms are what signers and coordinator agree on.
type Terms struct {
	AttemptID   [16]byte // never reused
	RequestHash [32]byte
	Job         frost.Job
}

// hash is that of a FROST session of all parties with one job.
func (t *Terms) hash(pub *frost.Public) ([32]byte, error) {
	f := frost.Terms{Signers: pub.Parties, RequestHash: t.RequestHash, Jobs: []frost.Job{t.Job}}
	return f.Hash(pub)
}
