package coordinator

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
	"github.com/cofferhq/coffer/internal/sim"
)

// TestConfirmations: a transaction is final when enough blocks lie on it.
func TestConfirmations(t *testing.T) {
	first := newFixture(t)
	f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{}, func(o *Options) { o.Chains[0].Confirmations = 3 })
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Broadcast)
	for range 2 {
		f.co.Wake()
		if r := f.record(id); r.State != Broadcast {
			t.Fatalf("it is %s: %s", r.State, r.Reason)
		}
		if err := f.node.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	f.co.Wake()
	r := f.state(id, Confirmed)
	if !strings.Contains(r.Reason, "3 confirmations") {
		t.Errorf("reason %q", r.Reason)
	}
}

// TestDropped: a node that forgot the transaction gets it again.
func TestDropped(t *testing.T) {
	first := newFixture(t)
	f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{NoMining: true}, nil)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	r := f.state(id, Broadcast)
	if err := f.node.Do(t.Context(), nil, "anvil_dropTransaction", r.TxID); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; f.co.Wake() {
		if _, err := f.node.Transaction(t.Context(), r.TxID); err == nil {
			break
		}
		if time.Since(begun) > patience {
			t.Fatal("it was not sent again")
		}
	}
	if err := f.node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.co.Wake()
	f.state(id, Confirmed)
}

// TestNonceGap: it is said which nonce the chain waits for.
func TestNonceGap(t *testing.T) {
	f := newFixture(t)
	if _, err := f.reserve(f.sender, 0, [32]byte{1}); err != nil { // another request holds 0
		t.Fatal(err)
	}
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	f.state(id, Broadcast)
	for begun := time.Now(); !strings.Contains(f.record(id).Reason, "its nonce is 1 and the chain waits for 0 first"); f.co.Wake() {
		if time.Since(begun) > patience {
			t.Fatalf("reason %q", f.record(id).Reason)
		}
	}
	// That other request ends without a transaction; the next one takes its place.
	if err := f.co.store.releaseNonce(t.Context(), [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	f.co.Wake()
	f.state(id, Confirmed)
}

// TestNodeDown: the chain's node is away at every step.
func TestNodeDown(t *testing.T) {
	first := newFixture(t)
	var down atomic.Bool
	target, err := url.Parse(first.node.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f := first
	f.mind = func(o *Options) {
		node, err := rpc.New(srv.URL, sim.ChainID)
		if err != nil {
			t.Fatal(err)
		}
		o.Chains[0].Node = node
	}
	f.restart()
	// While the transaction is put together.
	down.Store(true)
	id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
	if r := f.waiting(id, "couldn't put the transaction together", "no answer from the node"); r.State != Signing {
		t.Errorf("it is %s", r.State)
	}
	down.Store(false)
	f.state(id, Confirmed)
	// While it is sent.
	b := f.transfer(sim.Known, sim.ETH(1))
	id = b.Request.ID()
	dead := f.killAt(id, Signed)
	f.handIn(b)
	<-dead
	down.Store(true)
	f.restart()
	f.waiting(id, "couldn't send the transaction")
	down.Store(false)
	f.state(id, Confirmed)
	// While it is followed.
	b = f.transfer(sim.Known, sim.ETH(1))
	id = b.Request.ID()
	dead = f.killAt(id, Broadcast)
	f.handIn(b)
	<-dead
	down.Store(true)
	f.restart()
	f.waiting(id, "no answer from the node")
	down.Store(false)
	f.state(id, Confirmed)
}

// TestDearer: the chain became dearer between two attempts; the second is at
// another version, with the same nonce.
func TestDearer(t *testing.T) {
	f := newFixture(t)
	f.v.Lose(1, 1)
	f.v.Lose(2, 1)
	f.v.Lose(3, 1)
	b := f.transfer(sim.Known, sim.ETH(1))
	dead := make(chan struct{})
	co := f.co
	n := 0
	fault := func(after bool) error {
		if co.ctx.Err() != nil {
			return errKilled
		}
		if !after {
			return nil
		}
		if as, err := co.store.attempts(t.Context(), b.Request.ID()); err == nil && len(as) == 1 {
			if n++; n == 1 { // right after the first attempt was stored
				co.cancel()
				close(dead)
				return errKilled
			}
		}
		return nil
	}
	co.store.fault.Store(&fault)
	f.handIn(b)
	<-dead
	var fee chain.Amount
	fee.SetUint64(1_000_000_000_000) // 1000 gwei
	if err := f.node.Do(t.Context(), nil, "anvil_setNextBlockBaseFeePerGas", fee.Hex()); err != nil {
		t.Fatal(err)
	}
	if err := f.node.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.restart()
	f.state(b.Request.ID(), Confirmed)
	as := f.attempts(b.Request.ID())
	one, err := evm.DecodeUnsigned(as[0].Unsigned)
	if err != nil {
		t.Fatal(err)
	}
	two, err := evm.DecodeUnsigned(as[len(as)-1].Unsigned)
	if err != nil {
		t.Fatal(err)
	}
	if one.Nonce != two.Nonce || !one.FeeCap.Lt(&two.FeeCap) {
		t.Errorf("nonces %d and %d, caps %s and %s", one.Nonce, two.Nonce, one.FeeCap.Dec(), two.FeeCap.Dec())
	}
}
