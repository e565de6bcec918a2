package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// RepairConfig is one repair of a lost share. The participants must agree on all
// of it but Self, Share and the functions.
type RepairConfig struct {
	Self    mpc.ID
	Lost    mpc.ID   // the party whose share was lost
	Helpers []mpc.ID // ascending; at least t parties, not Lost

	// Certificate is that of the current epoch, with the signatures of all its
	// parties, which VerifyCertificate checks by their identity keys.
	Certificate       *dkg.Certificate
	VerifyCertificate func(id mpc.ID, digest [32]byte, sig []byte) bool
	Share             *dkg.KeyShare // a helper's own; read and never changed

	Identities map[mpc.ID][]byte // of the helpers and of Lost
	AttemptID  [16]byte
	Sign       func(digest [32]byte) []byte // with this party's session key
	Verify     func(id mpc.ID, digest [32]byte, sig []byte) bool
}

// repairJob is what the evidence of a lie in a repair is about.
type repairJob struct {
	cert    *dkg.Certificate
	lost    mpc.ID
	helpers []mpc.ID
}

func (j *repairJob) curve() group.Curve { return j.cert.Feldman[0].Curve() }

func (j *repairJob) participants() []mpc.ID { return union(j.helpers, []mpc.ID{j.lost}) }

func (j *repairJob) check() error {
	if err := sharing.CheckIDs(j.helpers); err != nil {
		return fmt.Errorf("helpers: %w", err)
	}
	if len(j.helpers) < j.cert.Threshold {
		return fmt.Errorf("%d helpers %v, want at least the threshold, %d", len(j.helpers), j.helpers, j.cert.Threshold)
	}
	for _, id := range append([]mpc.ID{j.lost}, j.helpers...) {
		if !sharing.Contains(j.cert.Parties, id) {
			return fmt.Errorf("participant %d is not one of the parties %v", id, j.cert.Parties)
		}
	}
	if sharing.Contains(j.helpers, j.lost) {
		return fmt.Errorf("participant %d, whose share was lost, is among the helpers %v", j.lost, j.helpers)
	}
	return nil
}

func (j *repairJob) write(w *wire.Writer) *wire.Writer {
	w.Uint16(uint16(j.lost))
	session.WriteIDs(w, j.helpers)
	return w
}

func (j *repairJob) hash() [32]byte {
	digest := j.cert.Digest()
	w := wire.NewWriter(jobVersion).Fixed(digest[:]).Uint64(j.cert.Epoch)
	return transcript.Sum(transcript.TagRepairJob, j.write(w).Bytes())
}

// checkParts demands that what a helper committed to adds up to its weighted
// share:  Σⱼ Δ_{i→j} = λᵢ(lost)·Xᵢ.
func (j *repairJob) checkParts(helper mpc.ID, parts []group.Point) error {
	if len(parts) != len(j.helpers) {
		return fmt.Errorf("%d committed parts, want %d", len(parts), len(j.helpers))
	}
	l, err := sharing.LagrangeAt(j.curve(), j.helpers, helper, j.lost)
	if err != nil {
		return err
	}
	if sumPoints(j.curve(), parts).Equal(j.curve().NewPoint().ScalarMult(l, j.cert.PublicShares[helper])) != 1 {
		return errors.New("committed parts do not add up to the helper's weighted public share")
	}
	return nil
}

func sumPoints(curve group.Curve, points []group.Point) group.Point {
	sum := curve.NewPoint()
	for _, p := range points {
		sum.Add(sum, p)
	}
	return sum
}

// Repair is one participant's run of the repair of a share. Its rounds are called
// once, in order; helpers end with Round3. It is not safe for concurrent use.
type Repair struct {
	cfg     RepairConfig
	job     *repairJob
	jobHash [32]byte
	all     []mpc.ID
	peers   []mpc.ID
	helps   bool
	rand    io.Reader
	ctx     [32]byte
	order   session.Order

	nonce [32]byte
	sid   [32]byte
	echo  [2][32]byte
	sent  [2][]byte

	split map[mpc.ID]group.Scalar // δ_{i→j}
	own   *committed
	heard map[mpc.ID]*committed // of the helpers, by id
	first map[mpc.ID][]byte     // all broadcasts of round 1: evidence
}

