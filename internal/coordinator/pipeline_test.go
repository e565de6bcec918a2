package coordinator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

// TestPipeline: from the proposal to the block, and what is kept of it.
func TestPipeline(t *testing.T) {
	f := newFixture(t)
	b := f.transfer(sim.Known, sim.ETH(1))
	id := f.handIn(b).ID
	r := f.state(id, Confirmed)
	if got := f.states(id); got != "draft screening signing signed broadcast confirmed" {
		t.Errorf("history: %s", got)
	}
	if got := f.balance(sim.Known); got != sim.ETH(1) {
		t.Errorf("the recipient has %s wei", got.Dec())
	}
	tx, err := f.node.Transaction(t.Context(), r.TxID)
	if err != nil || !strings.HasSuffix(f.sender, tx.From.String()) {
		t.Errorf("the node says %v, %v; want sender %s", tx, err, f.sender)
	}
	if r.Receipt == nil || !r.Receipt.Success || r.Receipt.GasUsed != 21000 {
		t.Errorf("receipt %+v", r.Receipt)
	}
	as := f.attempts(id)
	if len(as) != 1 || len(as[0].Signers) != 2 || len(as[0].Replies) != 2 {
		t.Fatalf("attempts %+v", as)
	}
	for _, p := range as[0].Replies {
		cert, err := audit.DecodeCertificate(p.Certificate)
		if err != nil || !cert.Decision.Allow || cert.Decision.Request != id {
			t.Errorf("vault %d: %v", p.Vault, err)
		}
	}
	// The same proposal again is the same request.
	again, created, err := f.co.Propose(t.Context(), b)
	if err != nil || created || again.ID != id || again.State != Confirmed {
		t.Errorf("again: %v %v %v", again, created, err)
	}
	// What was confirmed is history to the engine.
	id = f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Confirmed)
	if f.risk.History() != 1 {
		t.Errorf("the engine was told %d past requests, want 1", f.risk.History())
	}
	// So is what waits, from before.
	for n := range 3 {
		w := f.handIn(f.transfer(sim.Stranger, sim.ETH(5)))
		f.state(w.ID, AwaitingApproval)
		if f.risk.Open() != n {
			t.Errorf("the engine was told %d open requests, want %d", f.risk.Open(), n)
		}
	}
	// The signers got their receipts.
	f.delivered()
	f.v.Do(func(w *sim.World) {
		n := 0
		for _, p := range w.Parties {
			for _, e := range p.Disk.Entries {
				x, err := audit.DecodeEntry(e)
				if err != nil {
					t.Fatal(err)
				}
				if x.Kind != audit.KindReceipt {
					continue
				}
				if rec, err := audit.DecodeReceipt(x.Body); err == nil && rec.TxID == r.TxID {
					n++
				}
			}
		}
		if n != 2 {
			t.Errorf("%d vaults have the receipt of %s in their logs, want 2", n, r.TxID)
		}
	})
}

// due is how many receipts vaults do not have yet.
func (f *fixture) due() (n int) {
	f.t.Helper()
	for id := uint16(1); id <= 3; id++ {
		ds, err := f.co.store.deliveries(context.Background(), id, 1000)
		if err != nil {
			f.t.Fatal(err)
		}
		n += len(ds)
	}
	return n
}

// delivered waits until the courier has nothing left to bring.
func (f *fixture) delivered() {
	f.t.Helper()
	for range 2000 {
		if f.due() == 0 {
			return
		}
		f.v.Do(func(*sim.World) {}) // the courier needs the world's goroutine too
	}
	f.t.Fatal("receipts are still due")
}

