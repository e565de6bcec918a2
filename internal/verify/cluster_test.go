package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/mpc"
)

// vaults is a simulated cluster: the vaults' own code, the real protocols.
type vaults struct {
	*testing.T
	*sim.World
	x *sim.Wallet
}

func (v *vaults) ok(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// A key that is refreshed and goes to other vaults: the logs still tell one story,
// newcomers' and leavers' too.
func TestLifecycleVerifies(t *testing.T) {
	w, err := sim.New(9, 5, sim.Roster(9), sim.Policy())
	v := &vaults{T: t, World: w}
	v.ok(err)
	v.x, err = w.KeygenAmong("treasury", 2, 1, 2, 3)
	v.ok(err)
	next := func(action governance.Action, threshold int, parties, dealers []mpc.ID) {
		t.Helper()
		s, err := w.OrderChange(v.x, "treasury", action, threshold, parties...)
		v.ok(err)
		v.x, err = w.Handover(v.x, s, dealers...)
		v.ok(err)
		v.ok(w.Settle())
	}
	v.pay(w.Transfer(v.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 0), 1, 2)
	next(governance.Refresh, 0, nil, []mpc.ID{1, 2, 3})
	v.pay(w.Transfer(v.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 1), 2, 3)
	next(governance.Reshare, 2, []mpc.ID{3, 4, 5}, []mpc.ID{1, 2})
	for _, id := range w.IDs {
		v.ok(w.CatchUp(id))
	}
	v.pay(w.Transfer(v.x, sim.Known, sim.ETH(1)), sim.Unsigned(sim.Known, sim.ETH(1), 2), 4, 5)
	v.ok(w.Tick(5_000))
	v.ok(w.Settle())
	r := verify.Copies(w.Genesis.Hash(), v.copies(), sim.Codecs())
	if !r.OK || r.Counts.Epochs != 2 || r.Counts.Receipts != 3 || len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	// Without the logs of those who left it is said what cannot be seen.
	r = verify.Copies(w.Genesis.Hash(), v.copies()[3:], sim.Codecs())
	if len(r.Notes) == 0 || !strings.Contains(fmt.Sprint(r.Notes), "no log tells of epoch 2") {
		t.Errorf("%v", r.Notes)
	}
}

// pay signs and brings the receipt to the signers, as a coordinator does.
func (v *vaults) pay(b *request.Bundle, unsigned []byte, signers ...mpc.ID) {
	v.Helper()
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: v.Attempt(), Body: b.Encode(), Unsigned: unsigned}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	replies := v.ask(c, signers...)
	p, err := evm.Codec{}.Prepare(sim.Chain, v.x.Sender, b.Request.Intent, b.Request.MaxFee, unsigned, nil)
	v.ok(err)
	sig, err := sim.Combine(v.x, p.Digests[0], replies)
	v.ok(err)
	r := &audit.Receipt{
		Attempt: c.Attempt, Request: b.Request.ID(), Key: v.x.ID, Unsigned: p.Canonical, PublicKey: v.x.PublicKey,
		Signatures: []chain.Signature{{R: sig.R, S: sig.S, RecoveryID: sig.RecoveryID}},
	}
	_, r.TxID, err = evm.Codec{}.Assemble(v.x.Sender, r.Unsigned, r.Signatures)
	v.ok(err)
	v.lie(r, signers)
	for id, reply := range v.ask(&cluster.Command{Kind: cluster.CommandReceipt, Body: r.Encode()}, signers...) {
		if reply == nil || reply.Outcome != cluster.OutcomeDone {
			v.Fatalf("vault %d doesn't take the receipt: %s", id, sim.Describe(reply))
		}
	}
}

// lie brings receipts that are not true. A vault that logged one would spoil the
// log for good.
func (v *vaults) lie(honest *audit.Receipt, signers []mpc.ID) {
	v.Helper()
	for name, change := range map[string]func(r *audit.Receipt){
		"transaction id": func(r *audit.Receipt) { r.TxID = "0x00" },
		"transaction":    func(r *audit.Receipt) { r.Unsigned = sim.Unsigned(sim.Stranger, sim.ETH(9), 99) },
		"no transaction": func(r *audit.Receipt) { r.Unsigned = nil },
		"recovery id":    func(r *audit.Receipt) { r.Signatures[0].RecoveryID ^= 1 },
		"signature":      func(r *audit.Receipt) { r.Signatures[0].S[5] ^= 1 },
		"no signature":   func(r *audit.Receipt) { r.Signatures = nil },
		"public key":     func(r *audit.Receipt) { r.PublicKey = append([]byte{r.PublicKey[0] ^ 1}, r.PublicKey[1:]...) },
		"request":        func(r *audit.Receipt) { r.Request[0]++ },
		"attempt":        func(r *audit.Receipt) { r.Attempt[0]++ },
		"key":            func(r *audit.Receipt) { r.Key[0]++ },
	} {
		if name == "recovery id" && len(honest.PublicKey) == 32 {
			continue // the encoding has none
		}
		r := *honest
		r.Signatures = append([]chain.Signature(nil), honest.Signatures...)
		change(&r)
		for id, reply := range v.ask(&cluster.Command{Kind: cluster.CommandReceipt, Body: r.Encode()}, signers...) {
			if reply == nil || reply.Outcome != cluster.OutcomeRefused {
				v.Errorf("vault %d takes a receipt with another %s: %s", id, name, sim.Describe(reply))
			}
		}
	}
}

