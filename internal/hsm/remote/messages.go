package remote

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	protocolVersion = 2

	secretSize = 32

	maxRequest = hsm.MaxStatement + hsm.MaxApprovals*(hsm.MaxApproval+4) + 1024
	maxReply   = hsm.MaxEvidence + 8<<10

	maxText  = 1024 // of an error's detail and hint, cut to it by the server
	maxLabel = 256  // of the strings in hsm.Info
	maxSuite = 16
)

// op says what is asked. Numbers are never reused; 3 was version 1's exchange.
type op uint8

const (
	opHello     op = 1  // who are you: Info and the verification keys
	opSign      op = 2  // sign this statement as this role
	opSealKey   op = 4  // what may be known of a seal key
	opWrap      op = 5  // wrap a data key
	opUnwrap    op = 6  // unwrap one, or multiply a point by the seal key
	opSealEpoch op = 7  // the newest epoch
	opAdvance   op = 8  // make the next
	opErase     op = 9  // destroy the ones below
	opCounter   op = 10 // read the counter
	opIncrement op = 11 // add one to it
	opAttest    op = 12 // give evidence

	lastOp = opAttest
)

// repeatable says that a request may be sent again when it is not known whether the
// first one arrived.
func (o op) repeatable() bool { return o != opAdvance && o != opIncrement }

func (o op) known() bool { return o >= opHello && o <= lastOp && o != 3 }

// request is a frame from client to server. Fields that its op does not name are
// zero and not encoded.
type request struct {
	op        op
	role      hsm.Role
	st        signature.Statement
	approvals hsm.Approvals

	class hsm.Class
	epoch uint64 // also the one below which is erased
	data  []byte // what is wrapped or unwrapped
	bind  []byte

	nonce, bound [32]byte // attest
}

func (q request) encode() []byte {
	w := wire.NewWriter(protocolVersion).Uint8(uint8(q.op))
	switch q.op {
	case opSign:
		w.Uint8(uint8(q.role)).String(q.st.Domain).Var(q.st.Body)
		q.writeApprovals(w)
	case opSealKey:
		w.Uint8(uint8(q.class)).Uint64(q.epoch)
	case opWrap:
		w.Uint8(uint8(q.class)).Uint64(q.epoch).Fixed(q.data).Var(q.bind)
	case opUnwrap:
		w.Uint8(uint8(q.class)).Uint64(q.epoch).Var(q.data).Var(q.bind)
		q.writeApprovals(w)
	case opErase:
		w.Uint64(q.epoch)
	case opAttest:
		w.Fixed(q.nonce[:]).Fixed(q.bound[:])
	}
	return w.Bytes()
}

func (q request) writeApprovals(w *wire.Writer) {
	w.Count(len(q.approvals))
	for _, a := range q.approvals {
		w.Var(a.Encode())
	}
}

func decodeRequest(b []byte) (request, error) {
	r := wire.NewReader(b, protocolVersion)
	q := request{op: op(r.Uint8("operation"))}
	switch q.op {
	case opHello, opSealEpoch, opAdvance, opCounter, opIncrement:
	case opSign:
		q.role = hsm.Role(r.Uint8("role"))
		q.st.Domain = r.String("domain", 255)
		q.st.Body = r.Var("body", hsm.MaxStatement)
		q.approvals = readApprovals(r)
	case opSealKey:
		q.readKey(r)
	case opWrap:
		q.readKey(r)
		q.data = r.Fixed("data key", secretSize)
		q.bind = r.Var("binding", hsm.MaxBind)
	case opUnwrap:
		q.readKey(r)
		q.data = r.Var("wrapped key", hsm.MaxEnc)
		q.bind = r.Var("binding", hsm.MaxBind)
		q.approvals = readApprovals(r)
	case opErase:
		q.epoch = r.Uint64("epoch")
	case opAttest:
		r.Into("nonce", q.nonce[:])
		r.Into("binding", q.bound[:])
	default:
		r.Failf("operation %d, want 1 (hello), 2 (sign) or 4 to %d", uint8(q.op), uint8(lastOp))
	}
	if err := r.Done(); err != nil {
		return request{}, fmt.Errorf("couldn't decode request: %w", err)
	}
	return q, nil
}

func (q *request) readKey(r *wire.Reader) {
	q.class = hsm.Class(r.Uint8("class"))
	q.epoch = r.Uint64("epoch")
}

func readApprovals(r *wire.Reader) hsm.Approvals {
	var list hsm.Approvals
	for range r.Count("approvals", hsm.MaxApprovals, 4) {
		enc := r.Var("approval", hsm.MaxApproval)
		if r.Err() != nil {
			return nil
		}
		a, err := hsm.DecodeApproval(enc)
		if err != nil {
			r.Fail(err)
			return nil
		}
		list = append(list, a)
	}
	return list
}

// identity is what a device is and which keys it signs with.
type identity struct {
	info     hsm.Info
	keys     [2]signature.PublicKey // in the order of hsm.Roles()
	approval signature.PublicKey    // zero: the device has none
}

