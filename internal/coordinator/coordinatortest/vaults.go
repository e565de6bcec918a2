package coordinatortest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/risk"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// What became of a command that got no answer.
var (
	ErrDown = errors.New("its node is not reachable")
	ErrLost = errors.New("its node lost the command")
)

// Vaults is a simulated cluster of real vaults behind the Vaults interface. One
// goroutine owns the world; everything else asks it.
type Vaults struct {
	do   chan func()
	stop chan struct{}
	done chan struct{}
	w    *sim.World

	Genesis *governance.Genesis
	Seed    uint64
	Clock   *Clock

	// Owned by that goroutine.
	open  map[uint64]*openCall
	lose  map[uint16]int  // how many replies to sign commands still get lost
	deaf  map[uint16]bool // commands do not arrive, as when the node is away
	hold  map[uint16]bool // frames to that vault wait
	asked map[cluster.CommandKind]int
}

type openCall struct {
	vault uint16
	kind  cluster.CommandKind
	reply chan<- any // []byte or error
}

// Clock is the time of coordinator and vaults, which a test can advance.
type Clock struct {
	mu    sync.Mutex // guards ahead
	ahead time.Duration
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now()
	if least := time.UnixMilli(sim.Start).Add(24 * time.Hour); t.Before(least) {
		t = least
	}
	return t.Add(c.ahead)
}

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// New makes a cluster of three vaults; Close ends it.
func New(seed uint64) (*Vaults, error) { return NewWith(seed, sim.Roster(seed)) }

// NewWith is New with another roster than the cast's. with may change a party before
// it is enrolled.
func NewWith(seed uint64, roster *identity.Roster, with ...func(*sim.Party) error) (*Vaults, error) {
	w, err := sim.New(seed, 3, roster, sim.Policy(), with...)
	if err != nil {
		return nil, err
	}
	v := &Vaults{
		Genesis: w.Genesis, Seed: seed, Clock: new(Clock),
		do: make(chan func()), stop: make(chan struct{}), done: make(chan struct{}), w: w, open: map[uint64]*openCall{},
		lose: map[uint16]int{}, deaf: map[uint16]bool{}, hold: map[uint16]bool{}, asked: map[cluster.CommandKind]int{},
	}
	go v.own()
	return v, nil
}

// Close ends the goroutine that owns the vaults.
func (v *Vaults) Close() {
	close(v.stop)
	<-v.done
}

func (v *Vaults) own() {
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

func (v *Vaults) setTime() { v.w.Now = max(v.w.Now, uint64(v.Clock.Now().UnixMilli())) }

func (v *Vaults) settle() {
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
func (v *Vaults) hand() {
	for id, r := range v.w.Replies {
		delete(v.w.Replies, id)
		if c := v.open[id]; c != nil {
			delete(v.open, id)
			if c.kind == cluster.CommandSign && v.lose[c.vault] > 0 {
				v.lose[c.vault]--
				c.reply <- ErrLost
				continue
			}
			c.reply <- r.Encode()
		}
	}
	for id, c := range v.open {
		if v.w.Parties[mpc.ID(c.vault)].Vault == nil {
			delete(v.open, id)
			c.reply <- ErrLost
		}
	}
}

// Do runs f where the world is owned, after which everything on its way is
// delivered.
func (v *Vaults) Do(f func(*sim.World)) {
	done := make(chan struct{})
	v.do <- func() { f(v.w); close(done) }
	<-done
}

// Command implements Vaults.
func (v *Vaults) Command(ctx context.Context, vault uint16, body []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	reply := make(chan any, 1)
	v.Do(func(*sim.World) {
		c, err := cluster.DecodeCommand(body)
		if err != nil {
			reply <- err
			return
		}
		v.asked[c.Kind]++
		if v.deaf[vault] || v.w.Parties[mpc.ID(vault)].Vault == nil {
			reply <- ErrDown
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

// Crash takes a vault down.
func (v *Vaults) Crash(id uint16) { v.Do(func(w *sim.World) { w.Crash(mpc.ID(id)) }) }

// Restart starts a vault from its disk.
func (v *Vaults) Restart(id uint16) (err error) {
	v.Do(func(w *sim.World) { err = w.Restart(mpc.ID(id)) })
	return err
}

// Lose has the next n answers of a vault to orders to sign get lost.
func (v *Vaults) Lose(id uint16, n int) { v.Do(func(*sim.World) { v.lose[id] = n }) }

// Deafen has no command arrive at the vaults.
func (v *Vaults) Deafen(ids ...uint16) {
	v.Do(func(*sim.World) {
		for _, id := range ids {
			v.deaf[id] = true
		}
	})
}

// Hold has frames to the vaults wait.
func (v *Vaults) Hold(ids ...uint16) {
	v.Do(func(*sim.World) {
		for _, id := range ids {
			v.hold[id] = true
		}
	})
}

// Heal ends all faults but crashes.
func (v *Vaults) Heal() {
	v.Do(func(*sim.World) {
		clear(v.lose)
		clear(v.deaf)
		clear(v.hold)
	})
}

// RestartAll starts what is down.
func (v *Vaults) RestartAll() (err error) {
	v.Do(func(w *sim.World) {
		for _, id := range w.IDs {
			if w.Parties[id].Vault == nil {
				err = errors.Join(err, w.Restart(id))
			}
		}
	})
	return err
}

// Asked is how often that command was given.
func (v *Vaults) Asked(k cluster.CommandKind) (n int) {
	v.Do(func(*sim.World) { n = v.asked[k] })
	return n
}

// KeygenOrder is an admin's order of a key of all vaults, two of which sign.
func (v *Vaults) KeygenOrder(name string, threshold int) (o *governance.KeygenOrder) {
	v.Do(func(w *sim.World) { o = w.KeygenOrder(name, threshold) })
	return o
}

// NewEngine is an engine that lets everything pass.
func NewEngine(v *Vaults) *Engine {
	return &Engine{seed: v.Seed, clock: v.Clock, outcome: request.Pass}
}

// Engine is a risk engine whose mind a test can change.
type Engine struct {
	seed  uint64
	clock *Clock

	mu      sync.Mutex // guards what follows
	silent  bool
	forge   bool
	outcome request.Outcome
	history int
	open    int
}

// Set changes its mind.
func (e *Engine) Set(silent bool, o request.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.silent, e.outcome = silent, o
}

// Forge has it sign with another's key.
func (e *Engine) Forge(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forge = on
}

// History is how much of the past came with the last question.
func (e *Engine) History() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.history
}

// Open is how many requests that are under way it was told of last.
func (e *Engine) Open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open
}

// Screen answers as it was told to.
func (e *Engine) Screen(_ context.Context, q *risk.Question) (*request.RiskVerdict, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.history, e.open = len(q.History), len(q.Open)
	if e.silent {
		return nil, errors.New("it is not connected, or does not answer")
	}
	k := sim.Person(e.seed, sim.Engine)
	r := q.Bundle.Request
	v := &request.RiskVerdict{Request: r.ID(), Engine: sim.Engine, Outcome: e.outcome, Time: uint64(e.clock.Now().UnixMilli()), Expires: r.Expires, Key: sim.PublicKey(k)}
	if e.outcome != request.Pass {
		v.Score, v.Reasons = 700, []string{"something is odd"}
	}
	if e.forge {
		k = sim.Person(e.seed, sim.Trader)
	}
	v.Signature = sim.SignStatement(k, v.Statement())
	return v, nil
}
