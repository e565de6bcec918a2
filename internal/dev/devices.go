package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
)

// kind is a kind of device that a party may have.
type kind struct {
	name    string       // in Options.Devices, and in the party's file "device"
	words   string       // for people
	missing func() error // nil: this machine has it
	use     func(ctx context.Context, p *Party) error
}

// kinds are all kinds, those first that are nearest to what one would hold value on.
var kinds = []kind{
	{"softhsm", "a SoftHSM token", func() error { _, _, err := softhsm.FindModule(); return err }, func(ctx context.Context, p *Party) error { return p.useSoftHSM(ctx) }},
	{"tpm", "a TPM (emulated)", func() error { _, _, err := swtpm.Find(); return err }, func(ctx context.Context, p *Party) error { return p.useTPM(ctx) }},
	{"software", "the software HSM", func() error { return nil }, func(_ context.Context, p *Party) error { p.useSoftware(); return nil }},
}

func kindOf(name string) (*kind, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("device %q: want one of %s", name, strings.Join(names(kinds), ", "))
	}
	return &kinds[i], nil
}

func names(ks []kind) []string {
	var out []string
	for _, k := range ks {
		out = append(out, k.name)
	}
	return out
}

// Devices lists the kinds of devices that this machine has, each of which a vault
// can have one of, and says of the others why it has not.
func Devices() (have []string, missing map[string]error) {
	missing = make(map[string]error)
	for _, k := range kinds {
		if err := k.missing(); err != nil {
			missing[k.name] = err
			continue
		}
		have = append(have, k.name)
	}
	return have, missing
}

// deviceFile holds the kind of a party's device, once it has one.
const deviceFile = "device"

// Device gives a party a device of its own: the module that the options name; the
// one that it had before; or the next of the kinds in turn.
func (c *Cluster) Device(ctx context.Context, p *Party) error {
	if c.Module != "" {
		p.Kind = "pkcs11"
		p.usePKCS11(c.Module, c.PIN)
		return nil
	}
	have := c.Devices
	if len(have) == 0 {
		have, _ = Devices()
	}
	name := have[(int(p.ID)-1)%len(have)]
	switch b, err := os.ReadFile(p.path(deviceFile)); {
	case err == nil:
		name = strings.TrimSpace(string(b))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	k, err := kindOf(name)
	if err != nil {
		return err
	}
	if err := k.missing(); err != nil {
		return err
	}
	p.Kind = k.name
	if err := k.use(ctx, p); err != nil {
		return err
	}
	return os.WriteFile(p.path(deviceFile), []byte(k.name+"\n"), 0o600)
}

// Words names the parties' devices for people: "vault-1 has a SoftHSM token, …".
func (c *Cluster) Words() string {
	var out []string
	for _, p := range c.Parties {
		words := "a token of " + c.Module
		if k, err := kindOf(p.Kind); err == nil {
			words = k.words
		}
		out = append(out, p.Name+" has "+words)
	}
	return strings.Join(out, ", ")
}

// Alike says which model of device holds a threshold of these parties or more (nil:
// all). Where it is "", no flaw of one model is enough to sign.
func (c *Cluster) Alike(threshold int, parties []int) string {
	count := make(map[string]int)
	for _, e := range c.Genesis.Enrolments {
		v := &e.Vault
		if parties != nil && !slices.Contains(parties, int(v.ID)) {
			continue
		}
		model := v.Vendor + " " + v.Model
		if count[model]++; count[model] >= threshold {
			return model
		}
	}
	return ""
}

// Order orders a wallet of an admin's. Where too many of its vaults' devices are of
// one model it insists, and says so.
func (c *Cluster) Order(info *client.Cluster, admin string, k client.KeyOptions) (order string, err error) {
	if model := c.Alike(k.Threshold, k.Vaults); model != "" {
		k.Insist = true
		c.warn(fmt.Sprintf("wallet %s: INSISTED, NOT DIVERSE: a threshold of its vaults have the same device, %s; one flaw of it could be enough to steal", k.Name, model))
	}
	return c.Person(admin).Order(info, k)
}

func (c *Cluster) warn(text string) {
	if c.Say != nil {
		c.Say(text)
	}
}
