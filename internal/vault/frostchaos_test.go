package vault_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
)

// chaos is a FROST key in a bad world: frames get lost, repeated, altered and out
// of order, vaults die before and after their writes, and a coordinator asks
// overlapping sets for several messages of one request.
type chaos struct {
	*fixture
	x     *sim.Wallet
	rng   *rand.Rand
	jobs  []*chaosJob
	asked map[uint64]*chaosAttempt // by command
	r     map[string][16]byte      // the attempt in which R was used
	calm  bool
}

type chaosJob struct {
	bundle *request.Bundle
	legal  bool
	signed []byte // the message, once all shares of it are out
}

type chaosAttempt struct {
	job      *chaosJob
	id       [16]byte
	unsigned []byte
	signers  []mpc.ID
	replies  map[mpc.ID]*cluster.Reply
}

func (c *chaos) message(hash byte) []byte { return sim.UnsignedSolana(c.x, sim.KnownSolana, 1, hash) }

func (c *chaos) ask(j *chaosJob, unsigned []byte, out int) {
	a := &chaosAttempt{job: j, id: c.Attempt(), unsigned: unsigned, replies: map[mpc.ID]*cluster.Reply{}}
	cmd := &cluster.Command{Kind: cluster.CommandSign, Attempt: a.id, Body: j.bundle.Encode(), Unsigned: unsigned}
	for i, id := range c.IDs {
		if i != out {
			a.signers = append(a.signers, id)
			cmd.Signers = append(cmd.Signers, uint16(id))
		}
	}
	for _, id := range a.signers {
		if c.Parties[id].Vault == nil {
			continue
		}
		n, err := c.Command(id, cmd)
		c.ok(err)
		c.asked[n] = a
	}
}

// look judges the answers that have come.
func (c *chaos) look() {
	for n, a := range c.asked {
		r := c.Replies[n]
		if r == nil {
			continue
		}
		delete(c.asked, n)
		if len(r.Culprits) > 0 {
			c.Fatalf("vault %d blames %v: %s", r.Vault, r.Culprits, r.Detail)
		}
		if r.Outcome != cluster.OutcomeDone {
			continue
		}
		if !a.job.legal {
			c.Fatalf("vault %d gave a share for what the policy does not allow", r.Vault)
		}
		x, err := cluster.DecodeFROSTShare(r.Body)
		c.ok(err)
		s, err := frost.DecodeShare(mpc.FROSTEd25519, x.Share)
		c.ok(err)
		if old, used := c.r[string(s.R[0])]; used && old != a.id {
			c.Fatalf("attempts %x and %x use one R", old, a.id)
		}
		c.r[string(s.R[0])] = a.id
		if a.replies[mpc.ID(r.Vault)] = r; len(a.replies) < len(a.signers) {
			continue
		}
		if _, err := sim.CombineEd25519(c.x, a.job.bundle, a.unsigned, a.replies); err != nil {
			c.Fatalf("all gave a share, and there is no signature: %v", err)
		}
		if a.job.signed != nil && !bytes.Equal(a.job.signed, a.unsigned) {
			c.Fatal("two messages of one request are signed: both can happen")
		}
		a.job.signed = a.unsigned
	}
}

func (c *chaos) event() {
	n := len(c.Frames) + len(c.Devices)
	switch p := c.rng.IntN(100); {
	case p < 15:
		c.ask(c.jobs[c.rng.IntN(len(c.jobs))], c.message(byte(c.rng.IntN(2))), c.rng.IntN(3))
	case p < 19 && len(c.Frames) > 0:
		i := c.rng.IntN(len(c.Frames))
		switch f := c.Frames[i]; c.rng.IntN(3) {
		case 0:
			c.Frames = append(c.Frames[:i:i], c.Frames[i+1:]...)
		case 1:
			c.Frames = append(c.Frames, f)
		case 2:
			b := bytes.Clone(f.Bytes)
			b[c.rng.IntN(len(b))] ^= 1 << c.rng.IntN(8)
			c.ok(c.Step(f.To, vault.Input{Frame: b}))
		}
	case p < 22:
		c.ok(c.Tick(uint64(c.rng.IntN(8000))))
	case p < 24:
		if id := c.IDs[c.rng.IntN(3)]; c.Parties[id].Vault != nil {
			c.Crash(id)
		}
	case p < 32:
		for _, id := range c.IDs {
			if c.Parties[id].Vault == nil {
				c.ok(c.Restart(id))
				return
			}
		}
	case n > 0:
		i := 0
		if c.rng.IntN(3) == 0 {
			i = c.rng.IntN(n)
		}
		if i < len(c.Devices) {
			c.ok(c.Answer(i))
		} else {
			c.ok(c.Deliver(i - len(c.Devices)))
		}
	}
}

func (c *chaos) onReady(p *sim.Party, r vault.Ready) error {
	if c.calm || len(r.Writes) == 0 || c.rng.IntN(60) != 0 {
		return nil
	}
	if c.rng.IntN(2) == 0 {
		p.Disk.Write(r)
	}
	return sim.ErrCrash
}

// end lets an honest coordinator finish what the policy wants, with whatever
// message may still be signed: a vault whose share of one is out signs no other.
func (c *chaos) end() {
	c.calm = true
	for round := range 12 {
		for _, id := range c.IDs {
			if c.Parties[id].Vault == nil {
				c.ok(c.Restart(id))
			}
		}
		c.ok(c.Settle())
		c.ok(c.Tick(30_000))
		c.ok(c.Settle())
		c.look()
		for _, j := range c.jobs {
			if j.signed == nil {
				c.ask(j, c.message(byte(round/3%2)), round%3)
				c.ok(c.Settle())
				c.look()
			}
		}
	}
	for i, j := range c.jobs {
		if j.legal != (j.signed != nil) {
			c.Errorf("request %d: legal %v, signed %v", i, j.legal, j.signed != nil)
		}
	}
	c.blameless()
}

func TestFROSTChaos(t *testing.T) {
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	for seed := range uint64(8) {
		f, x := startSolana(t)
		c := &chaos{fixture: f, x: x, rng: rand.New(rand.NewPCG(seed, 0x50f)), asked: map[uint64]*chaosAttempt{}, r: map[string][16]byte{}}
		for range 3 {
			c.jobs = append(c.jobs, &chaosJob{bundle: f.Pay(x, sim.KnownSolana, 1), legal: true})
		}
		denied := f.Pay(x, sim.KnownSolana, 1)
		f.Screen(denied, request.Deny)
		c.jobs = append(c.jobs, &chaosJob{bundle: denied})
		f.OnReady = c.onReady
		for range 400 {
			c.event()
			c.look()
		}
		c.end()
		f.OnReady = nil
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
