package dkls23_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// All abort before any share.
func TestPitfall31_OnlineDifferentJobs(t *testing.T) {
	for _, n := range []int{2, 3} {
		c := shared(t, 3, n)
		for _, kind := range kinds {
			for name, edit := range map[string]func(*dkls23.OnlineConfig){
				"message hash": func(cfg *dkls23.OnlineConfig) { cfg.MessageHash[31] ^= 1 },
				"tweak":        func(cfg *dkls23.OnlineConfig) { cfg.Tweak = one },
				"path":         func(cfg *dkls23.OnlineConfig) { cfg.Path = []byte{0} },
				"request":      func(cfg *dkls23.OnlineConfig) { cfg.RequestHash[0] ^= 1 },
			} {
				o := c.online(t, "p31", mpctest.IDs(n), c.presignatures(t, "p31", mpctest.IDs(n), kind), func(cfg *dkls23.OnlineConfig) {
					if cfg.Key.ID == 2 {
						edit(cfg)
					}
				})
				if err := o.Round(0); err != nil {
					t.Fatal(err)
				}
				_ = o.Round(1)
				for _, id := range o.Signers {
					mpctest.WantAbort(t, o.Errors[id], mpc.Benign)
					mpctest.WantStep(t, o.Errors[id], dkls23.StepA)
					if !o.Sessions[id].Wiped() || o.Echoes[id] != nil {
						t.Errorf("%v, another %s: signer %d keeps secrets or goes on", kind, name, id)
					}
				}
			}
		}
	}
}

func TestPitfall31_BatchDifferentItems(t *testing.T) {
	c := shared(t, 3, 2)
	for name, edit := range map[string]func(*dkls23.BatchConfig){
		"message of the last item": func(cfg *dkls23.BatchConfig) { cfg.Items[2].MessageHash[31] ^= 1 },
		"tweak of the first":       func(cfg *dkls23.BatchConfig) { cfg.Items[0].Tweak = one },
		"path":                     func(cfg *dkls23.BatchConfig) { cfg.Items[1].Path = []byte{0} },
		"order":                    func(cfg *dkls23.BatchConfig) { cfg.Items[0], cfg.Items[2] = cfg.Items[2], cfg.Items[0] },
		"an item less":             func(cfg *dkls23.BatchConfig) { cfg.Items = cfg.Items[:2] },
		"request":                  func(cfg *dkls23.BatchConfig) { cfg.RequestHash[0] ^= 1 },
	} {
		m := c.batch(t, "p31", mpctest.IDs(2), mpctest.Items(3), func(cfg *dkls23.BatchConfig) {
			cfg.Items = mpctest.Items(3)
			if cfg.Key.ID == 2 {
				edit(cfg)
			}
		})
		if err := m.Round(0); err != nil {
			t.Fatal(err)
		}
		_ = m.Round(1)
		for _, id := range m.Signers {
			t.Run(name, func(t *testing.T) {
				mpctest.WantAbort(t, m.Errors[id], mpc.Benign)
				mpctest.WantStep(t, m.Errors[id], dkls23.Step1)
			})
		}
	}
	// Presigning of another number.
	m := c.presign(t, "p31", mpctest.IDs(2), dkls23.Full, 2, func(cfg *dkls23.PresignConfig) { cfg.Count += int(cfg.Key.ID) })
	if err := m.Round(0); err != nil {
		t.Fatal(err)
	}
	_ = m.Round(1)
	mpctest.WantAbort(t, m.Errors[1], mpc.Benign)
}

