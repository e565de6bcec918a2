package dkls23

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Kind says how a presignature is made safe against a message that is chosen
// after R is known (docs/spec/dkls23-presign.md).
type Kind uint8

const (
	// Delayed is V1: R is opened together with the request, so nobody knows it
	// before.
	Delayed Kind = 1
	// Full is V2: R is known beforehand, and moved by a δ that depends on the
	// request and on fresh nonces of all signers.
	Full Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Delayed:
		return "V1"
	case Full:
		return "V2"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// protocols are those of the offline and of the online part.
func (k Kind) protocols() (offline, online session.Protocol, err error) {
	switch k {
	case Delayed:
		return session.DKLS23Delayed, session.DKLS23DelayedOnline, nil
	case Full:
		return session.DKLS23Full, session.DKLS23FullOnline, nil
	}
	return 0, 0, fmt.Errorf("presignatures of kind %d, want %d or %d", uint8(k), Delayed, Full)
}

// PresignConfig is a session that makes presignatures; there is no request yet.
// Fields that Config has too are those of Config.
type PresignConfig struct {
	Key     *dkg.KeyShare
	Signers []mpc.ID
	Setups  map[mpc.ID]*pair.Setup

	AttemptID [16]byte
	Purpose   string
	Kind      Kind
	Count     int       // 1 … MaxBatch presignatures
	Expires   time.Time // not used from then on, by this signer
}

// Presigning is one signer's run of the offline part. Its rounds are called
// once, in order.
type Presigning struct {
	*run
	kind    Kind
	expires time.Time
}

// Format writes the party only, whatever the verb.
func (p Presigning) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkls23.Presigning(%d of %v, %d presignatures %v)", p.self, p.signers, len(p.slots), p.kind)
}

// NewPresigning checks the configuration. rand is as in New.
func NewPresigning(cfg PresignConfig, rand io.Reader) (*Presigning, error) {
	if cfg.Key == nil {
		return nil, errors.New("dkls23: no key share")
	}
	if cfg.Expires.IsZero() {
		return nil, errors.New("dkls23: presignatures without an expiry")
	}
	protocol, _, err := cfg.Kind.protocols()
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	r, err := newRun(frame{
		protocol: protocol,
		key:      cfg.Key,
		signers:  cfg.Signers,
		setups:   cfg.Setups,
		attempt:  cfg.AttemptID,
		job:      transcript.Sum(transcript.TagPresign, transcript.Uint64(uint64(cfg.Count))),
		purpose:  cfg.Purpose,
		slots:    cfg.Count,
	}, rand)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return &Presigning{run: r, kind: cfg.Kind, expires: cfg.Expires}, nil
}

// Round3 takes the peers' R2 and returns the presignatures. Every check that can
// be made before a request is known has been made then; a quarantine abort is as
// in Round2. Nothing is sent. Whatever Round3 returns, the session has ended.
func (p *Presigning) Round3(r2, private map[mpc.ID][]byte) (out []*Presignature, err error) {
	if err := p.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() { p.order.End(err, p.Destroy); p.Destroy() }()
	if err := p.finish(r2, private); err != nil {
		return nil, err
	}
	out = make([]*Presignature, len(p.slots))
	public := p.key.PublicKey.Encode()
	check, err := ecdsa.NewKey(public)
	if err != nil {
		return nil, session.Unattributed(step3, err)
	}
	check.Precompute()
	for k := range p.slots {
		out[k] = p.keep(k)
		out[k].m.public, out[k].m.check = [33]byte(public), check
	}
	return out, nil
}

// keep moves slot k into a presignature. Its id contains h₂: signers that saw
// different messages in round 2 hold presignatures of different names.
func (p *Presigning) keep(k int) *Presignature {
	s := p.slots[k]
	m := &material{
		id:      transcript.Sum(transcript.TagPresigID, p.sid[:], p.echo[2][:], transcript.Uint64(uint64(k))),
		sid:     s.sid,
		kind:    p.kind,
		key:     p.key.KeyID,
		epoch:   p.key.Epoch,
		self:    p.self,
		signers: p.signers,
		expires: p.expires,
		secret:  new(scalars),
		point:   s.point,
		total:   s.total,
		encoded: s.totalBytes,
	}
	m.secret.u.Set(&s.secret.u)
	m.secret.v.Set(&s.secret.v)
	m.secret.phi.Set(&s.secret.phi)
	if p.kind == Delayed {
		m.total = nil
		m.delayed = p.delay(k)
	}
	return &Presignature{m}
}

// delay keeps what opening and checking R takes.
func (p *Presigning) delay(k int) *delayed {
	s := p.slots[k]
	d := &delayed{
		encoded:     s.encoded,
		salt:        s.secret.salt,
		commitments: s.commitments,
		gammas:      s.late,
		checks:      make(map[mpc.ID]*check),
	}
	for _, j := range p.peers {
		c := new(check)
		c.chi.Set(p.links[j].bob.Chi(k))
		c.d.Set(&p.links[j].d[k][0])
		d.checks[j] = c
	}
	return d
}