// committed is the body of P1 of a helper.
type committed struct {
	parts []group.Point // Δ_{i→j}, j ∈ helpers ascending
	sig   []byte
}

func (c *committed) write(w *wire.Writer) *wire.Writer {
	writePoints(w, c.parts)
	return w.Var(c.sig)
}

func readCommitted(r *wire.Reader, curve group.Curve) (*committed, error) {
	c := &committed{parts: readPoints(r, curve, "committed parts")}
	c.sig = readSignature(r, "signature on the parts")
	return c, r.Done()
}

// NewRepair checks the configuration and the certificate. rand must be a
// cryptographic source; it is the session's until it ends.
func NewRepair(cfg RepairConfig, rand io.Reader) (*Repair, error) {
	if cfg.Certificate == nil {
		return nil, errors.New("repair: no certificate")
	}
	cfg.Helpers = slices.Clone(cfg.Helpers)
	s := &Repair{cfg: cfg, order: session.NewOrder("repair"), rand: rand}
	s.job = &repairJob{cert: cfg.Certificate, lost: cfg.Lost, helpers: cfg.Helpers}
	if err := s.job.check(); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	s.all = s.job.participants()
	s.peers = without(s.all, cfg.Self)
	s.helps = sharing.Contains(cfg.Helpers, cfg.Self)
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	if rand == nil {
		return nil, errors.New("repair: no source of randomness")
	}
	roster, err := session.RosterHash(s.all, cfg.Identities)
	if err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	c := cfg.Certificate
	keyID, feldman := c.KeyID(), c.Feldman.Hash()
	ctx := session.Context{
		Suite:       c.Suite,
		Protocol:    session.Repair,
		KeyID:       keyID[:],
		Epoch:       c.Epoch,
		PublicKey:   c.PublicKey().Encode(),
		FeldmanHash: feldman[:],
		RosterHash:  roster,
		N:           len(c.Parties),
		T:           c.Threshold,
		Set:         s.all,
		Purpose:     c.Purpose,
	}
	s.ctx, s.jobHash = ctx.Hash(), s.job.hash()
	return s, nil
}

func (s *Repair) check() error {
	c := &s.cfg
	if !s.helps && c.Self != c.Lost {
		return fmt.Errorf("participant %d is neither a helper of %v nor the one that lost its share, %d", c.Self, c.Helpers, c.Lost)
	}
	if c.Sign == nil || c.Verify == nil {
		return errors.New("no session key: Sign and Verify are needed for the evidence of a helper's lie")
	}
	if err := c.Certificate.Complete(c.VerifyCertificate); err != nil {
		return err
	}
	if !s.helps {
		return nil
	}
	if c.Share == nil {
		return fmt.Errorf("participant %d is a helper and has no share", c.Self)
	}
	return checkShare(c.Share, c.Self, c.Certificate)
}

// SID returns the session id. It is zero before Round1.
func (s *Repair) SID() [32]byte { return s.sid }

// Participants are the helpers and the party that lost its share, ascending.
func (s *Repair) Participants() []mpc.ID { return slices.Clone(s.all) }

// Destroy ends the session and wipes its secrets. It may be called at any time.
func (s *Repair) Destroy() {
	s.order.Close()
	for _, d := range s.split {
		d.Destroy()
	}
}

// Format writes the participant only, whatever the verb.
func (s Repair) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "lifecycle.Repair(%d of %v)", s.cfg.Self, s.all)
}

// want is the header that a message of this round must have.
func (s *Repair) want(round uint8, to mpc.ID) session.Header {
	h := session.Header{Protocol: session.Repair, Round: round, Session: s.sid, Epoch: s.cfg.Certificate.Epoch, To: to}
	if round == 0 {
		h.Session = session.Attempt(s.cfg.AttemptID)
	}
	return h
}

func (s *Repair) header(round uint8, to mpc.ID) *session.Header {
	h := s.want(round, to)
	h.From = s.cfg.Self
	return &h
}
