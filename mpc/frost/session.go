package frost

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const (
	// MaxJobs bounds a batch.
	MaxJobs = 256
	// MaxExchanges bounds the rounds between the commitments and the shares.
	MaxExchanges = 8
	// MaxAttachment bounds what a caller may attach to a broadcast.
	MaxAttachment = 1 << 20
)

// Terms are what the signers agree on before a session: the attempt, the signers
// and what they sign. A difference is a benign abort.
type Terms struct {
	Signers     []mpc.ID // S: ascending, t to n of the key's parties
	AttemptID   [16]byte // chosen by whoever proposes the session
	RequestHash [32]byte // what the caller signs for
	Jobs        []Job    // one signature each, under one key; 1 … MaxJobs
	Exchanges   int      // rounds of attachments between commitments and shares; 0 as a rule
}

// Config is one party's part of a session.
type Config struct {
	Terms
	Key     *dkg.KeyShare // active; not destroyed while the session runs
	Purpose string        // must be the key's
	Nonces  []*Nonce      // one a job, from a NoncePool; nil: Round0 draws them
}

// view is what follows from the terms, the same for every signer and for whoever
// combines.
type view struct {
	suite    *suite
	pub      *Public
	terms    Terms
	children []*child
	ctx      [32]byte
	job      [32]byte
	sid      [32]byte
}

// newView checks the terms.
func newView(pub *Public, terms *Terms) (*view, error) {
	if err := pub.check(); err != nil {
		return nil, err
	}
	s, err := suiteOf(pub.Suite)
	if err != nil {
		return nil, err
	}
	if err := pub.checkSigners(terms.Signers); err != nil {
		return nil, err
	}
	if err := session.CheckPurpose(pub.Purpose); err != nil {
		return nil, err
	}
	if n := len(terms.Jobs); n < 1 || n > MaxJobs {
		return nil, fmt.Errorf("%d jobs, want 1 to %d", n, MaxJobs)
	}
	if terms.Exchanges < 0 || terms.Exchanges > MaxExchanges {
		return nil, fmt.Errorf("%d exchanges, want 0 to %d", terms.Exchanges, MaxExchanges)
	}
	v := &view{suite: s, pub: pub, terms: *terms}
	v.terms.Signers = slices.Clone(terms.Signers)
	v.terms.Jobs = slices.Clone(terms.Jobs)
	encoded := pub.PublicKey.Encode()
	for i := range v.terms.Jobs {
		j := &v.terms.Jobs[i]
		c, err := pub.childOf(j, encoded)
		if err != nil {
			return nil, fmt.Errorf("job %d: %w", i, err)
		}
		j.Message = slices.Clone(j.Message) // of ε and the path only what follows now
		v.children = append(v.children, c)
	}
	v.ctx = v.context(encoded)
	v.job = v.jobHash()
	return v, nil
}

// Hash is what the parties compare of the terms, attempt id excepted.
func (t *Terms) Hash(pub *Public) ([32]byte, error) {
	v, err := newView(pub, t)
	if err != nil {
		return [32]byte{}, fmt.Errorf("frost: %w", err)
	}
	return v.job, nil
}

func (v *view) context(key []byte) [32]byte {
	p := v.pub
	ctx := session.Context{
		Suite:       p.Suite,
		Protocol:    session.FROST,
		KeyID:       p.KeyID[:],
		Epoch:       p.Epoch,
		PublicKey:   key,
		FeldmanHash: p.FeldmanHash[:],
		RosterHash:  p.RosterHash,
		N:           len(p.Parties),
		T:           p.Threshold,
		Set:         v.terms.Signers,
		Purpose:     p.Purpose,
	}
	return ctx.Hash()
}

// jobHash is RO("frost-job", ctx, request hash, u16 exchanges, and for each job
// SHA-256(message), ε, path, u8 mode ‖ root, Q).
func (v *view) jobHash() [32]byte {
	items := [][]byte{v.ctx[:], v.terms.RequestHash[:], transcript.Uint16(uint16(v.terms.Exchanges))}
	for i := range v.terms.Jobs {
		j := &v.terms.Jobs[i]
		m := sha256.Sum256(j.Message)
		eps := make([]byte, 32)
		if j.Tweak != nil {
			eps = j.Tweak.Encode()
		}
		items = append(items, m[:], eps, j.Path, append([]byte{j.Taproot.mode}, j.Taproot.root[:]...), v.children[i].qb)
	}
	return transcript.Sum(transcript.TagFROSTJob, items...)
}

// fixSID sets sid = RO("sid", ctx, attempt id, job, RO("frost-com", i, Dᵢ ‖ Eᵢ …) …).
// The commitments are the signers' fresh nonces: no other party makes a sid
// repeat.
func (v *view) fixSID(commitments map[mpc.ID][]byte) {
	nonces := make([][32]byte, len(v.terms.Signers))
	for i, id := range v.terms.Signers {
		nonces[i] = transcript.Sum(transcript.TagFROSTCommit, transcript.Uint16(uint16(id)), commitments[id])
	}
	v.sid = session.SID(v.ctx, v.terms.AttemptID, v.job[:], nonces)
}

// want is the header of a broadcast of another signer.
func (v *view) want(round uint8) session.Header {
	h := session.Header{Protocol: session.FROST, Round: round, Session: v.sid, Epoch: v.pub.Epoch, To: session.Broadcast}
	if round == 0 {
		h.Session = session.Attempt(v.terms.AttemptID)
	}
	return h
}

// last is the round of the shares.
func (v *view) last() uint8 { return uint8(v.terms.Exchanges) + 1 }