func (v *vaults) ask(c *cluster.Command, ids ...mpc.ID) map[mpc.ID]*cluster.Reply {
	v.Helper()
	sent, replies := map[mpc.ID]uint64{}, map[mpc.ID]*cluster.Reply{}
	for _, id := range ids {
		n, err := v.Command(id, c)
		v.ok(err)
		sent[id] = n
	}
	v.ok(v.Settle())
	for id, n := range sent {
		replies[id] = v.Replies[n]
	}
	return replies
}

// refuse asks one vault for what it has to refuse, and says how it did.
func (v *vaults) refuse(id mpc.ID, attempt [16]byte, b *request.Bundle, unsigned []byte, signers ...uint16) {
	v.Helper()
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: attempt, Body: b.Encode(), Unsigned: unsigned, Signers: signers}
	if r := v.ask(c, id)[id]; r == nil || r.Outcome != cluster.OutcomeRefused || len(r.Certificate) == 0 {
		v.Fatalf("vault %d: %s, want a certified refusal", id, sim.Describe(r))
	}
}

func (v *vaults) copies() []verify.Copy {
	var out []verify.Copy
	for _, id := range v.IDs {
		d := v.Parties[id].Disk.Clone()
		out = append(out, verify.Copy{Name: fmt.Sprintf("vault-%d", id), Copy: &logfile.Copy{
			Header: logfile.Header{Cluster: v.Genesis.Hash(), Vault: uint16(id)}, Entries: d.Entries, Checkpoint: d.Checkpoint,
		}})
	}
	return out
}

