package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// thief has broken into t-1 vaults: he has all that is on their disks and in their
// memories, which is their shares, their log keys, their session keys, their pair
// setups and open channels; he is their node, with its credentials at the broker;
// and he is the coordinator. What he does not have is their HSMs: they sign nothing
// more for him.
type thief struct {
	*fixture
	x       *sim.Wallet
	mine    []mpc.ID
	honest  mpc.ID
	hsms    map[mpc.ID]*sim.Device        // out of his reach
	stolen  map[mpc.ID][]byte             // the last checkpoint that the HSM signed
	signed  map[mpc.ID]*audit.Certificate // a genuine one, of a session before the theft
	request *request.Bundle               // what that session signed
	tx      []byte
	held    []sim.Frame
}

func steal(f *fixture, x *sim.Wallet, honest mpc.ID, mine ...mpc.ID) *thief {
	f.Helper()
	h := &thief{
		fixture: f, x: x, mine: mine, honest: honest,
		hsms: map[mpc.ID]*sim.Device{}, stolen: map[mpc.ID][]byte{}, signed: map[mpc.ID]*audit.Certificate{},
	}
	h.request, h.tx = h.payment()
	for id, r := range f.sign(h.request, h.tx, h.signers()...) {
		h.signed[id] = f.certified(id, r)
	}
	f.ok(f.Tick(2000)) // what the session has left in the logs is covered, too
	f.ok(f.Settle())
	other := f.IDs[slices.IndexFunc(f.IDs, func(id mpc.ID) bool { return !slices.Contains(h.signers(), id) })]
	for _, id := range mine {
		h.stolen[id] = f.Parties[id].Vault.Checkpoint()
		h.hsms[id] = f.Parties[id].Device
		f.Parties[id].Device = f.Parties[other].Device // a device that works, and is not this vault's
	}
	return h
}

// in is the thief in a subtest.
func (h *thief) in(t *testing.T) *thief {
	f, k := *h.fixture, *h
	f.T, k.fixture = t, &f
	return &k
}

func (h *thief) signers() []mpc.ID {
	s := append([]mpc.ID{h.honest}, h.mine...)
	slices.Sort(s)
	return s
}

// payment is one that policy allows: all but the HSM's signature is in order.
func (h *thief) payment() (*request.Bundle, []byte) {
	h.nonce++ // of the fixture
	if len(h.x.PublicKey) == 32 {
		return h.Pay(h.x, sim.KnownSolana, 1), sim.UnsignedSolana(h.x, sim.KnownSolana, 1, byte(h.nonce))
	}
	return h.Transfer(h.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), h.nonce)
}

// attempt runs a session up to the R2 of the thief's vaults, and sends that with
// another certificate. It returns what the honest vault answers to the coordinator,
// which is where a final share would leave.
func (h *thief) attempt(b *request.Bundle, tx []byte, forge func(h *thief, from mpc.ID, attempt [16]byte, cert *audit.Certificate) []byte) *cluster.Reply {
	h.Helper()
	for _, id := range h.mine {
		h.Parties[id].Vault.ShowCheckpoint(h.stolen[id])
	}
	h.held = nil
	h.Intercept = func(fr sim.Frame) bool {
		if slices.Contains(h.mine, fr.From) && fr.To == h.honest && h.Parties[fr.From].Vault.Certified(fr.To, fr.Bytes) {
			h.held = append(h.held, fr)
			return false
		}
		return !slices.Contains(h.mine, fr.To) || fr.From != h.honest || !h.Parties[h.honest].Vault.Certified(fr.To, fr.Bytes)
	}
	ids, err := h.StartSign(b, tx, h.signers()...)
	h.ok(err)
	h.ok(h.Settle())
	h.Intercept = nil
	if len(h.held) != len(h.mine) {
		h.Fatalf("%d of the thief's vaults came as far as R2, want %d: %s", len(h.held), len(h.mine), show(h.Replies[ids[h.honest]]))
	}
	for _, fr := range h.held {
		v := h.Parties[fr.From].Vault
		h.ok(h.Deliver(h.queue(sim.Frame{From: fr.From, To: fr.To, Bytes: v.Recertify(fr.To, fr.Bytes, func(own []byte) []byte {
			c, err := audit.DecodeCertificate(own)
			h.ok(err)
			return forge(h, fr.From, c.Decision.Attempt, c)
		})})))
	}
	h.ok(h.Settle())
	return h.Replies[ids[h.honest]]
}

