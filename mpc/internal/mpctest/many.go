package mpctest

import (
	"fmt"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Now is the time at which tests run; presignatures of tests expire an hour later.
var Now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Many is a run of a session of many slots, message by message: a batch, or
// presigning. A test may alter what lies in the maps between two rounds.
type Many struct {
	Signers  []mpc.ID
	Keys     map[mpc.ID]*dkg.KeyShare
	Batch    map[mpc.ID]*dkls23.Batch      // of a batch
	Presign  map[mpc.ID]*dkls23.Presigning // of presigning
	Sessions map[mpc.ID]Rounds             // either
	Items    []dkls23.Item
	// Broadcast[r][from] and Private[r][from][to] are the messages of round r.
	Broadcast [3]map[mpc.ID][]byte
	Private   [3]map[mpc.ID]map[mpc.ID][]byte
	Final     map[mpc.ID]*dkls23.BatchShare
	Presigs   map[mpc.ID][]*dkls23.Presignature
	// Errors of the last round, by signer.
	Errors map[mpc.ID]error
	// Bare leaves out the attachments.
	Bare bool
}

// Rounds are those that sessions of all kinds share.
type Rounds interface {
	Round0(attachment []byte) ([]byte, error)
	Round1(r0 map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error)
	Round2(r1, private map[mpc.ID][]byte, attachment []byte) ([]byte, map[mpc.ID][]byte, error)
	SID() [32]byte
	Echo(round int) [32]byte
	Destroy()
}

// Items are n different messages; every second one is of a child key.
func Items(n int) []dkls23.Item {
	out := make([]dkls23.Item, n)
	for k := range out {
		out[k].MessageHash = [32]byte{7, 31: byte(k + 1)}
		if k%2 == 1 {
			out[k].Tweak = Scalar("tweak %d", k)
			out[k].Path = []byte{1, byte(k)}
		}
	}
	return out
}

// Scalar is one drawn from Reader.
func Scalar(format string, args ...any) *secp256k1.Scalar {
	s := secp256k1.NewScalar()
	if err := s.SetRandom(Reader(format, args...)); err != nil {
		panic(err)
	}
	return s
}

// BatchConfig is the configuration of one signer of a batch.
func BatchConfig(key *dkg.KeyShare, signers []mpc.ID, setups map[mpc.ID]*pair.Setup, items []dkls23.Item) dkls23.BatchConfig {
	return dkls23.BatchConfig{
		Key:         key,
		Signers:     signers,
		Setups:      setups,
		AttemptID:   [16]byte{2},
		RequestHash: [32]byte{3},
		Items:       items,
		Purpose:     key.Purpose,
	}
}

// PresignConfig is the configuration of one signer of presigning.
func PresignConfig(key *dkg.KeyShare, signers []mpc.ID, setups map[mpc.ID]*pair.Setup, kind dkls23.Kind, count int) dkls23.PresignConfig {
	return dkls23.PresignConfig{
		Key:       key,
		Signers:   signers,
		Setups:    setups,
		AttemptID: [16]byte{5},
		Purpose:   key.Purpose,
		Kind:      kind,
		Count:     count,
		Expires:   Now.Add(time.Hour),
	}
}

func newMany(keys map[mpc.ID]*dkg.KeyShare, signers []mpc.ID) *Many {
	return &Many{
		Signers:  signers,
		Keys:     keys,
		Batch:    make(map[mpc.ID]*dkls23.Batch),
		Presign:  make(map[mpc.ID]*dkls23.Presigning),
		Sessions: make(map[mpc.ID]Rounds),
		Final:    make(map[mpc.ID]*dkls23.BatchShare),
		Presigs:  make(map[mpc.ID][]*dkls23.Presignature),
	}
}

// NewBatch makes the sessions of a batch; signer i draws from Reader(label/i).
func NewBatch(label string, keys map[mpc.ID]*dkg.KeyShare, setups Setups, signers []mpc.ID, items []dkls23.Item, edit func(*dkls23.BatchConfig)) (*Many, error) {
	m := newMany(keys, signers)
	m.Items = items
	for _, id := range signers {
		cfg := BatchConfig(keys[id], signers, setups[id], items)
		if edit != nil {
			edit(&cfg)
		}
		s, err := dkls23.NewBatch(cfg, Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		m.Batch[id], m.Sessions[id] = s, s
	}
	return m, nil
}

// NewPresign makes the sessions of presigning; signer i draws from
// Reader(label/i).
func NewPresign(label string, keys map[mpc.ID]*dkg.KeyShare, setups Setups, signers []mpc.ID, kind dkls23.Kind, count int, edit func(*dkls23.PresignConfig)) (*Many, error) {
	m := newMany(keys, signers)
	for _, id := range signers {
		cfg := PresignConfig(keys[id], signers, setups[id], kind, count)
		if edit != nil {
			edit(&cfg)
		}
		s, err := dkls23.NewPresigning(cfg, Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		m.Presign[id], m.Sessions[id] = s, s
	}
	return m, nil
}

// Round runs round r at every signer and returns the first error, by id.
func (m *Many) Round(r int) error {
	m.Errors = make(map[mpc.ID]error)
	if r < 3 {
		m.Broadcast[r] = make(map[mpc.ID][]byte)
		m.Private[r] = make(map[mpc.ID]map[mpc.ID][]byte)
	}
	for _, id := range m.Signers {
		m.Errors[id] = m.step(r, id)
	}
	return firstOf(m.Signers, m.Errors)
}

func firstOf(signers []mpc.ID, errs map[mpc.ID]error) error {
	for _, id := range signers {
		if err := errs[id]; err != nil {
			return fmt.Errorf("signer %d: %w", id, err)
		}
	}
	return nil
}

func (m *Many) step(r int, id mpc.ID) (err error) {
	var attachment []byte
	if !m.Bare {
		attachment = fmt.Appendf(nil, "attachment %d of %d", r, id)
	}
	switch p := m.Sessions[id]; r {
	case 0:
		m.Broadcast[0][id], err = p.Round0(attachment)
	case 1:
		m.Broadcast[1][id], m.Private[1][id], err = p.Round1(Except(m.Broadcast[0], id), attachment)
	case 2:
		m.Broadcast[2][id], m.Private[2][id], err = p.Round2(Except(m.Broadcast[1], id), Inbound(m.Private[1], id), attachment)
	case 3:
		if b := m.Batch[id]; b != nil {
			m.Final[id], err = b.Round3(Except(m.Broadcast[2], id), Inbound(m.Private[2], id))
		} else {
			m.Presigs[id], err = m.Presign[id].Round3(Except(m.Broadcast[2], id), Inbound(m.Private[2], id))
		}
	}
	return err
}

// Run runs all rounds.
func (m *Many) Run() error {
	for r := range 4 {
		if err := m.Round(r); err != nil {
			return err
		}
	}
	return nil
}

// Combine sends the final shares of a batch through their encoding and combines
// them.
func (m *Many) Combine() ([]*ecdsa.Signature, error) {
	shares := make([]*dkls23.BatchShare, len(m.Signers))
	for i, id := range m.Signers {
		b, err := m.Final[id].MarshalBinary()
		if err != nil {
			return nil, err
		}
		shares[i] = new(dkls23.BatchShare)
		if err := shares[i].UnmarshalBinary(b); err != nil {
			return nil, err
		}
	}
	return dkls23.CombineBatch(group.Secp256k1Point(m.Keys[m.Signers[0]].PublicKey), m.Signers, m.Items, shares)
}

// Online is a run of a signature from presignatures. A test may alter what lies
// in the maps between two rounds.
type Online struct {
	Signers  []mpc.ID
	Configs  map[mpc.ID]dkls23.OnlineConfig
	Sessions map[mpc.ID]*dkls23.Online
	A        map[mpc.ID][]byte
	Private  map[mpc.ID]map[mpc.ID][]byte
	Echoes   map[mpc.ID][]byte
	Final    map[mpc.ID]*dkls23.OnlineShare
	Errors   map[mpc.ID]error
	Bare     bool
}

// OnlineConfig is the configuration of one signer.
func OnlineConfig(key *dkg.KeyShare, signers []mpc.ID) dkls23.OnlineConfig {
	return dkls23.OnlineConfig{Key: key, Signers: signers, RequestHash: [32]byte{3}, MessageHash: [32]byte{4, 5, 6}}
}

// NewOnline opens one presignature of each signer; signer i draws from
// Reader(label/i).
func NewOnline(label string, keys map[mpc.ID]*dkg.KeyShare, signers []mpc.ID, presigs map[mpc.ID]*dkls23.Presignature, edit func(*dkls23.OnlineConfig)) (*Online, error) {
	o := &Online{
		Signers:  signers,
		Configs:  make(map[mpc.ID]dkls23.OnlineConfig),
		Sessions: make(map[mpc.ID]*dkls23.Online),
	}
	for _, id := range signers {
		cfg := OnlineConfig(keys[id], signers)
		if edit != nil {
			edit(&cfg)
		}
		s, err := dkls23.Open(presigs[id], cfg, Now, Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		o.Sessions[id], o.Configs[id] = s, cfg
	}
	return o, nil
}

// Round runs round r at every signer and returns the first error, by id.
func (o *Online) Round(r int) error {
	o.Errors = make(map[mpc.ID]error)
	switch r {
	case 0:
		o.A, o.Private = make(map[mpc.ID][]byte), make(map[mpc.ID]map[mpc.ID][]byte)
	case 1:
		o.Echoes = make(map[mpc.ID][]byte)
	case 2:
		o.Final = make(map[mpc.ID]*dkls23.OnlineShare)
	}
	for _, id := range o.Signers {
		o.Errors[id] = o.step(r, id)
	}
	return firstOf(o.Signers, o.Errors)
}

func (o *Online) step(r int, id mpc.ID) (err error) {
	switch s := o.Sessions[id]; r {
	case 0:
		var attachment []byte
		if !o.Bare {
			attachment = fmt.Appendf(nil, "attachment A of %d", id)
		}
		private := map[mpc.ID][]byte(nil)
		if o.A[id], private, err = s.Round0(attachment); private != nil {
			o.Private[id] = private
		}
	case 1:
		var echo []byte
		if echo, err = s.Round1(Except(o.A, id), Inbound(o.Private, id)); echo != nil {
			o.Echoes[id] = echo
		}
	case 2:
		o.Final[id], err = s.Round2(Except(o.Echoes, id))
	}
	return err
}

// Run runs all rounds and combines.
func (o *Online) Run() (*ecdsa.Signature, error) {
	for r := range 3 {
		if err := o.Round(r); err != nil {
			return nil, err
		}
	}
	return o.Combine()
}

// Combine sends the final shares through their encoding and combines them.
func (o *Online) Combine() (*ecdsa.Signature, error) {
	shares := make([]*dkls23.OnlineShare, len(o.Signers))
	for i, id := range o.Signers {
		b, err := o.Final[id].MarshalBinary()
		if err != nil {
			return nil, err
		}
		shares[i] = new(dkls23.OnlineShare)
		if err := shares[i].UnmarshalBinary(b); err != nil {
			return nil, err
		}
	}
	first := o.Signers[0]
	cfg := o.Configs[first]
	return dkls23.CombineOnline(group.Secp256k1Point(cfg.Key.PublicKey), o.Signers, o.Sessions[first].R(), cfg.MessageHash, cfg.Tweak, shares)
}
