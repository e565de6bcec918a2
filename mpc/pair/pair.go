package pair

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
	"github.com/cofferhq/coffer/mpc/vole"
)

// Config names the two vaults and this run.
type Config struct {
	Self, Peer mpc.ID
	// Context is the caller's hash of the cluster and both identity keys, equal
	// on both sides.
	Context [32]byte
	// SelfNonce and PeerNonce are the boot nonces of both vaults.
	SelfNonce, PeerNonce [32]byte
}

func (c *Config) check() error {
	if c.Self == 0 || c.Peer == 0 {
		return errors.New("participant id 0 is not allowed")
	}
	if c.Self == c.Peer {
		return fmt.Errorf("participant %d cannot be paired with itself", c.Self)
	}
	if c.SelfNonce == c.PeerNonce {
		return errors.New("both boot nonces are equal: the peer reflects ours")
	}
	return nil
}

// errStale: the message belongs to another run. It is ignored.
var errStale = errors.New("message of another pair setup run")

// Session is one run on one side. It is not safe for concurrent use.
type Session struct {
	cfg  Config
	rand io.Reader
	step uint8 // the step whose message is awaited
	dead error // set once; every later call returns it

	nonce [32]byte
	ot    *baseot.Sender
	psid  [32]byte
	seeds *baseot.ReceiverOutput // of Alice, until her trees are there
	bob   *pprf.Full
	alice *pprf.Punctured
	vole  *vole.Receiver
	hash  [32]byte

	sent, got [steps]digest // SHA-256 of both sides' messages, by step − 1
	held      []byte        // one message that came a step early
	done      bool
}

// New starts a run and returns the first message for the peer.
func New(cfg Config, rand io.Reader) (*Session, []byte, error) {
	if err := cfg.check(); err != nil {
		return nil, nil, fmt.Errorf("pair setup: %w", err)
	}
	s := &Session{cfg: cfg, rand: rand, step: 1}
	if _, err := io.ReadFull(rand, s.nonce[:]); err != nil {
		return nil, nil, fmt.Errorf("pair setup: couldn't read randomness for the nonce: %w", err)
	}
	ot, y, err := baseot.Start(rand)
	if err != nil {
		return nil, nil, fmt.Errorf("pair setup: %w", err)
	}
	s.ot = ot
	m := &message1{Nonce: s.nonce, OT: *y}
	return s, s.send(1, m.encode(s.header(1))), nil
}

// send records the digest of our message.
func (s *Session) send(step int, b []byte) []byte {
	s.sent[step-1] = digestOf(b)
	return b
}

// Deliver takes what the peer sent: one message, or several back to back. It
// returns what to send next, if anything, in the same form, and whether the
// setup is complete. Messages of another run are ignored; any error ends the
// session.
func (s *Session) Deliver(b []byte) (out []byte, done bool, err error) {
	if s.dead != nil {
		return nil, false, s.dead
	}
	if len(b) == 0 {
		s.fail(s.blame(errors.New("empty message")))
		return nil, false, s.dead
	}
	for len(b) > 0 {
		var msg []byte
		if msg, b, err = cut(b); err != nil {
			s.fail(s.blame(err))
			return nil, false, s.dead
		}
		if out, err = s.deliverAll(out, msg); err != nil {
			s.fail(err)
			return nil, false, s.dead
		}
	}
	return out, s.done, nil
}

// deliverAll takes one message, and then the one that was held for it.
func (s *Session) deliverAll(out, msg []byte) ([]byte, error) {
	for msg != nil {
		next, err := s.deliver(msg)
		if errors.Is(err, errStale) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, next...)
		msg = s.takeHeld()
	}
	return out, nil
}

// takeHeld returns the early message if its time has come.
func (s *Session) takeHeld() []byte {
	if s.held == nil || s.held[1] != s.step {
		return nil
	}
	m := s.held
	s.held = nil
	return m
}

