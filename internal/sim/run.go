package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"sync"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// Result is what one seed gave.
type Result struct {
	Seed       uint64
	Trace      [32]byte // of every event, in order
	Events     int
	Signatures int // distinct versions that were fully signed
	Refusals   int
	Crashes    int
	Halted     int // pairs of vaults halted because one of them lied
	Lies       int // of a dealer, found out by who got its wrong share
	Epochs     int // that the wallet's key went through
	Restores   int // of disks to an earlier copy
	Resumed    int // of vaults by the admins
	Anew       int // requests that could not be signed any more and were asked anew
	CameBack   int // payments for which only a released allowance made room
	Overspent  int // runs in which a liar, one more than the keys withstand, had a limit exceeded
	Suspected  int // such runs in which nobody can prove it, since the liar kept back what it signed for
	Forks      int // runs in which its own signatures prove it
	Frozen     int // refusals because of a freeze
	Violations []string
}

// Worlds are what there is to simulate.
var Worlds = []struct {
	Name string
	Run  func(seed uint64, lines Lines) (*Result, error)
}{{"signing", Simulate}, {"limits", SimulateSpending}, {"governance", SimulateGovernance}, {"money", SimulateMoney}}

// Lines turns the trace into words, when set on a Run.
type Lines func(format string, args ...any)

// run is one seed at work.
type run struct {
	*World
	rng    *rand.Rand
	x      *Wallet
	trace  hash.Hash
	lines  Lines
	res    *Result
	jobs   []*job
	byID   map[uint64]*asked // command id → what was asked
	check  *checker
	faults bool
	cheat  mpc.ID // a vault that lies, 0 for none
	moves  *moves
	shots  map[mpc.ID]*snapshot
	// restored are the vaults whose disk was put back once.
	restored map[mpc.ID]bool
	robbed   bool   // once a run
	stays    mpc.ID // never goes down
}

// job is a request and what its coordinator, honest or not, does with it.
type job struct {
	bundle *request.Bundle
	to     evm.Address
	amount chain.Amount
	legal  bool // the cast's policy wants it signed, as it stands
	nonce  uint64
	other  bool // the version with another nonce may be signed already
	twice  bool // both versions were asked for
	tries  int

	approvers []string
}

// otherNonce is what a dishonest coordinator adds to a request's nonce.
const otherNonce = 100

// asked is one attempt at one vault.
type asked struct {
	job      *job
	attempt  [16]byte
	request  [32]byte
	unsigned []byte
	signers  []mpc.ID
	vault    mpc.ID
	digest   [32]byte
}

// dealt is a cluster with a key, made once and cloned for every seed.
var dealt struct {
	sync.Once
	w   *World
	x   *Wallet
	err error
}

// baseSeed makes the cluster that all seeds share: three vaults, two of them
// sign. What differs by seed is everything after that.
const baseSeed = 0

func base() (*World, *Wallet, error) {
	dealt.Do(func() {
		if dealt.w, dealt.err = New(baseSeed, 3, Roster(baseSeed), Policy()); dealt.err == nil {
			dealt.x, dealt.err = dealt.w.Keygen("treasury", 2)
		}
	})
	return dealt.w, dealt.x, dealt.err
}

// Fork is a copy of the dealt cluster (three vaults, of which two sign), its vaults started afresh with randomness
// of the seed's own.
func Fork(seed uint64) (*World, *Wallet, error) {
	from, x, err := base()
	if err != nil {
		return nil, nil, err
	}
	w, err := from.Fork(seed)
	return w, x, err
}

// Fork is a copy of the cluster, its vaults started afresh with randomness of the
// seed's own.
func (w *World) Fork(seed uint64) (*World, error) {
	x := &World{
		Seed: w.Seed, Stream: seed, Now: w.Now, Parties: map[mpc.ID]*Party{}, IDs: w.IDs, Genesis: w.Genesis,
		Replies: map[uint64]*cluster.Reply{}, attempt: seed << 20,
	}
	for _, id := range w.IDs {
		p := w.Parties[id]
		dev := *p.Device
		x.Parties[id] = &Party{ID: id, Disk: p.Disk.Clone(), Device: &dev}
		if err := x.start(x.Parties[id]); err != nil {
			return nil, err
		}
	}
	return x, x.Settle()
}