// Nonces that cancel, in the second slot.
func TestPitfall36_ManyNoncesThatCancel(t *testing.T) {
	c := shared(t, 3, 2)
	k := secp256k1.NewScalar().SetUint64(36)
	minus := secp256k1.NewScalar().Negate(k)
	for _, flavour := range flavours {
		m := c.start(t, flavour, mpctest.IDs(2), -1)
		for id, r := range map[mpc.ID]*secp256k1.Scalar{1: k, 2: minus} {
			// Drawn: the nonce of R0 (32), then of each slot r (48), φ (48), salt (32).
			rest := mpctest.Reader("p36 #%d/%d", runs.Add(1), id)
			b := r.Bytes()
			rand := io.MultiReader(io.LimitReader(rest, 32+128), bytes.NewReader(append(make([]byte, 16), b[:]...)), rest)
			if flavour == "batch" {
				s, err := dkls23.NewBatch(mpctest.BatchConfig(c.keys[id], m.Signers, c.setups[id], m.Items), rand)
				if err != nil {
					t.Fatal(err)
				}
				m.Batch[id], m.Sessions[id] = s, s
				continue
			}
			kind := map[string]dkls23.Kind{"V1": dkls23.Delayed, "V2": dkls23.Full}[flavour]
			s, err := dkls23.NewPresigning(mpctest.PresignConfig(c.keys[id], m.Signers, c.setups[id], kind, 2), rand)
			if err != nil {
				t.Fatal(err)
			}
			m.Presign[id], m.Sessions[id] = s, s
		}
		err := m.Run()
		if flavour == "V1" {
			if err != nil {
				t.Fatal(err)
			}
			o := c.online(t, "p36", m.Signers, slotOf(m, 1), nil)
			_, err = o.Run()
			mpctest.WantStep(t, err, dkls23.StepB)
		}
		mpctest.WantAbort(t, err, mpc.Unattributed)
	}
}

// What does not verify is not released, and says which. The other signatures of a
// batch are.
func TestPitfall39_ManyInvalidSignatures(t *testing.T) {
	c := shared(t, 3, 2)
	m := c.start(t, "batch", mpctest.IDs(2), 3)
	m.Final[2].Slots[1].W.Add(&m.Final[2].Slots[1].W, one)
	sigs, err := m.Combine()
	mpctest.WantAbort(t, err, mpc.Unattributed)
	if !strings.Contains(err.Error(), "item 1: ") || strings.Contains(err.Error(), "item 0: ") || len(sigs) != 2 || sigs[1] != nil {
		t.Errorf("%v, %v", sigs, err)
	}
	verify(t, c, m.Items[0].Tweak, m.Items[0].MessageHash, sigs[0])
	// Many items of one key are verified with a table.
	items := mpctest.Items(5)
	for k := range items {
		items[k].Tweak, items[k].Path = nil, nil
	}
	m = c.batch(t, "p39 table", mpctest.IDs(2), items, nil)
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	m.Final[2].Slots[3].U.Add(&m.Final[2].Slots[3].U, one)
	sigs, err = m.Combine()
	mpctest.WantAbort(t, err, mpc.Unattributed)
	for k, sig := range sigs {
		if k == 3 && sig == nil {
			continue
		}
		verify(t, c, nil, items[k].MessageHash, sig)
	}
	for _, kind := range kinds {
		for name, change := range map[string]func(*dkls23.OnlineShare){
			"w": func(f *dkls23.OnlineShare) { f.W.Add(&f.W, one) },
			"u": func(f *dkls23.OnlineShare) { f.U.Add(&f.U, one) },
		} {
			presigs := c.presignatures(t, "p39", mpctest.IDs(2), kind)
			o := c.online(t, "p39", mpctest.IDs(2), presigs, nil)
			for r := range 3 {
				if err := o.Round(r); err != nil {
					t.Fatal(err)
				}
			}
			good := []*dkls23.OnlineShare{o.Final[1], o.Final[2]}
			sig, err := o.Sessions[1].Combine(good)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, c, nil, o.Configs[1].MessageHash, sig)
			// R as nobody encodes it.
			point := o.Sessions[1].R()
			for _, prefix := range []byte{0, 4, 6, 0x82} {
				point[0] = prefix
				_, err := dkls23.CombineOnline(publicKey(c), o.Signers, point, o.Configs[1].MessageHash, nil, good)
				mpctest.WantAbort(t, err, mpc.Unattributed)
			}
			change(o.Final[2])
			sig, err = o.Sessions[1].Combine([]*dkls23.OnlineShare{o.Final[1], o.Final[2]})
			mpctest.WantAbort(t, err, mpc.Unattributed)
			if sig != nil {
				t.Errorf("%v, %s: a signer releases %v", kind, name, sig)
			}
			sig, err = o.Combine()
			t.Run(fmt.Sprint(kind, name), func(t *testing.T) {
				mpctest.WantAbort(t, err, mpc.Unattributed)
				mpctest.WantStep(t, err, dkls23.StepCombineName)
			})
			if sig != nil {
				t.Errorf("%v, %s: %v is released", kind, name, sig)
			}
			if !presigs[1].Used() {
				t.Error("the presignature can be tried again")
			}
		}
	}
}

// publicKey is the cluster's public key.
func publicKey(c *cluster) *secp256k1.Point {
	return group.Secp256k1Point(c.keys[1].PublicKey)
}
