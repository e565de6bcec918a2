package remote

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

func (s *Server) answer(ctx context.Context, q request) reply {
	p := reply{op: q.op}
	if err := s.operate(ctx, q, &p); err != nil {
		s.Log.Warn("device refused", "operation", uint8(q.op), "err", err)
		return errorReply(q.op, err)
	}
	return p
}

func (s *Server) operate(ctx context.Context, q request, p *reply) (err error) {
	switch q.op {
	case opHello:
		p.id, err = s.identity(ctx)
	case opSign:
		ap, done := s.approver(q.approvals)
		p.sig, err = s.Device.Sign(ctx, q.role, q.st, ap)
		done(err)
	case opSealKey:
		p.key, err = s.Device.SealKey(ctx, q.class, q.epoch)
	case opWrap:
		p.data, err = s.Device.Wrap(ctx, q.class, q.epoch, q.data, q.bind)
	case opUnwrap:
		ap, done := s.approver(q.approvals)
		p.data, err = s.Device.Unwrap(ctx, q.class, q.epoch, q.data, q.bind, ap)
		done(err)
		if err == nil && len(p.data) != secretSize {
			err = hsm.Errorf(hsm.ErrDevice, "", "device returned a key of %d bytes, want %d", len(p.data), secretSize)
		}
	case opAttest:
		a, ok := s.Device.(hsm.Attester)
		if !ok {
			return unsupported("gives no evidence of what it is")
		}
		p.evidence, err = a.Attest(ctx, q.nonce, q.bound)
	case opCounter, opIncrement:
		p.number, err = s.count(ctx, q.op)
	default:
		p.number, err = s.ratchet(ctx, q)
	}
	return err
}

func unsupported(what string) error {
	return hsm.Errorf(hsm.ErrUnsupported, "", "this device %s", what)
}

func (s *Server) count(ctx context.Context, o op) (uint64, error) {
	c, ok := s.Device.(hsm.Counter)
	switch {
	case !ok:
		return 0, unsupported("has no counter")
	case o == opCounter:
		return c.Counter(ctx)
	}
	return c.Increment(ctx)
}

func (s *Server) ratchet(ctx context.Context, q request) (uint64, error) {
	r, ok := s.Device.(hsm.Ratchet)
	switch {
	case !ok:
		return 0, unsupported("has one epoch of seal keys")
	case q.op == opSealEpoch:
		return r.SealEpoch(ctx)
	case q.op == opAdvance:
		return r.Advance(ctx)
	}
	return 0, r.Erase(ctx, q.epoch)
}

// approver answers a device with what the request carries, else with the operator, who
// is told how it ended.
func (s *Server) approver(carried hsm.Approvals) (hsm.Approver, func(error)) {
	operator, done := s.Operator, func(error) {}
	if desk, ok := operator.(*Desk); ok {
		operator, done = desk.attend()
	}
	switch {
	case len(carried) == 0:
		return operator, done
	case operator == nil:
		return carried, done
	}
	return both{carried, operator}, done
}

// both asks the operator for what approvals cannot answer.
type both struct {
	carried  hsm.Approvals
	operator hsm.Approver
}

func (b both) Approve(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
	if c.Kind == hsm.ChallengePolicy {
		return b.carried.Approve(ctx, c)
	}
	return b.operator.Approve(ctx, c)
}

func (s *Server) identity(ctx context.Context) (identity, error) {
	d := identity{info: s.Device.Info()}
	i := &d.info
	for _, text := range []*string{&i.Vendor, &i.Model, &i.Firmware, &i.Serial, &i.Label} {
		*text = cut(*text, maxLabel)
	}
	if len(i.Suites) > maxSuite {
		i.Suites = i.Suites[:maxSuite]
	}
	for n, role := range hsm.Roles() {
		k, err := s.Device.Public(ctx, role)
		if err != nil {
			return identity{}, err
		}
		d.keys[n] = k
	}
	approval, err := s.Device.Public(ctx, hsm.RoleApproval)
	if errors.Is(err, hsm.ErrUnsupported) {
		approval, err = signature.PublicKey{}, nil
	}
	d.approval = approval
	return d, err
}
