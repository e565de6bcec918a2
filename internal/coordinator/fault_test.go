package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// TestLostReplies: shares that got lost on the way cost an attempt, not a version.
func TestLostReplies(t *testing.T) {
	f := newFixture(t)
	for id := range uint16(3) {
		f.v.Lose(id+1, 1)
	}
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Confirmed)
	as := f.attempts(id)
	if len(as) < 2 {
		t.Fatalf("%d attempts", len(as))
	}
	for _, a := range as {
		if string(a.Unsigned) != string(as[0].Unsigned) {
			t.Error("an attempt was at another version")
		}
	}
	if got := f.balance(sim.Known); got != sim.ETH(1) {
		t.Errorf("the recipient has %s wei", got.Dec())
	}
}

// TestOneVaultDown: signing goes on, and does not wait for it.
func TestOneVaultDown(t *testing.T) {
	for down := uint16(1); down <= 3; down++ {
		f := newFixture(t)
		f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed) // all were there a moment ago
		f.v.Crash(down)
		begun := time.Now()
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		f.state(id, Confirmed)
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("without vault %d it took %v%s", down, d, f.story(id))
		}
		as := f.attempts(id)
		if slices.Contains(as[len(as)-1].Signers, down) {
			t.Errorf("vault %d signed", down)
		}
		f.restartVault(down)
		f.co.VaultsChanged()
	}
}

// story is what happened to a request, for a test that failed.
func (f *fixture) story(id [32]byte) string {
	var s strings.Builder
	ts, as, err := f.co.History(f.t.Context(), id)
	fmt.Fprintf(&s, " (%v)", err)
	for _, x := range ts {
		fmt.Fprintf(&s, "\n%d %s: %s", x.Time, x.State, x.Reason)
	}
	for _, a := range as {
		fmt.Fprintf(&s, "\n%d %v", a.Time, a.Signers)
		for _, p := range a.Replies {
			fmt.Fprintf(&s, "; %s", sim.Describe(p))
		}
	}
	return s.String()
}

// TestTwoVaultsDown: the request says why it waits, and goes on by itself.
func TestTwoVaultsDown(t *testing.T) {
	f := newFixture(t)
	f.v.Crash(1)
	f.v.Crash(3)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.waiting(id, "1 of 3 vaults reachable", "2 must sign together", "vault 1", "vault 3", coordinatortest.ErrDown.Error())
	if r.State != Signing || len(f.attempts(id)) != 0 {
		t.Errorf("%s after %d attempts", r.State, len(f.attempts(id)))
	}
	if _, held, err := f.co.store.nonceOf(t.Context(), id); held || err != nil {
		t.Errorf("it took a nonce, though nobody could sign: %v", err)
	}
	f.restart() // so does a coordinator that was started meanwhile
	f.waiting(id, "1 of 3 vaults reachable")
	// A vault that has started anew waits for both others (docs/spec/rollback.md), and
	// the request says so.
	f.restartVault(1)
	f.waiting(id, "2 of 3 vaults reachable", "vault 1 has started", "vaults [3]")
	f.restartVault(3)
	f.state(id, Confirmed)
}

// TestVaultDiesInside: a vault that is gone in the middle of an attempt does not
// keep the other waiting.
func TestVaultDiesInside(t *testing.T) {
	f := newFixture(t)
	f.v.Hold(1, 2, 3)
	b := f.transfer(sim.Known, sim.ETH(1))
	id := f.handIn(b).ID
	f.sessions(2)
	signers := f.attempts(id)[0].Signers
	f.v.Crash(signers[0])
	f.v.Heal()
	begun := time.Now()
	f.state(id, Confirmed)
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

// sessions waits until that many vaults have one.
func (f *fixture) sessions(want int) {
	f.t.Helper()
	for begun := time.Now(); time.Since(begun) < patience; {
		n := 0
		for _, s := range f.co.Statuses(f.t.Context()) {
			if s.Err == nil && s.Status.Sessions > 0 {
				n++
			}
		}
		if n == want {
			return
		}
	}
	f.t.Fatal("no sessions began")
}

// overruled are the vaults with some answers replaced.
type overruled struct {
	Vaults
	answer func(vault uint16, c *cluster.Command) *cluster.Reply
}

func (o *overruled) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	c, err := cluster.DecodeCommand(body)
	if err != nil {
		return nil, err
	}
	if r := o.answer(vault, c); r != nil {
		return r.Encode(), nil
	}
	return o.Vaults.Command(ctx, vault, body)
}