// deliver handles one message: header, run, repeat, order; then its step.
func (s *Session) deliver(msg []byte) ([]byte, error) {
	h, err := decodeHeader(msg)
	if err != nil {
		return nil, s.blame(err)
	}
	if h.from != s.cfg.Peer || h.to != s.cfg.Self {
		return nil, s.blame(fmt.Errorf("message from %d to %d, want from %d to %d", h.from, h.to, s.cfg.Peer, s.cfg.Self))
	}
	if h.step < s.step || s.done {
		return nil, s.repeat(h, msg)
	}
	if h.step > s.step {
		return nil, s.hold(h, msg)
	}
	if h.step > 1 && h.psid != s.psid {
		return nil, fmt.Errorf("message %d: %w", h.step, errStale)
	}
	s.got[h.step-1] = digestOf(msg)
	out, err := s.advance(h.step, msg)
	if err != nil {
		return nil, err
	}
	s.step++
	return out, nil
}

// repeat ignores a message taken before, byte for byte.
func (s *Session) repeat(h header, msg []byte) error {
	if digestOf(msg) == s.got[h.step-1] {
		return nil
	}
	if h.step == 1 {
		return s.abort(mpc.Benign, errors.New("the peer began another run"))
	}
	if h.psid != s.psid {
		return fmt.Errorf("message %d: %w", h.step, errStale)
	}
	return s.blame(fmt.Errorf("two different messages %d", h.step))
}

// hold keeps one message that overtook another. A peer can be one step ahead at
// most, since it needs our answer for the next.
func (s *Session) hold(h header, msg []byte) error {
	if s.step > 1 && h.psid != s.psid {
		return fmt.Errorf("message %d: %w", h.step, errStale)
	}
	if h.step != s.step+1 {
		if s.step == 1 {
			return fmt.Errorf("message %d before message 1: %w", h.step, errStale)
		}
		return s.blame(fmt.Errorf("message %d while message %d is awaited", h.step, s.step))
	}
	if s.held == nil {
		s.held = append([]byte(nil), msg...)
	}
	return nil
}

func (s *Session) advance(step uint8, msg []byte) ([]byte, error) {
	switch step {
	case 1:
		return s.onKey(msg)
	case 2:
		return s.onTransfer(msg)
	case 3:
		return s.onExtend(msg)
	case 4:
		return s.onMultiply(msg)
	default:
		return nil, s.onConfirm(msg)
	}
}

// onKey: psid, then base OT as Alice.
func (s *Session) onKey(msg []byte) ([]byte, error) {
	var m message1
	if err := m.decode(msg); err != nil {
		return nil, s.blame(err)
	}
	s.psid = s.newPSID(&m)
	seeds, t, err := baseot.Receive(s.rand, s.instance(s.cfg.Peer, s.cfg.Self), &m.OT)
	if err != nil {
		return nil, s.internal(err)
	}
	s.seeds = seeds
	b, _ := t.MarshalBinary()
	return s.send(2, s.frame(2, b)), nil
}

// onTransfer: trees as Bob, then the VOLE's first message.
func (s *Session) onTransfer(msg []byte) ([]byte, error) {
	var t baseot.Message2
	if err := decodeBody(msg, &t); err != nil {
		return nil, s.blame(err)
	}
	inst := s.instance(s.cfg.Self, s.cfg.Peer)
	seeds, err := s.ot.Finish(inst, &t)
	if err != nil {
		return nil, s.blame(err)
	}
	var trees *pprf.Message
	s.bob, trees = pprf.Expand(inst, seeds)
	seeds.Destroy()
	r, m1, err := vole.Receive(s.rand, s.bob, s.testDSID(s.cfg.Self, s.cfg.Peer), testSize)
	if err != nil {
		return nil, s.internal(err)
	}
	s.vole = r
	m := message3{Trees: *trees, VOLE: m1}
	return s.send(3, s.frame(3, m.encode())), nil
}

// onExtend: trees as Alice, then the VOLE with throw-away inputs, sent with her
// shares.
func (s *Session) onExtend(msg []byte) ([]byte, error) {
	var in message3
	if err := decodeBody(msg, &in); err != nil {
		return nil, s.blame(err)
	}
	var err error
	if s.alice, err = pprf.Puncture(s.instance(s.cfg.Peer, s.cfg.Self), s.seeds, &in.Trees); err != nil {
		return nil, s.abort(mpc.Benign, fmt.Errorf("self-test of the trees: %w", err))
	}
	s.seeds.Destroy()
	s.seeds = nil
	var a [2]*secp256k1.Scalar
	for w := range a {
		a[w] = secp256k1.NewScalar()
		if err := a[w].SetRandom(s.rand); err != nil {
			return nil, s.internal(err)
		}
	}
	c, m2, err := vole.Send(s.rand, s.alice, s.testDSID(s.cfg.Peer, s.cfg.Self), in.VOLE, [][2]*secp256k1.Scalar{a})
	if errors.Is(err, vole.ErrCheck) {
		return nil, s.abort(mpc.Benign, fmt.Errorf("self-test of the OT extension: %w", err))
	}
	if err != nil {
		return nil, s.internal(err)
	}
	m := message4{VOLE: m2}
	for w := range a {
		m.A[w], m.C[w] = a[w].Bytes(), c[0][w].Bytes()
	}
	return s.send(4, s.frame(4, m.encode())), nil
}

