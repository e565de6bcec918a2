package dkls23

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
	"github.com/cofferhq/coffer/mpc/vole"
)

// Config is one signature. The signers must agree on all of it but Self, Setups
// and the key's secrets; a difference is a benign abort.
type Config struct {
	Key     *dkg.KeyShare          // active; not destroyed while the session runs
	Signers []mpc.ID               // S: ascending, exactly t, Key.ID among them
	Setups  map[mpc.ID]*pair.Setup // one for every other signer

	AttemptID   [16]byte          // chosen by whoever proposes the session
	RequestHash [32]byte          // what the caller signs for
	MessageHash [32]byte          // what is signed; h is its value mod q, not 0
	Tweak       *secp256k1.Scalar // ε, the derivation of the child key; nil = 0
	Purpose     string            // what this session is for, 1 … 64 bytes
}

// Session is one signer's run of the protocol. Its rounds are called once, in
// order. It is not safe for concurrent use.
type Session struct {
	cfg   Config
	self  mpc.ID
	peers []mpc.ID // S without self
	rand  io.Reader
	next  uint8 // the round to be called
	abort error // set once; then every call returns it
	ended bool

	h    *secp256k1.Scalar // the message
	job  [32]byte
	ctx  [32]byte
	sid  [32]byte
	sent [3][]byte   // own broadcasts
	echo [3][32]byte // h₀ h₁ h₂

	nonce       [32]byte
	secret      *secrets
	point       *secp256k1.Point    // Rᵢ
	public      *secp256k1.Point    // pkᵢ
	commitments map[mpc.ID][32]byte // Cⱼ
	links       map[mpc.ID]*link
}

// secrets are behind a pointer of the Session: a struct that holds a *Session in
// an unexported field may be printed with %v without showing them.
type secrets struct {
	r, phi secp256k1.Scalar // rᵢ, φᵢ
	sk     secp256k1.Scalar // skᵢ = λᵢ·sᵢ + ζᵢ
	salt   [32]byte         // hides Rᵢ until round 2
}

// Format writes the party only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkls23.Session(%d of %v)", s.self, s.cfg.Signers)
}

// link is what a signer holds for one peer.
type link struct {
	bob *vole.Receiver      // this party as Bob of the peer: χ_{i,j}
	c   [2]secp256k1.Scalar // this party as Alice: c^u_{i→j}, c^v_{i→j}
	d   [2]secp256k1.Scalar // d^u_{i,j}, d^v_{i,j}
}

func (l *link) destroy() {
	l.bob.Destroy()
	for w := range l.c {
		l.c[w].Destroy()
		l.d[w].Destroy()
	}
}

// New checks the configuration. rand must be a cryptographic source; it is the
// session's until it ends.
func New(cfg Config, rand io.Reader) (*Session, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	if rand == nil {
		return nil, errors.New("dkls23: no source of randomness")
	}
	k := cfg.Key
	cfg.Signers = slices.Clone(cfg.Signers)
	tweak := secp256k1.NewScalar()
	if cfg.Tweak != nil {
		tweak.Set(cfg.Tweak)
	}
	cfg.Tweak = tweak
	s := &Session{
		cfg:         cfg,
		self:        k.ID,
		rand:        rand,
		secret:      new(secrets),
		h:           secp256k1.NewScalar().SetReduced(&cfg.MessageHash),
		commitments: make(map[mpc.ID][32]byte),
		links:       make(map[mpc.ID]*link),
	}
	for _, id := range cfg.Signers {
		if id != s.self {
			s.peers = append(s.peers, id)
		}
	}
	public := k.PublicKey.Bytes()
	ctx := session.Context{
		Protocol:    session.DKLS23,
		KeyID:       k.KeyID[:],
		Epoch:       k.Epoch,
		PublicKey:   public[:],
		FeldmanHash: k.FeldmanHash[:],
		RosterHash:  k.RosterHash,
		N:           len(k.Parties),
		T:           k.Threshold,
		Set:         cfg.Signers,
		Purpose:     cfg.Purpose,
	}
	s.ctx = ctx.Hash()
	eps := tweak.Bytes()
	s.job = transcript.Sum(transcript.TagJob, cfg.RequestHash[:], cfg.MessageHash[:], eps[:])
	return s, nil
}