// TestRealVaults: what the vaults themselves write verifies, all their kinds of
// refusal included: the rules that are written down twice, there and here, agree.
func TestRealVaults(t *testing.T) {
	w, err := sim.New(41, 3, sim.Roster(41), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	v := &vaults{T: t, World: w}
	v.x, err = w.Keygen("treasury", 2)
	v.ok(err)

	one, five := sim.ETH(1), sim.ETH(5)
	small := v.Transfer(v.x, sim.Known, one)
	v.pay(small, sim.Unsigned(sim.Known, one, 0), 1, 2)
	v.pay(v.Transfer(v.x, sim.Stranger, five, "bob", "carol"), sim.Unsigned(sim.Stranger, five, 1), 2, 3)

	// Policy says no; people are missing; risk is missing.
	v.refuse(1, v.Attempt(), v.Transfer(v.x, sim.Stranger, sim.ETH(11)), sim.Unsigned(sim.Stranger, sim.ETH(11), 2), 1, 2)
	v.refuse(2, v.Attempt(), v.Transfer(v.x, sim.Stranger, five, "bob"), sim.Unsigned(sim.Stranger, five, 2), 1, 2)
	unscreened := v.Transfer(v.x, sim.Known, one)
	unscreened.Verdicts = nil
	v.refuse(3, v.Attempt(), unscreened, sim.Unsigned(sim.Known, one, 2), 1, 3)
	// A dishonest coordinator: another recipient, a transaction that is none, an
	// approval that nobody gave, a proposal by nobody, other signers.
	swapped := v.Transfer(v.x, sim.Known, one)
	v.refuse(1, v.Attempt(), swapped, sim.Unsigned(sim.Stranger, one, 2), 1, 2)
	v.refuse(1, v.Attempt(), swapped, []byte{2, 3}, 1, 2)
	v.refuse(1, v.Attempt(), swapped, nil, 1, 2)
	forged := v.Transfer(v.x, sim.Stranger, five, "bob", "carol")
	forged.Approvals[0].Expires++
	v.refuse(2, v.Attempt(), forged, sim.Unsigned(sim.Stranger, five, 2), 1, 2)
	unsigned := v.Transfer(v.x, sim.Known, one)
	unsigned.ProposeSignature = forged.ProposeSignature
	v.refuse(2, v.Attempt(), unsigned, sim.Unsigned(sim.Known, one, 2), 1, 2)
	v.refuse(1, v.Attempt(), swapped, sim.Unsigned(sim.Known, one, 2), 2, 3)
	v.refuse(1, v.Attempt(), swapped, sim.Unsigned(sim.Known, one, 2), 1, 2, 3)
	v.refuse(1, v.Attempt(), swapped, sim.Unsigned(sim.Known, one, 2), 1, 9)
	v.refuse(1, v.Attempt(), swapped, sim.Unsigned(sim.Known, one, 2))
	// Another sender, a chain that nobody reads, a request of another cluster.
	for _, change := range []func(q *request.Request){
		func(q *request.Request) { q.Sender = evm.Account(sim.Chain, sim.Stranger) },
		func(q *request.Request) { q.Chain, q.Sender = "other:1", "other:1:abc" },
		func(q *request.Request) { q.Cluster[0]++ },
		func(q *request.Request) { q.Intent = []byte{1} },
	} {
		b := v.Transfer(v.x, sim.Known, one)
		change(b.Request)
		b.ProposeSignature = sim.SignStatement(sim.Person(v.Seed, sim.Trader), request.ProposeStatement(b.Request.ID()))
		v.Screen(b, request.Pass)
		v.refuse(3, v.Attempt(), b, sim.Unsigned(sim.Known, one, 2), 2, 3)
	}
	// What rests on the ledger: an attempt used again, a second version that does
	// not exclude the first.
	b := v.Transfer(v.x, sim.Known, one)
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: v.Attempt(), Body: b.Encode(), Unsigned: sim.Unsigned(sim.Known, one, 3), Signers: []uint16{1, 2}}
	v.ask(c, 1, 2)
	v.refuse(1, c.Attempt, b, c.Unsigned, 1, 2)
	v.refuse(1, v.Attempt(), small, sim.Unsigned(sim.Known, one, 7), 1, 3)

	// The policy changes; a vault starts anew; a request expires.
	doc := sim.Policy()
	doc.Rules = doc.Rules[:1]
	v.change(governance.KindPolicy, doc.Encode())
	v.refuse(1, v.Attempt(), v.Transfer(v.x, sim.Stranger, five, "bob", "carol"), sim.Unsigned(sim.Stranger, five, 4), 1, 2)
	v.Crash(2)
	v.ok(v.Restart(2))
	for range 20 {
		v.ok(v.Tick(1000))
		v.ok(v.Settle())
	}
	v.pay(v.Transfer(v.x, sim.Known, one), sim.Unsigned(sim.Known, one, 5), 1, 2)
	late := v.Transfer(v.x, sim.Known, one)
	v.ok(v.Tick(3_600_000))
	v.refuse(3, v.Attempt(), late, sim.Unsigned(sim.Known, one, 6), 1, 3)

	r := verify.Copies(v.Genesis.Hash(), v.copies(), sim.Codecs())
	var text strings.Builder
	v.ok(r.WriteText(&text))
	t.Log(text.String())
	if !r.OK {
		t.Fatal("an honest cluster does not verify")
	}
	if k := r.Counts; k.Receipts != 3 || k.Changes != 1 || k.Keys != 1 || k.Allowed != 8 || k.Refused != 20 || k.Stateful != 2 {
		t.Errorf("counts %+v", k)
	}
	codes := map[string]bool{}
	for _, x := range r.Refused {
		codes[x.Code] = true
	}
	for _, want := range []string{
		"policy.default", "policy.approvals", "transaction", "identity.signature", "sign.signers",
		"request.sender", "request.chain", "request.cluster", "request.expired", "sign.attempt", "version.conflict",
	} {
		if !codes[want] {
			t.Errorf("no refusal with %s among %v", want, codes)
		}
	}
}

// change has two admins sign a change and all vaults apply it.
func (v *vaults) change(kind governance.Kind, body []byte) {
	v.Helper()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: v.Genesis.Hash(), Seq: 1, Prev: v.Genesis.Hash(), Kind: kind, Body: body, Created: v.Now, Author: sim.Admins[0],
	}}
	for _, a := range sim.Admins[:2] {
		k := sim.Person(v.Seed, a)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	for id, r := range v.ask(&cluster.Command{Kind: cluster.CommandChange, Body: s.Encode()}, v.IDs...) {
		if r == nil || r.Outcome != cluster.OutcomeDone {
			v.Fatalf("vault %d: %s", id, sim.Describe(r))
		}
	}
}
