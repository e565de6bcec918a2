package vaultshell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// machine is what the shell drives: vault.Vault, or a simpler machine in tests.
type machine interface {
	Step(vault.Input) (vault.Ready, error)
	Enrolment() ([]byte, bool)
}

// Times and bounds.
const (
	// tickEvery is how late the vault may learn that time passed.
	tickEvery = 100 * time.Millisecond
	// deviceTimeout ends one operation of the HSM. When it fires the vault sees a
	// failed operation, as if the device were gone.
	deviceTimeout = 40 * time.Second
	// stopWithin bounds a clean stop: the next start then waits for its peers, as after
	// a crash.
	stopWithin = 2 * time.Second
	// maxDevice bounds the operations at the device at once; more wait.
	maxDevice = 8
	// maxInbox bounds what the node sent and the vault has not seen. The node
	// drops frames when it is full.
	maxInbox = 256
	// maxChange bounds the bytes that are grouped into one change, well below
	// what one message may hold.
	maxChange = 2 << 20
)

// step is a Ready whose work is under way.
type step struct {
	ready   vault.Ready
	done    bool                 // durable, and everything has left
	results []vault.DeviceResult // that came before it was done
}

type deviceAnswer struct {
	step   *step
	result vault.DeviceResult
}

// shell is one connection to a node with the vault that runs on it. All fields
// are used by the goroutine of run alone.
type shell struct {
	log     *slog.Logger
	vault   machine
	link    *vaultlink.Conn
	device  hsm.HSM
	next    hsm.HSM // rotate: to which the vault moves
	now     func() uint64
	onCard  func(card []byte) error // enrolment: what to do with the card
	enrolls bool

	onRotation func(b []byte) error // rotate: what to do with the old device's word

	queue    []*step // not done, in order
	inflight int     // how many of queue the change under way covers
	seq      uint64  // of the last change
	index    uint64  // size of the log with all changes so far

	answers chan deviceAnswer
	slots   chan struct{}
	ops     sync.WaitGroup
	due     []vault.Input // device results whose turn it is
	alarm   *time.Timer   // the tick that the vault has asked for
	stopped bool          // the vault has ended cleanly, and that is durable
}

// errEnrolled ends run when the card is written.
var errEnrolled = errors.New("enrolled")

// run drives the vault until ctx ends or something fails. first is the vault's
// first Ready; index is the size of the log that it was started on.
func (s *shell) run(ctx context.Context, first vault.Ready, index uint64) (err error) {
	s.index = index
	s.answers = make(chan deviceAnswer, maxDevice)
	s.slots = make(chan struct{}, maxDevice)
	// Who is told to stop ends cleanly first: device and node still work for that.
	told := ctx.Done()
	var late <-chan time.Time
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	inbox, persisted, readErr := make(chan vaultlink.Message, maxInbox), make(chan uint64, 1), make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { readErr <- s.read(ctx, inbox, persisted) })
	defer func() {
		cancel()
		switch {
		case errors.Is(err, errEnrolled):
			bye(s.link, true, "the card is written")
		case errors.Is(err, context.Canceled):
			bye(s.link, false, "it was told to stop")
		default:
			bye(s.link, false, err.Error())
		}
		s.link.Close()
		reader.Wait()
		s.ops.Wait()
		if d, ok := s.vault.(interface{ Destroy() }); ok {
			d.Destroy()
		}
	}()
	s.alarm = time.NewTimer(tickEvery)
	if err := s.take(ctx, first); err != nil {
		return err
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	defer s.alarm.Stop()
	for {
		if err := s.settle(ctx); err != nil {
			return err
		}
		if s.stopped {
			return context.Canceled
		}
		// What makes earlier steps durable comes before new work.
		select {
		case seq := <-persisted:
			if err := s.persisted(ctx, seq); err != nil {
				return err
			}
			continue
		default:
		}
		select {
		case seq := <-persisted:
			if err := s.persisted(ctx, seq); err != nil {
				return err
			}
		case a := <-s.answers:
			s.answered(a)
		case m := <-inbox:
			if err := s.receive(ctx, m); err != nil {
				return err
			}
		case <-tick.C:
			if err := s.step(ctx, vault.Input{}); err != nil {
				return err
			}
		case <-s.alarm.C:
			if err := s.step(ctx, vault.Input{}); err != nil {
				return err
			}
		case err := <-readErr:
			return err
		case <-told:
			told, late = nil, time.After(stopWithin)
			if err := s.step(ctx, vault.Input{Stop: true}); err != nil {
				return err
			}
		case <-late:
			return context.Canceled
		}
	}
}