// reply is a frame from server to client. A kind other than zero is an error and
// nothing else.
type reply struct {
	op           op
	kind         hsm.Kind
	detail, hint string

	id       identity
	sig      signature.Signature
	key      hsm.SealKey // suite and public half; class and epoch are the request's
	data     []byte      // wrapped or unwrapped
	number   uint64      // epoch or counter
	evidence hsm.Evidence
}

func (p reply) encode() []byte {
	w := wire.NewWriter(protocolVersion).Uint8(uint8(p.op)).Uint8(uint8(p.kind))
	if p.kind != 0 {
		return w.String(p.detail).String(p.hint).Bytes()
	}
	switch p.op {
	case opHello:
		p.id.write(w)
	case opSign:
		signature.WriteSignature(w, p.sig)
	case opSealKey:
		w.Uint16(uint16(p.key.Suite)).Var(p.key.Public)
	case opWrap:
		w.Var(p.data)
	case opUnwrap:
		w.Fixed(p.data)
	case opSealEpoch, opAdvance, opCounter, opIncrement:
		w.Uint64(p.number)
	case opAttest:
		w.Var(p.evidence.Encode())
	}
	return w.Bytes()
}

func decodeReply(b []byte) (reply, error) {
	r := wire.NewReader(b, protocolVersion)
	p := reply{op: op(r.Uint8("operation")), kind: hsm.Kind(r.Uint8("error kind"))}
	switch {
	case !p.op.known():
		r.Failf("operation %d, want 1, 2 or 4 to %d", uint8(p.op), uint8(lastOp))
	case p.kind != 0:
		if err := p.kind.Check(); err != nil {
			r.Fail(err)
		}
		p.detail, p.hint = r.String("error", maxText), r.String("hint", maxText)
	default:
		p.readBody(r)
	}
	if err := r.Done(); err != nil {
		return reply{}, fmt.Errorf("couldn't decode reply: %w", err)
	}
	return p, nil
}

func (p *reply) readBody(r *wire.Reader) {
	switch p.op {
	case opHello:
		p.id = readIdentity(r)
	case opSign:
		p.sig = signature.ReadSignature(r, "signature")
	case opSealKey:
		p.key.Suite = hsm.Suite(r.Uint16("suite"))
		p.key.Public = r.Var("seal key", hsm.MaxEnc)
	case opWrap:
		p.data = r.Var("wrapped key", hsm.MaxEnc)
	case opUnwrap:
		p.data = r.Fixed("data key", secretSize)
	case opSealEpoch, opAdvance, opCounter, opIncrement:
		p.number = r.Uint64("number")
	case opAttest:
		enc := r.Var("evidence", hsm.MaxEvidence+16)
		if r.Err() != nil {
			return
		}
		var err error
		if p.evidence, err = hsm.DecodeEvidence(enc); err != nil {
			r.Fail(err)
		}
	}
}

func (d identity) write(w *wire.Writer) {
	i := d.info
	for _, s := range []string{i.Vendor, i.Model, i.Firmware, i.Serial, i.Label} {
		w.String(s)
	}
	w.Uint8(uint8(i.Boundary)).Uint8(uint8(i.Rollback)).Uint8(uint8(i.PerUse)).Count(len(i.Suites))
	for _, s := range i.Suites {
		w.String(s)
	}
	for _, k := range d.keys {
		signature.WriteKey(w, k)
	}
	has := d.approval != (signature.PublicKey{})
	if w.Bool(has); has {
		signature.WriteKey(w, d.approval)
	}
}

func readIdentity(r *wire.Reader) identity {
	var d identity
	i := &d.info
	for _, f := range []struct {
		name string
		to   *string
	}{{"vendor", &i.Vendor}, {"model", &i.Model}, {"firmware", &i.Firmware}, {"serial", &i.Serial}, {"label", &i.Label}} {
		*f.to = r.String(f.name, maxLabel)
	}
	for _, f := range []struct {
		name string
		to   *hsm.Grade
	}{{"boundary", &i.Boundary}, {"rollback", &i.Rollback}, {"per use", &i.PerUse}} {
		*f.to = hsm.Grade(r.Uint8(f.name))
		if *f.to > hsm.GradeHardware {
			r.Failf("%s: grade %d, at most %d", f.name, uint8(*f.to), uint8(hsm.GradeHardware))
		}
	}
	for range r.Count("suites", maxSuite, 4) {
		i.Suites = append(i.Suites, r.String("suite", maxLabel))
	}
	for n, role := range hsm.Roles() {
		d.keys[n] = signature.ReadKey(r, role.String()+" key")
	}
	if r.Bool("has approval key") {
		d.approval = signature.ReadKey(r, "approval key")
	}
	return d
}

// errorReply turns a device's error into a frame. Text is cut: a client refuses
// more than its bound.
func errorReply(o op, err error) reply {
	p := reply{op: o, kind: hsm.ErrDevice, detail: cut(err.Error(), maxText)}
	if e, ok := asError(err); ok {
		p.kind, p.hint = e.Kind, cut(e.Help, maxText)
	}
	return p
}

// err is the device's error that the reply carries, or nil.
func (p reply) err() error {
	if p.kind == 0 {
		return nil
	}
	return hsm.Errorf(p.kind, p.hint, "%s", p.detail)
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
