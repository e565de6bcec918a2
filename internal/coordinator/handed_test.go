package coordinator

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
)

// liar stands between the coordinator and the vaults, and changes what one of them
// answers to the order to sign.
type liar struct {
	*coordinatortest.Vaults
	mu    sync.Mutex // guards what follows
	vault uint16
	left  int
	edit  func(*cluster.FROSTShare)
}

func (l *liar) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	out, err := l.Vaults.Command(ctx, vault, body)
	c, e := cluster.DecodeCommand(body)
	if err != nil || e != nil || c.Kind != cluster.CommandSign {
		return out, err
	}
	r, err := cluster.DecodeReply(out)
	if err != nil || r.Outcome != cluster.OutcomeDone {
		return out, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if vault != l.vault || l.left == 0 {
		return out, nil
	}
	l.left--
	s, err := cluster.DecodeFROSTShare(r.Body)
	if err != nil {
		return nil, err
	}
	l.edit(s)
	r.Body = s.Encode()
	return r.Encode(), nil
}

var sharedSolana struct {
	once  sync.Once
	order *governance.KeygenOrder
}

// solanaFixture is a coordinator without any chain's node, over the shared vaults,
// with a wallet on Solana.
func solanaFixture(t *testing.T) (*fixture, *liar) {
	t.Helper()
	shared.once.Do(func() {
		shared.vaults = newVaults(t, seed)
		shared.order = shared.vaults.KeygenOrder("treasury", 2)
	})
	sharedSolana.once.Do(func() {
		shared.vaults.Do(func(w *sim.World) { sharedSolana.order = w.KeygenOrderFor("sol", governance.PurposeEd25519, 2) })
	})
	l := &liar{Vaults: shared.vaults}
	f := &fixture{t: t, v: shared.vaults, db: filepath.Join(t.TempDir(), "coordinator.db")}
	f.risk = coordinatortest.NewEngine(f.v)
	f.open = func() (*Coordinator, error) {
		return New(Options{Genesis: f.v.Genesis, Database: f.db, Vaults: l, Screener: f.risk, Now: f.v.Clock.Now, Log: slog.New(slog.DiscardHandler)})
	}
	f.start()
	t.Cleanup(func() {
		f.co.Close()
		f.v.Heal()
		if err := f.v.RestartAll(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if f.wallet, _, err = f.co.Keygen(t.Context(), sharedSolana.order); err != nil {
		t.Fatal(err)
	}
	if f.sender, err = f.wallet.Address(solana.Mainnet); err != nil {
		t.Fatal(err)
	}
	return f, l
}

// pay is a bundle that pays lamports.
func (f *fixture) pay(to solana.Address, lamports uint64) *request.Bundle {
	f.salt++
	q := &request.Request{
		Cluster: f.co.Cluster(), Wallet: f.wallet.ID, Chain: solana.Mainnet, Sender: f.sender, Intent: solana.NewTransfer(to, lamports).Encode(),
		Initiator: sim.Trader, Created: f.now(), Expires: f.now() + 3_600_000, Memo: f.t.Name(),
	}
	q.MaxFee.SetUint64(10_000)
	binary.BigEndian.PutUint64(q.Salt[:], f.salt)
	binary.BigEndian.PutUint64(q.Salt[8:], uint64(time.Now().UnixNano()))
	k := sim.Person(f.v.Seed, sim.Trader)
	return &request.Bundle{Request: q, ProposeKey: sim.PublicKey(k), ProposeSignature: sim.SignStatement(k, request.ProposeStatement(q.ID()))}
}

func (f *fixture) message(to solana.Address, lamports uint64, blockhash byte) []byte {
	return sim.UnsignedSolana(&sim.Wallet{Sender: f.sender}, to, lamports, blockhash)
}

// bring hands a transaction in.
func (f *fixture) bring(id [32]byte, unsigned []byte) error {
	_, err := f.co.Bring(f.t.Context(), id, unsigned)
	return err
}

// proved demands a transaction that Go's own verifier accepts.
func (f *fixture) proved(r *Record, unsigned []byte) {
	f.t.Helper()
	from, err := solana.ParseAccount(f.sender)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(r.Raw) != 65+len(unsigned) || r.Raw[0] != 1 || !bytes.Equal(r.Raw[65:], unsigned) || !ed25519.Verify(from[:], unsigned, r.Raw[1:65]) {
		f.t.Fatalf("the signed transaction is %x", r.Raw)
	}
}

// TestSolana: from the proposal to a signed transaction that anybody may send.
func TestSolana(t *testing.T) {
	f, _ := solanaFixture(t)
	if got := f.co.ChainsOf(f.wallet); len(got) != 1 || got[0] != solana.Mainnet {
		t.Errorf("the wallet's chains are %v", got)
	}
	b := f.pay(sim.KnownSolana, sim.Lamports(1))
	id := f.handIn(b).ID
	f.waiting(id, "waiting for its transaction", "coffer transact "+short(id))
	if r, err := f.co.Request(t.Context(), id); err != nil || !Waits(r.State, r.Reason) {
		t.Errorf("%v, %v: nobody is told that it waits", r, err)
	}
	for want, bad := range map[string][]byte{
		"transfer 1 goes to":      f.message(sim.StrangerSolana, sim.Lamports(1), 1),
		"is of 2000000000":        f.message(sim.KnownSolana, sim.Lamports(2), 1),
		"couldn't decode message": []byte("x"),
	} {
		if err := f.bring(id, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("brought %x: %v, want %q", bad, err, want)
		}
	}
	one := f.message(sim.KnownSolana, sim.Lamports(1), 1)
	if err := f.bring(id, one); err != nil {
		t.Fatal(err)
	}
	r := f.state(id, Signed)
	f.proved(r, one)
	if got := f.states(id); got != "draft screening signing signed" {
		t.Errorf("history: %s", got)
	}
	if !Waits(r.State, r.Reason) || !strings.Contains(r.Reason, "coffer export") {
		t.Errorf("the reason is %q", r.Reason)
	}
	if err := f.bring(id, one); err == nil || !strings.Contains(err.Error(), "the request is signed") {
		t.Errorf("brought again: %v", err)
	}
	f.delivered()
	n := 0
	f.v.Do(func(w *sim.World) {
		for _, p := range w.Parties {
			for _, e := range p.Disk.Entries {
				x, err := audit.DecodeEntry(e)
				if err != nil || x.Kind != audit.KindReceipt {
					continue
				}
				if rec, err := audit.DecodeReceipt(x.Body); err == nil && rec.TxID == r.TxID {
					n++
				}
			}
		}
	})
	if n != 2 {
		t.Errorf("%d vaults have the receipt in their logs, want 2", n)
	}
	// After a restart it is as it was, and nothing sends it.
	f.restart()
	if r := f.state(id, Signed); !Waits(r.State, r.Reason) {
		t.Errorf("after a restart: %s", r.Reason)
	}
}

// People approve first: the blockhash is brought when they have.
func TestSolanaApproved(t *testing.T) {
	f, _ := solanaFixture(t)
	id := f.handIn(f.pay(sim.StrangerSolana, sim.Lamports(2))).ID
	f.state(id, AwaitingApproval)
	old := f.message(sim.StrangerSolana, sim.Lamports(2), 1)
	if err := f.bring(id, old); err != nil {
		t.Fatal(err)
	}
	// Nobody has seen it yet: it may still be taken back, and changed.
	fresh := f.message(sim.StrangerSolana, sim.Lamports(2), 2)
	if err := f.bring(id, fresh); err != nil {
		t.Fatal(err)
	}
	f.approve(id, "bob", true)
	f.approve(id, "carol", true)
	f.proved(f.state(id, Signed), fresh)

	id = f.handIn(f.pay(sim.StrangerSolana, sim.Lamports(2))).ID
	f.state(id, AwaitingApproval)
	if err := f.bring(id, fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := f.co.Cancel(t.Context(), f.cancellation(id, sim.Trader)); err != nil {
		t.Errorf("a request whose transaction no vault has seen cannot be taken back: %v", err)
	}
	f.state(id, Cancelled)
}

// What policy denies is refused by the vaults themselves, over a message with a
// blockhash that never was.
func TestSolanaDenied(t *testing.T) {
	f, _ := solanaFixture(t)
	id := f.handIn(f.pay(sim.StrangerSolana, sim.Lamports(11))).ID
	r := f.state(id, Denied)
	if !strings.Contains(r.Reason, "11 SOL") {
		t.Errorf("the reason is %q", r.Reason)
	}
	for _, a := range f.attempts(id) {
		m, err := solana.DecodeMessage(a.Unsigned)
		if err != nil || m.Blockhash != [32]byte{} {
			t.Errorf("the vaults were asked for %x, %v", a.Unsigned, err)
		}
		for _, p := range a.Replies {
			if ref, err := refusal.Decode(p.Refusal); p.Outcome != cluster.OutcomeRefused || err != nil || ref.Code != "policy.default" || len(p.Certificate) == 0 {
				t.Errorf("vault %d: %v, %v", p.Vault, p.Outcome, err)
			}
		}
	}
}

// A vault whose share is wrong is named and not asked again; the others sign.
func TestSolanaBadShare(t *testing.T) {
	f, l := solanaFixture(t)
	l.mu.Lock()
	l.vault, l.left, l.edit = 2, 100, func(s *cluster.FROSTShare) {
		x, err := frost.DecodeShare(mpc.FROSTEd25519, s.Share)
		if err != nil {
			t.Error(err)
			return
		}
		x.Z[0][7] ^= 1
		s.Share = x.Encode()
	}
	l.mu.Unlock()
	named := 0
	for i := range byte(6) {
		id := f.handIn(f.pay(sim.KnownSolana, 1)).ID
		unsigned := f.message(sim.KnownSolana, 1, 10+i)
		if err := f.bring(id, unsigned); err != nil {
			t.Fatal(err)
		}
		f.proved(f.state(id, Signed), unsigned)
		as := f.attempts(id)
		if len(as) > 2 {
			t.Errorf("%d attempts, want at most 2", len(as))
		}
		if last := as[len(as)-1].Signers; last[0] != 1 || last[1] != 3 {
			t.Errorf("signed by vaults %v", last)
		}
		ts, _, err := f.co.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ts {
			if strings.Contains(x.Reason, "make no signature") && strings.Contains(x.Reason, "[2]") {
				named++
			}
		}
	}
	if named == 0 {
		t.Error("vault 2 is never named")
	}
}

// The coordinator dies between two attempts, and its vaults too.
func TestSolanaRestarts(t *testing.T) {
	f, _ := solanaFixture(t)
	id := f.handIn(f.pay(sim.KnownSolana, 5)).ID
	f.waiting(id, "waiting for its transaction")
	f.restart()
	f.v.Deafen(1, 2)
	unsigned := f.message(sim.KnownSolana, 5, 9)
	if err := f.bring(id, unsigned); err != nil {
		t.Fatal(err)
	}
	f.waiting(id, "vaults reachable")
	f.restart()
	f.v.Crash(3)
	f.restartVault(3)
	f.v.Heal()
	f.proved(f.state(id, Signed), unsigned)
}

// An EVM wallet has no use for Solana, nor the other way round.
func TestSolanaWrongWallet(t *testing.T) {
	f, _ := solanaFixture(t)
	b := f.pay(sim.KnownSolana, 1)
	b.Request.Chain = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
	b.Request.Sender = strings.Replace(f.sender, solana.Mainnet, b.Request.Chain, 1)
	resign := func() {
		k := sim.Person(f.v.Seed, sim.Trader)
		b.ProposeSignature = sim.SignStatement(k, request.ProposeStatement(b.Request.ID()))
	}
	resign()
	if _, _, err := f.co.Propose(t.Context(), b); err == nil || !strings.Contains(err.Error(), "does not name its cluster") {
		t.Errorf("devnet: %v", err)
	}
	b = f.pay(sim.KnownSolana, 1)
	b.Request.Intent = []byte{9}
	resign()
	if _, _, err := f.co.Propose(t.Context(), b); err == nil || !strings.Contains(err.Error(), "docs/spec/solana.md") {
		t.Errorf("garbage for an intent: %v", err)
	}
	if _, err := f.wallet.Address(sim.Chain); err == nil {
		t.Error("a key of Ed25519 has an address on an EVM chain")
	}
}

// Where the coordinator builds transactions itself none is brought.
func TestBringWhereThereIsANode(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	f.state(id, AwaitingApproval)
	if err := f.bring(id, sim.Unsigned(sim.Stranger, sim.ETH(5), 0)); err == nil || !strings.Contains(err.Error(), "none is to be brought") {
		t.Errorf("brought: %v", err)
	}
	if _, err := f.co.Bring(t.Context(), [32]byte{9}, nil); err == nil {
		t.Error("brought for a request that does not exist")
	}
}

// One who looked before the transaction was brought does not say afterwards that
// it is missing: whoever waits for the request would go away.
func TestBroughtMeanwhile(t *testing.T) {
	f, _ := solanaFixture(t)
	f.v.Deafen(1, 2, 3)
	id := f.handIn(f.pay(sim.KnownSolana, 5)).ID
	before := f.state(id, Signing)
	if err := f.bring(id, f.message(sim.KnownSolana, 5, 33)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.co.brought(before, false); err != errParked {
		t.Errorf("%v, want that it waits", err)
	}
	r, err := f.co.Request(t.Context(), id)
	if err != nil || Waits(r.State, r.Reason) {
		t.Errorf("%v: the request says %q", err, r.Reason)
	}
	f.v.Heal()
	f.state(id, Signed)
}