// hear is h_r over the broadcasts of round r.
func (v *view) hear(round uint8, broadcasts map[mpc.ID][]byte) [32]byte {
	all := make([][]byte, len(v.terms.Signers))
	for i, id := range v.terms.Signers {
		all[i] = broadcasts[id]
	}
	return session.Echo(v.sid, round, all)
}

// packages fixes every job. list is by signer, then by job.
func (v *view) packages(list map[mpc.ID][]*Commitment) ([]*Package, error) {
	out := make([]*Package, len(v.terms.Jobs))
	for k := range out {
		b := make([]*Commitment, len(v.terms.Signers))
		for i, id := range v.terms.Signers {
			b[i] = list[id][k]
		}
		x, err := v.pub.fix(v.children[k], v.terms.Jobs[k].Message, b)
		if err != nil {
			return nil, fmt.Errorf("job %d: %w", k, err)
		}
		out[k] = x
	}
	return out, nil
}

// Session is one signer's run of the protocol. Its rounds are called once, in
// order. It is not safe for concurrent use.
type Session struct {
	*view
	key   *dkg.KeyShare
	self  mpc.ID
	peers []mpc.ID // S without self
	rand  io.Reader
	order session.Order

	nonces *[]*Nonce // one a job; behind a pointer: see Format
	own    []byte    // own D ‖ E of all jobs, as published
	sent   []byte    // own broadcast of the last round
	echo   [32]byte  // h of the round before the one that is called
	list   map[mpc.ID][]*Commitment
	pkgs   []*Package
	said   *said // own shares
}

// Format writes the party only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "frost.Session(%d of %v)", s.self, s.terms.Signers)
}

// PublicOf is what everybody knows of a share's key.
func PublicOf(k *dkg.KeyShare) *Public {
	return &Public{
		Suite: k.Suite, KeyID: k.KeyID, Epoch: k.Epoch, Threshold: k.Threshold, Parties: k.Parties,
		PublicKey: k.PublicKey, PublicShares: k.PublicShares, FeldmanHash: k.FeldmanHash,
		RosterHash: k.RosterHash, Purpose: k.Purpose,
	}
}

// New checks the configuration. rand must be a cryptographic source; it is the
// session's until it ends.
func New(cfg Config, rand io.Reader) (*Session, error) {
	s, err := newSession(cfg, rand)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	return s, nil
}

func newSession(cfg Config, rand io.Reader) (*Session, error) {
	k := cfg.Key
	switch {
	case k == nil:
		return nil, errors.New("no key share")
	case !k.Active():
		return nil, k.CheckActive()
	case rand == nil:
		return nil, errors.New("no source of randomness")
	case cfg.Purpose != k.Purpose:
		return nil, fmt.Errorf("purpose %q, but the key is for %q", cfg.Purpose, k.Purpose)
	}
	v, err := newView(PublicOf(k), &cfg.Terms)
	if err != nil {
		return nil, err
	}
	if !sharing.Contains(v.terms.Signers, k.ID) {
		return nil, fmt.Errorf("participant %d holds the share but is not one of the signers %v", k.ID, v.terms.Signers)
	}
	if err := checkNonces(&cfg, v); err != nil {
		return nil, err
	}
	nonces := slices.Clone(cfg.Nonces)
	s := &Session{view: v, order: session.NewOrder("frost"), key: k, self: k.ID, rand: rand, nonces: &nonces}
	for _, id := range v.terms.Signers {
		if id != s.self {
			s.peers = append(s.peers, id)
		}
	}
	return s, nil
}

// checkNonces demands one fresh nonce a job, or none at all.
func checkNonces(cfg *Config, v *view) error {
	if cfg.Nonces == nil {
		return nil
	}
	if len(cfg.Nonces) != len(v.terms.Jobs) {
		return fmt.Errorf("%d nonces for %d jobs, want one each", len(cfg.Nonces), len(v.terms.Jobs))
	}
	for i, n := range cfg.Nonces {
		if n == nil || n.secret == nil || *n.secret == nil {
			return fmt.Errorf("job %d: %w", i, ErrConsumed)
		}
		if err := n.bound(cfg.Key, v.terms.Signers); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
		for _, m := range cfg.Nonces[:i] {
			if m.secret == n.secret {
				return fmt.Errorf("job %d: %w: another job of the batch has it", i, ErrConsumed)
			}
		}
	}
	return nil
}

// SID returns the session id. It is zero until the commitments of all are there.
func (s *Session) SID() [32]byte { return s.sid }

// Destroy ends the session and wipes its nonces. It may be called at any time.
func (s *Session) Destroy() {
	s.order.Close()
	for _, n := range *s.nonces {
		n.Destroy()
	}
	*s.nonces = nil
}

// header is of a broadcast of this signer.
func (s *Session) header(round uint8) *session.Header {
	h := s.want(round)
	h.From = s.self
	return &h
}

// commitments of one's own, as points.
func (s *Session) ownCommitments() []*Commitment {
	out := make([]*Commitment, len(*s.nonces))
	for i, n := range *s.nonces {
		out[i] = n.commitment
	}
	return out
}

// points of a batch, decoded.
func (v *view) decode(id mpc.ID, b []byte) ([]*Commitment, error) {
	size := 2 * v.suite.curve.PointSize()
	if len(b) != size*len(v.terms.Jobs) {
		return nil, fmt.Errorf("commitments of %d bytes, want %d for %d jobs", len(b), size*len(v.terms.Jobs), len(v.terms.Jobs))
	}
	out := make([]*Commitment, len(v.terms.Jobs))
	for k := range out {
		c, err := v.suite.commitment(id, b[k*size:(k+1)*size])
		if err != nil {
			return nil, fmt.Errorf("job %d: %w", k, err)
		}
		out[k] = c
	}
	return out, nil
}