// read takes messages off the link. Persisted has a channel of its own, so that
// it does not wait behind frames.
func (s *shell) read(ctx context.Context, inbox chan<- vaultlink.Message, persisted chan<- uint64) error {
	for {
		m, err := s.link.Receive()
		if err != nil {
			return fmt.Errorf("lost the node: %w", err)
		}
		if p, ok := m.(*vaultlink.Persisted); ok {
			select {
			case persisted <- p.Seq:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if bye, ok := m.(*vaultlink.Bye); ok {
			return fmt.Errorf("lost the node: it stopped: %s", bye.Text)
		}
		select {
		case inbox <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *shell) receive(ctx context.Context, m vaultlink.Message) error {
	switch m := m.(type) {
	case *vaultlink.Frame:
		if len(m.Bytes) == 0 {
			return nil // to the vault an empty frame would be a tick
		}
		return s.step(ctx, vault.Input{Frame: m.Bytes})
	case *vaultlink.Command:
		return s.step(ctx, vault.Input{Command: &vault.Command{ID: m.ID, Body: m.Body}})
	}
	return fmt.Errorf("the node sent a %s message, want frame, command, persisted or bye", vaultlink.Name(m))
}

// settle hands the vault the device results whose turn it is, and those that
// come due by that.
func (s *shell) settle(ctx context.Context) error {
	for len(s.due) > 0 {
		in := s.due[0]
		s.due = s.due[1:]
		if err := s.step(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

func (s *shell) step(ctx context.Context, in vault.Input) error {
	in.Now = s.now()
	ready, err := s.vault.Step(in)
	if err != nil {
		return fmt.Errorf("the vault cannot go on: %w", err)
	}
	s.setAlarm(in.Now, ready.Wake)
	return s.take(ctx, ready)
}

// setAlarm wakes the vault when it asks to be, or leaves it to the usual tick.
func (s *shell) setAlarm(now, wake uint64) {
	if wake <= now || wake-now >= uint64(tickEvery.Milliseconds()) {
		s.alarm.Stop()
		return
	}
	s.alarm.Reset(time.Duration(wake-now) * time.Millisecond)
}

// take queues the work of a step and starts its device operations.
func (s *shell) take(ctx context.Context, ready vault.Ready) error {
	st := &step{ready: ready}
	for _, cmd := range ready.Device {
		s.ops.Go(func() { s.operate(ctx, st, cmd) })
	}
	if empty(&ready) && len(s.queue) == 0 {
		st.done = true
		s.stopped = s.stopped || ready.Stopped
		return s.checkCard()
	}
	s.queue = append(s.queue, st)
	return s.pump()
}

// empty says that nothing of a step waits for its turn.
func empty(r *vault.Ready) bool {
	return !durable(r) && len(r.Messages) == 0 && len(r.Replies) == 0 && len(r.Notes) == 0
}

// durable says that a step has something to make durable.
func durable(r *vault.Ready) bool {
	return len(r.Writes) > 0 || len(r.Entries) > 0 || r.Checkpoint != nil
}

// pump finishes the steps at the head of the queue that have nothing to make
// durable and sends the next change when none is under way.
func (s *shell) pump() error {
	if s.inflight > 0 {
		return nil
	}
	for len(s.queue) > 0 && !durable(&s.queue[0].ready) {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if len(s.queue) == 0 {
		return s.checkCard()
	}
	// Everything that is queued becomes durable together, as far as it fits.
	s.seq++
	change := &vaultlink.Persist{Seq: s.seq, Index: s.index}
	for size := 0; s.inflight < len(s.queue); s.inflight++ {
		r := &s.queue[s.inflight].ready
		n, items := weigh(r)
		if size += n; s.inflight > 0 && (size > maxChange || len(change.Writes)+len(change.Entries)+items > vaultlink.MaxItems) {
			break
		}
		for _, w := range r.Writes {
			change.Writes = append(change.Writes, vaultlink.Record{Name: w.Name, Value: w.Value, Delete: w.Value == nil})
		}
		change.Entries = append(change.Entries, r.Entries...)
		if r.Checkpoint != nil {
			change.Checkpoint = r.Checkpoint
		}
	}
	s.index += uint64(len(change.Entries))
	return s.send(change)
}

func weigh(r *vault.Ready) (size, items int) {
	for _, w := range r.Writes {
		size += len(w.Name) + len(w.Value) + 9
	}
	for _, e := range r.Entries {
		size += len(e) + 4
	}
	return size + len(r.Checkpoint), len(r.Writes) + len(r.Entries)
}

func (s *shell) persisted(ctx context.Context, seq uint64) error {
	if s.inflight == 0 || seq != s.seq {
		return fmt.Errorf("the node says that change %d is durable, which is not under way", seq)
	}
	for ; s.inflight > 0; s.inflight-- {
		if err := s.finish(); err != nil {
			return err
		}
	}
	return s.pump()
}

// finish lets out what the step at the head of the queue holds: it is durable,
// and so is everything before it.
func (s *shell) finish() error {
	st := s.queue[0]
	s.queue = s.queue[1:]
	st.done = true
	s.stopped = s.stopped || st.ready.Stopped
	for _, m := range st.ready.Messages {
		if err := s.send(&vaultlink.Frame{Peer: m.To, Bytes: m.Frame}); err != nil {
			return err
		}
	}
	for _, r := range st.ready.Replies {
		if err := s.send(&vaultlink.Reply{ID: r.ID, Body: r.Body}); err != nil {
			return err
		}
	}
	for _, n := range st.ready.Notes {
		s.log.Info(n.Text, n.Args...)
	}
	for _, r := range st.results {
		s.due = append(s.due, vault.Input{Device: &r})
	}
	return nil
}

func (s *shell) send(m vaultlink.Message) error {
	if err := s.link.Send(m); err != nil {
		return fmt.Errorf("lost the node: %w", err)
	}
	return nil
}

// operate asks the device, in a goroutine of its own.
func (s *shell) operate(ctx context.Context, st *step, cmd vault.DeviceCommand) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return
	}
	opCtx, cancel := context.WithTimeout(ctx, timeoutOf(&cmd))
	defer cancel()
	began := time.Now()
	res := s.perform(opCtx, &cmd)
	res.Took = uint64(time.Since(began).Microseconds())
	select {
	case s.answers <- deviceAnswer{st, res}:
	case <-ctx.Done():
	}
}

// answered keeps a device result until its step is done.
func (s *shell) answered(a deviceAnswer) {
	if a.result.Err != "" {
		s.log.Warn("the HSM failed", "err", a.result.Err)
	}
	if a.step.done {
		s.due = append(s.due, vault.Input{Device: &a.result})
	} else {
		a.step.results = append(a.step.results, a.result)
	}
}

// checkCard ends enrolment once the card is there. It is called when everything
// is durable.
func (s *shell) checkCard() error {
	if !s.enrolls {
		return nil
	}
	card, ok := s.vault.Enrolment()
	if !ok {
		return nil
	}
	if r, ok := s.vault.(interface{ Rotation() ([]byte, bool) }); ok && s.next != nil {
		if b, done := r.Rotation(); done {
			if err := s.onRotation(b); err != nil {
				return err
			}
		}
	}
	if err := s.onCard(card); err != nil {
		return err
	}
	return errEnrolled
}
