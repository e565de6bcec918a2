package vault

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
)

// The ratchet (docs/spec/vault-store.md): after the shares of an epoch have gone,
// the device makes the next seal key, all that rests is sealed again under a fresh
// root key, and the device destroys the seal keys before. A copy of the disk from
// before then opens no more, whoever has the device.
//
// Each step leaves a disk that the device opens. The device's next key exists before
// anything rests under it; the new root key and everything under it become durable
// together; and an old key is destroyed only once it is durable that nothing rests
// under it: Step gets the answer to a device command only after everything before
// it is durable, so the command before Erase is one whose answer changes nothing.
type ratchet struct {
	able   bool   // the device has seal epochs
	epoch  uint64 // under which the root key rests
	newest uint64 // the device's; 0: not known yet
	erased uint64 // the seal keys below this are destroyed, as far as this start knows
	wanted bool
	busy   bool   // a step is at the device
	after  uint64 // when the next step may begin
}

// Times of the ratchet, in milliseconds.
const (
	// ratchetDelay lets one step serve what comes together: an epoch that begins and
	// the one before that is erased.
	ratchetDelay = 1_000
	// ratchetAgain is the wait after a device's refusal.
	ratchetAgain = 60_000
)

// firstSealEpoch is that of a device without a ratchet, for good.
const firstSealEpoch = 1

func hasRatchet(i hsm.Info) bool { return slices.Contains(i.Suites, hsm.HasRatchet) }

// wantRatchet has the device's seal key replaced soon. The wish is durable with what
// it comes from, and a new root key grants every wish before it.
func (v *Vault) wantRatchet() {
	r := &v.ratchet
	if !r.able || r.wanted {
		return
	}
	r.wanted, r.after = true, max(r.after, v.now+ratchetDelay)
	v.storeSealEpoch()
}

// sealEpoch is the one for what is sealed now.
func (v *Vault) sealEpoch() uint64 { return max(v.ratchet.epoch, v.ratchet.newest) }

// withSealEpoch finds the newest epoch of the device before the first thing is
// sealed.
func (v *Vault) withSealEpoch(then func() error) {
	v.ratchet.epoch = firstSealEpoch
	if !v.ratchet.able {
		_ = then() // asks the device, and cannot fail before it answers
		return
	}
	v.ask(DeviceCommand{Kind: DeviceEpoch}, func(res DeviceResult) error {
		if res.Err != "" {
			return fmt.Errorf("the device does not say in which epoch its seal key is: %s", res.Err)
		}
		v.ratchet.newest, v.ratchet.epoch = res.Epoch, res.Epoch
		return then()
	})
}

func (v *Vault) loadSealEpoch(records map[string][]byte) error {
	r := wire.NewReader(records[recordSealEpoch], 1)
	v.ratchet.epoch, v.ratchet.wanted = r.Uint64("seal epoch"), r.Bool("ratchet wanted")
	if err := r.Done(); err != nil {
		return fmt.Errorf("record %s: %w", recordSealEpoch, err)
	}
	return nil
}

func (v *Vault) storeSealEpoch() {
	b := wire.NewWriter(1).Uint64(v.ratchet.epoch).Bool(v.ratchet.wanted).Bytes()
	if err := v.store.put(recordSealEpoch, b); err != nil {
		panic("vault: randomness ended: " + err.Error())
	}
}

// resumeRatchet goes on after a start with what was begun before it.
func (v *Vault) resumeRatchet() {
	if !v.ratchet.able {
		v.note("this device has no seal epochs: a copy of the disk from before a refresh still opens with it")
		return
	}
	v.ratchet.busy = true
	v.ask(DeviceCommand{Kind: DeviceEpoch}, func(res DeviceResult) error {
		v.ratchet.busy = false
		if res.Err != "" {
			v.ratchetFailed("the device does not say in which epoch its seal key is", res)
			return nil
		}
		v.ratchet.newest = max(res.Epoch, v.ratchet.epoch)
		return nil
	})
}