// Simulate runs one seed: requests, honest and forged, through a cluster whose
// network, disks, processes and coordinator do what the seed says.
func Simulate(seed uint64, lines Lines) (*Result, error) {
	w, x, err := Fork(seed)
	if err != nil {
		return nil, err
	}
	if lines == nil {
		lines = func(string, ...any) {}
	}
	r := &run{
		World: w, x: x, rng: rand.New(rand.NewPCG(seed, 0xc0ffe4)), trace: sha256.New(), lines: lines,
		res: &Result{Seed: seed}, byID: map[uint64]*asked{}, faults: true,
		shots: map[mpc.ID]*snapshot{}, restored: map[mpc.ID]bool{},
	}
	r.check = newChecker(r)
	w.OnReady = r.onReady
	if cheats && r.rng.IntN(3) == 0 {
		r.cheat = w.IDs[r.rng.IntN(len(w.IDs))]
	}
	r.moves = r.newMoves()
	for range 3 + r.rng.IntN(4) {
		r.jobs = append(r.jobs, r.newJob())
	}
	steps := 250 + r.rng.IntN(250)
	for range steps {
		if err := r.event(); err != nil {
			return nil, fmt.Errorf("seed %d: %w", seed, err)
		}
		r.check.afterStep()
	}
	if err := r.calm(); err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	r.check.atEnd()
	r.trace.Sum(r.res.Trace[:0])
	return r.res, nil
}

func (r *run) log(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	r.trace.Write(n[:])
	r.trace.Write([]byte(s))
	r.res.Events++
	r.lines("%6d %s", r.res.Events, s)
}

// newJob is a request of some kind; the sim knows which the policy wants.
func (r *run) newJob() *job {
	j := &job{to: Known, amount: ETH(1), legal: true, nonce: uint64(len(r.jobs))}
	switch r.rng.IntN(6) {
	case 0, 1:
		j.bundle = r.Transfer(r.x, j.to, j.amount)
	case 2:
		j.to, j.amount = Stranger, ETH(5)
		j.approvers = []string{"bob", "dave"}
		j.bundle = r.Transfer(r.x, j.to, j.amount, j.approvers...)
	case 3: // one approval is missing
		j.to, j.amount, j.legal = Stranger, ETH(5), false
		j.bundle = r.Transfer(r.x, j.to, j.amount, "carol")
	case 4: // above every limit
		j.amount, j.legal = ETH(11), false
		j.bundle = r.Transfer(r.x, j.to, j.amount, "bob", "carol")
	case 5: // the engine says no
		j.legal = false
		j.bundle = r.Transfer(r.x, j.to, j.amount)
		r.Screen(j.bundle, request.Deny)
	}
	return j
}

// event lets one thing happen.
func (r *run) event() error {
	switch p := r.rng.IntN(100); {
	case p < 55 && len(r.Frames)+len(r.Devices) > 0:
		return r.deliverOne()
	case p < 70:
		return r.attemptSome()
	case p < 74 && len(r.Frames) > 0:
		return r.mistreat()
	case p < 78:
		ms := uint64(r.rng.IntN(8000))
		r.log("tick %d", ms)
		return r.Tick(ms)
	case p < 81:
		id := r.IDs[r.rng.IntN(len(r.IDs))]
		if r.Parties[id].Vault != nil {
			r.log("crash %d", id)
			r.res.Crashes++
			r.Crash(id)
		}
	case p < 88:
		for _, id := range r.IDs {
			if r.Parties[id].Vault == nil {
				r.log("restart %d", id)
				return r.Restart(id)
			}
		}
	case p < 92:
		if r.cheat != 0 {
			return r.cheatOnce()
		}
	case p < 94:
		return r.move()
	case p < 95:
		return r.probe()
	case p < 97:
		return r.rollBack()
	default:
		if len(r.Frames)+len(r.Devices) > 0 {
			return r.deliverOne()
		}
	}
	return nil
}

func (r *run) deliverOne() error {
	n := len(r.Frames) + len(r.Devices)
	i := 0
	if r.rng.IntN(3) == 0 {
		i = r.rng.IntN(n) // out of order
	}
	if i < len(r.Devices) {
		d := r.Devices[i]
		r.log("device of %d answers", d.Party)
		return r.Answer(i)
	}
	i -= len(r.Devices)
	f := r.Frames[i]
	r.log("deliver %d→%d %x", f.From, f.To, sha256.Sum256(f.Bytes))
	return r.Deliver(i)
}

