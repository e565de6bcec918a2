package vaultshell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/node"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// A device's life under a vault that runs: SoftHSM behind a helper of its own.

// helperMain is `coffer hsm` with an operator who answers by a file.
func helperMain(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := func() error {
		uri, err := pkcs11uri.Parse(args[0])
		if err == nil {
			err = pkcs11.Provision(ctx, uri)
		}
		if err != nil {
			return err
		}
		d, err := pkcs11.Open(ctx, uri)
		if err != nil {
			return err
		}
		defer d.Close()
		l, err := remote.Listen(args[1])
		if err != nil {
			return err
		}
		defer l.Close()
		log.Info("serving", "device", d.Info().String())
		return (&remote.Server{Device: d, Log: log, Operator: fileOperator(args[2])}).Serve(ctx, l)
	}()
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// fileOperator answers with what the file holds: a PIN, or "no".
type fileOperator string

func (f fileOperator) Approve(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
	slog.Info("asked", "kind", c.Kind, "use", c.Use)
	for {
		if b, err := os.ReadFile(string(f)); err == nil && len(b) > 0 {
			if string(b) == "no" {
				return hsm.Answer{}, hsm.Errorf(hsm.ErrApproval, "", "the operator said no")
			}
			return hsm.Answer{PIN: secret.New(b)}, nil
		}
		select {
		case <-ctx.Done():
			return hsm.Answer{}, hsm.Errorf(hsm.ErrApproval, "", "no operator came: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// token is a party's SoftHSM with its helper.
type token struct {
	*party
	softhsm.Token
	operator string
	out      *syncBuffer
	stop     func()
}

// startTokens is a site of n vaults of which some have a SoftHSM, the others a software
// device.
func startTokens(t *testing.T, n int, ids ...int) (*site, map[mpc.ID]*token) {
	t.Helper()
	if _, _, err := softhsm.FindModule(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	tokens := map[mpc.ID]*token{}
	s := startSiteWith(t, n, nil, func(s *site) {
		s.hsmOf = func(p *party) {
			if !slices.Contains(ids, p.id) {
				p.startSoft()
				return
			}
			k := &token{party: p, operator: filepath.Join(p.dir, "operator")}
			var err error
			if k.Token, err = softhsm.InitToken(t.Context(), filepath.Join(p.dir, "token"), p.vcfg.Vault.Name, rand.Reader); err != nil {
				t.Fatal(err)
			}
			k.serve()
			tokens[mpc.ID(p.id)] = k
		}
	})
	s.ready(s.world.IDs...)
	return s, tokens
}

// serve starts the helper and waits until it serves or has ended.
func (k *token) serve() {
	k.t.Helper()
	k.out = &syncBuffer{}
	cmd := exec.Command(os.Args[0], launchHelper, k.URI(), k.vcfg.HSM.Socket, k.operator)
	cmd.Env = append(os.Environ(), k.Env()...)
	cmd.Stdout, cmd.Stderr = k.out, k.out
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	k.stop = sync.OnceFunc(func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-done })
	k.t.Cleanup(k.stop)
	k.await("serving", done)
}

// await waits for a word of the helper.
func (k *token) await(text string, done <-chan struct{}) {
	k.t.Helper()
	for end := time.Now().Add(60 * time.Second); !strings.Contains(k.out.String(), text); time.Sleep(5 * time.Millisecond) {
		select {
		case <-done:
			return
		default:
		}
		if time.Now().After(end) {
			k.t.Fatalf("the helper does not say %q:\n%s", text, k.out)
		}
	}
}

func (k *token) unplug() {
	k.t.Helper()
	if err := os.Rename(k.Tokens, k.Tokens+".away"); err != nil {
		k.t.Fatal(err)
	}
}

func (k *token) plug() {
	k.t.Helper()
	if err := os.Rename(k.Tokens+".away", k.Tokens); err != nil {
		k.t.Fatal(err)
	}
}

// eventually repeats what takes a moment.
func (s *site) eventually(what string, f func() error) {
	s.t.Helper()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: %v", what, err)
}

// refresh takes the wallet to its next epoch.
func (s *site) refresh() {
	s.t.Helper()
	order, err := s.world.OrderChange(s.wallet, s.name, governance.Refresh, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.publish(order)
	h := cluster.Handover{Order: order.Change.Hash(), Certificate: s.wallet.Certificate.Encode()}
	s.eventually("refresh", func() error {
		replies, err := s.together(s.world.IDs, &cluster.Command{Kind: cluster.CommandHandover, Attempt: attempt(), Signers: s.wallet16(), Body: h.Encode()})
		for _, r := range replies {
			if err == nil && (r == nil || r.Outcome != cluster.OutcomeDone) {
				err = errors.New(describe(replies))
			}
		}
		return err
	})
}

// publish brings a change to all vaults.
func (s *site) publish(c *governance.SignedChange) {
	s.t.Helper()
	s.eventually("change", func() error {
		replies, err := s.together(s.world.IDs, &cluster.Command{Kind: cluster.CommandChange, Body: c.Encode()})
		for _, r := range replies {
			if err == nil && (r == nil || r.Outcome != cluster.OutcomeDone) {
				err = errors.New(describe(replies))
			}
		}
		return err
	})
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// After a refresh a copy of the disk from before it does not open, though the token
// is there: the ratchet has destroyed the key.
func TestRatchetOnSoftHSM(t *testing.T) {
	s, _ := startTokens(t, 3, 1)
	s.keygen()
	s.sign(1, 2)
	one := s.parties[0]
	one.down()
	disk := one.ncfg.Node.Dir
	old := filepath.Join(one.dir, "old")
	copyDir(t, disk, old)
	one.start()
	s.ready(1, 2, 3)
	s.sign(1, 2)
	s.refresh()
	s.eventually("ratchet", func() error {
		if strings.Count(s.said.String(), "older copies of the disk do not open any more") < 3 {
			return errors.New("no word of it")
		}
		return nil
	})
	s.eventually("sign", func() error { return s.trySign(1, 2) })
	one.down()
	one.ncfg.Node.Dir = old
	if err := one.startAndFail(); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("the disk of before the refresh: %v", err)
	}
	one.ncfg.Node.Dir = disk
	one.start()
	s.ready(1, 2, 3)
	s.sign(1, 2)
}

// A token is pulled out in the middle of a signature: that ends, benignly; the others
// go on; and when it is back this vault signs without a restart.
func TestUnpluggedInMidSignature(t *testing.T) {
	s, tokens := startTokens(t, 3, 1)
	s.keygen()
	s.sign(1, 2)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var out atomic.Bool
	failed := 0
	wg.Go(func() { // signatures all the time
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.trySignWithin(quickly(t), 1, 2); err != nil {
				failed++
				if !out.Load() {
					t.Errorf("while the token is there: %v", err)
				}
				if strings.Contains(err.Error(), "culprits [1") || strings.Contains(err.Error(), "culprits [2") {
					t.Errorf("somebody is blamed: %v", err)
				}
			}
		}
	})
	time.Sleep(300 * time.Millisecond)
	out.Store(true)
	tokens[1].unplug()
	time.Sleep(time.Second)
	close(stop)
	wg.Wait()
	if failed == 0 {
		t.Fatal("the token was not needed")
	}
	s.eventually("the others", func() error { return s.trySignWithin(quickly(t), 2, 3) })
	tokens[1].plug()
	s.eventually("plugged in again", func() error { return s.trySignWithin(quickly(t), 1, 2) })
	s.eventually("plugged in again", func() error { return s.trySignWithin(quickly(t), 1, 3) })
	// A helper that dies with its token, and comes back.
	tokens[1].stop()
	if s.trySignWithin(quickly(t), 1, 2) == nil {
		t.Error("vault 1 signs without its helper")
	}
	tokens[1].serve()
	s.eventually("the helper is back", func() error { return s.trySignWithin(quickly(t), 1, 2) })
}

// The PIN is changed: what runs goes on; the helper's next start with the old PIN
// says so, tries it once, and locks nothing; with the new one all is well, and the
// vault never stopped.
func TestPINChange(t *testing.T) {
	s, tokens := startTokens(t, 3, 1)
	tool, err := exec.LookPath("pkcs11-tool")
	if err != nil {
		t.Skip("pkcs11-tool (opensc) is not installed")
	}
	s.keygen()
	k := tokens[1]
	pin, err := os.ReadFile(k.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	now := strings.TrimSpace(string(pin))
	change := exec.Command(tool, "--module", k.Module, "--token-label", k.Label, "--login", "--pin", now, "--change-pin", "--new-pin", "87654321")
	change.Env = append(os.Environ(), k.Env()...)
	if b, err := change.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	s.eventually("the running helper", func() error { return s.trySign(1, 2) })
	k.stop()
	for range 2 {
		k.serve()
		if !strings.Contains(k.out.String(), "error:") || !strings.Contains(k.out.String(), "PIN") {
			t.Fatalf("with the old PIN the helper says:\n%s", k.out)
		}
	}
	if strings.Contains(k.out.String(), "locked") {
		t.Errorf("the token is locked:\n%s", k.out)
	}
	if err := os.WriteFile(k.PINFile, []byte("87654321\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.serve()
	s.eventually("with the new PIN", func() error { return s.trySign(1, 2) })
}

// A cold wallet on SoftHSM: the token asks for the PIN at each use, and the operator
// gives it, refuses it or is late.
func TestColdOnSoftHSM(t *testing.T) {
	s, tokens := startTokens(t, 2, 1, 2)
	s.world.Tier = governance.TierCold
	s.keygen()
	if err := s.trySignWithin(quickly(t), 1, 2); err == nil {
		t.Fatal("signed without an operator")
	}
	pins := map[mpc.ID][]byte{}
	for id, k := range tokens {
		pin, err := os.ReadFile(k.PINFile)
		if err != nil {
			t.Fatal(err)
		}
		pins[id] = []byte(strings.TrimSpace(string(pin)))
		if !strings.Contains(k.out.String(), "asked") {
			t.Errorf("vault %d's operator was not asked:\n%s", id, k.out)
		}
	}
	answer := func(id mpc.ID, b []byte) {
		if err := os.WriteFile(tokens[id].operator, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	answer(2, []byte("no"))
	answer(1, pins[1])
	if err := s.trySignWithin(quickly(t), 1, 2); err == nil || !strings.Contains(err.Error(), "coffer hsm authorize") {
		t.Errorf("the operator said no: %v", err)
	}
	answer(2, pins[2])
	s.eventually("both agree", func() error { return s.trySignWithin(quickly(t), 1, 2) })
	one := s.parties[0]
	one.down()
	one.start()
	s.ready(1, 2)
	s.eventually("after a restart", func() error { return s.trySignWithin(quickly(t), 1, 2) })
}

func quickly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// full is a device on which there is no room for another key, for a while.
type full struct {
	remote.Device
	room *atomic.Bool
}

func (f full) Advance(ctx context.Context) (uint64, error) {
	if !f.room.Load() {
		return 0, hsm.Errorf(hsm.ErrFull, "", "token full")
	}
	return f.Device.(hsm.Ratchet).Advance(ctx)
}

func (f full) SealEpoch(ctx context.Context) (uint64, error) {
	return f.Device.(hsm.Ratchet).SealEpoch(ctx)
}

func (f full) Erase(ctx context.Context, below uint64) error {
	return f.Device.(hsm.Ratchet).Erase(ctx, below)
}

// A full token costs the ratchet's step, which is said, and nothing else.
func TestTokenFull(t *testing.T) {
	room := new(atomic.Bool)
	s := startSiteOn(t, 3, nil, func(d remote.Device) remote.Device { return full{d, room} })
	s.ready(1, 2, 3)
	s.keygen()
	s.refresh()
	s.eventually("told", func() error {
		if !strings.Contains(s.said.String(), "the device does not make the next seal key") || !strings.Contains(s.said.String(), "token full") {
			return errors.New("nobody is told")
		}
		return nil
	})
	s.eventually("sign", func() error { return s.trySign(1, 2) })
	for _, p := range s.parties {
		p.down()
	}
	room.Store(true)
	for _, p := range s.parties {
		p.start()
	}
	s.ready(1, 2, 3)
	s.eventually("ratchet", func() error {
		if !strings.Contains(s.said.String(), "older copies of the disk do not open any more") {
			return errors.New("no word of it")
		}
		return nil
	})
	s.eventually("sign", func() error { return s.trySign(1, 2) })
}

// A vault moves to another device with `coffer vault --rotate`, as real processes
// do it.
func TestRotateProcess(t *testing.T) {
	s := startSite(t, 3, nil)
	s.ready(1, 2, 3)
	s.keygen()
	s.sign(1, 2)
	one := s.parties[0]
	one.down()
	second := &party{site: s, id: 9, dir: filepath.Join(one.dir, "next")}
	if err := os.Mkdir(second.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	second.vcfg.HSM.Socket = filepath.Join(one.dir, "n")
	second.startHSM()
	rotating := one.vcfg
	rotating.Vault.Rotate, rotating.Vault.Card, rotating.HSM.Next = true, filepath.Join(one.dir, "moved"), second.vcfg.HSM.Socket
	nodeEnd := make(chan error, 1)
	go func() { nodeEnd <- node.Run(t.Context(), &one.ncfg, s.log) }()
	p := startProcess(t, &rotating)
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		t.Fatal("it does not end")
	}
	if err := <-nodeEnd; err != nil || !p.cmd.ProcessState.Success() {
		t.Fatalf("%v\n%s", err, p.out)
	}
	b, err := os.ReadFile(rotating.Vault.Card + RotationSuffix)
	if err != nil {
		t.Fatal(err)
	}
	r, err := vault.DecodeRotation(b)
	if err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(rotating.Vault.Card)
	if err != nil || string(card) != string(r.Card.Encode()) {
		t.Fatalf("the card is not the one that the old device signed: %v", err)
	}
	if err := r.Verify(&s.world.Genesis.Enrolments[0].Vault); err != nil {
		t.Error(err)
	}
	// It goes on with the old device until the card is in force.
	one.start()
	s.ready(1, 2, 3)
	s.sign(1, 2)
	order, err := s.world.Replace(1, r.Card, 1000)
	if err != nil {
		t.Fatal(err)
	}
	s.publish(order)
	if err := s.trySignWithin(quickly(t), 1, 2); err == nil {
		t.Error("the old device signs")
	}
	s.eventually("the others", func() error { return s.trySign(2, 3) })
	one.down()
	one.vcfg.HSM.Socket = second.vcfg.HSM.Socket
	one.start()
	s.ready(1, 2, 3)
	s.eventually("on the new device", func() error { return s.trySign(1, 2) })
}

func (s *site) wallet16() (ids []uint16) {
	for _, id := range s.wallet.Parties {
		ids = append(ids, uint16(id))
	}
	return ids
}