func (h *thief) queue(fr sim.Frame) int {
	h.Frames = append(h.Frames, fr)
	return len(h.Frames) - 1
}

// under puts a checkpoint under a certificate.
func under(c *audit.Certificate, edit func(*audit.SignedCheckpoint)) []byte {
	edit(&c.Checkpoint)
	return c.Encode()
}

// forgeries are all the ways to do without the HSM.
var forgeries = map[string]func(h *thief, from mpc.ID, attempt [16]byte, c *audit.Certificate) []byte{
	"no certificate": func(*thief, mpc.ID, [16]byte, *audit.Certificate) []byte { return nil },
	"no signature of the HSM": func(_ *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		return under(c, func(cp *audit.SignedCheckpoint) { cp.HSM.Bytes = make([]byte, len(cp.HSM.Bytes)) })
	},
	"the log key signs for the HSM": func(_ *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		return under(c, func(cp *audit.SignedCheckpoint) { cp.HSM = cp.Log })
	},
	"the log key signs the HSM's statement": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		return under(c, func(cp *audit.SignedCheckpoint) {
			d := cp.Statement().Digest()
			cp.HSM = h.Parties[from].Vault.SignLog(string(d[:]))
		})
	},
	"another device": func(_ *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte { return c.Encode() },
	"a soft key": func(h *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		h.ok(err)
		return under(c, func(cp *audit.SignedCheckpoint) {
			d := cp.Statement().Digest()
			r, s, err := ecdsa.Sign(rand.Reader, k, d[:])
			h.ok(err)
			raw := make([]byte, 64)
			r.FillBytes(raw[:32])
			s.FillBytes(raw[32:])
			cp.HSM, err = signature.NormalizeP256(raw)
			h.ok(err)
		})
	},
	"an old checkpoint": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		old, err := audit.DecodeSignedCheckpoint(h.stolen[from])
		h.ok(err)
		return under(c, func(cp *audit.SignedCheckpoint) { *cp = *old })
	},
	"an old checkpoint that covers more": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		c.Index = 0
		c.Proof = nil
		return under(c, func(cp *audit.SignedCheckpoint) { *cp = h.signed[from].Checkpoint })
	},
	"an old signature": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		return under(c, func(cp *audit.SignedCheckpoint) { cp.HSM = h.signed[from].Checkpoint.HSM })
	},
	"a signature over another root": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		// All that it says is as it was signed, but for the root, under which the
		// decision stands.
		return under(c, func(cp *audit.SignedCheckpoint) {
			root, size := cp.Root, cp.Size
			*cp = h.signed[from].Checkpoint
			cp.Root, cp.Size = root, size
			cp.Log = h.Parties[from].Vault.SignLog(cp.Text())
		})
	},
	"a certificate of another session": func(h *thief, from mpc.ID, _ [16]byte, _ *audit.Certificate) []byte {
		return h.signed[from].Encode()
	},
	"another session's, under this one's decision": func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		old := *h.signed[from]
		old.Decision = c.Decision
		return old.Encode()
	},
	"the honest vault's own": func(h *thief, _ mpc.ID, attempt [16]byte, _ *audit.Certificate) []byte {
		return h.Parties[h.honest].Vault.OwnCertificate(attempt)
	},
	"the honest vault's own, under this one's name": func(h *thief, from mpc.ID, attempt [16]byte, _ *audit.Certificate) []byte {
		c, err := audit.DecodeCertificate(h.Parties[h.honest].Vault.OwnCertificate(attempt))
		h.ok(err)
		return under(c, func(cp *audit.SignedCheckpoint) {
			cp.Vault = uint16(from)
			cp.Log = h.Parties[from].Vault.SignLog(cp.Text())
		})
	},
	"a truncated signature": func(_ *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		return under(c, func(cp *audit.SignedCheckpoint) { cp.HSM.Bytes = cp.HSM.Bytes[:len(cp.HSM.Bytes)-1] })
	},
	"a truncated certificate": func(_ *thief, _ mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
		b := c.Encode()
		return b[:len(b)-1]
	},
}

