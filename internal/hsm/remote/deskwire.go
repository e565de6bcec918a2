package remote

import (
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	deskVersion = 2

	maxPIN         = 255
	maxKeys        = 64
	maxPreimage    = 256
	maxDeskRequest = 64 + maxPIN + hsm.MaxApprovals*(hsm.MaxApproval+4)
	maxDeskReply   = 512 << 10
)

// deskOp is what an operator asks. Numbers are never reused.
type deskOp uint8

const (
	deskPending   deskOp = 1 // what waits?
	deskAuthorize deskOp = 2 // here is the answer to one
)

type deskRequest struct {
	op        deskOp
	id        uint64
	pin       secret.Bytes
	approvals hsm.Approvals
}

func (q deskRequest) encode() []byte {
	w := wire.NewWriter(deskVersion).Uint8(uint8(q.op))
	if q.op == deskAuthorize {
		w.Uint64(q.id).Var(q.pin.Reveal())
		request{approvals: q.approvals}.writeApprovals(w)
	}
	return w.Bytes()
}

func decodeDeskRequest(b []byte) (deskRequest, error) {
	r := wire.NewReader(b, deskVersion)
	q := deskRequest{op: deskOp(r.Uint8("operation"))}
	switch q.op {
	case deskPending:
	case deskAuthorize:
		q.id = r.Uint64("number")
		q.pin = secret.New(r.Var("PIN", maxPIN))
		q.approvals = readApprovals(r)
	default:
		r.Failf("operation %d, want 1 (pending) or 2 (authorize)", uint8(q.op))
	}
	if err := r.Done(); err != nil {
		q.pin.Destroy()
		return deskRequest{}, fmt.Errorf("couldn't decode request: %w", err)
	}
	return q, nil
}

// deskReply is an error, or what its op says.
type deskReply struct {
	op           deskOp
	kind         hsm.Kind
	detail, hint string
	list         []Pending
}

func (p *deskReply) fail(err error) {
	e := errorReply(0, err)
	p.kind, p.detail, p.hint = e.kind, e.detail, e.hint
}

func (p deskReply) err() error {
	return reply{kind: p.kind, detail: p.detail, hint: p.hint}.err()
}

func (p deskReply) encode() []byte {
	w := wire.NewWriter(deskVersion).Uint8(uint8(p.op)).Uint8(uint8(p.kind))
	if p.kind != 0 {
		return w.String(p.detail).String(p.hint).Bytes()
	}
	if p.op != deskPending {
		return w.Bytes()
	}
	w.Count(len(p.list))
	for _, x := range p.list {
		c := x.Challenge
		w.Uint64(x.ID).Uint32(uint32(x.Left / time.Second)).Uint8(uint8(c.Kind)).String(cut(c.Use, maxText))
		if w.Bool(c.Statement != nil); c.Statement != nil {
			w.String(c.Statement.Domain).Fixed(x.Statement[:])
		}
		w.Fixed(c.Digest[:]).Var(c.Preimage[:min(len(c.Preimage), maxPreimage)]).Uint16(uint16(c.Need)).Count(min(len(c.Keys), maxKeys))
		for _, k := range c.Keys[:min(len(c.Keys), maxKeys)] {
			signature.WriteKey(w, k)
		}
	}
	return w.Bytes()
}

func decodeDeskReply(b []byte) (deskReply, error) {
	r := wire.NewReader(b, deskVersion)
	p := deskReply{op: deskOp(r.Uint8("operation")), kind: hsm.Kind(r.Uint8("error kind"))}
	switch {
	case p.op > deskAuthorize || (p.op == 0 && p.kind == 0):
		r.Failf("operation %d, want 1 or 2", uint8(p.op))
	case p.kind != 0:
		if err := p.kind.Check(); err != nil {
			r.Fail(err)
		}
		p.detail, p.hint = r.String("error", maxText), r.String("hint", maxText)
	case p.op == deskPending:
		for range r.Count("pending", maxPending, 48) {
			p.list = append(p.list, readPending(r))
		}
	}
	if err := r.Done(); err != nil {
		return deskReply{}, fmt.Errorf("couldn't decode reply: %w", err)
	}
	return p, nil
}

func readPending(r *wire.Reader) Pending {
	x := Pending{ID: r.Uint64("number"), Left: time.Duration(r.Uint32("seconds left")) * time.Second}
	c := &x.Challenge
	c.Kind, c.Use = hsm.ChallengeKind(r.Uint8("kind")), r.String("use", maxText)
	if c.Kind != hsm.ChallengePIN && c.Kind != hsm.ChallengePolicy {
		r.Failf("challenge of kind %d, want 1 (PIN) or 2 (policy)", uint8(c.Kind))
	}
	if r.Bool("has statement") {
		c.Statement = &signature.Statement{Domain: r.String("domain", 255)}
		r.Into("statement", x.Statement[:])
	}
	r.Into("digest", c.Digest[:])
	if b := r.Var("preimage", maxPreimage); len(b) > 0 {
		c.Preimage = b
	}
	c.Need = int(r.Uint16("need"))
	for range r.Count("keys", maxKeys, 8) {
		c.Keys = append(c.Keys, signature.ReadKey(r, "key"))
		if r.Err() != nil {
			return Pending{}
		}
	}
	return x
}
