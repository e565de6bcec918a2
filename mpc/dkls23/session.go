package dkls23

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Bounds of what a caller names.
const (
	MaxBatch = 64   // signatures or presignatures of one session
	MaxPath  = 1024 // bytes of an encoded derivation path
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
	// Path is the derivation path that gave Tweak, in the canonical encoding of
	// mpc/derive, or empty. It is bound into what the signers agree on, and
	// nothing is computed from it: that it leads to Tweak is the caller's.
	Path    []byte
	Purpose string // the key's: what the caller means to use it for
}

// Session is one signer's run of the protocol. Its rounds are called once, in
// order. It is not safe for concurrent use.
type Session struct {
	*run
	item item
}

// Format writes the party only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkls23.Session(%d of %v)", s.self, s.signers)
}

// item is one message to sign.
type item struct {
	h, tweak *secp256k1.Scalar
	job      [32]byte
}

// newItem checks one message to sign with the key.
func newItem(key *dkg.KeyShare, request, message [32]byte, tweak *secp256k1.Scalar, path []byte) (it item, err error) {
	public, err := publicKey(key)
	if err != nil {
		return it, err
	}
	it.h = secp256k1.NewScalar().SetReduced(&message)
	if it.h.IsZero() == 1 {
		return it, errors.New("message hash is 0 mod q: anybody can sign it, and no hash function gives it")
	}
	if len(path) > MaxPath {
		return it, fmt.Errorf("derivation path of %d bytes, at most %d", len(path), MaxPath)
	}
	it.tweak = secp256k1.NewScalar()
	if tweak != nil {
		it.tweak.Set(tweak)
	}
	it.job = jobHash(request, message, it.tweak, path)
	_, err = childKey(public, tweak)
	return it, err
}

// jobHash is RO("job", request hash, message hash, ε), with the path as a fourth
// item where there is one.
func jobHash(request, message [32]byte, tweak *secp256k1.Scalar, path []byte) [32]byte {
	eps := tweak.Bytes()
	items := [][]byte{request[:], message[:], eps[:]}
	if len(path) > 0 {
		items = append(items, path)
	}
	return transcript.Sum(transcript.TagJob, items...)
}

// New checks the configuration. rand must be a cryptographic source; it is the
// session's until it ends.
func New(cfg Config, rand io.Reader) (*Session, error) {
	if cfg.Key == nil {
		return nil, errors.New("dkls23: no key share")
	}
	it, err := newItem(cfg.Key, cfg.RequestHash, cfg.MessageHash, cfg.Tweak, cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	r, err := newRun(frame{
		protocol: session.DKLS23,
		key:      cfg.Key,
		signers:  cfg.Signers,
		setups:   cfg.Setups,
		attempt:  cfg.AttemptID,
		request:  cfg.RequestHash,
		job:      it.job,
		purpose:  cfg.Purpose,
		slots:    1,
	}, rand)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return &Session{run: r, item: it}, nil
}

// Round3 takes the peers' R2 and returns the final share. The caller makes
// "final share authorised" durable before it sends it. A quarantine abort is as
// in Round2. Whatever Round3 returns, the session has ended.
func (s *Session) Round3(r2, private map[mpc.ID][]byte) (out *FinalShare, err error) {
	if err := s.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy); s.Destroy() }()
	if err := s.finish(r2, private); err != nil {
		return nil, err
	}
	f := &FinalShare{From: s.self, SID: s.sid, Epoch: s.key.Epoch, Echo: s.echo[2], R: s.slots[0].totalBytes}
	s.slots[0].sign(&s.item, &f.W, &f.U)
	return f, nil
}

// publicKey is the key's, if it was made for this protocol: a key serves one
// scheme only.
func publicKey(key *dkg.KeyShare) (*secp256k1.Point, error) {
	if key.Suite != mpc.DKLS23Secp256k1 {
		return nil, fmt.Errorf("key is for suite %s, want one for %s: a key serves one scheme only", key.Suite, mpc.DKLS23Secp256k1)
	}
	return group.Secp256k1Point(key.PublicKey), nil
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