// tickRatchet begins the next step, one at a time. On a disk that may be an old one
// nothing is done to the device: who put it back by mistake can still bring the
// newest, which must open.
func (v *Vault) tickRatchet() {
	r := &v.ratchet
	if r.busy || v.now < r.after || v.ready() != nil {
		return
	}
	if !r.able {
		v.resealStale()
		return
	}
	oldest := v.oldestSeal()
	switch {
	case r.newest == 0:
		v.resumeRatchet()
	case r.wanted && r.newest > r.epoch:
		v.newRoot(r.newest)
	case r.wanted:
		v.advanceSeal(func() {})
	case v.resealStale():
	case r.erased < oldest && oldest > firstSealEpoch:
		v.eraseSeals(oldest)
	}
}

func (v *Vault) ratchetFailed(what string, res DeviceResult) {
	v.ratchet.busy, v.ratchet.after = false, v.now+ratchetAgain
	v.note("ratchet: "+what+": it is tried again in a minute", "error", res.Err)
}

// advanceSeal has the device make the next seal key. Everything rests where it did.
func (v *Vault) advanceSeal(then func()) {
	v.ratchet.busy = true
	v.ask(DeviceCommand{Kind: DeviceAdvance}, func(res DeviceResult) error {
		if res.Err != "" {
			v.ratchetFailed("the device does not make the next seal key", res)
		} else {
			v.ratchet.busy = false
			v.ratchet.newest = max(v.ratchet.newest, res.Epoch)
		}
		then()
		return nil
	})
}

// aheadOfRatchet makes the next seal key before a share of a new epoch is sealed, so
// that the step of the ratchet which follows that epoch finds the share in its place:
// a cold one could not follow without its operator.
func (v *Vault) aheadOfRatchet(then func()) {
	if r := &v.ratchet; !r.able || r.busy || r.newest == 0 || r.newest > r.epoch {
		then()
		return
	}
	v.advanceSeal(then)
}

// newRoot draws a root key, has the device seal it in an epoch, and seals everything
// again under it, in one durable step.
func (v *Vault) newRoot(epoch uint64) {
	key := make([]byte, chacha20poly1305.KeySize)
	if err := v.draw(key); err != nil {
		v.ratchetFailed("no randomness", DeviceResult{Err: err.Error()})
		return
	}
	root := secret.New(key)
	v.ratchet.busy = true
	v.ask(DeviceCommand{Kind: DeviceSeal, Class: hsm.ClassState, Epoch: epoch, Data: root.Reveal(), AAD: v.rootAAD()}, func(res DeviceResult) error {
		defer root.Destroy()
		if res.Err != "" {
			v.ratchetFailed("the device does not seal the new root key", res)
			return nil
		}
		v.dropRotation("the disk is sealed under a new key")
		if err := v.store.reseal(root, res.Data); err != nil {
			return fmt.Errorf("ratchet: %w", err)
		}
		v.ratchet.busy, v.ratchet.wanted, v.ratchet.epoch = false, false, epoch
		v.storeSealEpoch()
		v.note("the disk is sealed under a new key", "seal_epoch", epoch)
		return nil
	})
}

// oldestSeal is the oldest epoch under which something rests.
func (v *Vault) oldestSeal() uint64 {
	oldest := v.ratchet.epoch
	for _, h := range v.restings() {
		oldest = min(oldest, h.epoch)
	}
	return oldest
}

// eraseSeals destroys the seal keys below an epoch. What made them useless may not
// be durable yet: it is when the device's answer to the first command comes.
func (v *Vault) eraseSeals(below uint64) {
	v.ratchet.busy = true
	v.ask(DeviceCommand{Kind: DeviceEpoch}, func(res DeviceResult) error {
		if res.Err == "" && res.Epoch < below {
			res.Err = errors.New("its newest epoch is older than what it has sealed").Error()
		}
		if res.Err != "" {
			v.ratchetFailed("old seal keys are not erased yet", res)
			return nil
		}
		v.ask(DeviceCommand{Kind: DeviceErase, Epoch: below}, func(res DeviceResult) error {
			if res.Err != "" {
				v.ratchetFailed("old seal keys are not erased yet, so old copies of the disk still open", res)
				return nil
			}
			v.ratchet.busy, v.ratchet.erased = false, below
			if below > firstSealEpoch {
				v.note("older copies of the disk do not open any more", "seal_epoch", below)
			}
			return nil
		})
		return nil
	})
}