// onMultiply: the VOLE's check as Bob, and c + d = a·χ.
func (s *Session) onMultiply(msg []byte) ([]byte, error) {
	var m message4
	if err := decodeBody(msg, &m); err != nil {
		return nil, s.blame(err)
	}
	d, err := s.vole.Finish(m.VOLE)
	if errors.Is(err, vole.ErrCheck) {
		return nil, s.abort(mpc.Benign, fmt.Errorf("self-test of the VOLE: %w", err))
	}
	if err != nil {
		return nil, s.blame(err)
	}
	ok := 1
	for w := range d[0] {
		var a, c, l, r secp256k1.Scalar
		if err := errors.Join(a.SetBytes(m.A[w][:]), c.SetBytes(m.C[w][:])); err != nil {
			return nil, s.blame(err)
		}
		l.Add(&c, &d[0][w])
		r.Mul(&a, s.vole.Chi(0))
		ok &= l.Equal(&r)
	}
	if ok != 1 {
		return nil, s.abort(mpc.Benign, errors.New("self-test of the VOLE: c + d is not a·χ"))
	}
	s.vole.Destroy()
	s.hash = s.transcriptHash()
	return s.send(5, s.frame(5, s.hash[:])), nil
}

// onConfirm: the peer saw the same transcript.
func (s *Session) onConfirm(msg []byte) error {
	var theirs message5
	if err := decodeBody(msg, &theirs); err != nil {
		return s.blame(err)
	}
	if theirs.Hash != s.hash {
		return s.abort(mpc.Benign, errors.New("the two sides saw different transcripts"))
	}
	s.done = true
	return nil
}

// Setup returns the result, once, after Deliver reported done. The caller owns
// it and destroys it.
func (s *Session) Setup() (*Setup, error) {
	if s.dead != nil {
		return nil, s.dead
	}
	if !s.done || s.bob == nil {
		return nil, errors.New("pair setup is not complete, or its result was already taken")
	}
	out := &Setup{Self: s.cfg.Self, Peer: s.cfg.Peer, Bob: s.bob, Alice: s.alice, Hash: s.hash}
	s.bob, s.alice = nil, nil
	return out, nil
}

// Destroy ends the session and overwrites its secrets, but not a Setup that was
// taken.
func (s *Session) Destroy() {
	if s != nil {
		s.fail(errors.New("pair setup session was destroyed"))
	}
}

func (s *Session) fail(err error) {
	if s.dead == nil {
		s.dead = err
	}
	s.ot.Destroy()
	s.seeds.Destroy()
	s.bob.Destroy()
	s.alice.Destroy()
	s.vole.Destroy()
	s.seeds, s.bob, s.alice, s.vole, s.held = nil, nil, nil, nil, nil
}

// abort, blame and internal make the Abort of each class. A reader of randomness
// that fails is our own fault: nobody is blamed.
func (s *Session) abort(class mpc.Class, err error, culprits ...mpc.ID) error {
	return &mpc.Abort{Class: class, Culprits: culprits, Step: fmt.Sprintf("pair setup, message %d", s.step), Err: err}
}

func (s *Session) blame(err error) error { return s.abort(mpc.Attributed, err, s.cfg.Peer) }

func (s *Session) internal(err error) error { return s.abort(mpc.Benign, err) }

func (s *Session) instance(sender, receiver mpc.ID) baseot.Instance {
	return baseot.Instance{PSID: s.psid, Sender: sender, Receiver: receiver}
}

func (s *Session) testDSID(bob, alice mpc.ID) [32]byte {
	return transcript.Sum(transcript.TagDSID, s.psid[:], []byte("pair self-test"),
		transcript.Uint16(uint16(bob)), transcript.Uint16(uint16(alice)))
}
