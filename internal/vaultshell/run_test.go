package vaultshell

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

const text = `[vault]
id = 3
name = "bank"
socket = "v.sock"
genesis = "genesis"
[hsm]
socket = "h.sock"
`

func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path, []string{"COFFER_VAULT_SOCKET=other.sock"})
	if err != nil || c.Vault.ID != 3 || c.Vault.Name != "bank" || c.Vault.Socket != "other.sock" || c.HSM.Socket != "h.sock" || c.Vault.Enrol {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"COFFER_VAULT_ID=0"}, "vault.id is 0"},
		{[]string{"COFFER_VAULT_ID=three"}, "COFFER_VAULT_ID"},
		{[]string{"COFFER_VAULT_NAME=The Bank"}, "vault.name"},
		{[]string{"COFFER_VAULT_SOCKET="}, "vault.socket is empty"},
		{[]string{"COFFER_HSM_SOCKET="}, "hsm.socket is empty"},
		{[]string{"COFFER_VAULT_GENESIS="}, "vault.genesis is empty"},
		{[]string{"COFFER_VAULT_ENROL=true"}, "vault.card is empty"},
	} {
		if _, err := LoadConfig(path, c.env); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.env, err, c.want)
		}
	}
	if _, err := LoadConfig(path, []string{"COFFER_VAULT_ENROL=true", "COFFER_VAULT_CARD=c", "COFFER_VAULT_GENESIS="}); err != nil {
		t.Errorf("enrolment without a genesis: %v", err)
	}
}

func TestStartRefused(t *testing.T) {
	dir := shortDir(t)
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("no genesis"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := vaultlink.Listen(filepath.Join(dir, "taken"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Vault.ID = 0 }, "vault.id is 0"},
		{func(c *Config) { c.Vault.Genesis = filepath.Join(dir, "none") }, "couldn't read the genesis"},
		{func(c *Config) { c.Vault.Genesis = junk }, "couldn't read the genesis"},
		{func(c *Config) { c.Vault.Genesis = "/dev/zero" }, "more than 1048576 bytes"},
		{func(c *Config) {
			c.Vault.Socket = filepath.Join(dir, "taken")
			c.Vault.Enrol = true
			c.Vault.Card = "c"
		}, "another vault listens"},
	} {
		var cfg Config
		cfg.Vault.ID, cfg.Vault.Name, cfg.Vault.Socket, cfg.Vault.Genesis, cfg.HSM.Socket = 1, "bank", filepath.Join(dir, "v"), junk, filepath.Join(dir, "h")
		c.edit(&cfg)
		if err := run(t.Context(), &cfg, quiet()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A vault waits for its HSM's helper and its node, in any order, and a stop ends
// the wait and removes the socket.
func TestWaitsForHelper(t *testing.T) {
	dir := shortDir(t)
	p := &party{site: &site{t: t, dir: dir, log: quiet()}, dir: dir}
	p.vcfg.Vault.ID, p.vcfg.Vault.Name, p.vcfg.Vault.Socket = 1, "bank", filepath.Join(dir, "v")
	p.vcfg.Vault.Enrol, p.vcfg.Vault.Card, p.vcfg.HSM.Socket = true, filepath.Join(dir, "card"), filepath.Join(dir, "h")
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- run(ctx, &p.vcfg, quiet()) }()
	node, err := dialSoon(t, p.vcfg.Vault.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	p.startHSM()
	node.SetReadDeadline(time.Now().Add(20 * time.Second))
	if m, err := node.Receive(); err != nil || vaultlink.Name(m) != "hello" {
		t.Fatalf("%v, %v", m, err)
	}
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Lstat(p.vcfg.Vault.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket is left: %v", err)
	}

	p.vcfg.HSM.Socket = filepath.Join(dir, "none")
	ctx, cancel = context.WithCancel(t.Context())
	go func() { end <- run(ctx, &p.vcfg, quiet()) }()
	if node, err = dialSoon(t, p.vcfg.Vault.Socket); err != nil {
		t.Fatal(err)
	}
	node.Close()
	cancel()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// lockedDevice is a token that accepts no PIN any more.
type lockedDevice struct{ *soft.Device }

func (lockedDevice) Public(context.Context, hsm.Role) (signature.PublicKey, error) {
	return signature.PublicKey{}, hsm.Errorf(hsm.ErrLocked, "", "the token accepts no PIN any more")
}

// What only the operator can mend at the device ends the start: it is not tried
// again and again.
func TestDeviceRefuses(t *testing.T) {
	dir := shortDir(t)
	ln, err := remote.Listen(filepath.Join(dir, "h"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		_ = (&remote.Server{Device: lockedDevice{softDevice(t).(*soft.Device)}, Log: quiet()}).Serve(ctx, ln)
	}()
	var cfg Config
	cfg.Vault.ID, cfg.Vault.Name, cfg.Vault.Socket, cfg.Vault.Enrol = 1, "bank", filepath.Join(dir, "v"), true
	cfg.Vault.Card, cfg.HSM.Socket = filepath.Join(dir, "card"), filepath.Join(dir, "h")
	end, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := run(end, &cfg, quiet()); !errors.Is(err, hsm.ErrLocked) || !strings.Contains(err.Error(), "couldn't use the HSM") {
		t.Fatalf("with a locked token: %v", err)
	}
}

func dialSoon(t *testing.T, path string) (*vaultlink.Conn, error) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := vaultlink.Dial(t.Context(), path)
		if err == nil || time.Now().After(end) {
			return c, err
		}
	}
}

// A vault on a disk that is not its own, or of another device, says so and stops.
func TestForeignDisk(t *testing.T) {
	s := startSite(t, 2, nil)
	s.ready(1, 2)
	for _, p := range s.parties {
		p.down()
	}
	one, two := s.parties[0], s.parties[1]
	cfg := one.vcfg
	cfg.HSM.Socket = two.vcfg.HSM.Socket // another token
	p := &party{site: s, vcfg: cfg, ncfg: one.ncfg}
	err := p.startAndFail()
	if err == nil || !strings.Contains(err.Error(), "the vault cannot") {
		t.Errorf("with another token: %v", err)
	} else {
		t.Logf("with another token: %v", err)
	}
	cfg = one.vcfg
	cfg.Vault.ID = 9 // not in the genesis, and not this disk's
	p = &party{site: s, vcfg: cfg, ncfg: one.ncfg}
	if err := p.startAndFail(); err == nil || !strings.Contains(err.Error(), "belongs to vault 1, but vault 9 is at the socket") {
		t.Errorf("as another vault: %v", err)
	}
	// Neither has harmed what is there.
	one.start()
	two.start()
	s.ready(1, 2)
}
