package coordinator

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/coordinator/coordinatortest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

func newVaults(t testing.TB, seed uint64) *coordinatortest.Vaults {
	t.Helper()
	v, err := coordinatortest.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The world is shared by the tests of this package: a key takes a while.
var shared struct {
	once   sync.Once
	vaults *coordinatortest.Vaults
	order  *governance.KeygenOrder
}

const seed = 11

// fixture is a coordinator over the shared vaults, with a chain and a database of
// its own.
type fixture struct {
	t      testing.TB
	v      *coordinatortest.Vaults
	risk   *coordinatortest.Engine
	node   *devnode.Node
	db     string
	co     *Coordinator
	wallet *Wallet
	sender string
	salt   uint64
	token  evm.Address
	mind   func(*Options)
	open   func() (*Coordinator, error) // instead of mind
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	shared.once.Do(func() {
		shared.vaults = newVaults(t, seed)
		shared.order = shared.vaults.KeygenOrder("treasury", 2)
	})
	if shared.order == nil {
		t.Fatal("the shared vaults did not start")
	}
	return fixtureOf(t, shared.vaults, shared.order, devnode.Options{}, nil)
}

func fixtureOf(t testing.TB, v *coordinatortest.Vaults, order *governance.KeygenOrder, chainOpt devnode.Options, mind func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, v: v, node: devnode.ForTest(t, sim.ChainID, chainOpt), db: filepath.Join(t.TempDir(), "coordinator.db"), mind: mind}
	f.risk = coordinatortest.NewEngine(v)
	f.start()
	t.Cleanup(func() {
		if f.co != nil {
			f.co.Close()
		}
		v.Heal()
		if err := v.RestartAll(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if f.wallet, _, err = f.co.Keygen(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if f.sender, err = f.wallet.Address(sim.Chain); err != nil {
		t.Fatal(err)
	}
	_, a, err := evm.ParseAccount(f.sender)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(1000)); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	if f.open != nil {
		var err error
		if f.co, err = f.open(); err != nil {
			f.t.Fatal(err)
		}
		return
	}
	opts := Options{
		Genesis: f.v.Genesis, Database: f.db, Vaults: f.v, Screener: f.risk,
		Chains: []Chain{{ID: sim.Chain, Node: f.node.Client, Confirmations: 1}}, Now: f.v.Clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	if f.mind != nil {
		f.mind(&opts)
	}
	var err error
	if f.co, err = New(opts); err != nil {
		f.t.Fatal(err)
	}
}

// restart is the coordinator killed and started again on its database.
func (f *fixture) restart() {
	f.t.Helper()
	f.co.Close()
	f.start()
}

func (f *fixture) restartVault(id uint16) {
	f.t.Helper()
	if err := f.v.Restart(id); err != nil {
		f.t.Error(err)
	}
}

// reserve takes a nonce, as the attempt of a request does.
func (f *fixture) reserve(sender string, first uint64, request [32]byte) (nonce uint64, err error) {
	err = f.co.store.tx(f.t.Context(), func(tx *txn) error {
		nonce, err = reserve(tx, sender, first, request)
		return err
	})
	return nonce, err
}

func (f *fixture) now() uint64 { return uint64(f.v.Clock.Now().UnixMilli()) }

// transfer is a bundle as its initiator hands it in.
func (f *fixture) transfer(to evm.Address, amount chain.Amount) *request.Bundle {
	return f.propose(evm.NewTransfer(to, amount), time.Hour)
}

func (f *fixture) propose(in *evm.Intent, life time.Duration) *request.Bundle {
	f.salt++
	q := &request.Request{
		Cluster: f.co.Cluster(), Wallet: f.wallet.ID, Chain: sim.Chain, Sender: f.sender, Intent: in.Encode(), MaxFee: sim.ETH(1),
		Initiator: sim.Trader, Created: f.now(), Expires: f.now() + uint64(life.Milliseconds()), Memo: f.t.Name(),
	}
	binary.BigEndian.PutUint64(q.Salt[:], f.salt)
	binary.BigEndian.PutUint64(q.Salt[8:], uint64(time.Now().UnixNano()))
	k := sim.Person(f.v.Seed, sim.Trader)
	return &request.Bundle{Request: q, ProposeKey: sim.PublicKey(k), ProposeSignature: sim.SignStatement(k, request.ProposeStatement(q.ID()))}
}

func (f *fixture) handIn(b *request.Bundle) *Record {
	f.t.Helper()
	r, _, err := f.co.Propose(f.t.Context(), b)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) approval(id [32]byte, who string, yes bool) *request.Approval {
	k := sim.Person(f.v.Seed, who)
	a := &request.Approval{Request: id, Principal: who, Approve: yes, Time: f.now(), Expires: f.now() + 3_600_000, Key: sim.PublicKey(k)}
	a.Signature = sim.SignStatement(k, a.Statement())
	return a
}

func (f *fixture) approve(id [32]byte, who string, yes bool) *Record {
	f.t.Helper()
	r, err := f.co.Approve(f.t.Context(), f.approval(id, who, yes))
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) cancellation(id [32]byte, who string) *request.Cancellation {
	k := sim.Person(f.v.Seed, who)
	x := &request.Cancellation{Request: id, Principal: who, Time: f.now(), Key: sim.PublicKey(k)}
	x.Signature = sim.SignStatement(k, x.Statement())
	return x
}

// patience is how long a test waits for something that must happen.
const patience = 60 * time.Second

// until waits for the request to look as wanted.
func (f *fixture) until(id [32]byte, what string, ok func(*Record) bool) *Record {
	f.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		changed, release := f.co.Changed(id)
		r, err := f.co.Request(f.t.Context(), id)
		if err != nil {
			release()
			f.t.Fatal(err)
		}
		if ok(r) {
			release()
			return r
		}
		select {
		case <-changed:
		case <-timer.C:
			f.t.Fatalf("waited for %s in vain: the request is %s: %s", what, r.State, r.Reason)
		}
		release()
	}
}

func (f *fixture) state(id [32]byte, want State) *Record {
	f.t.Helper()
	r := f.until(id, string(want), func(r *Record) bool { return r.State == want || r.State.Final() })
	if r.State != want {
		f.t.Fatalf("the request is %s (%s), want %s", r.State, r.Reason, want)
	}
	return r
}

// waiting waits until the request says why it does not move.
func (f *fixture) waiting(id [32]byte, words ...string) *Record {
	f.t.Helper()
	return f.until(id, fmt.Sprint(words), func(r *Record) bool {
		for _, w := range words {
			if !strings.Contains(r.Reason, w) {
				return false
			}
		}
		return true
	})
}

// states is the request's history, each state once.
func (f *fixture) states(id [32]byte) string {
	f.t.Helper()
	ts, _, err := f.co.History(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, t := range ts {
		if n := len(out); n == 0 || out[n-1] != string(t.State) {
			out = append(out, string(t.State))
		}
	}
	return strings.Join(out, " ")
}

func (f *fixture) attempts(id [32]byte) []*Attempt {
	f.t.Helper()
	_, as, err := f.co.History(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return as
}

func (f *fixture) balance(a evm.Address) chain.Amount {
	f.t.Helper()
	b, err := f.node.Balance(f.t.Context(), a)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// contextSoon ends soon: for what cannot succeed.
func contextSoon(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), time.Second)
}