// cheatOnce: the liar lies to a peer in a session of both; sometimes the peer
// goes down right after, in the hope that it forgets.
func (r *run) cheatOnce() error {
	to := r.IDs[(int(r.cheat)+int(r.Stream)%2)%len(r.IDs)] // one victim a seed, never itself
	j := r.jobs[r.rng.IntN(len(r.jobs))]
	liar, peer := r.Parties[r.cheat], r.Parties[to]
	if to == r.cheat || liar.Vault == nil || peer.Vault == nil || !j.legal || r.check.signed(j) || !lie(liar.Vault, to) {
		return nil
	}
	r.log("vault %d lies to %d", r.cheat, to)
	unsigned := Unsigned(j.to, j.amount, r.check.nonceOf(j))
	if err := r.ask(j, j.bundle, unsigned, []mpc.ID{min(to, r.cheat), max(to, r.cheat)}, "asks the liar and its victim"); err != nil {
		return err
	}
	for i := 0; i < 40 && len(r.Frames)+len(r.Devices) > 0; i++ {
		if err := r.deliverOne(); err != nil {
			return err
		}
		r.check.afterStep()
	}
	if r.rng.IntN(2) == 0 || r.Parties[to].Vault == nil {
		return nil
	}
	r.log("crash %d", to)
	r.Crash(to)
	r.log("restart %d", to)
	if err := r.Restart(to); err != nil {
		return err
	}
	for i := 0; i < 60 && len(r.Frames)+len(r.Devices) > 0; i++ {
		if err := r.deliverOne(); err != nil {
			return err
		}
	}
	return nil
}

// mistreat is the network's malice on one frame.
func (r *run) mistreat() error {
	i := r.rng.IntN(len(r.Frames))
	f := r.Frames[i]
	switch r.rng.IntN(3) {
	case 0:
		r.log("drop %d→%d", f.From, f.To)
		r.Frames = append(r.Frames[:i:i], r.Frames[i+1:]...)
	case 1:
		r.log("repeat %d→%d", f.From, f.To)
		r.Frames = append(r.Frames, f)
	case 2:
		r.log("alter %d→%d", f.From, f.To)
		b := append([]byte(nil), f.Bytes...)
		b[r.rng.IntN(len(b))] ^= 1 << r.rng.IntN(8)
		return r.Step(f.To, vault.Input{Frame: b})
	}
	return nil
}

// attemptSome asks some vaults to sign some request, in one of the ways that a
// coordinator, honest or not, could.
func (r *run) attemptSome() error {
	j := r.jobs[r.rng.IntN(len(r.jobs))]
	signers := r.pick()
	b, unsigned := j.bundle, Unsigned(j.to, j.amount, j.nonce)
	what := "asks"
	if r.faults {
		switch r.rng.IntN(10) {
		case 0:
			what = "swaps the recipient"
			unsigned = Unsigned(evm.Address{19: 0x66}, j.amount, j.nonce)
		case 1:
			what = "swaps the amount"
			unsigned = Unsigned(j.to, ETH(9), j.nonce)
		case 2:
			what = "takes another nonce"
			j.twice = true
			unsigned = Unsigned(j.to, j.amount, j.nonce+otherNonce)
		case 3:
			what = "raises the fee"
			unsigned = feeOf(unsigned, 30_000_000_000)
		case 4:
			what = "replays approvals"
			c := *b
			c.Approvals = append([]request.Approval(nil), r.jobs[r.rng.IntN(len(r.jobs))].bundle.Approvals...)
			for i := range c.Approvals {
				c.Approvals[i].Request = c.Request.ID()
			}
			b = &c
		}
	}
	return r.ask(j, b, unsigned, signers, what)
}

func (r *run) pick() []mpc.ID {
	out := r.rng.IntN(len(r.IDs)) // the vault that stays out
	var s []mpc.ID
	for i, id := range r.IDs {
		if i != out {
			s = append(s, id)
		}
	}
	return s
}

