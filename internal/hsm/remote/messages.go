package remote

import (
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	protocolVersion = 1

	pointSize  = 65
	secretSize = 32

	maxRequest = hsm.MaxStatement + 1024
	maxReply   = 16 << 10

	maxText  = 1024 // of an error's detail and hint, cut to it by the server
	maxLabel = 256  // of the strings in hsm.Info
	maxSuite = 16
)

// op says what is asked. Numbers are never reused.
type op uint8

const (
	opHello    op = 1 // who are you: Info and all public keys
	opSign     op = 2 // sign this statement as this role
	opExchange op = 3 // multiply this point by the seal key
)

// request is a frame from client to server. Fields that its op does not name are
// zero and not encoded.
type request struct {
	op   op
	role hsm.Role
	st   signature.Statement
	peer []byte
}

func (q request) encode() []byte {
	w := wire.NewWriter(protocolVersion).Uint8(uint8(q.op))
	switch q.op {
	case opSign:
		w.Uint8(uint8(q.role)).String(q.st.Domain).Var(q.st.Body)
	case opExchange:
		w.Fixed(q.peer)
	}
	return w.Bytes()
}

func decodeRequest(b []byte) (request, error) {
	r := wire.NewReader(b, protocolVersion)
	q := request{op: op(r.Uint8("operation"))}
	switch q.op {
	case opHello:
	case opSign:
		q.role = hsm.Role(r.Uint8("role"))
		q.st.Domain = r.String("domain", 255)
		q.st.Body = r.Var("body", hsm.MaxStatement)
	case opExchange:
		q.peer = r.Fixed("point", pointSize)
	default:
		r.Failf("operation %d, want 1 (hello), 2 (sign) or 3 (exchange)", uint8(q.op))
	}
	if err := r.Done(); err != nil {
		return request{}, fmt.Errorf("couldn't decode request: %w", err)
	}
	return q, nil
}

// identity is what a device is and which keys it holds.
type identity struct {
	info hsm.Info
	seal []byte                // uncompressed point
	keys []signature.PublicKey // in the order of hsm.Roles()
}

// reply is a frame from server to client. A kind other than zero is an error and
// nothing else.
type reply struct {
	op           op
	kind         hsm.Kind
	detail, hint string

	id     identity
	sig    signature.Signature
	shared []byte
}

func (p reply) encode() []byte {
	w := wire.NewWriter(protocolVersion).Uint8(uint8(p.op)).Uint8(uint8(p.kind))
	if p.kind != 0 {
		return w.String(p.detail).String(p.hint).Bytes()
	}
	switch p.op {
	case opHello:
		i := p.id.info
		for _, s := range []string{i.Vendor, i.Model, i.Firmware, i.Serial, i.Label} {
			w.String(s)
		}
		w.Uint8(uint8(i.Boundary)).Uint8(uint8(i.Rollback)).Uint8(uint8(i.PerUse)).Count(len(i.Suites))
		for _, s := range i.Suites {
			w.String(s)
		}
		w.Fixed(p.id.seal)
		for _, k := range p.id.keys {
			w.Var(k.Bytes())
		}
	case opSign:
		w.Var(p.sig.Encode())
	case opExchange:
		w.Fixed(p.shared)
	}
	return w.Bytes()
}

func decodeReply(b []byte) (reply, error) {
	r := wire.NewReader(b, protocolVersion)
	p := reply{op: op(r.Uint8("operation")), kind: hsm.Kind(r.Uint8("error kind"))}
	switch {
	case p.op < opHello || p.op > opExchange:
		r.Failf("operation %d, want 1 to 3", uint8(p.op))
	case p.kind > hsm.ErrConfig:
		r.Failf("error kind %d, at most %d", uint8(p.kind), uint8(hsm.ErrConfig))
	case p.kind != 0:
		p.detail, p.hint = r.String("error", maxText), r.String("hint", maxText)
	case p.op == opHello:
		p.id = readIdentity(r)
	case p.op == opSign:
		p.sig = readSignature(r)
	case p.op == opExchange:
		p.shared = r.Fixed("shared secret", secretSize)
	}
	if err := r.Done(); err != nil {
		return reply{}, fmt.Errorf("couldn't decode reply: %w", err)
	}
	return p, nil
}

func readSignature(r *wire.Reader) signature.Signature {
	enc := r.Var("signature", 128)
	if r.Err() != nil {
		return signature.Signature{}
	}
	s, err := signature.Decode(enc)
	if err != nil {
		r.Fail(err)
	}
	return s
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
	d.seal = r.Fixed("seal key", pointSize)
	if r.Err() == nil {
		if _, err := ecdh.P256().NewPublicKey(d.seal); err != nil {
			r.Fail(fmt.Errorf("seal key: %w", err))
		}
	}
	for _, role := range hsm.Roles() {
		enc := r.Var("key", 128)
		if r.Err() != nil {
			return identity{}
		}
		k, err := signature.DecodePublicKey(enc)
		if err != nil {
			r.Fail(fmt.Errorf("%v key: %w", role, err))
		}
		d.keys = append(d.keys, k)
	}
	return d
}

// errorReply turns a device's error into a frame. Text is cut: a client refuses
// more than its bound.
func errorReply(o op, err error) reply {
	p := reply{op: o, kind: hsm.ErrDevice, detail: cut(err.Error(), maxText)}
	var e *hsm.Error
	if errors.As(err, &e) {
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
