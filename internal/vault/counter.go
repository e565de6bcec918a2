package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// The device's counter (docs/spec/rollback.md), where it has one. It counts starts
// and clean stops, so that a disk that was put back shows: the counter has gone on.
// After a clean stop a counter in hardware confirms that the disk is the newest, and
// the vault need not wait for its peers. One in software is copied with the disk, and
// confirms nothing.

const recordCounter = "counter"

// counter is the state of the binding.
type counter struct {
	device  string // the device's identity: another one counts anew
	value   uint64 // what the counter says once the step that is under way is done
	closed  bool   // by a clean stop
	known   bool   // there is a record
	stopped bool
}

func (c *counter) encode() []byte {
	return wire.NewWriter(1).Var([]byte(c.device)).Uint64(c.value).Bool(c.closed).Bytes()
}

func (v *Vault) loadCounter(records map[string][]byte) error {
	b, ok := records[recordCounter]
	if !ok {
		return nil
	}
	r := wire.NewReader(b, 1)
	c := counter{device: string(r.Var("device", 1024)), value: r.Uint64("value"), closed: r.Bool("closed"), known: true}
	if err := r.Done(); err != nil {
		return fmt.Errorf("record %s: %w", recordCounter, err)
	}
	if c.device == string(v.cfg.Identity.Bytes()) {
		v.counter = c
	}
	return nil
}

func (v *Vault) hasCounter() bool { return slices.Contains(v.cfg.Info.Suites, hsm.HasCounter) }

// bindCounter compares the device's counter with what the disk says, at a start.
func (v *Vault) bindCounter() {
	if !v.hasCounter() || v.gate.rolled != nil {
		return
	}
	boot := v.boot
	v.ask(DeviceCommand{Kind: DeviceCounter}, func(res DeviceResult) error {
		if boot != v.boot || v.counter.stopped {
			return nil
		}
		if res.Err != "" {
			v.note("the device's counter does not answer: this start waits for the peers", "error", res.Err)
			return nil
		}
		sure, err := v.counter.judge(res.Counter)
		if err != nil && !v.resuming() {
			v.rollBack(nil, nil, 0, err.Error(), nil)
			return nil
		}
		// One that a program keeps was copied with the disk.
		sure = sure && err == nil && v.cfg.Info.Rollback == hsm.GradeHardware
		v.count(res.Counter+1, false, func(err error) {
			switch {
			case boot != v.boot:
			case err != nil:
				v.note("the device's counter does not count: this start waits for the peers", "error", err.Error())
			case sure && v.gate.rolled == nil && !v.resuming():
				v.gate.sure = true
				v.note("the device's counter confirms the clean stop: this start need not wait for the peers", "counter", v.counter.value)
				v.passGate()
			}
		})
		return nil
	})
}

// judge says whether the counter confirms a clean stop. The record is written before
// the counter goes on: a crash between the two leaves it one behind.
func (c *counter) judge(device uint64) (sure bool, err error) {
	switch {
	case !c.known || device+1 == c.value:
		return false, nil
	case device == c.value:
		return c.closed, nil
	case device > c.value:
		return false, fmt.Errorf("its device's counter says %d, this disk was written at %d", device, c.value)
	}
	return false, fmt.Errorf("its device's counter says %d, which is less than the %d of this disk: the device's state was put back", device, c.value)
}

// count makes durable that the counter will say next, and then has it count. The
// command before Increment is one whose answer changes nothing: it comes only when
// everything before it is durable.
func (v *Vault) count(next uint64, closed bool, then func(error)) {
	v.counter = counter{device: string(v.cfg.Identity.Bytes()), value: next, closed: closed, known: true, stopped: v.counter.stopped}
	if err := v.store.put(recordCounter, v.counter.encode()); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
	v.ask(DeviceCommand{Kind: DeviceCounter}, func(res DeviceResult) error {
		if res.Err != "" || res.Counter+1 != next {
			then(fmt.Errorf("it says %d, want %d: %s", res.Counter, next-1, res.Err))
			return nil
		}
		v.ask(DeviceCommand{Kind: DeviceIncrement}, func(res DeviceResult) error {
			switch {
			case res.Err != "":
				then(errors.New(res.Err))
			case res.Counter != next:
				then(fmt.Errorf("it says %d, want %d", res.Counter, next))
			default:
				then(nil)
			}
			return nil
		})
		return nil
	})
}

// stop ends all work: what was reserved is released, what was shown is durable, and
// the counter remembers that nothing came after. Nothing is done after it but to wait
// for Ready.Stopped.
func (v *Vault) stop() {
	if v.phase != phaseRunning {
		v.out.Stopped = true
		return
	}
	if v.counter.stopped {
		return
	}
	v.counter.stopped = true
	v.endSessions(func([]mpc.ID) bool { return true }, errors.New("the vault stops"))
	for _, id := range sortedIDs(v.peers) {
		v.saveWitness(v.peers[id])
		v.closePair(v.peers[id])
	}
	if !v.hasCounter() || !v.counter.known || v.ready() != nil {
		v.out.Stopped = true
		return
	}
	v.count(v.counter.value+1, true, func(err error) {
		if err != nil {
			v.note("the device's counter does not count: the next start waits for the peers", "error", err.Error())
		}
		v.out.Stopped = true
	})
}
