package dkls23_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// slotsModel are runs of internal/refmodel, of sessions with many slots.
type slotsModel struct {
	Note  []string   `json:"note"`
	Batch manyVector `json:"batch"`
	V1    manyVector `json:"presign_v1"`
	V2    manyVector `json:"presign_v2"`
}

func loadSlotsModel(t *testing.T) (v slotsModel, keys map[mpc.ID]*dkg.KeyShare, setups mpctest.Setups) {
	t.Helper()
	b, err := os.ReadFile("../../internal/refmodel/testdata/model-" + string(mpc.DKLS23Secp256k1) + "-slots.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	m := mpctest.LoadModel(t, modelFile)
	keys = make(map[mpc.ID]*dkg.KeyShare)
	for _, id := range m.Signers {
		if keys[id], err = dkg.DecodeKeyShare(m.KeyShares[id]); err != nil {
			t.Fatal(err)
		}
	}
	return v, keys, modelSetups(t, m)
}

func (v *manyVector) items(t *testing.T) []dkls23.Item {
	t.Helper()
	var out []dkls23.Item
	for _, x := range v.Items {
		tweak := secp256k1.NewScalar()
		if err := tweak.SetBytes(x.Tweak); err != nil {
			t.Fatal(err)
		}
		out = append(out, dkls23.Item{MessageHash: [32]byte(x.MessageHash), Tweak: tweak, Path: x.Path})
	}
	return out
}

// replayed compares the three rounds of a session with the model's.
func (v *manyVector) replayed(t *testing.T, m *mpctest.Many) {
	t.Helper()
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	for _, id := range v.Signers {
		sid := m.Sessions[id].SID()
		mpctest.Same(t, "sid", sid[:], v.SID)
		for r, want := range v.Echo {
			h := m.Sessions[id].Echo(r)
			mpctest.Same(t, fmt.Sprintf("h_%d of %d", r, id), h[:], want)
		}
	}
	mpctest.SameMessages(t, mpctest.Sent(m.Broadcast[:], m.Private[:]), v.Messages)
}

// The reference model, written from the specification alone, and this package
// agree on every byte of a batch of four, with three signers, ids up to 65535.
func TestModelBatch(t *testing.T) {
	model, keys, setups := loadSlotsModel(t)
	v := model.Batch
	m, err := mpctest.NewBatch(v.Label, keys, setups, v.Signers, v.items(t), func(cfg *dkls23.BatchConfig) {
		cfg.AttemptID, cfg.RequestHash, cfg.Purpose = [16]byte(v.AttemptID), [32]byte(v.RequestHash), v.Purpose
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Bare = true
	v.replayed(t, m)
	for _, id := range v.Signers {
		b, err := m.Final[id].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		mpctest.Same(t, fmt.Sprintf("final share of %d", id), b, v.Final[id])
	}
	sigs, err := m.Combine()
	if err != nil {
		t.Fatal(err)
	}
	for k, sig := range sigs {
		raw := sig.Bytes()
		mpctest.Same(t, fmt.Sprintf("signature %d", k), raw[:], v.Items[k].Signature)
	}
}

// So they do on presignatures of both kinds and what is signed with them, the
// echo of A included.
func TestModelPresign(t *testing.T) {
	for _, kind := range kinds {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			model, keys, setups := loadSlotsModel(t)
			v := model.V1
			if kind == dkls23.Full {
				v = model.V2
			}
			items := v.items(t)
			m, err := mpctest.NewPresign(v.Label, keys, setups, v.Signers, kind, len(items), func(cfg *dkls23.PresignConfig) {
				cfg.AttemptID, cfg.Purpose = [16]byte(v.AttemptID), v.Purpose
			})
			if err != nil {
				t.Fatal(err)
			}
			m.Bare = true
			v.replayed(t, m)
			for k, w := range v.Online {
				v.replayOnline(t, m, k, w, items[k])
			}
		})
	}
}

func (v *manyVector) replayOnline(t *testing.T, m *mpctest.Many, k int, w onlineVector, x dkls23.Item) {
	t.Helper()
	o, err := mpctest.NewOnline(w.Label, m.Keys, v.Signers, slotOf(m, k), func(cfg *dkls23.OnlineConfig) {
		cfg.RequestHash, cfg.MessageHash, cfg.Tweak, cfg.Path = [32]byte(v.RequestHash), x.MessageHash, x.Tweak, x.Path
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Bare = true
	sig, err := o.Run()
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Private) != len(w.Private) || len(o.Echoes) != len(w.Echoes) {
		t.Errorf("%d senders of private messages, %d echoes, the model has %d and %d", len(o.Private), len(o.Echoes), len(w.Private), len(w.Echoes))
	}
	for _, id := range v.Signers {
		ps, online, r := m.Presigs[id][k].ID(), o.Sessions[id].ID(), o.Sessions[id].R()
		mpctest.Same(t, "presignature id", ps[:], w.Presignature)
		mpctest.Same(t, "signature id", online[:], w.ID)
		mpctest.Same(t, "R", r[:], w.R)
		mpctest.Same(t, fmt.Sprintf("A of %d", id), o.A[id], w.A[id])
		mpctest.Same(t, fmt.Sprintf("echo of %d", id), o.Echoes[id], w.Echoes[id])
		for to, b := range w.Private[id] {
			mpctest.Same(t, fmt.Sprintf("A from %d to %d", id, to), o.Private[id][to], b)
		}
		b, err := o.Final[id].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		mpctest.Same(t, fmt.Sprintf("B of %d", id), b, w.Final[id])
	}
	raw := sig.Bytes()
	mpctest.Same(t, "signature", raw[:], v.Items[k].Signature)
}