// TestBacklog: a vault that was away gets everything, in portions; what it refuses
// is not brought again.
func TestBacklog(t *testing.T) {
	f := newFixture(t)
	f.v.Crash(1)
	err := f.co.store.tx(t.Context(), func(tx *txn) error {
		for i := range byte(3 * maxDelivery / 2) {
			if err := addDeliveries(tx, [16]byte{i}, []uint16{1, 2}, []byte("no receipt")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.restart()
	for begun := time.Now(); f.due() > 3*maxDelivery/2; { // vault 2 has its own
		if time.Since(begun) > patience {
			t.Fatalf("%d are due", f.due())
		}
	}
	f.restartVault(1)
	f.co.VaultsChanged()
	for begun := time.Now(); f.due() > 0; {
		if time.Since(begun) > patience {
			t.Fatalf("%d are due", f.due())
		}
	}
}

func TestApprovals(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	r := f.state(id, AwaitingApproval)
	for _, want := range []string{"2 approvals from approvers", "none given"} {
		if !strings.Contains(r.Reason, want) {
			t.Errorf("reason %q, want %q in it", r.Reason, want)
		}
	}
	if r = f.approve(id, "bob", true); r.State != AwaitingApproval || !strings.Contains(r.Reason, "1 given (bob)") {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
	a := f.approval(id, "carol", true)
	if r, err := f.co.Approve(t.Context(), a); err != nil || r.State != Signing {
		t.Fatalf("%v, %v", r, err)
	}
	f.state(id, Confirmed)
	// The same bytes again change nothing and are no error.
	if _, err := f.co.Approve(t.Context(), a); err != nil {
		t.Errorf("the same approval again: %v", err)
	}
	// Another answer of the same person is one too many.
	if _, err := f.co.Approve(t.Context(), f.approval(id, "carol", false)); !errors.Is(err, &refusal.Refusal{Code: "approval.duplicate"}) {
		t.Errorf("a second answer: %v", err)
	}
	// A new one comes too late.
	if _, err := f.co.Approve(t.Context(), f.approval(id, "dave", true)); !errors.Is(err, ErrConflict) {
		t.Errorf("a late answer: %v", err)
	}
}

// TestApprovalsBad: nothing of an approval that is no good is kept.
func TestApprovalsBad(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	f.state(id, AwaitingApproval)
	other := f.handIn(f.transfer(sim.Stranger, sim.ETH(6))).ID
	f.state(other, AwaitingApproval)
	replayed := f.approval(id, "bob", true)
	replayed.Request = other
	forged := f.approval(id, "bob", true)
	forged.Key = sim.PublicKey(sim.Person(seed, "carol"))
	expired := f.approval(id, "bob", true)
	expired.Time, expired.Expires = f.now()-2000, f.now()-1000
	expired.Signature = sim.SignStatement(sim.Person(seed, "bob"), expired.Statement())
	nobody := f.approval(id, "mallory", true)
	machine := f.approval(id, sim.Engine, true)
	for name, c := range map[string]struct {
		a    *request.Approval
		code string
	}{
		"replayed": {replayed, "identity.signature"}, "forged": {forged, "identity.key"}, "expired": {expired, "approval.expired"},
		"nobody": {nobody, "identity.principal"}, "machine": {machine, "identity.kind"},
	} {
		if _, err := f.co.Approve(t.Context(), c.a); !errors.Is(err, &refusal.Refusal{Code: c.code}) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if _, err := f.co.Approve(t.Context(), f.approval([32]byte{1}, "bob", true)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown request: %v", err)
	}
	for _, id := range [][32]byte{id, other} {
		if r, err := f.co.Request(t.Context(), id); err != nil || len(r.Bundle.Approvals) != 0 || r.State != AwaitingApproval {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// TestDenied: the vaults refuse, each with its signed reason; nothing is signed,
// and no nonce is lost.
func TestDenied(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(50))).ID
	r := f.state(id, Denied)
	as := f.attempts(id)
	if len(as) != 1 || len(as[0].Replies) != 2 {
		t.Fatalf("attempts %+v", as)
	}
	for _, p := range as[0].Replies {
		no, err := refusal.Decode(p.Refusal)
		if err != nil || no.Code != "policy.default" || !strings.Contains(no.Detail, "50 ETH") || no.Fix == "" {
			t.Errorf("vault %d: %v, %v", p.Vault, no, err)
		}
		if cert, err := audit.DecodeCertificate(p.Certificate); err != nil || cert.Decision.Allow {
			t.Errorf("vault %d's certificate: %v", p.Vault, err)
		}
		if !strings.Contains(r.Reason, no.Detail) {
			t.Errorf("reason %q lacks vault %d's", r.Reason, p.Vault)
		}
	}
	if _, held, err := f.co.store.nonceOf(t.Context(), id); held || err != nil {
		t.Errorf("it holds a nonce: %v", err)
	}
	next := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(next, Confirmed)
	if got := f.states(id); got != "draft screening signing denied" {
		t.Errorf("history: %s", got)
	}
}

// TestDeniedByPerson: one no of somebody whose yes would count ends it.
func TestDeniedByPerson(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	f.state(id, AwaitingApproval)
	f.approve(id, "bob", true)
	f.approve(id, "carol", false)
	r := f.state(id, Denied)
	if !strings.Contains(r.Reason, "carol") || !strings.Contains(r.Reason, "vault") {
		t.Errorf("reason %q", r.Reason)
	}
}

// TestSilentEngine: no verdict is never a pass.
func TestSilentEngine(t *testing.T) {
	f := newFixture(t)
	f.risk.Set(true, 0)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.waiting(id, "held: the risk engine gives no verdict")
	if r.State != Screening {
		t.Errorf("state %s", r.State)
	}
	f.restart()
	f.waiting(id, "held: the risk engine gives no verdict")
	f.risk.Set(false, request.Pass)
	f.co.Wake()
	f.state(id, Confirmed)
}

// TestForgedVerdict: a verdict that does not verify is none.
func TestForgedVerdict(t *testing.T) {
	f := newFixture(t)
	f.risk.Forge(true)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.waiting(id, "held: the risk engine's verdict is of no use", "does not verify")
	if r.State != Screening || len(r.Bundle.Verdicts) != 0 {
		t.Errorf("%s with %d verdicts", r.State, len(r.Bundle.Verdicts))
	}
	f.risk.Forge(false)
	f.co.Wake()
	f.state(id, Confirmed)
}

// TestHold: the engine is asked again until it changes its mind.
func TestHold(t *testing.T) {
	f := newFixture(t)
	f.risk.Set(false, request.Hold)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.waiting(id, "held", "something is odd", "score 700")
	if r.State != Screening || len(r.Bundle.Verdicts) != 1 {
		t.Errorf("%s with %d verdicts", r.State, len(r.Bundle.Verdicts))
	}
	f.risk.Set(false, request.Pass)
	f.co.Wake()
	f.state(id, Confirmed)
}

// TestDenyOfEngine: policy asks for a pass, so the vaults refuse.
func TestDenyOfEngine(t *testing.T) {
	f := newFixture(t)
	f.risk.Set(false, request.Deny)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.state(id, Denied)
	if !strings.Contains(r.Reason, "risk-1 deny is not pass") {
		t.Errorf("reason %q", r.Reason)
	}
}

// TestReads: which verdicts the policy speaks of.
func TestReads(t *testing.T) {
	f := newFixture(t)
	v := &request.RiskVerdict{Engine: sim.Engine, Outcome: request.Hold}
	if f.co.reads(v) {
		t.Error("the policy asks for a pass only")
	}
	if v.Outcome = request.Deny; !f.co.reads(v) {
		t.Error("a deny fails what asks for a pass")
	}
	if v.Engine = "another"; f.co.reads(v) {
		t.Error("of another engine the policy knows nothing")
	}
}

// TestBadProposals: each is refused at once and leaves nothing.
func TestBadProposals(t *testing.T) {
	f := newFixture(t)
	sign := func(b *request.Bundle, who string) *request.Bundle {
		k := sim.Person(seed, who)
		b.ProposeKey, b.ProposeSignature = sim.PublicKey(k), sim.SignStatement(k, request.ProposeStatement(b.Request.ID()))
		return b
	}
	base := func(change func(*request.Request)) *request.Bundle {
		b := f.transfer(sim.Known, sim.ETH(1))
		change(b.Request)
		return sign(b, sim.Trader)
	}
	for name, c := range map[string]struct {
		b    *request.Bundle
		code string
	}{
		"cluster": {base(func(q *request.Request) { q.Cluster[0]++ }), "request.cluster"},
		"wallet":  {base(func(q *request.Request) { q.Wallet[0]++ }), "request.wallet"},
		"chain": {base(func(q *request.Request) {
			q.Chain, q.Sender = "eip155:1", strings.Replace(q.Sender, sim.Chain, "eip155:1", 1)
		}), "request.chain"},
		"sender":    {base(func(q *request.Request) { q.Sender = sim.Chain + ":" + sim.Known.String() }), "request.sender"},
		"checksum":  {base(func(q *request.Request) { q.Sender = strings.ToLower(q.Sender) }), "request.sender"},
		"intent":    {base(func(q *request.Request) { q.Intent = []byte{1, 2, 3} }), "request.intent"},
		"expired":   {base(func(q *request.Request) { q.Created, q.Expires = q.Created-10_000, q.Created-5_000 }), "request.expired"},
		"future":    {base(func(q *request.Request) { q.Created += 600_000 }), "request.created"},
		"initiator": {base(func(q *request.Request) { q.Initiator = "mallory" }), "identity.principal"},
		"machine":   {sign(base(func(q *request.Request) { q.Initiator = sim.Engine }), sim.Engine), "identity.kind"},
		"key":       {sign(base(func(*request.Request) {}), "bob"), "identity.key"},
		"signature": {func() *request.Bundle { b := base(func(*request.Request) {}); b.ProposeSignature.Bytes[5]++; return b }(), "identity.signature"},
		"approvals": {func() *request.Bundle {
			b := base(func(*request.Request) {})
			b.Approvals = append(b.Approvals, *f.approval(b.Request.ID(), "bob", true))
			return b
		}(), "bundle.approvals"},
	} {
		if _, _, err := f.co.Propose(t.Context(), c.b); !errors.Is(err, &refusal.Refusal{Code: c.code}) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if _, err := f.co.Request(t.Context(), c.b.Request.ID()); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: something of it is kept: %v", name, err)
		}
	}
}

// TestStatusesAreCheap: not every signature begins with a question to everybody.
func TestStatusesAreCheap(t *testing.T) {
	f := newFixture(t)
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	asked := func() int { return f.v.Asked(cluster.CommandStatus) }
	before := asked()
	for range 5 {
		f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	}
	if n := asked() - before; n > 3*5/2 {
		t.Errorf("%d questions for 5 signatures", n)
	}
}
