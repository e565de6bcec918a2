package hsm

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// Costs are what a device's operations take, each the median of several.
type Costs struct {
	Sign   time.Duration // one statement, by the decision key
	Seal   time.Duration // 1 KiB, by the state key; without the device where the suite is public
	Unseal time.Duration // the same
	// Exchange is the device's part of unsealing: one Diffie-Hellman, or the unwrapping
	// of a data key. Zero for a device that is no Sealer.
	Exchange time.Duration
}

// String is one line for people.
func (c Costs) String() string {
	s := fmt.Sprintf("sign %v, seal %v, unseal %v", round(c.Sign), round(c.Seal), round(c.Unseal))
	if c.Exchange != 0 {
		s += fmt.Sprintf(", of which the device %v", round(c.Exchange))
	}
	return s
}

func round(d time.Duration) time.Duration { return d.Round(max(d/100, time.Microsecond)) }

// measureDomain is of the statements that Measure has signed. They authorise nothing.
const measureDomain = "coffer/hsm-self-test/v1"

// Measure uses a device n times in each way. It seals in the newest epoch.
func Measure(ctx context.Context, d HSM, n int) (Costs, error) {
	if n < 1 {
		return Costs{}, Errorf(ErrInput, "", "asked to measure %d operations, at least 1", n)
	}
	epoch := uint64(1)
	if r, ok := d.(Ratchet); ok {
		var err error
		if epoch, err = r.SealEpoch(ctx); kindOf(err) == ErrUnsupported {
			epoch, err = 1, nil
		} else if err != nil {
			return Costs{}, err
		}
	}
	st := signature.Statement{Domain: measureDomain, Body: []byte("measure")}
	var c Costs
	var err error
	if c.Sign, err = median(n, func() error { _, err := d.Sign(ctx, RoleDecision, st, nil); return err }); err != nil {
		return Costs{}, err
	}
	var blob []byte
	if c.Seal, err = median(n, func() (err error) {
		blob, err = d.Seal(ctx, ClassState, epoch, make([]byte, 1024), nil)
		return err
	}); err != nil {
		return Costs{}, err
	}
	if c.Unseal, err = median(n, func() error { _, err := d.Unseal(ctx, blob, nil, nil); return err }); err != nil {
		return Costs{}, err
	}
	if s, ok := d.(Sealer); ok {
		c.Exchange, err = measureExchange(ctx, s, epoch, blob, n)
	}
	return c, err
}

func measureExchange(ctx context.Context, s Sealer, epoch uint64, blob []byte, n int) (time.Duration, error) {
	b, err := DecodeBlob(blob)
	if err != nil {
		return 0, Errorf(ErrDevice, "", "the device's own blob: %w", err)
	}
	if b.Suite == SuiteHPKE { // a point of our own: HPKE's is as good, but is the blob's
		k, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return 0, Errorf(ErrDevice, "", "couldn't make a point: %w", err)
		}
		b.Enc = k.PublicKey().Bytes()
	}
	return median(n, func() error {
		key, err := s.Unwrap(ctx, ClassState, epoch, b.Enc, b.header(), nil)
		secret.Wipe(key)
		return err
	})
}

// median runs f n times and returns the middle one of what it took.
func median(n int, f func() error) (time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[n/2], nil
}