// TestStolenSharesWithoutHSM: t-1 shares, with their vaults' transport keys, log keys
// and open channels, bring no final share (w and u, or z) out of an honest vault as
// long as the HSMs of those vaults do not sign.
func TestStolenSharesWithoutHSM(t *testing.T) {
	for _, c := range []struct {
		n, t   int
		honest mpc.ID
		mine   []mpc.ID
	}{
		{3, 2, 2, []mpc.ID{1}},
		{3, 2, 1, []mpc.ID{3}},
		{5, 3, 2, []mpc.ID{1, 5}},
		{5, 3, 5, []mpc.ID{3, 4}},
	} {
		t.Run(fmt.Sprintf("%d-of-%d, vault %d is honest", c.t, c.n, c.honest), func(t *testing.T) {
			if raceEnabled {
				t.Skip("runs without the race detector")
			}
			f := start(t, c.n, c.t)
			sol, err := f.KeygenEd25519("sol", c.t)
			f.ok(err)
			for _, x := range []*sim.Wallet{f.x, sol} {
				h := steal(f, x, c.honest, c.mine...)
				t.Run(string(x.Certificate.Suite), func(t *testing.T) { h.in(t).tries() })
				for _, id := range c.mine {
					f.Parties[id].Device = h.hsms[id]
					f.Parties[id].Vault.ShowCheckpoint(h.stolen[id])
				}
			}
		})
	}
}

func (h *thief) tries() {
	for name, forge := range forgeries {
		h.Run(name, func(t *testing.T) {
			h := h.in(t)
			h.gets(h.request, h.tx, forge) // which the HSM has certified, in another session
			b, tx := h.payment()
			h.gets(b, tx, forge)
		})
	}
	// It is for the HSM alone: with its signature the same way ends in a share.
	h.Run("with the HSM", func(t *testing.T) {
		h := h.in(t)
		b, tx := h.payment()
		r := h.attempt(b, tx, func(h *thief, from mpc.ID, _ [16]byte, c *audit.Certificate) []byte {
			return under(c, func(cp *audit.SignedCheckpoint) {
				var err error
				cp.HSM, err = h.hsms[from].Sign(hsm.RoleDecision, cp.Statement())
				h.ok(err)
			})
		})
		if r == nil || r.Outcome != cluster.OutcomeDone || len(r.Body) == 0 {
			t.Errorf("vault %d gives no share to vaults whose HSMs sign, so this test shows nothing: %s", h.honest, show(r))
		}
	})
}

// gets demands that an attempt gets no final share, and that the vault at whose HSM
// it failed is named.
func (h *thief) gets(b *request.Bundle, tx []byte, forge func(*thief, mpc.ID, [16]byte, *audit.Certificate) []byte) {
	h.Helper()
	entries := len(h.Parties[h.honest].Disk.Entries)
	r := h.attempt(b, tx, forge)
	if r == nil || r.Outcome != cluster.OutcomeAborted || r.Class != uint8(mpc.Attributed) || len(r.Culprits) != 1 || !slices.Contains(h.mine, mpc.ID(r.Culprits[0])) {
		h.Errorf("vault %d answers %s, want an abort that names one of %v", h.honest, show(r), h.mine)
	}
	if r != nil && len(r.Body) > 0 {
		h.Errorf("vault %d gave %d bytes", h.honest, len(r.Body))
	}
	for _, e := range h.Parties[h.honest].Disk.Entries[entries:] {
		x, err := audit.DecodeEntry(e)
		h.ok(err)
		if x.Kind != audit.KindOutcome {
			continue
		}
		o, err := audit.DecodeOutcome(x.Body)
		h.ok(err)
		if o.Stage != audit.StageAborted || !strings.Contains(o.Detail, "R2") {
			h.Errorf("vault %d logs %q: %s", h.honest, o.Stage, o.Detail)
		}
	}
}
