package mpctest

import (
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Setups are the pair setups of a cluster: Setups[i][j] is i's with j.
type Setups map[mpc.ID]map[mpc.ID]*pair.Setup

// Pairs runs all pair setups; side i of the pair {i, j} draws from
// Reader(label/i-j).
func Pairs(label string, ids []mpc.ID) (Setups, error) {
	out := make(Setups)
	for _, id := range ids {
		out[id] = make(map[mpc.ID]*pair.Setup)
	}
	for i, a := range ids {
		for _, b := range ids[i+1:] {
			x, y, err := Pair(label, a, b)
			if err != nil {
				return nil, err
			}
			out[a][b], out[b][a] = x, y
		}
	}
	return out, nil
}

// Pair runs one pair setup.
func Pair(label string, a, b mpc.ID) (*pair.Setup, *pair.Setup, error) {
	boot := func(id mpc.ID) [32]byte { return [32]byte{0: 0xb0, 30: byte(id >> 8), 31: byte(id)} }
	config := func(self, peer mpc.ID) pair.Config {
		return pair.Config{Self: self, Peer: peer, SelfNonce: boot(self), PeerNonce: boot(peer)}
	}
	sa, ma, err := pair.New(config(a, b), Reader("%s/%d-%d", label, a, b))
	if err != nil {
		return nil, nil, err
	}
	sb, mb, err := pair.New(config(b, a), Reader("%s/%d-%d", label, b, a))
	if err != nil {
		return nil, nil, err
	}
	for range 5 {
		na, _, err := sa.Deliver(mb)
		if err != nil {
			return nil, nil, err
		}
		nb, _, err := sb.Deliver(ma)
		if err != nil {
			return nil, nil, err
		}
		ma, mb = na, nb
	}
	x, err := sa.Setup()
	if err != nil {
		return nil, nil, err
	}
	y, err := sb.Setup()
	return x, y, err
}

// Sign is a run of the signing protocol, message by message. A test may alter
// what lies in the maps between two rounds.
type Sign struct {
	Signers  []mpc.ID
	Sessions map[mpc.ID]*dkls23.Session
	Configs  map[mpc.ID]dkls23.Config
	// Broadcast[r][from] and Private[r][from][to] are the messages of round r.
	Broadcast [3]map[mpc.ID][]byte
	Private   [3]map[mpc.ID]map[mpc.ID][]byte
	Final     map[mpc.ID]*dkls23.FinalShare
	// Errors of the last round, by signer.
	Errors map[mpc.ID]error
	// Bare leaves out the attachments.
	Bare bool
}

// SignConfig is the configuration of one signer.
func SignConfig(key *dkg.KeyShare, signers []mpc.ID, setups map[mpc.ID]*pair.Setup) dkls23.Config {
	return dkls23.Config{
		Key:         key,
		Signers:     signers,
		Setups:      setups,
		AttemptID:   [16]byte{2},
		RequestHash: [32]byte{3},
		MessageHash: [32]byte{4, 5, 6},
		Purpose:     key.Purpose,
	}
}

// NewSign makes the sessions; signer i draws from Reader(label/i). edit may
// change a configuration.
func NewSign(label string, keys map[mpc.ID]*dkg.KeyShare, setups Setups, signers []mpc.ID, edit func(*dkls23.Config)) (*Sign, error) {
	s := &Sign{
		Signers:  signers,
		Sessions: make(map[mpc.ID]*dkls23.Session),
		Configs:  make(map[mpc.ID]dkls23.Config),
		Final:    make(map[mpc.ID]*dkls23.FinalShare),
	}
	for _, id := range signers {
		cfg := SignConfig(keys[id], signers, setups[id])
		if edit != nil {
			edit(&cfg)
		}
		session, err := dkls23.New(cfg, Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		s.Sessions[id], s.Configs[id] = session, cfg
	}
	return s, nil
}

// Round runs round r at every signer and returns the first error, by id.
func (s *Sign) Round(r int) error {
	s.Errors = make(map[mpc.ID]error)
	if r < 3 {
		s.Broadcast[r] = make(map[mpc.ID][]byte)
		s.Private[r] = make(map[mpc.ID]map[mpc.ID][]byte)
	}
	for _, id := range s.Signers {
		s.Errors[id] = s.step(r, id)
	}
	for _, id := range s.Signers {
		if err := s.Errors[id]; err != nil {
			return fmt.Errorf("signer %d: %w", id, err)
		}
	}
	return nil
}

func (s *Sign) step(r int, id mpc.ID) (err error) {
	var attachment []byte
	if !s.Bare {
		attachment = fmt.Appendf(nil, "attachment %d of %d", r, id)
	}
	switch p := s.Sessions[id]; r {
	case 0:
		s.Broadcast[0][id], err = p.Round0(attachment)
	case 1:
		s.Broadcast[1][id], s.Private[1][id], err = p.Round1(Except(s.Broadcast[0], id), attachment)
	case 2:
		s.Broadcast[2][id], s.Private[2][id], err = p.Round2(Except(s.Broadcast[1], id), Inbound(s.Private[1], id), attachment)
	case 3:
		s.Final[id], err = p.Round3(Except(s.Broadcast[2], id), Inbound(s.Private[2], id))
	}
	return err
}

// Run runs all rounds and combines.
func (s *Sign) Run() (*ecdsa.Signature, error) {
	for r := range 4 {
		if err := s.Round(r); err != nil {
			return nil, err
		}
	}
	return s.Combine()
}

// Combine sends the final shares through their encoding and combines them.
func (s *Sign) Combine() (*ecdsa.Signature, error) {
	shares := make([]*dkls23.FinalShare, len(s.Signers))
	for i, id := range s.Signers {
		b, err := s.Final[id].MarshalBinary()
		if err != nil {
			return nil, err
		}
		shares[i] = new(dkls23.FinalShare)
		if err := shares[i].UnmarshalBinary(b); err != nil {
			return nil, err
		}
	}
	cfg := s.Configs[s.Signers[0]]
	return dkls23.Combine(group.Secp256k1Point(cfg.Key.PublicKey), s.Signers, cfg.MessageHash, cfg.Tweak, shares)
}

// Child is the key that the signature verifies under.
func (s *Sign) Child() [33]byte {
	cfg := s.Configs[s.Signers[0]]
	p := secp256k1.NewPoint().Set(group.Secp256k1Point(cfg.Key.PublicKey))
	if cfg.Tweak != nil {
		p.Add(p, secp256k1.NewPoint().ScalarBaseMult(cfg.Tweak))
	}
	return p.Bytes()
}
