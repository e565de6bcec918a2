package api

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/internal/transport"
)

// TestCosigned: the API hands out what the other vaults cosigned, verified by who
// reads it, and nothing of another vault or another cluster in its place.
func TestCosigned(t *testing.T) {
	f := newFixture(t, shared(t))
	var raw []byte
	for until := time.Now().Add(time.Minute); ; {
		c, b, err := f.Cosigned(t.Context(), 1)
		if err == nil && c.Vault == 1 && len(c.Cosigners) == 2 {
			raw = b
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%+v, %v", c, err)
		}
		f.v.Do(func(w *sim.World) { w.Now += 1000 })
	}
	c, err := audit.DecodeCosignedCheckpoint(raw)
	if err != nil {
		t.Fatal(err)
	}
	gov := f.co.Governance()
	for i := range c.Cosignatures {
		at := slices.IndexFunc([]uint16{2, 3}, func(id uint16) bool { return audit.Origin(gov.Cluster, id) == c.Cosignatures[i].Name })
		card, _ := gov.Vault(uint16(at + 2))
		if at < 0 || c.Cosignatures[i].Verify(audit.Cosigner{Name: c.Cosignatures[i].Name, Key: card.Log}, c.Checkpoint.Text()) != nil {
			t.Errorf("cosignature of %s does not verify", c.Cosignatures[i].Name)
		}
	}
	other := *c
	other.Checkpoint.Cluster[0]++
	for name, answer := range map[string]func(uint16) ([]byte, error){
		"of another vault":   func(uint16) ([]byte, error) { return raw, nil },
		"of another cluster": func(uint16) ([]byte, error) { return other.Encode(), nil },
		"damaged":            func(uint16) ([]byte, error) { return raw[1:], nil },
		"away":               func(uint16) ([]byte, error) { return nil, transport.ErrUnreachable },
		"failed":             func(uint16) ([]byte, error) { return nil, errors.New("no checkpoint") },
	} {
		f.logs.cosigned = answer
		vault := 1
		if strings.HasSuffix(name, "vault") {
			vault = 2
		}
		if c, _, err := f.Cosigned(t.Context(), vault); !is(err, "vaults", 503) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
