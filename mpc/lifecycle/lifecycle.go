package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// Config is one refresh or reshare. The participants must agree on all of it but
// Self, Share and the functions; a difference is a benign abort.
type Config struct {
	Kind Kind
	Self mpc.ID

	// Certificate is that of the old epoch, with the signatures of all its
	// parties, which VerifyCertificate checks by their identity keys. It is what a
	// newcomer goes by: who must not believe whoever hands it over checks that its
	// key id is the key that was meant.
	Certificate       *dkg.Certificate
	VerifyCertificate func(id mpc.ID, digest [32]byte, sig []byte) bool
	// Share is this party's of the old epoch, needed by dealers only. It is read
	// and never changed; the caller must not destroy it while the session runs.
	Share *dkg.KeyShare

	// Of a reshare: a quorum of exactly t old parties, the new parties, and the new
	// threshold. A refresh may leave all three empty: they are the old ones.
	Dealers   []mpc.ID // ascending
	Parties   []mpc.ID // ascending
	Threshold int      // 2 … len(Parties)

	// Identities are the identity keys of all dealers and new parties; they are
	// hashed, not interpreted.
	Identities map[mpc.ID][]byte
	AttemptID  [16]byte // chosen by whoever proposes; never reused for the same inputs
	// Sign signs with this party's session key, 1 … 256 bytes; Verify checks a
	// signature of any participant's. They make a dealer's lie provable.
	Sign   func(digest [32]byte) []byte
	Verify func(id mpc.ID, digest [32]byte, sig []byte) bool
}

// Output is the result of one participant.
type Output struct {
	// Share is of the new epoch, pending until Activate. It is nil for a party
	// that leaves.
	Share       *dkg.KeyShare
	Certificate *dkg.Certificate // unsigned; the new parties' identities sign its Digest
}

// Session is one participant's run of a refresh or reshare. Its rounds are called
// once, in order. It is not safe for concurrent use.
type Session struct {
	cfg          Config
	job          *job
	jobHash      [32]byte
	participants []mpc.ID // dealers and new parties
	peers        []mpc.ID // without Self
	deals        bool     // Self is a dealer
	receives     bool     // Self is a new party
	seeded       bool     // the suite has zero-share seeds
	rand         io.Reader
	roster       [32]byte // of the new parties
	ctx          [32]byte
	order        session.Order

	nonce [32]byte
	sid   [32]byte
	echo  [3][32]byte // h₀ h₁ h₂
	sent  [3][]byte   // own broadcasts

	polynomial  *sharing.Polynomial
	own         *opening
	halves      map[mpc.ID]*seedHalf // this party's, by peer
	commitments map[mpc.ID][32]byte  // Cⱼ, of dealers
	opened      map[mpc.ID]*opening
	chainCode   *[32]byte
	sum         sharing.Commitment // A'
}

// New checks the configuration and the old certificate. rand must be a
// cryptographic source; it is the session's until it ends.
func New(cfg Config, rand io.Reader) (*Session, error) {
	if cfg.Certificate == nil {
		return nil, errors.New("lifecycle: no certificate of the old epoch")
	}
	if cfg.Kind == Refresh && cfg.Dealers == nil && cfg.Parties == nil && cfg.Threshold == 0 {
		cfg.Dealers, cfg.Parties, cfg.Threshold = cfg.Certificate.Parties, cfg.Certificate.Parties, cfg.Certificate.Threshold
	}
	cfg.Dealers, cfg.Parties = slices.Clone(cfg.Dealers), slices.Clone(cfg.Parties)
	s := &Session{cfg: cfg, order: session.NewOrder("lifecycle"), rand: rand, chainCode: new([32]byte)}
	s.job = &job{kind: cfg.Kind, old: cfg.Certificate, dealers: cfg.Dealers, threshold: cfg.Threshold, parties: cfg.Parties}
	if err := s.job.check(); err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	s.participants = union(cfg.Dealers, cfg.Parties)
	s.peers = without(s.participants, cfg.Self)
	s.deals, s.receives = sharing.Contains(cfg.Dealers, cfg.Self), sharing.Contains(cfg.Parties, cfg.Self)
	s.seeded = cfg.Certificate.Suite.ZeroShares()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	if rand == nil {
		return nil, errors.New("lifecycle: no source of randomness")
	}
	if err := s.context(); err != nil {
		return nil, fmt.Errorf("lifecycle: %w", err)
	}
	return s, nil
}

