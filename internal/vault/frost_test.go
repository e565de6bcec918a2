package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
)

// A FROST key goes the same straight line as an ECDSA key: these tests run what
// differs, and the checks that stand between a request and a share.

// startSolana is a cluster with a key for Solana besides f.x.
func startSolana(t *testing.T) (*fixture, *sim.Wallet) {
	t.Helper()
	f := startQuick(t)
	x, err := f.KeygenEd25519("sol", 2)
	f.ok(err)
	return f, x
}

func (f *fixture) paid(x *sim.Wallet, b *request.Bundle, unsigned []byte, signers ...mpc.ID) {
	f.Helper()
	_, err := sim.CombineEd25519(x, b, unsigned, f.sign(b, unsigned, signers...))
	f.ok(err)
}

// pays demands that a fresh small payment is signed.
func (f *fixture) pays(x *sim.Wallet, signers ...mpc.ID) {
	f.Helper()
	f.paid(x, f.Pay(x, sim.KnownSolana, 1), sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), signers...)
}

func TestFROSTAllSubsets(t *testing.T) {
	f, x := startSolana(t)
	f.pays(x, 1, 2)
	f.pays(x, 2, 3)
	f.pays(x, 1, 3)
	f.works(1, 2) // the other key signs as before
	f.blameless()
	if _, err := solana.AddressOf(x.PublicKey); err != nil {
		t.Error(err)
	}
}

func TestFROST3of5(t *testing.T) {
	f := start(t, 5, 3)
	x, err := f.KeygenEd25519("sol", 3)
	f.ok(err)
	f.pays(x, 1, 3, 5)
	f.pays(x, 2, 3, 4)
}

// A key survives a restart, and signs without a pair setup: it needs none.
func TestFROSTNeedsNoPairs(t *testing.T) {
	f, x := startSolana(t)
	for _, id := range f.IDs {
		f.Crash(id)
	}
	f.Intercept = nil
	for _, id := range f.IDs {
		f.ok(f.Restart(id))
	}
	f.ok(f.Settle())
	f.Parties[1].Vault.DropPair(2)
	f.Parties[2].Vault.DropPair(1)
	replies := f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	if r := replies[1]; r == nil || !strings.Contains(r.Detail, "pair setup") {
		t.Fatalf("an ECDSA key signs without a pair setup: %s", show(r))
	}
	f.pays(x, 1, 2)
}

// A new pair setup ends the sessions that rest on the old one, and only those.
func TestFROSTOutlivesPairSetups(t *testing.T) {
	f, x := startSolana(t)
	b := f.Pay(x, sim.KnownSolana, 1)
	ids, err := f.StartSign(b, sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)
	f.ok(err)
	f.frame(1, 2, vault.InnerPair, [16]byte{}, 0, nil, []byte{0, 0, 0, 9, 1})
	f.ok(f.Settle())
	for id, n := range ids {
		if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
			t.Errorf("vault %d: %s", id, show(r))
		}
	}
}

// A quarantined peer has cheated: no suite signs with it.
func TestFROSTNotWithACheater(t *testing.T) {
	f, x := startSolana(t)
	f.Parties[1].Vault.CorruptPair(2)
	f.sign(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2)
	if !f.Parties[2].Vault.Quarantined(1) {
		t.Fatal("vault 1 is not quarantined")
	}
	r := f.sign(f.Pay(x, sim.KnownSolana, 1), sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)[2]
	if r == nil || r.Outcome != cluster.OutcomeAborted || !strings.Contains(r.Detail, "quarantined until the admins lift it") {
		t.Errorf("vault 2: %s", show(r))
	}
	f.pays(x, 2, 3)
}

