package dkg

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// FirstEpoch is the epoch of a key that was just made.
const FirstEpoch = 1

// Config is what the parties agree on before they start. A difference is a
// benign abort.
type Config struct {
	Suite     mpc.Suite // what the key is for and on which curve
	Self      mpc.ID
	Parties   []mpc.ID // ascending, all n, Self among them
	Threshold int      // 2 … n
	Purpose   string   // what the caller uses the key for, 1 … 64 bytes
	AttemptID [16]byte // chosen by whoever proposes; never reused for the same inputs

	// Identities are the parties' identity keys; they are hashed into the
	// context, not interpreted.
	Identities map[mpc.ID][]byte
	// Sign signs with this party's session key, 1 … 256 bytes; Verify checks a
	// signature of any party's. They make a wrong share provable.
	Sign   func(digest [32]byte) []byte
	Verify func(id mpc.ID, digest [32]byte, sig []byte) bool
}

// Output is the result of one party.
type Output struct {
	Share       *KeyShare    // pending until Activate
	Certificate *Certificate // unsigned; every party's identity signs its Digest
}

// Session is one party's run of the protocol. Its rounds are called once, in
// order. It is not safe for concurrent use.
type Session struct {
	cfg    Config
	curve  group.Curve
	rand   io.Reader
	peers  []mpc.ID
	roster [32]byte
	ctx    [32]byte
	order  session.Order

	nonce [32]byte
	sid   [32]byte
	echo  [3][32]byte // h₀ h₁ h₂
	sent  [3][]byte   // own broadcasts

	polynomial  *sharing.Polynomial
	own         *opening
	halves      map[mpc.ID]*seedHalf // this party's, by peer; none if the suite has no zero shares
	commitments map[mpc.ID][32]byte  // Cⱼ
	opened      map[mpc.ID]*opening
	chainCode   *[32]byte
	sum         sharing.Commitment     // A
	shares      map[mpc.ID]group.Point // Xᵢ
}

// New checks the configuration. rand must be a cryptographic source; it is the
// session's until it ends.
func New(cfg Config, rand io.Reader) (*Session, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("dkg: %w", err)
	}
	curve, err := group.OfSuite(cfg.Suite)
	if err != nil {
		return nil, fmt.Errorf("dkg: %w", err)
	}
	roster, err := session.RosterHash(cfg.Parties, cfg.Identities)
	if err != nil {
		return nil, fmt.Errorf("dkg: %w", err)
	}
	if rand == nil {
		return nil, errors.New("dkg: no source of randomness")
	}
	cfg.Parties = slices.Clone(cfg.Parties)
	s := &Session{cfg: cfg, order: session.NewOrder("dkg"), curve: curve, rand: rand, roster: roster, chainCode: new([32]byte)}
	for _, id := range cfg.Parties {
		if id != cfg.Self {
			s.peers = append(s.peers, id)
		}
	}
	ctx := session.Context{
		Suite:      cfg.Suite,
		Protocol:   session.DKG,
		Epoch:      FirstEpoch,
		RosterHash: roster,
		N:          len(cfg.Parties),
		T:          cfg.Threshold,
		Set:        cfg.Parties,
		Purpose:    cfg.Purpose,
	}
	s.ctx = ctx.Hash()
	return s, nil
}

func (c *Config) check() error {
	if err := sharing.CheckIDs(c.Parties); err != nil {
		return err
	}
	if err := sharing.CheckThreshold(c.Threshold, len(c.Parties)); err != nil {
		return err
	}
	if !sharing.Contains(c.Parties, c.Self) {
		return fmt.Errorf("participant %d is not one of the parties %v", c.Self, c.Parties)
	}
	if err := session.CheckPurpose(c.Purpose); err != nil {
		return err
	}
	if c.Sign == nil || c.Verify == nil {
		return errors.New("no session key: Sign and Verify are needed for the evidence of wrong shares")
	}
	return nil
}

// SID returns the session id. It is zero before Round1.
func (s *Session) SID() [32]byte { return s.sid }

// Destroy ends the session and wipes its secrets. It may be called at any time.
func (s *Session) Destroy() {
	s.order.Close()
	if s.polynomial != nil {
		s.polynomial.Destroy()
	}
	for _, h := range s.halves {
		*h = seedHalf{}
	}
	for _, o := range s.opened {
		if o != nil { // nil: it was not in form
			clear(o.chain[:])
		}
	}
	if s.own != nil {
		clear(s.own.chain[:])
	}
	clear(s.sent[2])
	clear(s.chainCode[:])
}

// Format writes the party only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkg.Session(%d of %v)", s.cfg.Self, s.cfg.Parties)
}

// header is of a message of this party.
func (s *Session) header(round uint8, to mpc.ID) *session.Header {
	h := s.want(round)
	h.From, h.To = s.cfg.Self, to
	return &h
}

// want is the header that a peer's broadcast must have.
func (s *Session) want(round uint8) session.Header {
	h := session.Header{Protocol: session.DKG, Round: round, Session: s.sid, Epoch: FirstEpoch}
	if round == 0 {
		h.Session = session.Attempt(s.cfg.AttemptID)
	}
	return h
}

// hear computes h_r when all broadcasts of round r are there.
func (s *Session) hear(round uint8, messages map[mpc.ID][]byte) {
	s.echo[round] = session.EchoOf(s.sid, round, s.cfg.Parties, s.cfg.Self, s.sent[round], messages)
}