func (c *Config) check() error {
	if c.Key == nil {
		return errors.New("no key share")
	}
	if !c.Key.Active() {
		return errors.New("key share is pending: its certificate lacks signatures, see KeyShare.Activate")
	}
	if err := sharing.CheckIDs(c.Signers); err != nil {
		return err
	}
	if len(c.Signers) != c.Key.Threshold {
		return fmt.Errorf("%d signers %v, want exactly the threshold, %d", len(c.Signers), c.Signers, c.Key.Threshold)
	}
	if !sharing.Contains(c.Signers, c.Key.ID) {
		return fmt.Errorf("participant %d holds the share but is not one of the signers %v", c.Key.ID, c.Signers)
	}
	for _, id := range c.Signers {
		if !sharing.Contains(c.Key.Parties, id) {
			return fmt.Errorf("signer %d is not one of the key's parties %v", id, c.Key.Parties)
		}
		if id == c.Key.ID {
			continue
		}
		switch p := c.Setups[id]; {
		case p == nil:
			return fmt.Errorf("no pair setup with signer %d", id)
		case p.Self != c.Key.ID || p.Peer != id:
			return fmt.Errorf("pair setup of %d with %d, want of %d with %d", p.Self, p.Peer, c.Key.ID, id)
		}
	}
	if secp256k1.NewScalar().SetReduced(&c.MessageHash).IsZero() == 1 {
		return errors.New("message hash is 0 mod q: anybody can sign it, and no hash function gives it")
	}
	if err := session.CheckPurpose(c.Purpose); err != nil {
		return err
	}
	_, err := childKey(c.Key.PublicKey, c.Tweak)
	return err
}

// childKey returns pk + εG.
func childKey(pk *secp256k1.Point, tweak *secp256k1.Scalar) (*secp256k1.Point, error) {
	child := secp256k1.NewPoint().Set(pk)
	if tweak != nil && tweak.IsZero() == 0 {
		child.Add(child, secp256k1.NewPoint().ScalarBaseMult(tweak))
	}
	if child.IsIdentity() == 1 {
		return nil, errors.New("tweak takes the public key to the identity")
	}
	return child, nil
}

// SID returns the session id. It is zero before Round1.
func (s *Session) SID() [32]byte { return s.sid }

// Echo returns h_r, over all broadcasts of round r ≤ 2, once round r+1 has run.
func (s *Session) Echo(round int) [32]byte { return s.echo[round] }

// Destroy ends the session and wipes its secrets. It may be called at any time.
func (s *Session) Destroy() {
	s.ended = true
	*s.secret = secrets{}
	for _, l := range s.links {
		l.destroy()
	}
	clear(s.links)
}

// begin guards the order of the rounds.
func (s *Session) begin(round uint8) error {
	switch {
	case s.abort != nil:
		return s.abort
	case s.ended:
		return errors.New("dkls23: the session has ended")
	case s.next != round:
		return fmt.Errorf("dkls23: round %d called, the next is %d", round, s.next)
	}
	return nil
}

// end records the outcome of a round.
func (s *Session) end(err error) {
	if err != nil {
		s.abort = err
		s.Destroy()
		return
	}
	s.next++
}

// want is the header of a message of another signer; to is 0 for a broadcast.
func (s *Session) want(round uint8, to mpc.ID) session.Header {
	h := session.Header{Protocol: session.DKLS23, Round: round, Session: s.sid, Epoch: s.cfg.Key.Epoch, To: to}
	if round == 0 {
		h.Session = session.Attempt(s.cfg.AttemptID)
	}
	return h
}

// header is of a message of this signer.
func (s *Session) header(round uint8, to mpc.ID) *session.Header {
	h := s.want(round, to)
	h.From = s.self
	return &h
}

// hear computes h_r when all broadcasts of round r are there.
func (s *Session) hear(round uint8, messages map[mpc.ID][]byte) {
	all := make([][]byte, len(s.cfg.Signers))
	for i, id := range s.cfg.Signers {
		all[i] = messages[id]
		if id == s.self {
			all[i] = s.sent[round]
		}
	}
	s.echo[round] = session.Echo(s.sid, round, all)
}

// dsid names the VOLE in which bob sends the extension's message to alice.
func (s *Session) dsid(bob, alice mpc.ID, slot uint64) [32]byte {
	peer := bob
	if bob == s.self {
		peer = alice
	}
	hash := s.cfg.Setups[peer].Hash
	return transcript.Sum(transcript.TagDSID, s.sid[:], transcript.Uint16(uint16(bob)),
		transcript.Uint16(uint16(alice)), transcript.Uint64(slot), hash[:])
}

// rCommitment is Cᵢ = RO("R-com", sid, i, Rᵢ, saltᵢ).
func rCommitment(sid [32]byte, id mpc.ID, point *[33]byte, salt *[32]byte) [32]byte {
	return transcript.Sum(transcript.TagRCommit, sid[:], transcript.Uint16(uint16(id)), point[:], salt[:])
}

// zeroShare is ζᵢ = Σ_{j>i} F(kᵢⱼ) − Σ_{j<i} F(kᵢⱼ), F(k) = RO_q("zero-share", k, sid):
// the signers' ζ add up to zero.
func (s *Session) zeroShare() *secp256k1.Scalar {
	z := secp256k1.NewScalar()
	for _, j := range s.peers {
		seed := s.cfg.Key.ZeroSeed(j)
		f := transcript.Scalar(transcript.TagZero, seed[:], s.sid[:])
		if j > s.self {
			z.Add(z, f)
		} else {
			z.Sub(z, f)
		}
		f.Destroy()
		clear(seed[:])
	}
	return z
}