func TestFROSTRefusals(t *testing.T) {
	f, x := startSolana(t)
	good := func() []byte { return sim.UnsignedSolana(x, sim.KnownSolana, sim.Lamports(1), 1) }
	for name, c := range map[string]struct {
		code     string
		b        *request.Bundle
		unsigned []byte
		signers  []mpc.ID
	}{
		"a stranger":        {"policy.approvals", f.Pay(x, sim.StrangerSolana, sim.Lamports(1)), sim.UnsignedSolana(x, sim.StrangerSolana, sim.Lamports(1), 1), []mpc.ID{1, 2}},
		"too much":          {"policy.approvals", f.Pay(x, sim.KnownSolana, sim.Lamports(1)+1), sim.UnsignedSolana(x, sim.KnownSolana, sim.Lamports(1)+1, 1), []mpc.ID{1, 2}},
		"above every rule":  {"policy.default", f.Pay(x, sim.KnownSolana, sim.Lamports(11), "bob", "carol"), sim.UnsignedSolana(x, sim.KnownSolana, sim.Lamports(11), 1), []mpc.ID{1, 2}},
		"another recipient": {"transaction", f.Pay(x, sim.KnownSolana, sim.Lamports(1)), sim.UnsignedSolana(x, sim.StrangerSolana, sim.Lamports(1), 1), []mpc.ID{1, 2}},
		"another amount":    {"transaction", f.Pay(x, sim.KnownSolana, sim.Lamports(1)), sim.UnsignedSolana(x, sim.KnownSolana, sim.Lamports(2), 1), []mpc.ID{1, 2}},
		"one more byte":     {"transaction", f.Pay(x, sim.KnownSolana, sim.Lamports(1)), append(good(), 0), []mpc.ID{1, 2}},
		"three signers":     {"sign.signers", f.Pay(x, sim.KnownSolana, sim.Lamports(1)), good(), []mpc.ID{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			g := *f
			g.T = t
			g.refused(c.code, g.sign(c.b, c.unsigned, c.signers...))
		})
	}
	// Approved by two others it is signed.
	f.paid(x, f.Pay(x, sim.StrangerSolana, sim.Lamports(2), "bob", "carol"), sim.UnsignedSolana(x, sim.StrangerSolana, sim.Lamports(2), 1), 2, 3)
}

// TestPitfall51_KeyOfAnotherSuite: a key never serves another scheme, even where
// its address would be well-formed.
func TestPitfall51_KeyOfAnotherSuite(t *testing.T) {
	f, x := startSolana(t)
	onSolana := f.Pay(x, sim.KnownSolana, 1)
	onSolana.Request.Wallet = f.x.ID
	f.resign(onSolana)
	f.refused("request.chain", f.sign(onSolana, sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2))
	onEVM := f.Transfer(f.x, sim.Known, sim.ETH(1))
	onEVM.Request.Wallet = x.ID
	f.resign(onEVM)
	r := f.refused("request.chain", f.sign(onEVM, sim.Unsigned(sim.Known, sim.ETH(1), 1), 1, 2))
	if !strings.Contains(r.Detail, "takes signatures by ECDSA over secp256k1, this wallet's key is for ed25519") {
		t.Error(r.Detail)
	}
}

// resign signs an edited request anew.
func (f *fixture) resign(b *request.Bundle) {
	b.ProposeSignature = sim.SignStatement(sim.Person(f.Seed, sim.Trader), request.ProposeStatement(b.Request.ID()))
	f.Screen(b, request.Pass)
}

// Two messages of one request are two payments: never both are signed, whoever is
// asked, one after the other or at once. The identical message is signed again.
func TestFROSTSecondVersion(t *testing.T) {
	f, x := startSolana(t)
	b := f.Pay(x, sim.KnownSolana, 1)
	one, two := sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), sim.UnsignedSolana(x, sim.KnownSolana, 1, 2)
	f.paid(x, b, one, 1, 2)
	replies := f.sign(b, two, 2, 3)
	f.refused("version.conflict", map[mpc.ID]*cluster.Reply{2: replies[2]})
	if r := replies[3]; r != nil && r.Outcome == cluster.OutcomeDone {
		t.Errorf("vault 3 gave a share: %s", show(r))
	}
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	f.paid(x, b, one, 2, 3)

	b = f.Pay(x, sim.KnownSolana, 1)
	a, err := f.StartSign(b, one, 1, 2)
	f.ok(err)
	c, err := f.StartSign(b, two, 2, 3)
	f.ok(err)
	f.ok(f.Settle())
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	done := 0
	for _, ids := range []map[mpc.ID]uint64{a, c} {
		all := true
		for _, n := range ids {
			all = all && f.Replies[n] != nil && f.Replies[n].Outcome == cluster.OutcomeDone
		}
		if all {
			done++
		}
	}
	if done > 1 {
		t.Fatal("both versions were signed")
	}
	// Vaults that end without a share release: a new message may be signed.
	b = f.Pay(x, sim.KnownSolana, 1)
	f.Intercept = func(fr sim.Frame) bool { return false }
	f.sign(b, one, 1, 2)
	f.Intercept = nil
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	f.paid(x, b, two, 1, 2)
}

