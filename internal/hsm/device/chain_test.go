//go:build cgo

package device

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/secret"
)

// softToken makes a token and points this process's SoftHSM at it.
func softToken(t testing.TB) softhsm.Token {
	t.Helper()
	if _, _, err := softhsm.FindModule(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	tok, err := softhsm.InitToken(t.Context(), t.TempDir(), "chain", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softhsm.EnvConf, tok.Conf)
	return tok
}

// serve provisions and opens a device, serves it on a socket and returns the socket.
func serve(t testing.TB, uri string) string {
	t.Helper()
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "hsm") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	l, err := remote.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := remote.Listen(filepath.Join(dir, "o"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	log := slog.New(slog.DiscardHandler)
	desk := &remote.Desk{Log: log, Wait: 2 * time.Second} // the suite uses a cold key without an operator, once
	go func() { done <- (&remote.Server{Device: d, Log: log, Operator: desk}).Serve(ctx, l) }()
	go func() { done <- desk.Serve(ctx, at) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done, d.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "s")
}

func dialer(path string) func(context.Context) (hsm.HSM, error) {
	return func(ctx context.Context) (hsm.HSM, error) { return remote.Dial(ctx, path) }
}

// TestChain is the way of a running vault: client, socket, helper, library, token.
func TestChain(t *testing.T) {
	tok := softToken(t)
	path := serve(t, tok.URI())
	other := serve(t, "soft:"+filepath.Join(t.TempDir(), "hsm"))
	hsmtest.Run(t, hsmtest.Backend{Open: dialer(path), Other: dialer(other)})

	c, err := remote.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if i := c.Info(); i.Vendor != "SoftHSM project" || i.Label != "chain" || i.Boundary != hsm.GradeSoftware {
		t.Errorf("info is %v", i)
	}
	// The token is taken out: the vault's copy of the disk does not open.
	epoch, err := c.SealEpoch(t.Context()) // the suite advanced it
	if err != nil {
		t.Fatal(err)
	}
	blob, err := c.Seal(t.Context(), hsm.ClassState, epoch, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tok.Tokens, tok.Tokens+".away"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Unseal(t.Context(), blob, nil, nil)
	var e *hsm.Error
	if !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || e.Hint() == "" {
		t.Fatalf("without the token: got %v, want ErrUnavailable with a hint", err)
	}
	if err := os.Rename(tok.Tokens+".away", tok.Tokens); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Unseal(t.Context(), blob, nil, nil); err != nil || string(got) != "share" {
		t.Fatalf("the token is back: %q, %v", got, err)
	}
}

// TestChainCold opens what is sealed with a cold key: the PIN goes from the operator's
// socket to the token, and the vault never sees it.
func TestChainCold(t *testing.T) {
	tok := softToken(t)
	path := serve(t, tok.URI())
	operator := filepath.Join(filepath.Dir(path), "o")
	c, err := remote.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pin, err := os.ReadFile(tok.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := c.Seal(t.Context(), hsm.ClassCold, 1, []byte("share"), []byte("vault 1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		pin  string
		want hsm.Kind
		say  string
	}{{"000000", hsm.ErrPIN, "tried once"}, {"000000", hsm.ErrPIN, "not tried again"}, {string(bytes.TrimSpace(pin)), 0, ""}} {
		type result struct {
			data []byte
			err  error
		}
		out := make(chan result, 1)
		go func() {
			data, err := c.Unseal(context.Background(), blob, []byte("vault 1"), nil)
			out <- result{data, err}
		}()
		var list []remote.Pending
		for len(list) == 0 {
			if list, err = remote.ListPending(t.Context(), operator); err != nil {
				t.Fatal(err)
			}
		}
		err = remote.Authorize(t.Context(), operator, list[0].ID, hsm.Answer{PIN: secret.New([]byte(tc.pin))})
		got := <-out
		if tc.want != 0 && (!errors.Is(err, tc.want) || !errors.Is(got.err, tc.want) || got.data != nil || !strings.Contains(err.Error(), tc.say)) {
			t.Errorf("wrong PIN: the operator hears %v, the vault gets %q, %v", err, got.data, got.err)
		}
		if tc.want == 0 && (err != nil || got.err != nil || string(got.data) != "share") {
			t.Errorf("right PIN: the operator hears %v, the vault gets %q, %v", err, got.data, got.err)
		}
	}
}

func BenchmarkChainSign(b *testing.B)   { hsmtest.BenchSign(b, benchChain(b)) }
func BenchmarkChainUnseal(b *testing.B) { hsmtest.BenchUnseal(b, benchChain(b)) }

func benchChain(b *testing.B) hsm.HSM {
	c, err := remote.Dial(b.Context(), serve(b, softToken(b).URI()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}
