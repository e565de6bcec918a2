package coordinator

import (
	"context"
	"encoding/binary"
	"errors"
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
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

var errDown = errors.New("its node is not reachable")
var errLost = errors.New("its node lost the command")

// vaults is a simulated cluster of real vaults behind the Vaults interface. One
// goroutine owns the world; everything else asks it.
type vaults struct {
	do   chan func()
	stop chan struct{}
	done chan struct{}
	w    *sim.World

	// Owned by that goroutine.
	open  map[uint64]*openCall
	lose  map[uint16]int  // how many replies to sign commands still get lost
	deaf  map[uint16]bool // commands do not arrive, as when the node is away
	hold  map[uint16]bool // frames to that vault wait
	asked map[cluster.CommandKind]int
	clock *clock
}

type openCall struct {
	vault uint16
	kind  cluster.CommandKind
	reply chan<- any // []byte or error
}

// clock is the time of coordinator and vaults, which a test can advance.
type clock struct {
	mu    sync.Mutex // guards ahead
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now()
	if least := time.UnixMilli(sim.Start).Add(24 * time.Hour); t.Before(least) {
		t = least
	}
	return t.Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func newVaults(t testing.TB, seed uint64) *vaults {
	t.Helper()
	w, err := sim.New(seed, 3, sim.Roster(seed), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	v := &vaults{
		do: make(chan func()), stop: make(chan struct{}), done: make(chan struct{}), w: w, open: map[uint64]*openCall{},
		lose: map[uint16]int{}, deaf: map[uint16]bool{}, hold: map[uint16]bool{}, asked: map[cluster.CommandKind]int{}, clock: new(clock),
	}
	go v.own()
	return v
}

func (v *vaults) own() {
	defer close(v.done)
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for {
		select {
		case f := <-v.do:
			v.setTime()
			f()
		case <-ticks.C:
			v.setTime()
			if err := v.w.Tick(0); err != nil {
				panic(err)
			}
		case <-v.stop:
			return
		}
		v.settle()
	}
}

func (v *vaults) setTime() { v.w.Now = max(v.w.Now, uint64(v.clock.now().UnixMilli())) }

func (v *vaults) settle() {
	for {
		i := 0
		for i < len(v.w.Frames) && v.hold[uint16(v.w.Frames[i].To)] {
			i++
		}
		var err error
		switch {
		case len(v.w.Devices) > 0:
			err = v.w.Answer(0)
		case i < len(v.w.Frames):
			err = v.w.Deliver(i)
		default:
			v.hand()
			return
		}
		if err != nil {
			panic(err)
		}
		v.hand()
	}
}

// hand gives replies to those who wait.
func (v *vaults) hand() {
	for id, r := range v.w.Replies {
		delete(v.w.Replies, id)
		if c := v.open[id]; c != nil {
			delete(v.open, id)
			if c.kind == cluster.CommandSign && v.lose[c.vault] > 0 {
				v.lose[c.vault]--
				c.reply <- errLost
				continue
			}
			c.reply <- r.Encode()
		}
	}
	for id, c := range v.open {
		if v.w.Parties[mpc.ID(c.vault)].Vault == nil {
			delete(v.open, id)
			c.reply <- errLost
		}
	}
}

func (v *vaults) call(f func()) {
	done := make(chan struct{})
	v.do <- func() { f(); close(done) }
	<-done
}

// Command implements Vaults.
func (v *vaults) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	reply := make(chan any, 1)
	v.call(func() {
		c, err := cluster.DecodeCommand(body)
		if err != nil {
			reply <- err
			return
		}
		v.asked[c.Kind]++
		if v.deaf[vault] || v.w.Parties[mpc.ID(vault)].Vault == nil {
			reply <- errDown
			return
		}
		id, err := v.w.Command(mpc.ID(vault), c)
		if err != nil {
			reply <- err
			return
		}
		v.open[id] = &openCall{vault, c.Kind, reply}
	})
	select {
	case x := <-reply:
		if err, bad := x.(error); bad {
			return nil, err
		}
		return x.([]byte), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (v *vaults) crash(id uint16) { v.call(func() { v.w.Crash(mpc.ID(id)) }) }

func (v *vaults) restart(t testing.TB, id uint16) {
	t.Helper()
	v.call(func() {
		if err := v.w.Restart(mpc.ID(id)); err != nil {
			t.Error(err)
		}
	})
}

// engine is a risk engine whose mind a test can change.
type engine struct {
	seed uint64
	cl   *clock

	mu      sync.Mutex // guards what follows
	silent  bool
	outcome request.Outcome
	asked   int
	history int
}

func (e *engine) set(silent bool, o request.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.silent, e.outcome = silent, o
}

func (e *engine) Screen(_ context.Context, q *risk.Question) (*request.RiskVerdict, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	e.history = len(q.History)
	if e.silent {
		return nil, errors.New("it is not connected, or does not answer")
	}
	k := sim.Person(e.seed, sim.Engine)
	r := q.Bundle.Request
	v := &request.RiskVerdict{Request: r.ID(), Engine: sim.Engine, Outcome: e.outcome, Time: uint64(e.cl.now().UnixMilli()), Expires: r.Expires, Key: sim.PublicKey(k)}
	if e.outcome != request.Pass {
		v.Score, v.Reasons = 700, []string{"something is odd"}
	}
	v.Signature = sim.SignStatement(k, v.Statement())
	return v, nil
}

// The world is shared by the tests of this package: a key takes a while.
var shared struct {
	once   sync.Once
	vaults *vaults
	order  *governance.KeygenOrder
}

const seed = 11

// fixture is a coordinator over the shared vaults, with a chain and a database of
// its own.
type fixture struct {
	t      testing.TB
	v      *vaults
	risk   *engine
	node   *devnode.Node
	db     string
	co     *Coordinator
	wallet *Wallet
	sender string
	salt   uint64
	token  evm.Address
	mind   func(*Options)
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	shared.once.Do(func() {
		shared.vaults = newVaults(t, seed)
		shared.vaults.call(func() { shared.order = shared.vaults.w.KeygenOrder("treasury", 2) })
	})
	if shared.order == nil {
		t.Fatal("the shared vaults did not start")
	}
	return fixtureOf(t, shared.vaults, shared.order, devnode.Options{}, nil)
}

func fixtureOf(t testing.TB, v *vaults, order *governance.KeygenOrder, chainOpt devnode.Options, mind func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, v: v, node: devnode.ForTest(t, sim.ChainID, chainOpt), db: filepath.Join(t.TempDir(), "coordinator.db"), mind: mind}
	f.risk = &engine{seed: v.w.Seed, cl: v.clock, outcome: request.Pass}
	f.start()
	t.Cleanup(func() {
		if f.co != nil {
			f.co.Close()
		}
		v.call(func() {
			clear(v.lose)
			clear(v.deaf)
			clear(v.hold)
			for _, id := range v.w.IDs {
				if v.w.Parties[id].Vault == nil {
					if err := v.w.Restart(id); err != nil {
						t.Error(err)
					}
				}
			}
		})
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
	opts := Options{
		Genesis: f.v.w.Genesis, Database: f.db, Vaults: f.v, Screener: f.risk,
		Chains: []Chain{{ID: sim.Chain, Node: f.node.Client, Confirmations: 1}}, Now: f.v.clock.now, Log: slog.New(slog.DiscardHandler),
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

func (f *fixture) now() uint64 { return uint64(f.v.clock.now().UnixMilli()) }

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
	k := sim.Person(f.v.w.Seed, sim.Trader)
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
	k := sim.Person(f.v.w.Seed, who)
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
	k := sim.Person(f.v.w.Seed, who)
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