// A signer whose share is wrong is named, by whoever combines, and nobody else is.
func TestFROSTBadShare(t *testing.T) {
	f, x := startSolana(t)
	b := f.Pay(x, sim.KnownSolana, 1)
	unsigned := sim.UnsignedSolana(x, sim.KnownSolana, 1, 1)
	replies := f.sign(b, unsigned, 1, 2)
	if _, err := sim.CombineEd25519(x, b, unsigned, replies); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(s *cluster.FROSTShare)) map[mpc.ID]*cluster.Reply {
		r := *replies[2]
		s, err := cluster.DecodeFROSTShare(r.Body)
		f.ok(err)
		change(s)
		r.Body = s.Encode()
		return map[mpc.ID]*cluster.Reply{1: replies[1], 2: &r}
	}
	bad := func(name string, class mpc.Class, replies map[mpc.ID]*cluster.Reply) {
		t.Helper()
		_, err := sim.CombineEd25519(x, b, unsigned, replies)
		var a *mpc.Abort
		if !errors.As(err, &a) || a.Class != class || class == mpc.Attributed && fmt.Sprint(a.Culprits) != "[2]" || class == mpc.Benign && len(a.Culprits) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad("wrong share", mpc.Attributed, edit(func(s *cluster.FROSTShare) {
		x, err := frost.DecodeShare(mpc.FROSTEd25519, s.Share)
		f.ok(err)
		x.Z[0][3] ^= 1
		s.Share = x.Encode()
	}))
	bad("no share", mpc.Attributed, edit(func(s *cluster.FROSTShare) { s.Share = s.Share[:20] }))
	bad("garbage", mpc.Attributed, map[mpc.ID]*cluster.Reply{1: replies[1], 2: {Vault: 2, Outcome: cluster.OutcomeDone, Body: []byte("x"), Certificate: replies[2].Certificate}})
	// A share of another session fits no commitments: nobody can be named.
	other := f.sign(f.Pay(x, sim.KnownSolana, 1), unsigned, 1, 2)
	mixed := *other[2]
	mixed.Certificate = replies[2].Certificate
	bad("of another session", mpc.Benign, map[mpc.ID]*cluster.Reply{1: replies[1], 2: &mixed})
}

// Lost messages: the session ends by itself, nobody is blamed, the next works.
func TestFROSTLostMessages(t *testing.T) {
	f, x := startSolana(t)
	for lost := range 6 { // R0, R1, R2 of two vaults
		n := 0
		f.Intercept = func(fr sim.Frame) bool {
			n++
			return n-1 != lost
		}
		b := f.Pay(x, sim.KnownSolana, 1)
		unsigned := sim.UnsignedSolana(x, sim.KnownSolana, 1, 1)
		f.sign(b, unsigned, 1, 2)
		f.Intercept = nil
		f.ok(f.Tick(30_000))
		f.ok(f.Settle())
		if c := f.Parties[1].Vault.SessionCount() + f.Parties[2].Vault.SessionCount(); c != 0 {
			t.Errorf("message %d lost: %d sessions run", lost, c)
		}
		f.paid(x, b, unsigned, 1, 2)
	}
	f.blameless()
}

// A crash before and after every durable write leaves a cluster that signs, a
// request whose message can be signed again, and no share of a nonce that lives
// on: nonces are in memory only.
func TestPitfall42_FROSTCrashAtEveryWrite(t *testing.T) {
	for _, before := range []bool{true, false} {
		f, x := startSolana(t)
		for k := 1; ; k++ {
			n, crashed := 0, false
			f.OnReady = func(p *sim.Party, r vault.Ready) error {
				if p.ID != 2 || len(r.Writes) == 0 || crashed {
					return nil
				}
				if n++; n < k {
					return nil
				}
				if crashed = true; !before {
					p.Disk.Write(r)
				}
				return sim.ErrCrash
			}
			b := f.Pay(x, sim.KnownSolana, 1)
			unsigned := sim.UnsignedSolana(x, sim.KnownSolana, 1, byte(k))
			f.sign(b, unsigned, 1, 2)
			f.OnReady = nil
			if !crashed {
				if k < 4 {
					t.Fatalf("a signature took %d writes only", k-1)
				}
				break
			}
			f.ok(f.Tick(30_000))
			if err := f.Restart(2); err != nil {
				t.Fatalf("crash at write %d (before: %v): %v", k, before, err)
			}
			f.ok(f.Settle())
			f.paid(x, b, unsigned, 1, 2)
			f.paid(x, b, unsigned, 2, 3)
		}
	}
}