func (s *Session) check() error {
	c := &s.cfg
	if !s.deals && !s.receives {
		return fmt.Errorf("participant %d is neither a dealer of %v nor a new party of %v", c.Self, c.Dealers, c.Parties)
	}
	if c.Sign == nil || c.Verify == nil {
		return errors.New("no session key: Sign and Verify are needed for the evidence of a dealer's lie")
	}
	if err := c.Certificate.Complete(c.VerifyCertificate); err != nil {
		return fmt.Errorf("old epoch: %w", err)
	}
	if s.deals && c.Share == nil {
		return fmt.Errorf("participant %d is a dealer and has no share", c.Self)
	}
	if c.Share == nil {
		return nil
	}
	return checkShare(c.Share, c.Self, c.Certificate)
}

// checkShare demands the certified share of a party in the certificate's epoch.
func checkShare(k *dkg.KeyShare, self mpc.ID, c *dkg.Certificate) error {
	if k.ID != self {
		return fmt.Errorf("share of participant %d, want of %d", k.ID, self)
	}
	if k.Epoch != c.Epoch {
		return fmt.Errorf("share of epoch %d, want that of the certificate, %d", k.Epoch, c.Epoch)
	}
	if digest := c.Digest(); k.CertificateHash != digest {
		return fmt.Errorf("share is of certificate %x, want %x", k.CertificateHash, digest)
	}
	if !k.Certified() {
		return errors.New("share is pending: its certificate lacks signatures, see KeyShare.Activate")
	}
	return nil
}

// context computes the hashes that the participants compare.
func (s *Session) context() error {
	c := s.cfg.Certificate
	all, err := session.RosterHash(s.participants, s.cfg.Identities)
	if err != nil {
		return err
	}
	keys := make(map[mpc.ID][]byte, len(s.cfg.Parties))
	for _, id := range s.cfg.Parties {
		keys[id] = s.cfg.Identities[id]
	}
	if s.roster, err = session.RosterHash(s.cfg.Parties, keys); err != nil {
		return err
	}
	keyID, feldman := c.KeyID(), c.Feldman.Hash()
	ctx := session.Context{
		Suite:       c.Suite,
		Protocol:    session.Redistribution,
		KeyID:       keyID[:],
		Epoch:       s.job.epoch(),
		PublicKey:   c.PublicKey().Encode(),
		FeldmanHash: feldman[:],
		RosterHash:  all,
		N:           len(s.cfg.Parties),
		T:           s.cfg.Threshold,
		Set:         s.participants,
		Purpose:     c.Purpose,
	}
	s.ctx = ctx.Hash()
	s.jobHash = s.job.hash()
	return nil
}

// Participants are all who take part: the dealers and the new parties, ascending.
func (s *Session) Participants() []mpc.ID { return slices.Clone(s.participants) }

// SID returns the session id. It is zero before Round1.
func (s *Session) SID() [32]byte { return s.sid }

// Destroy ends the session and wipes its secrets; the old share stays as it is.
// It may be called at any time.
func (s *Session) Destroy() {
	s.order.Close()
	if s.polynomial != nil {
		s.polynomial.Destroy()
	}
	for _, h := range s.halves {
		*h = seedHalf{}
	}
	clear(s.chainCode[:])
}

// Format writes the participant only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "lifecycle.Session(%d of %v)", s.cfg.Self, s.participants)
}

// header is of a message of this participant.
func (s *Session) header(round uint8, to mpc.ID) *session.Header {
	h := s.want(round)
	h.From, h.To = s.cfg.Self, to
	return &h
}

// want is the header that a peer's broadcast must have.
func (s *Session) want(round uint8) session.Header {
	h := session.Header{Protocol: session.Redistribution, Round: round, Session: s.sid, Epoch: s.job.epoch()}
	if round == 0 {
		h.Session = session.Attempt(s.cfg.AttemptID)
	}
	return h
}

// hear computes h_r when all broadcasts of round r are there.
func (s *Session) hear(round uint8, messages map[mpc.ID][]byte) {
	s.echo[round] = session.EchoOf(s.sid, round, s.participants, s.cfg.Self, s.sent[round], messages)
}

func without(ids []mpc.ID, id mpc.ID) []mpc.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(x mpc.ID) bool { return x == id })
}
