package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

var errKilled = errors.New("killed by the test")

// kill makes the coordinator die at its nth commit, before or after it is durable.
func (f *fixture) kill(n int, committed bool) (dead <-chan struct{}) {
	co, ch := f.co, make(chan struct{})
	var mu sync.Mutex // guards i and died
	i, died := 0, false
	fault := func(after bool) error {
		mu.Lock()
		defer mu.Unlock()
		if died {
			return errKilled
		}
		if after == committed {
			i++
		}
		if i < n {
			return nil
		}
		died = true
		co.cancel()
		close(ch)
		return errKilled
	}
	co.store.fault.Store(&fault)
	return ch
}

// TestKilledAnywhere kills the coordinator at every commit of a request's life,
// before and after it is durable, and starts it again. It pays once.
func TestKilledAnywhere(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ committed, approvals bool }{{false, false}, {true, false}, {true, true}} {
		for n := 1; ; n++ {
			if !f.survives(n, c.committed, c.approvals) {
				if n < 7 {
					t.Errorf("only %d commits were there to be killed at", n-1)
				}
				break
			}
		}
	}
}

// survives runs one request with a death at the nth commit; false: it was
// confirmed before that.
func (f *fixture) survives(n int, committed, approvals bool) bool {
	f.t.Helper()
	name := fmt.Sprintf("killed at commit %d, durable %v, with approvals %v", n, committed, approvals)
	to, amount, start := sim.Known, sim.ETH(1), f.balance(sim.Known)
	if approvals {
		to, amount, start = sim.Stranger, sim.ETH(2), f.balance(sim.Stranger)
	}
	b := f.transfer(to, amount)
	id := b.Request.ID()
	answers := []*request.Approval{f.approval(id, "bob", true), f.approval(id, "carol", true)}
	dead := f.kill(n, committed)
	people := func(ctx context.Context) error {
		if _, _, err := f.co.Propose(ctx, b); err != nil {
			return err
		}
		if !approvals {
			return nil
		}
		for _, a := range answers {
			if _, err := f.co.Approve(ctx, a); err != nil && !errors.Is(err, ErrConflict) {
				return err
			}
		}
		return nil
	}
	if err := people(f.t.Context()); err != nil && !errors.Is(err, errKilled) && !errors.Is(err, context.Canceled) {
		f.t.Fatalf("%s: %v", name, err)
	}
	killed := f.outlives(id, dead)
	f.restart()
	// People whose answer was lost say it again.
	if err := people(f.t.Context()); err != nil {
		f.t.Fatalf("%s: after the restart: %v", name, err)
	}
	r := f.state(id, Confirmed)
	f.delivered()
	paid := f.balance(to)
	if paid.Sub(&paid, &start); paid != amount {
		f.t.Errorf("%s: the recipient got %s wei, want %s", name, paid.Dec(), amount.Dec())
	}
	if last := f.states(id); !strings.HasPrefix(last, "draft screening") || !strings.HasSuffix(last, "signing signed broadcast confirmed") || strings.Count(last, "signed") != 1 {
		f.t.Errorf("%s: history %s", name, last)
	}
	for _, a := range f.attempts(id) {
		if string(a.Unsigned) != string(r.Unsigned) {
			f.t.Errorf("%s: two versions were asked for", name)
		}
	}
	return killed
}

// outlives says whether the coordinator died before everything was done.
func (f *fixture) outlives(id [32]byte, dead <-chan struct{}) bool {
	f.t.Helper()
	for {
		changed, release := f.co.Changed(id)
		r, err := f.co.store.get(context.Background(), id)
		over := err == nil && r.State.Final() && f.due() == 0
		select {
		case <-dead:
			release()
			return true
		default:
		}
		if over {
			release()
			return false
		}
		select {
		case <-dead:
			release()
			return true
		case <-changed:
			release()
			continue
		default:
			f.v.Do(func(*sim.World) {})
		}
		release()
	}
}

// killAt makes the coordinator die as soon as the request is durably in a state.
func (f *fixture) killAt(id [32]byte, st State) (dead <-chan struct{}) {
	co, ch := f.co, make(chan struct{})
	var once sync.Once
	fault := func(after bool) error {
		if !after {
			return co.ctx.Err()
		}
		if r, err := co.store.get(context.Background(), id); err == nil && r.State == st {
			once.Do(func() { co.cancel(); close(ch) })
			return errKilled
		}
		return nil
	}
	co.store.fault.Store(&fault)
	return ch
}

// TestRejected: what the chain's node does not take ends, and its nonce is free.
func TestRejected(t *testing.T) {
	f := newFixture(t)
	b := f.transfer(sim.Known, sim.ETH(1))
	id := b.Request.ID()
	dead := f.killAt(id, Signed)
	f.handIn(b)
	<-dead
	_, a, err := sentBy(f.record(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(0)); err != nil {
		t.Fatal(err)
	}
	f.restart()
	r := f.state(id, Rejected)
	if !strings.Contains(strings.ToLower(r.Reason), "insufficient funds") {
		t.Errorf("reason %q", r.Reason)
	}
	if err := f.node.SetBalance(t.Context(), a, sim.ETH(100)); err != nil {
		t.Fatal(err)
	}
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
}

func (f *fixture) record(id [32]byte) *Record {
	f.t.Helper()
	r, err := f.co.store.get(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func TestDatabase(t *testing.T) {
	f := newFixture(t)
	opts := f.co.opts
	if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "another coordinator") {
		t.Errorf("a second coordinator on one database: %v", err)
	}
	opts.Database = filepath.Join(t.TempDir(), "other.db")
	st, err := openStore(opts.Database, [32]byte{1}, f.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("a database of another cluster: %v", err)
	}
	opts.Database = filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(opts.Database, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "is it a coordinator's?") {
		t.Errorf("garbage: %v", err)
	}
	opts.Database = filepath.Join(t.TempDir(), "missing", "x.db")
	if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "couldn't open the database") {
		t.Errorf("no folder: %v", err)
	}
	if info, err := os.Stat(f.db); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestTransitions: no other way leads from state to state.
func TestTransitions(t *testing.T) {
	f := newFixture(t)
	id := f.handIn(f.transfer(sim.Stranger, sim.ETH(5))).ID
	r := f.state(id, AwaitingApproval)
	for _, to := range []State{Confirmed, Signed, Broadcast, Draft, "nonsense"} {
		if err := f.co.to(r, move{To: to, Reason: "x"}); !errors.Is(err, ErrConflict) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	stale := *r
	stale.State = Screening
	if err := f.co.to(&stale, move{To: AwaitingApproval, Reason: "x"}); !errors.Is(err, ErrConflict) {
		t.Errorf("from a state that it left: %v", err)
	}
	for _, s := range States {
		if s.Final() && len(transitions[s]) > 0 {
			t.Errorf("%s is final and goes on", s)
		}
		if !s.Final() && len(transitions[s]) == 0 {
			t.Errorf("%s leads nowhere", s)
		}
	}
	if got := f.record(id); got.State != AwaitingApproval {
		t.Errorf("it is %s", got.State)
	}
}
