package dkls23_test

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// manyVector is a session of many slots and what came of it;
// docs/spec/dkls23-presign.md says how to reproduce it. The key shares and the pair
// setups are those of the single signature's vector.
type manyVector struct {
	Suite       string                 `json:"suite"`
	Randomness  string                 `json:"randomness"`
	Label       string                 `json:"label"`
	Signers     []mpc.ID               `json:"signers"`
	AttemptID   mpctest.Hex            `json:"attempt_id"`
	RequestHash mpctest.Hex            `json:"request_hash"`
	Purpose     string                 `json:"purpose"`
	Attachment  string                 `json:"attachment"`
	Items       []itemVector           `json:"items"`
	SID         mpctest.Hex            `json:"sid"`
	Echo        [3]mpctest.Hex         `json:"echo"`
	Messages    map[string]mpctest.Hex `json:"messages_sha256"`
	Final       map[mpc.ID]mpctest.Hex `json:"final_shares,omitempty"` // of a batch
	Online      []onlineVector         `json:"online,omitempty"`       // of presignatures, by slot
}

type itemVector struct {
	MessageHash mpctest.Hex `json:"message_hash"`
	Tweak       mpctest.Hex `json:"tweak"`
	Path        mpctest.Hex `json:"path"`
	Signature   mpctest.Hex `json:"signature_r_s_recid"`
}

type onlineVector struct {
	Label        string                            `json:"label"`
	Presignature mpctest.Hex                       `json:"presignature_id"`
	A            map[mpc.ID]mpctest.Hex            `json:"a"`
	Private      map[mpc.ID]map[mpc.ID]mpctest.Hex `json:"a_private,omitempty"`
	Echoes       map[mpc.ID]mpctest.Hex            `json:"echoes,omitempty"`
	ID           mpctest.Hex                       `json:"id"`
	R            mpctest.Hex                       `json:"r"`
	Final        map[mpc.ID]mpctest.Hex            `json:"final_shares"`
}

func newManyVector(label string, m *mpctest.Many, items []dkls23.Item) *manyVector {
	first := m.Signers[0]
	v := &manyVector{
		Suite:      string(mpc.DKLS23Secp256k1),
		Randomness: `signer i reads SHAKE256("coffer/test/" || label || "/" || i), i in decimal; online with the label beside it`,
		Label:      label,
		Signers:    m.Signers,
		Purpose:    m.Keys[first].Purpose,
		Attachment: `"attachment " || r || " of " || i, round and signer in decimal; online "attachment A of " || i`,
		Messages:   mpctest.Sent(m.Broadcast[:], m.Private[:]),
	}
	sid := m.Sessions[first].SID()
	v.SID = sid[:]
	for r := range v.Echo {
		h := m.Sessions[first].Echo(r)
		v.Echo[r] = h[:]
	}
	for _, x := range items {
		it := itemVector{MessageHash: x.MessageHash[:], Path: x.Path}
		eps := [32]byte{}
		if x.Tweak != nil {
			eps = x.Tweak.Bytes()
		}
		it.Tweak = eps[:]
		v.Items = append(v.Items, it)
	}
	return v
}

// goldenKeys are the keys and setups of the vectors.
func goldenKeys(t *testing.T) (map[mpc.ID]*dkg.KeyShare, mpctest.Setups) {
	t.Helper()
	keys, _, err := mpctest.Keys("golden/dkg", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	return keys, dealtSetups(t, 1, 3)
}

func TestGoldenBatch(t *testing.T) {
	const label = "golden/batch"
	keys, setups := goldenKeys(t)
	items := mpctest.Items(3)
	m, err := mpctest.NewBatch(label, keys, setups, []mpc.ID{1, 3}, items, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	sigs, err := m.Combine()
	if err != nil {
		t.Fatal(err)
	}
	v := newManyVector(label, m, items)
	cfg := mpctest.BatchConfig(keys[1], m.Signers, setups[1], items)
	v.AttemptID, v.RequestHash = cfg.AttemptID[:], cfg.RequestHash[:]
	v.Final = make(map[mpc.ID]mpctest.Hex)
	for _, id := range m.Signers {
		if v.Final[id], err = m.Final[id].MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	}
	for k, sig := range sigs {
		raw := sig.Bytes()
		v.Items[k].Signature = raw[:]
	}
	mpctest.Golden(t, "testdata/"+v.Suite+"-batch3-2of3.json", v)
}

func TestGoldenPresign(t *testing.T) {
	for _, kind := range kinds {
		label := fmt.Sprintf("golden/presign/%v", kind)
		keys, setups := goldenKeys(t)
		items := mpctest.Items(2)
		m, err := mpctest.NewPresign(label, keys, setups, []mpc.ID{1, 3}, kind, len(items), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		v := newManyVector(label, m, items)
		cfg := mpctest.PresignConfig(keys[1], m.Signers, setups[1], kind, len(items))
		request := mpctest.OnlineConfig(keys[1], m.Signers).RequestHash
		v.AttemptID, v.RequestHash = cfg.AttemptID[:], request[:]
		for k, x := range items {
			label := fmt.Sprintf("%s/online/%d", label, k)
			id := m.Presigs[1][k].ID()
			o, err := mpctest.NewOnline(label, keys, m.Signers, slotOf(m, k), func(cfg *dkls23.OnlineConfig) {
				cfg.MessageHash, cfg.Tweak, cfg.Path = x.MessageHash, x.Tweak, x.Path
			})
			if err != nil {
				t.Fatal(err)
			}
			sig, err := o.Run()
			if err != nil {
				t.Fatal(err)
			}
			raw, online, r := sig.Bytes(), o.Sessions[1].ID(), o.Sessions[1].R()
			v.Items[k].Signature = raw[:]
			w := onlineVector{
				Label:        label,
				Presignature: id[:],
				A:            mpctest.HexMap(o.A),
				Private:      mpctest.HexPrivate(o.Private),
				Echoes:       mpctest.HexMap(o.Echoes),
				ID:           online[:],
				R:            r[:],
				Final:        make(map[mpc.ID]mpctest.Hex),
			}
			for _, id := range m.Signers {
				if w.Final[id], err = o.Final[id].MarshalBinary(); err != nil {
					t.Fatal(err)
				}
			}
			v.Online = append(v.Online, w)
		}
		mpctest.Golden(t, fmt.Sprintf("testdata/%s-presign-%v-2of3.json", v.Suite, kind), v)
	}
}