// The share leaves only after "final share authorised" is written: the record
// is in the Ready that answers, and a crash before that write gives no share.
func TestFROSTFinalIsDurableFirst(t *testing.T) {
	f, x := startSolana(t)
	events := uint64(0)
	f.OnReady = func(p *sim.Party, r vault.Ready) error {
		for _, reply := range r.Replies {
			d, err := cluster.DecodeReply(reply.Body)
			f.ok(err)
			if p.ID == 2 && d.Outcome == cluster.OutcomeDone {
				ledger := 0
				for _, w := range r.Writes {
					if strings.HasPrefix(w.Name, "ledger/2/") {
						ledger++
					}
				}
				if ledger != 1 {
					t.Errorf("%d records of vault 2's ledger with its share, want 1", ledger)
				}
				events++
				return sim.ErrCrash
			}
		}
		return nil
	}
	b := f.Pay(x, sim.KnownSolana, 1)
	r := f.sign(b, sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)[2]
	f.OnReady = nil
	if events != 1 || r != nil {
		t.Fatalf("vault 2 answered %s (%d times)", show(r), events)
	}
}

// What a peer attaches and adds to FROST's rounds is its own doing.
func TestFROSTForgedMessages(t *testing.T) {
	f, x := startSolana(t)
	for round := range 3 {
		b := f.Pay(x, sim.KnownSolana, 1)
		c := f.signCommand(b, sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)
		sent, back := 0, 0
		f.Intercept = f.rounds(func(fr sim.Frame) bool {
			if fr.From == 1 && fr.To == 2 {
				sent++
				return sent <= round
			}
			back++
			return back <= 2
		})
		f.command(1, c)
		two := f.command(2, c)
		f.ok(f.Settle())
		f.Intercept = nil
		if f.Replies[two] != nil {
			t.Fatalf("round %d: vault 2 says %s", round, show(f.Replies[two]))
		}
		f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.Forge(2, c.Attempt, uint8(round), func([]byte) []byte { return []byte("x") })}))
		f.ok(f.Settle())
		f.aborted(two, mpc.Attributed, "")
		f.ok(f.Tick(30_000))
		f.ok(f.Settle())
	}
	// A private part, where FROST has none.
	for round := uint8(1); round < 3; round++ {
		b := f.Pay(x, sim.KnownSolana, 1)
		c := f.signCommand(b, sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)
		sent := 0
		f.Intercept = f.rounds(func(fr sim.Frame) bool {
			if fr.From == 1 && fr.To == 2 {
				sent++
				return sent <= int(round)
			}
			return sent <= int(round)
		})
		f.command(1, c)
		two := f.command(2, c)
		f.ok(f.Settle())
		f.Intercept = nil
		f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealOwn(2, c.Attempt, round, []byte("p"))}))
		f.ok(f.Settle())
		f.aborted(two, mpc.Attributed, "a private message of 1 bytes, want none")
		f.ok(f.Tick(30_000))
		f.ok(f.Settle())
	}
	if is := f.incidents(2, 1); len(is) != 5 {
		t.Errorf("%d incidents, want 5", len(is))
	}
	f.pays(x, 1, 2)
}

// A split view: a peer's echo of what it heard is another. Nobody is blamed, and no
// share leaves, in R1 and in R2.
func TestFROSTSplitView(t *testing.T) {
	f, x := startSolana(t)
	for round := uint8(1); round < 3; round++ {
		c := f.signCommand(f.Pay(x, sim.KnownSolana, 1), sim.UnsignedSolana(x, sim.KnownSolana, 1, 1), 1, 2)
		sent := 0
		f.Intercept = f.rounds(func(fr sim.Frame) bool {
			if fr.From == 1 && fr.To == 2 {
				sent++
			}
			return sent <= int(round)
		})
		f.command(1, c)
		two := f.command(2, c)
		f.ok(f.Settle())
		f.Intercept = nil
		if f.Replies[two] != nil {
			t.Fatalf("round %d: vault 2 says %s", round, show(f.Replies[two]))
		}
		const echo = 47 // after the header
		f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealEdited(2, c.Attempt, round, func(b []byte) { b[echo] ^= 1 })}))
		f.ok(f.Settle())
		f.aborted(two, mpc.Benign, "")
		f.ok(f.Tick(30_000))
		f.ok(f.Settle())
	}
	f.blameless()
	f.pays(x, 1, 2)
}

