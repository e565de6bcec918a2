package dkls23_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// pools are one pool of each signer, filled as a vault does it: in the background,
// with as many as Want says.
type pools struct {
	*cluster
	by map[mpc.ID]*dkls23.Pool
}

func (c *cluster) pools(t *testing.T, target int) *pools {
	t.Helper()
	p := &pools{c, make(map[mpc.ID]*dkls23.Pool)}
	for id := range c.keys {
		var err error
		if p.by[id], err = dkls23.NewPool(target); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *pools) refill(t *testing.T, signers []mpc.ID, kind dkls23.Kind, now time.Time, edit func(*dkls23.PresignConfig)) int {
	t.Helper()
	k := p.keys[signers[0]]
	n := p.by[signers[0]].Want(k.KeyID, k.Epoch, kind, signers, now)
	if n == 0 {
		return 0
	}
	m := p.presign(t, "pool", signers, kind, n, edit)
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	for _, id := range signers {
		if err := p.by[id].Add(m.Presigs[id]...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// sign takes what the first signer names, at all signers, and signs.
func (p *pools) sign(t *testing.T, signers []mpc.ID, kind dkls23.Kind) bool {
	t.Helper()
	k := p.keys[signers[0]]
	id, ok := p.by[signers[0]].Pick(k.KeyID, k.Epoch, kind, signers, mpctest.Now)
	if !ok {
		return false
	}
	taken := make(map[mpc.ID]*dkls23.Presignature)
	for _, s := range signers {
		var err error
		if taken[s], err = p.by[s].Take(id, mpctest.Now); err != nil {
			t.Fatal(err)
		}
	}
	o := p.online(t, "pool", signers, taken, nil)
	sig, err := o.Run()
	if err != nil {
		t.Fatal(err)
	}
	verify(t, p.cluster, nil, o.Configs[signers[0]].MessageHash, sig)
	return true
}

func TestPool(t *testing.T) {
	c := shared(t, 3, 2)
	p := c.pools(t, 3)
	k := c.keys[1]
	ids, other := []mpc.ID{1, 2}, []mpc.ID{1, 3}
	want := func(signers []mpc.ID, kind dkls23.Kind, n int) {
		t.Helper()
		if got := p.by[1].Want(k.KeyID, k.Epoch, kind, signers, mpctest.Now); got != n {
			t.Errorf("pool of %v wants %d, not %d", signers, got, n)
		}
	}
	if p.sign(t, ids, dkls23.Full) {
		t.Error("an empty pool names a presignature")
	}
	want(ids, dkls23.Full, 3)
	if n := p.refill(t, ids, dkls23.Full, mpctest.Now, nil); n != 3 {
		t.Errorf("refilled with %d", n)
	}
	if n := p.refill(t, ids, dkls23.Full, mpctest.Now, nil); n != 0 {
		t.Errorf("a full pool is refilled with %d", n)
	}
	// Another set, kind, key and epoch have nothing of it.
	want(other, dkls23.Full, 3)
	want(ids, dkls23.Delayed, 3)
	if n := p.by[1].Want([32]byte{}, k.Epoch, dkls23.Full, ids, mpctest.Now); n != 3 {
		t.Errorf("another key: wants %d", n)
	}
	if n := p.by[1].Want(k.KeyID, k.Epoch+1, dkls23.Full, ids, mpctest.Now); n != 3 {
		t.Errorf("another epoch: wants %d", n)
	}
	for left := 2; left >= 0; left-- {
		if !p.sign(t, ids, dkls23.Full) {
			t.Fatal("the pool names nothing")
		}
		want(ids, dkls23.Full, 3-left)
	}
	if p.sign(t, ids, dkls23.Full) {
		t.Error("the pool names a presignature that it does not have")
	}
	p.refill(t, ids, dkls23.Delayed, mpctest.Now, nil)
	if !p.sign(t, ids, dkls23.Delayed) {
		t.Error("the pool has no V1")
	}
	if out := fmt.Sprintf("%v %+v", p.by[1], p.by[1]); out != "dkls23.Pool(2 presignatures of 1 sets) dkls23.Pool(2 presignatures of 1 sets)" {
		t.Error(out)
	}
}

// A signer that lacks what the proposer names says so, benignly, and its own stay.
func TestPoolLacking(t *testing.T) {
	c := shared(t, 3, 2)
	p := c.pools(t, 2)
	p.refill(t, []mpc.ID{1, 2}, dkls23.Full, mpctest.Now, nil)
	k := c.keys[1]
	id, _ := p.by[1].Pick(k.KeyID, k.Epoch, dkls23.Full, []mpc.ID{1, 2}, mpctest.Now)
	_, err := p.by[3].Take(id, mpctest.Now)
	mpctest.WantAbort(t, err, mpc.Benign)
	if !errors.Is(err, dkls23.ErrLacking) {
		t.Errorf("%v, want ErrLacking", err)
	}
	x, err := p.by[1].Take(id, mpctest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.by[1].Take(id, mpctest.Now); !errors.Is(err, dkls23.ErrLacking) {
		t.Errorf("taken twice: %v", err)
	}
	// What was taken may come back, once; what was used may not.
	if err := p.by[1].Add(x); err != nil {
		t.Fatal(err)
	}
	if err := p.by[1].Add(x); err == nil {
		t.Error("one presignature twice")
	}
	x.Destroy()
	if _, err := p.by[1].Take(id, mpctest.Now); !errors.Is(err, dkls23.ErrLacking) {
		t.Errorf("a presignature that was used meanwhile: %v", err)
	}
	if err := p.by[1].Add(x); !errors.Is(err, dkls23.ErrUsed) {
		t.Errorf("added after use: %v", err)
	}
	for _, none := range []*dkls23.Presignature{nil, {}} {
		if err := p.by[1].Add(none); err == nil {
			t.Error("nothing is added")
		}
	}
	for _, target := range []int{-1, 0, dkls23.MaxTarget + 1} {
		if _, err := dkls23.NewPool(target); err == nil {
			t.Errorf("a pool of %d", target)
		}
	}
	if p.by[1].Want(k.KeyID, k.Epoch, dkls23.Full, make([]mpc.ID, 17), mpctest.Now) != 0 {
		t.Error("a pool wants presignatures for 17 signers")
	}
}

// What expires, what is of another epoch and what needs a peer that is gone is
// destroyed, not only hidden.
func TestPoolDrops(t *testing.T) {
	c := shared(t, 3, 2)
	k := c.keys[1]
	fill := func() (*pools, []*dkls23.Presignature) {
		p := c.pools(t, 2)
		p.refill(t, []mpc.ID{1, 2}, dkls23.Full, mpctest.Now, nil)
		p.refill(t, []mpc.ID{1, 3}, dkls23.Delayed, mpctest.Now, func(cfg *dkls23.PresignConfig) { cfg.Expires = mpctest.Now.Add(time.Minute) })
		var all []*dkls23.Presignature
		for _, set := range []struct {
			kind    dkls23.Kind
			signers []mpc.ID
		}{{dkls23.Full, []mpc.ID{1, 2}}, {dkls23.Delayed, []mpc.ID{1, 3}}} {
			for range 2 {
				id, ok := p.by[1].Pick(k.KeyID, k.Epoch, set.kind, set.signers, mpctest.Now)
				if !ok {
					t.Fatal("nothing to pick")
				}
				x, err := p.by[1].Take(id, mpctest.Now)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, x)
			}
		}
		if err := p.by[1].Add(all...); err != nil {
			t.Fatal(err)
		}
		return p, all
	}
	used := func(all []*dkls23.Presignature) (out []bool) {
		for _, x := range all {
			out = append(out, x.Used())
		}
		return out
	}
	for name, v := range map[string]struct {
		drop func(*dkls23.Pool) int
		n    int
		want []bool
	}{
		"nothing expired": {func(p *dkls23.Pool) int { return p.Expire(mpctest.Now) }, 0, []bool{false, false, false, false}},
		"some expired":    {func(p *dkls23.Pool) int { return p.Expire(mpctest.Now.Add(time.Minute)) }, 2, []bool{false, false, true, true}},
		"all expired":     {func(p *dkls23.Pool) int { return p.Expire(mpctest.Now.Add(time.Hour)) }, 4, []bool{true, true, true, true}},
		"peer 2":          {func(p *dkls23.Pool) int { return p.DropPeer(2) }, 2, []bool{true, true, false, false}},
		"peer 3":          {func(p *dkls23.Pool) int { return p.DropPeer(3) }, 2, []bool{false, false, true, true}},
		"a stranger":      {func(p *dkls23.Pool) int { return p.DropPeer(9) }, 0, []bool{false, false, false, false}},
		"epoch 2":         {func(p *dkls23.Pool) int { return p.KeepEpoch(k.KeyID, 2) }, 4, []bool{true, true, true, true}},
		"epoch 1":         {func(p *dkls23.Pool) int { return p.KeepEpoch(k.KeyID, 1) }, 0, []bool{false, false, false, false}},
		"another key's":   {func(p *dkls23.Pool) int { return p.KeepEpoch([32]byte{}, 2) }, 0, []bool{false, false, false, false}},
		"drained":         {func(p *dkls23.Pool) int { return p.Drain() }, 4, []bool{true, true, true, true}},
		"expired, by asking": {func(p *dkls23.Pool) int {
			return p.Want(k.KeyID, 1, dkls23.Delayed, []mpc.ID{1, 3}, mpctest.Now.Add(time.Minute))
		}, 2, []bool{false, false, true, true}},
	} {
		p, all := fill()
		if n := v.drop(p.by[1]); n != v.n || !slices.Equal(used(all), v.want) {
			t.Errorf("%s: %d, %v, want %d, %v", name, n, used(all), v.n, v.want)
		}
	}
	// An expired one is neither named nor given.
	late := mpctest.Now.Add(time.Minute)
	p, _ := fill()
	if _, ok := p.by[1].Pick(k.KeyID, k.Epoch, dkls23.Delayed, []mpc.ID{1, 3}, late); ok {
		t.Error("an expired presignature is named")
	}
	q, all := fill()
	if _, err := q.by[1].Take(all[3].ID(), late); !errors.Is(err, dkls23.ErrLacking) {
		t.Errorf("an expired presignature is given: %v", err)
	}
	// The soonest to expire goes first.
	p = c.pools(t, 1)
	for _, minutes := range []int{50, 20, 40} {
		m := c.presign(t, "order", []mpc.ID{1, 2}, dkls23.Full, 1, func(cfg *dkls23.PresignConfig) {
			cfg.Expires = mpctest.Now.Add(time.Duration(minutes) * time.Minute)
		})
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		if err := p.by[1].Add(m.Presigs[1]...); err != nil {
			t.Fatal(err)
		}
	}
	for _, minutes := range []int{20, 40, 50} {
		id, _ := p.by[1].Pick(k.KeyID, k.Epoch, dkls23.Full, []mpc.ID{1, 2}, mpctest.Now)
		x, err := p.by[1].Take(id, mpctest.Now)
		if err != nil || !x.Expires().Equal(mpctest.Now.Add(time.Duration(minutes)*time.Minute)) {
			t.Errorf("%v expires at %v, want in %d minutes", x, x.Expires(), minutes)
		}
	}
}

func TestManyConfigIsChecked(t *testing.T) {
	c := shared(t, 3, 2)
	for name, edit := range map[string]func(*dkls23.BatchConfig){
		"no key":           func(cfg *dkls23.BatchConfig) { cfg.Key = nil },
		"no items":         func(cfg *dkls23.BatchConfig) { cfg.Items = nil },
		"too many":         func(cfg *dkls23.BatchConfig) { cfg.Items = mpctest.Items(dkls23.MaxBatch + 1) },
		"h = 0 in an item": func(cfg *dkls23.BatchConfig) { cfg.Items[1].MessageHash = [32]byte{} },
		"long path":        func(cfg *dkls23.BatchConfig) { cfg.Items[1].Path = make([]byte, dkls23.MaxPath+1) },
		"no setup":         func(cfg *dkls23.BatchConfig) { cfg.Setups = nil },
		"purpose":          func(cfg *dkls23.BatchConfig) { cfg.Purpose = "another" },
		"signers":          func(cfg *dkls23.BatchConfig) { cfg.Signers = mpctest.IDs(3) },
	} {
		cfg := mpctest.BatchConfig(c.keys[1], mpctest.IDs(2), c.setups[1], mpctest.Items(2))
		edit(&cfg)
		if _, err := dkls23.NewBatch(cfg, mpctest.Reader("config")); err == nil {
			t.Errorf("batch, %s: accepted", name)
		}
	}
	for name, edit := range map[string]func(*dkls23.PresignConfig){
		"no key":    func(cfg *dkls23.PresignConfig) { cfg.Key = nil },
		"none":      func(cfg *dkls23.PresignConfig) { cfg.Count = 0 },
		"negative":  func(cfg *dkls23.PresignConfig) { cfg.Count = -1 },
		"too many":  func(cfg *dkls23.PresignConfig) { cfg.Count = dkls23.MaxBatch + 1 },
		"no expiry": func(cfg *dkls23.PresignConfig) { cfg.Expires = time.Time{} },
		"no kind":   func(cfg *dkls23.PresignConfig) { cfg.Kind = 0 },
		"kind 3":    func(cfg *dkls23.PresignConfig) { cfg.Kind = 3 },
		"no setup":  func(cfg *dkls23.PresignConfig) { cfg.Setups = nil },
		"purpose":   func(cfg *dkls23.PresignConfig) { cfg.Purpose = "presign" },
	} {
		cfg := mpctest.PresignConfig(c.keys[1], mpctest.IDs(2), c.setups[1], dkls23.Full, 2)
		edit(&cfg)
		if _, err := dkls23.NewPresigning(cfg, mpctest.Reader("config")); err == nil {
			t.Errorf("presigning, %s: accepted", name)
		}
	}
	if _, err := dkls23.NewBatch(mpctest.BatchConfig(c.keys[1], mpctest.IDs(2), c.setups[1], mpctest.Items(1)), nil); err == nil {
		t.Error("batch without randomness")
	}
	if _, err := dkls23.NewPresigning(mpctest.PresignConfig(c.keys[1], mpctest.IDs(2), c.setups[1], dkls23.Full, 1), nil); err == nil {
		t.Error("presigning without randomness")
	}
	s, err := mpctest.NewSign("path", c.keys, c.setups, mpctest.IDs(2), func(cfg *dkls23.Config) { cfg.Path = make([]byte, dkls23.MaxPath+1) })
	if err == nil {
		t.Errorf("%v has too long a path", s)
	}
	for _, kind := range append(kinds, 0, 7) {
		if want := map[dkls23.Kind]string{1: "V1", 2: "V2", 0: "kind-0", 7: "kind-7"}[kind]; kind.String() != want {
			t.Errorf("kind %d is %s", kind, kind)
		}
	}
	if _, err := (&dkls23.OnlineShare{}).MarshalBinary(); err == nil {
		t.Error("a share of no kind has an encoding")
	}
}

func TestManyAreUnprintable(t *testing.T) {
	c := shared(t, 3, 2)
	for _, v := range []struct{ flavour, want string }{
		{"batch", "dkls23.Batch(1 of [1 2], 2 items)"},
		{"V1", "dkls23.Presigning(1 of [1 2], 2 presignatures V1)"},
		{"V2", "dkls23.Presigning(1 of [1 2], 2 presignatures V2)"},
	} {
		m := c.start(t, v.flavour, mpctest.IDs(2), 1)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if out := fmt.Sprintf(verb, m.Sessions[1]); out != v.want {
				t.Errorf("%s shows %s", verb, out)
			}
		}
	}
	o := c.online(t, "print", mpctest.IDs(2), c.presignatures(t, "print", mpctest.IDs(2), dkls23.Full), nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if out := fmt.Sprintf(verb, o.Sessions[1]); out != "dkls23.Online(1 of [1 2], V2)" {
			t.Errorf("%s shows %s", verb, out)
		}
	}
}