// TestOneVaultAgainst: a vault that refuses what the others would sign cannot
// stop them.
func TestOneVaultAgainst(t *testing.T) {
	no := refusal.New("policy.rule", "its-own", "vault 2 does not feel like it", "another day")
	shared := newFixture(t)
	f := fixtureOf(t, shared.v, sharedOrder(), devnode.Options{}, func(o *Options) {
		o.Vaults = &overruled{o.Vaults, func(vault uint16, c *cluster.Command) *cluster.Reply {
			if vault == 2 && c.Kind == cluster.CommandSign {
				return &cluster.Reply{Vault: 2, Outcome: cluster.OutcomeRefused, Refusal: no.Encode()}
			}
			return nil
		}}
	})
	for range 3 { // whatever set comes first
		begun := time.Now()
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		f.state(id, Confirmed)
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
	}
}

// TestRefuserIsNotAskedAgain: it waits for another vault instead.
func TestRefuserIsNotAskedAgain(t *testing.T) {
	no := refusal.New("policy.rule", "its-own", "vault 2 does not feel like it", "another day")
	first := newFixture(t)
	f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{}, func(o *Options) {
		o.Vaults = &overruled{o.Vaults, func(vault uint16, c *cluster.Command) *cluster.Reply {
			if vault == 2 && c.Kind == cluster.CommandSign {
				return &cluster.Reply{Vault: 2, Outcome: cluster.OutcomeRefused, Refusal: no.Encode()}
			}
			return nil
		}}
	})
	f.v.Crash(3)
	f.co.VaultsChanged()
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.waiting(id, "2 of 3 vaults reachable", "vault 2 refuses")
	f.restart() // it is remembered
	f.waiting(id, "2 of 3 vaults reachable", "vault 2 refuses")
	f.restartVault(3)
	f.state(id, Confirmed)
	n := 0
	for _, a := range f.attempts(id) {
		if slices.Contains(a.Signers, 2) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("vault 2 was asked %d times", n)
	}
}

// TestLeftBehind: after a restart the vaults are told to end the attempt whose
// answers nobody waits for any more.
func TestLeftBehind(t *testing.T) {
	f := newFixture(t)
	f.v.Hold(1, 2, 3)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.sessions(2)
	before := f.v.Asked(cluster.CommandAbandon)
	f.restart()
	for begun := time.Now(); f.v.Asked(cluster.CommandAbandon) < before+2; {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("nobody ended it")
		}
	}
	f.v.Heal()
	f.state(id, Confirmed)
}

func sharedOrder() *governance.KeygenOrder { return shared.order }

// TestTwoVaultsAgainst: too few are left that might say yes.
func TestTwoVaultsAgainst(t *testing.T) {
	no := refusal.New("policy.rule", "its-own", "they do not feel like it", "another day")
	first := newFixture(t)
	f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{}, func(o *Options) {
		o.Vaults = &overruled{o.Vaults, func(vault uint16, c *cluster.Command) *cluster.Reply {
			if vault != 1 && c.Kind == cluster.CommandSign {
				return &cluster.Reply{Vault: vault, Outcome: cluster.OutcomeRefused, Refusal: no.Encode()}
			}
			return nil
		}}
	})
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.state(id, Denied)
	if !strings.Contains(r.Reason, "feel like it") {
		t.Errorf("reason %q", r.Reason)
	}
}

// stubborn is a vault that answers an attempt only when it is told to give up,
// and one that refuses at once.
type stubborn struct {
	mu        sync.Mutex // guards what follows
	deaf      int        // how many orders to give up come before there is anything to give up
	abandoned chan struct{}
}