// The receipt of an Ed25519 signature is logged once it verifies over the message.
func TestFROSTReceipts(t *testing.T) {
	f, x := startSolana(t)
	b := f.Pay(x, sim.KnownSolana, 1)
	unsigned := sim.UnsignedSolana(x, sim.KnownSolana, 1, 1)
	replies := f.sign(b, unsigned, 1, 2)
	sig, err := sim.CombineEd25519(x, b, unsigned, replies)
	f.ok(err)
	_, txid, err := solana.Codec{}.Assemble(x.Sender, unsigned, []chain.Signature{*sig})
	f.ok(err)
	good := func() *audit.Receipt {
		return &audit.Receipt{
			Attempt: f.certified(1, replies[1]).Decision.Attempt, Request: b.Request.ID(), Key: x.ID, Unsigned: bytes.Clone(unsigned),
			PublicKey: bytes.Clone(x.PublicKey), Signatures: []chain.Signature{*sig}, TxID: txid,
		}
	}
	for want, edit := range map[string]func(x *audit.Receipt){
		"receipt.signature another message":   func(x *audit.Receipt) { x.Unsigned[len(x.Unsigned)-1]++ },
		"receipt.signature another signature": func(x *audit.Receipt) { x.Signatures[0].S[0]++ },
		"receipt.signature another R":         func(x *audit.Receipt) { x.Signatures[0].R[0]++ },
		"receipt.signature another key":       func(x *audit.Receipt) { x.PublicKey[0]++ },
		"receipt.signature a key of ECDSA":    func(r *audit.Receipt) { r.PublicKey = f.x.PublicKey },
		"receipt.attempt another wallet":      func(r *audit.Receipt) { r.Key = f.x.ID },
		"receipt.transaction another id":      func(x *audit.Receipt) { x.TxID += "1" },
	} {
		bad := good()
		edit(bad)
		code, _, _ := strings.Cut(want, " ")
		n := f.command(1, &cluster.Command{Kind: cluster.CommandReceipt, Body: bad.Encode()})
		f.ok(f.Settle())
		f.refused(code, map[mpc.ID]*cluster.Reply{1: f.Replies[n]})
	}
	n := f.command(1, &cluster.Command{Kind: cluster.CommandReceipt, Body: good().Encode()})
	f.ok(f.Settle())
	if r := f.Replies[n]; r == nil || r.Outcome != cluster.OutcomeDone {
		t.Errorf("%s", show(r))
	}
	if c := f.receipts(1); c != 1 {
		t.Errorf("%d receipts, want 1", c)
	}
}

// A FROST key goes to its next epochs like any other, and its address stays.
func TestFROSTLifecycle(t *testing.T) {
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	w, err := sim.New(5, 5, sim.Roster(5), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, World: w}
	all := w.IDs
	w.IDs = []mpc.ID{1, 2, 3}
	f.x, err = f.KeygenEd25519("sol", 2)
	w.IDs = all
	f.ok(err)
	f.pays(f.x, 1, 3)
	s, err := f.OrderChange(f.x, "sol", governance.Refresh, 0)
	f.ok(err)
	f.handOver(s, 1, 2, 3)
	f.pays(f.x, 2, 3)
	s, err = f.OrderChange(f.x, "sol", governance.Reshare, 3, 1, 2, 3, 4, 5)
	f.ok(err)
	f.handOver(s, 1, 3)
	f.pays(f.x, 2, 4, 5)
	f.blameless()
}

// An R2 without the private part that DKLs23 needs: no final share leaves.
func TestECDSAFinalNeedsItsMessages(t *testing.T) {
	f := startQuick(t)
	c := f.signCommand(f.Transfer(f.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 4), 1, 2)
	sent := 0
	f.Intercept = f.rounds(func(fr sim.Frame) bool {
		if fr.From == 1 && fr.To == 2 {
			sent++
		}
		return sent <= 2
	})
	f.command(1, c)
	two := f.command(2, c)
	f.ok(f.Settle())
	f.Intercept = nil
	if f.Replies[two] != nil {
		t.Fatalf("vault 2 says %s", show(f.Replies[two]))
	}
	f.ok(f.Step(2, vault.Input{Frame: f.Parties[1].Vault.SealOwn(2, c.Attempt, 2, nil)}))
	f.ok(f.Settle())
	if r := f.Replies[two]; r == nil || r.Outcome != cluster.OutcomeAborted {
		t.Errorf("vault 2 says %s", show(r))
	}
	f.ok(f.Tick(30_000))
	f.ok(f.Settle())
	f.works(1, 3)
}