func (r *run) ask(j *job, b *request.Bundle, unsigned []byte, signers []mpc.ID, what string) error {
	j.tries++
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: r.Attempt(), Body: b.Encode(), Unsigned: unsigned}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	r.log("coordinator %s: request %x of %v", what, j.bundle.Request.ID(), signers)
	tx, err := evm.DecodeUnsigned(unsigned)
	if err != nil {
		return err
	}
	digest, err := tx.Digest()
	if err != nil {
		return err
	}
	for _, id := range signers {
		if r.Parties[id].Vault == nil {
			continue
		}
		a := &asked{job: j, attempt: c.Attempt, request: b.Request.ID(), unsigned: unsigned, signers: signers, vault: id, digest: digest}
		r.byID[r.nextCommand+1] = a // the answer may come within the step
		if _, err := r.Command(id, c); err != nil {
			return err
		}
	}
	return nil
}

func feeOf(unsigned []byte, feeCap uint64) []byte {
	tx, err := evm.DecodeUnsigned(unsigned)
	if err != nil {
		panic(err)
	}
	tx.FeeCap.SetUint64(feeCap)
	b, err := tx.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

// onReady sees all work before the shell does it, and now and then takes the
// vault down right before, or right after, its writes.
func (r *run) onReady(p *Party, ready vault.Ready) error {
	r.check.ready(p, ready)
	if !r.faults || len(ready.Writes) == 0 || r.stays == p.ID || r.rng.IntN(60) != 0 {
		return nil
	}
	r.res.Crashes++
	if r.rng.IntN(2) == 0 {
		r.log("vault %d dies before its writes", p.ID)
		return ErrCrash
	}
	r.log("vault %d dies after its writes", p.ID)
	p.Disk.Write(ready)
	return ErrCrash
}

// calm ends all faults and lets an honest coordinator finish every request that
// the policy wants: when the faults stop, work goes on.
func (r *run) calm() error {
	r.log("calm")
	r.faults = false
	for round := 0; round < 40; round++ {
		for _, id := range r.IDs {
			if r.Parties[id].Vault == nil {
				if err := r.Restart(id); err != nil {
					return err
				}
			}
		}
		if err := r.Settle(); err != nil {
			return err
		}
		r.check.afterStep()
		if err := r.admins(round); err != nil {
			return err
		}
		for _, id := range r.IDs {
			if err := r.CatchUp(id); err != nil {
				return err
			}
		}
		if err := r.Tick(6000); err != nil {
			return err
		}
		if err := r.Settle(); err != nil {
			return err
		}
		open := 0
		switch done, err := r.finishMoves(); {
		case err != nil:
			return err
		case !done:
			open++
			r.check.afterStep()
		}
		for _, j := range r.jobs {
			if !j.legal || r.check.signed(j) {
				continue
			}
			open++
			nonce := r.check.nonceOf(j)
			if round > 9 && round/3%2 == 1 {
				nonce = 2*j.nonce + otherNonce - nonce
			}
			if round == 20 && j.twice {
				// A dishonest coordinator had two versions reserved, and vaults went down after
				// they had decided: nobody can say that neither is out. It waits until it
				// expires; people ask anew.
				r.log("request %x is asked anew", j.bundle.Request.ID())
				j.bundle, j.other, nonce = r.Transfer(r.x, j.to, j.amount, j.approvers...), false, j.nonce
				r.res.Anew++
			}
			if err := r.ask(j, j.bundle, Unsigned(j.to, j.amount, nonce), r.signersFor(round), "asks again"); err != nil {
				return err
			}
			if err := r.Settle(); err != nil {
				return err
			}
			r.check.afterStep()
		}
		if open == 0 {
			return nil
		}
	}
	return nil
}

// signersFor rotates the sets, leaving out a pair that is halted for good.
func (r *run) signersFor(round int) []mpc.ID {
	out := round % len(r.IDs)
	var s []mpc.ID
	for i, id := range r.IDs {
		if i != out {
			s = append(s, id)
		}
	}
	return s
}

// Replay runs a seed of a world twice and demands the same trace.
func Replay(simulate func(uint64, Lines) (*Result, error), seed uint64, lines Lines) (*Result, error) {
	a, err := simulate(seed, lines)
	if err != nil {
		return nil, err
	}
	b, err := simulate(seed, nil)
	if err != nil {
		return nil, err
	}
	if a.Trace != b.Trace {
		return nil, errors.New("two runs of one seed gave different traces: something inside the vault is not deterministic")
	}
	return a, nil
}