func (s *stubborn) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	c, err := cluster.DecodeCommand(body)
	if err != nil {
		return nil, err
	}
	r := &cluster.Reply{Vault: vault, Outcome: cluster.OutcomeDone}
	switch {
	case c.Kind == cluster.CommandAbandon:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.deaf--; s.deaf == -1 {
			close(s.abandoned)
		}
	case vault == 1:
		r.Outcome, r.Refusal = cluster.OutcomeRefused, refusal.New("policy.rule", "", "no", "").Encode()
	default:
		select {
		case <-s.abandoned:
			r.Outcome, r.Detail = cluster.OutcomeAborted, "abandoned"
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return r.Encode(), nil
}

// TestWaitingVaultIsReleased: when one refuses, another that only waits for it is
// told to give up after a grace.
func TestWaitingVaultIsReleased(t *testing.T) {
	for _, deaf := range []int{0, 1, 3} {
		testRelease(t, deaf)
	}
}

func testRelease(t *testing.T, deaf int) {
	t.Helper()
	s := &stubborn{deaf: deaf, abandoned: make(chan struct{})}
	c := &Coordinator{opts: Options{Vaults: s}}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	defer c.wg.Wait()
	defer c.cancel()
	begun := time.Now()
	replies, errs := c.ask(&Attempt{ID: [16]byte{1}, Signers: []uint16{1, 2}, Unsigned: []byte{1}}, []byte{1}, func(uint16) [][]byte { return nil })
	d := time.Since(begun)
	if len(replies) != 2 || len(errs) != 0 || replies[0].Outcome != cluster.OutcomeRefused || replies[1].Outcome != cluster.OutcomeAborted {
		t.Fatalf("%v, %v", replies, errs)
	}
	if d < graceAfterRefusal || d > graceAfterRefusal+5*time.Second {
		t.Errorf("it took %v, want a little more than %v", d, graceAfterRefusal)
	}
}

// TestTried: what an attempt taught, also after a restart.
func TestTried(t *testing.T) {
	a := &Attempt{Signers: []uint16{1, 2}}
	reply := func(vault uint16, o cluster.Outcome, class mpc.Class, code string) *cluster.Reply {
		r := &cluster.Reply{Vault: vault, Outcome: o, Class: uint8(class)}
		if code != "" {
			r.Refusal = refusal.New(code, "", "why", "").Encode()
		}
		return r
	}
	for name, c := range map[string]struct {
		replies                 []*cluster.Reply
		spent, refused, trouble bool
	}{
		"benign":       {[]*cluster.Reply{reply(1, cluster.OutcomeAborted, mpc.Benign, "")}, false, false, false},
		"attributed":   {[]*cluster.Reply{reply(1, cluster.OutcomeAborted, mpc.Attributed, "")}, true, false, false},
		"unattributed": {[]*cluster.Reply{reply(1, cluster.OutcomeAborted, mpc.Unattributed, "")}, true, false, false},
		"quarantine":   {[]*cluster.Reply{reply(1, cluster.OutcomeAborted, mpc.Quarantine, "")}, true, false, false},
		"policy":       {[]*cluster.Reply{reply(1, cluster.OutcomeRefused, 0, "policy.default")}, false, true, false},
		"identity":     {[]*cluster.Reply{reply(1, cluster.OutcomeRefused, 0, "identity.signature")}, false, true, false},
		"attempt":      {[]*cluster.Reply{reply(1, cluster.OutcomeRefused, 0, "sign.attempt")}, false, false, false},
		"lost key":     {[]*cluster.Reply{reply(1, cluster.OutcomeRefused, 0, "request.wallet")}, false, false, true},
		"all shares":   {[]*cluster.Reply{reply(1, cluster.OutcomeDone, 0, ""), reply(2, cluster.OutcomeDone, 0, "")}, true, false, false},
		"one share":    {[]*cluster.Reply{reply(1, cluster.OutcomeDone, 0, "")}, false, false, false},
	} {
		x := &tried{spent: map[string]bool{}, refused: map[uint16]*refusal.Refusal{}, trouble: map[uint16]bool{}}
		x.learn(a, c.replies)
		if x.spent["[1 2] []"] != c.spent || (x.refused[1] != nil) != c.refused || x.trouble[1] != c.trouble {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

func TestExpiry(t *testing.T) {
	f := newFixture(t)
	// People take too long.
	id := f.handIn(f.propose(evm.NewTransfer(sim.Stranger, sim.ETH(5)), 300*time.Millisecond)).ID
	r := f.state(id, Expired)
	if !strings.Contains(r.Reason, "before it was signed") {
		t.Errorf("reason %q", r.Reason)
	}
	if _, err := f.co.Approve(t.Context(), f.approval(id, "bob", true)); !errors.Is(err, ErrConflict) {
		t.Errorf("an answer after it expired: %v", err)
	}
	// The vaults stay away.
	f.v.Crash(1)
	f.v.Crash(2)
	f.co.VaultsChanged()
	id = f.handIn(f.propose(evm.NewTransfer(sim.Known, sim.ETH(1)), 500*time.Millisecond)).ID
	f.state(id, Expired)
	// The engine stays silent, and the coordinator was not there when it expired.
	f.risk.Set(true, 0)
	id = f.handIn(f.propose(evm.NewTransfer(sim.Known, sim.ETH(1)), 200*time.Millisecond)).ID
	f.restart()
	f.state(id, Expired)
}

func TestCancel(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	f.state(id, AwaitingApproval)
	if _, err := f.co.Cancel(t.Context(), f.cancellation(id, "bob")); !errors.Is(err, &refusal.Refusal{Code: "cancellation.principal"}) {
		t.Errorf("by somebody else: %v", err)
	}
	forged := f.cancellation(id, sim.Trader)
	forged.Signature.Bytes[0]++
	if _, err := f.co.Cancel(t.Context(), forged); !errors.Is(err, &refusal.Refusal{Code: "identity.signature"}) {
		t.Errorf("forged: %v", err)
	}
	x := f.cancellation(id, sim.Trader)
	if r, err := f.co.Cancel(t.Context(), x); err != nil || r.State != Cancelled {
		t.Fatalf("%v, %v", r, err)
	}
	if r, err := f.co.Cancel(t.Context(), x); err != nil || r.State != Cancelled {
		t.Errorf("the same again: %v, %v", r, err)
	}
	if _, err := f.co.Approve(t.Context(), f.approval(id, "bob", true)); !errors.Is(err, ErrConflict) {
		t.Errorf("an answer to it: %v", err)
	}
	// By an admin, while the vaults are away: nobody was asked yet.
	f.v.Crash(1)
	f.v.Crash(2)
	f.co.VaultsChanged()
	id = f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.waiting(id, "1 of 3 vaults reachable")
	if r, err := f.co.Cancel(t.Context(), f.cancellation(id, "ada")); err != nil || r.State != Cancelled {
		t.Fatalf("%v, %v", r, err)
	}
	f.restartVault(1)
	f.restartVault(2)
	f.co.VaultsChanged()
	// Too late.
	id = f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Confirmed)
	if _, err := f.co.Cancel(t.Context(), f.cancellation(id, sim.Trader)); !errors.Is(err, ErrConflict) {
		t.Errorf("after it was confirmed: %v", err)
	}
	if _, err := f.co.Cancel(t.Context(), f.cancellation([32]byte{7}, sim.Trader)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// TestConcurrent: requests at the same time get different nonces, without gaps.
func TestConcurrent(t *testing.T) {
	f := newFixture(t)
	const n = 12
	var ids [][32]byte
	for range n {
		ids = append(ids, f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID)
	}
	var nonces []uint64
	for _, id := range ids {
		r := f.state(id, Confirmed)
		tx, _, err := sentBy(r)
		if err != nil {
			t.Fatal(err)
		}
		nonces = append(nonces, tx.Nonce)
	}
	slices.Sort(nonces)
	for i, got := range nonces {
		if got != uint64(i) {
			t.Fatalf("nonces %v", nonces)
		}
	}
	if got := f.balance(sim.Known); got != sim.ETH(n) {
		t.Errorf("the recipient has %s wei", got.Dec())
	}
}

// TestReserveNonce: the lowest that nobody holds, and the same one again.
func TestReserveNonce(t *testing.T) {
	f := newFixture(t)
	take := func(first uint64, request byte) uint64 {
		t.Helper()
		n, err := f.reserve("wallet", first, [32]byte{request})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		first uint64
		req   byte
		want  uint64
	}{{5, 1, 5}, {5, 2, 6}, {5, 1, 5}, {7, 3, 7}, {5, 4, 8}} {
		if got := take(c.first, c.req); got != c.want {
			t.Errorf("request %d from %d on gets %d, want %d", c.req, c.first, got, c.want)
		}
	}
	if err := f.co.store.releaseNonce(t.Context(), [32]byte{2}); err != nil {
		t.Fatal(err)
	}
	if got := take(5, 9); got != 6 {
		t.Errorf("the released one is not taken: %d", got)
	}
}

// TestWithoutFunds: what would fail is not signed; it waits for the money.
func TestWithoutFunds(t *testing.T) {
	f := newFixture(t)
	_, a, err := evm.ParseAccount(f.sender)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(0)); err != nil {
		t.Fatal(err)
	}
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.waiting(id, "the wallet has 0 ETH, the transaction may cost up to 1.0")
	if r.State != Signing || len(f.attempts(id)) != 0 {
		t.Errorf("%s after %d attempts", r.State, len(f.attempts(id)))
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(10)); err != nil {
		t.Fatal(err)
	}
	f.state(id, Confirmed)
}

// TestLowMaxFee: what people allowed for fees is not enough for the chain.
func TestLowMaxFee(t *testing.T) {
	f := newFixture(t)
	b := f.transfer(sim.Known, sim.ETH(1))
	b.Request.MaxFee = *new(chain.Amount).SetUint64(21000)
	k := sim.Person(seed, sim.Trader)
	b.ProposeSignature = sim.SignStatement(k, request.ProposeStatement(b.Request.ID()))
	id := f.handIn(b).ID
	r := f.waiting(id, "approve a higher maximum fee in a new request")
	if r.State != Signing {
		t.Errorf("state %s", r.State)
	}
}

// TestReverted: mined and failed is told as such, with the fee that is paid.
func TestReverted(t *testing.T) {
	f := newFixture(t).governed()
	in := evm.NewERC20Transfer(f.token, sim.Known, *new(chain.Amount).SetUint64(1000))
	// Without the tokens it is not signed at all.
	f.setTokens(0)
	id := f.handIn(f.propose(in, time.Hour)).ID
	f.waiting(id, "the chain's node expects the transaction to fail")
	f.setTokens(1000)
	f.state(id, Confirmed)
	// They are there when it is signed, and gone when it is sent.
	f.setTokens(1000)
	b := f.propose(in, time.Hour)
	id = b.Request.ID()
	dead := f.killAt(id, Signed)
	f.handIn(b)
	<-dead
	f.setTokens(0)
	f.restart()
	r := f.until(id, "its end", func(r *Record) bool { return r.State.Final() })
	if r.State != Failed || r.Receipt == nil || r.Receipt.Success || r.Receipt.Fee == "0" || !strings.Contains(r.Reason, "reverted") {
		t.Errorf("%s: %s, %+v", r.State, r.Reason, r.Receipt)
	}
}

// setTokens says how many test tokens the wallet has, without asking anybody.
func (f *fixture) setTokens(n uint64) {
	f.t.Helper()
	_, a, err := evm.ParseAccount(f.sender)
	if err != nil {
		f.t.Fatal(err)
	}
	h := sha3.NewLegacyKeccak256() // the token keeps the balance of a at keccak256(a ‖ 0)
	h.Write(make([]byte, 12))
	h.Write(a[:])
	h.Write(make([]byte, 32))
	if err := f.node.Do(f.t.Context(), nil, "anvil_setStorageAt", f.token.String(), fmt.Sprintf("%#x", h.Sum(nil)), fmt.Sprintf("%#064x", n)); err != nil {
		f.t.Fatal(err)
	}
	if got, err := f.node.TokenBalance(f.t.Context(), f.token, a); err != nil || got.Uint64() != n {
		f.t.Fatalf("the wallet has %s tokens, want %d: %v", got.Dec(), n, err)
	}
}

// governed is a fixture with vaults of its own, whose policy knows a token that
// the wallet has all of.
func (f *fixture) governed() *fixture {
	f.t.Helper()
	v := newVaults(f.t, seed+1)
	f.t.Cleanup(v.Close)
	order := v.KeygenOrder("treasury", 2)
	g := fixtureOf(f.t, v, order, devnode.Options{}, nil)
	_, a, err := evm.ParseAccount(g.sender)
	if err != nil {
		f.t.Fatal(err)
	}
	if g.token, err = g.node.DeployToken(f.t.Context(), a, *new(chain.Amount).SetUint64(1000)); err != nil {
		f.t.Fatal(err)
	}
	d := sim.Policy()
	asset := evm.TokenAsset(sim.Chain, g.token)
	d.Assets = append(d.Assets, policy.Asset{Symbol: "TEST", ID: asset, Decimals: 6})
	d.Rules = append(d.Rules, policy.Rule{Name: "tokens", Then: policy.Verdict{Effect: policy.Allow}, When: policy.Expr{Op: policy.OpAll, Args: []policy.Expr{
		{Op: policy.OpTransfers}, {Op: policy.OpIn, Args: []policy.Expr{{Op: policy.OpField, Text: "asset"}}, Set: []string{asset}},
	}}})
	d.Sort()
	if _, err := g.co.Change(f.t.Context(), g.change(d, "ada", "ben")); err != nil {
		f.t.Fatal(err)
	}
	return g
}

// change is a new policy, signed.
func (f *fixture) change(d *policy.Document, who ...string) *governance.SignedChange {
	gov := f.co.Governance()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: governance.KindPolicy, Body: d.Encode(), Created: f.now(), Author: "ada",
	}}
	for _, w := range who {
		k := sim.Person(f.v.Seed, w)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	s.Sort()
	return s
}

// garbled are vaults whose answers were replaced on the way.
type garbled struct {
	Vaults
	answer func(vault uint16, c *cluster.Command) []byte
}

func (g *garbled) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	c, err := cluster.DecodeCommand(body)
	if err != nil {
		return nil, err
	}
	if b := g.answer(vault, c); b != nil {
		return b, nil
	}
	return g.Vaults.Command(ctx, vault, body)
}

// TestGarbledAnswers: garbage, another vault's answer, a status of another cluster
// and shares that make no signature cost that vault its place, no more.
func TestGarbledAnswers(t *testing.T) {
	status := func(vault uint16, in [32]byte) []byte {
		s := &cluster.Status{Vault: vault, Cluster: in}
		return (&cluster.Reply{Vault: 2, Outcome: cluster.OutcomeDone, Body: s.Encode()}).Encode()
	}
	first := newFixture(t)
	for name, c := range map[string]struct {
		kind   cluster.CommandKind
		answer []byte
		words  string
	}{
		"garbage":         {cluster.CommandStatus, []byte("garbage"), "couldn't decode reply"},
		"another's reply": {cluster.CommandStatus, (&cluster.Reply{Vault: 3, Outcome: cluster.OutcomeDone}).Encode(), "the answer is vault 3's"},
		"no status":       {cluster.CommandStatus, (&cluster.Reply{Vault: 2, Outcome: cluster.OutcomeDone, Body: []byte{1}}).Encode(), "couldn't decode status"},
		"another's name":  {cluster.CommandStatus, status(3, first.co.Cluster()), "it says that it is vault 3"},
		"another cluster": {cluster.CommandStatus, status(2, [32]byte{1}), "it is of cluster"},
		"failed":          {cluster.CommandStatus, (&cluster.Reply{Vault: 2, Outcome: cluster.OutcomeFailed, Detail: "its disk is full"}).Encode(), "its disk is full"},
		"no share":        {cluster.CommandSign, (&cluster.Reply{Vault: 2, Outcome: cluster.OutcomeDone, Body: []byte("share")}).Encode(), ""},
		"sign garbage":    {cluster.CommandSign, []byte("garbage"), ""},
	} {
		f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{}, func(o *Options) {
			o.Vaults = &garbled{o.Vaults, func(vault uint16, x *cluster.Command) []byte {
				if vault == 2 && x.Kind == c.kind {
					return c.answer
				}
				return nil
			}}
		})
		for range 2 {
			id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
			f.state(id, Confirmed)
			as := f.attempts(id)
			if slices.Contains(as[len(as)-1].Signers, 2) {
				t.Errorf("%s: vault 2 signed", name)
			}
		}
		if s := f.co.Statuses(t.Context())[1]; c.words != "" && (s.Err == nil || !strings.Contains(s.Err.Error(), c.words)) {
			t.Errorf("%s: %v, want %q", name, s.Err, c.words)
		}
	}
}
