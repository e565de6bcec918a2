//go:build linux

package remote

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// asking is a device that asks for a PIN before it opens with its cold key.
type asking struct {
	Device
	pin   string
	tries int
}

func (d *asking) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, bind []byte, ap hsm.Approver) ([]byte, error) {
	if class == hsm.ClassCold {
		answer, err := hsm.Ask(ctx, ap, hsm.Challenge{Kind: hsm.ChallengePIN, Use: "open a share"})
		if err != nil {
			return nil, err
		}
		defer answer.PIN.Destroy()
		d.tries++
		if string(answer.PIN.Reveal()) != d.pin {
			return nil, hsm.Errorf(hsm.ErrPIN, "", "the PIN is wrong")
		}
	}
	return d.Device.Unwrap(ctx, class, epoch, enc, bind, ap)
}

// serveDesk serves a device with an operator and returns both sockets.
func serveDesk(t *testing.T, d Device, wait time.Duration) (device, operator string) {
	t.Helper()
	device, operator = socketPath(t), socketPath(t)
	desk := &Desk{Wait: wait, Log: slog.New(slog.DiscardHandler)}
	server := newServer(d)
	server.Operator = desk
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for path, run := range map[string]func(context.Context, *Listener) error{device: server.Serve, operator: desk.Serve} {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- run(ctx, l) }()
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return device, operator
}

// waitPending waits until a use is on the desk.
func waitPending(t *testing.T, path string) Pending {
	t.Helper()
	for range 1000 {
		list, err := ListPending(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 {
			return list[0]
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("nothing waits for the operator")
	return Pending{}
}

func TestOperator(t *testing.T) {
	d := &asking{Device: newDevice(t), pin: "1234"}
	path, operator := serveDesk(t, d, 0)
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	blob, err := c.Seal(t.Context(), hsm.ClassCold, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	type opened struct {
		data []byte
		err  error
	}
	unseal := func() chan opened {
		out := make(chan opened, 1)
		go func() {
			data, err := c.Unseal(context.Background(), blob, nil, nil)
			out <- opened{data, err}
		}()
		return out
	}
	for _, tc := range []struct {
		pin  string
		kind hsm.Kind
	}{{"0000", hsm.ErrPIN}, {"1234", 0}} {
		out := unseal()
		p := waitPending(t, operator)
		if p.Challenge.Kind != hsm.ChallengePIN || p.Challenge.Use != "open a share" || p.Left <= 0 || p.Left > MaxWait {
			t.Errorf("the desk shows %+v", p)
		}
		before := d.tries
		err := Authorize(t.Context(), operator, p.ID, hsm.Answer{PIN: secret.New([]byte(tc.pin))})
		got := <-out
		if tc.kind != 0 {
			if !errors.Is(err, tc.kind) || !errors.Is(got.err, tc.kind) || got.data != nil {
				t.Errorf("wrong PIN: the operator hears %v, the vault gets %q, %v", err, got.data, got.err)
			}
		} else if err != nil || got.err != nil || string(got.data) != "share" {
			t.Errorf("right PIN: the operator hears %v, the vault gets %q, %v", err, got.data, got.err)
		}
		if d.tries != before+1 {
			t.Errorf("the PIN was tried %d times, want once", d.tries-before)
		}
		// An answer is used up.
		if err := Authorize(t.Context(), operator, p.ID, hsm.Answer{PIN: secret.New([]byte("1234"))}); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("the same number again: %v, want ErrInput", err)
		}
	}
	if _, err := c.Unseal(t.Context(), blob, nil, pinApprover{}); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a PIN from the vault's side: %v, want ErrUnsupported", err)
	}
}

type pinApprover struct{}

func (pinApprover) Approve(context.Context, hsm.Challenge) (hsm.Answer, error) {
	return hsm.Answer{PIN: secret.New([]byte("1234"))}, nil
}

// TestNoOperator: nobody answers, nobody is there, too many wait.
func TestNoOperator(t *testing.T) {
	d := &asking{Device: newDevice(t), pin: "1234"}
	path, operator := serveDesk(t, d, 20*time.Millisecond)
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	blob, err := c.Seal(t.Context(), hsm.ClassCold, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Unseal(t.Context(), blob, nil, nil)
	if !errors.Is(err, hsm.ErrApproval) || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("nobody answers: %v", err)
	}
	if list, err := ListPending(t.Context(), operator); err != nil || len(list) != 0 {
		t.Errorf("still on the desk: %v, %v", list, err)
	}
	alone := socketPath(t)
	serve(t, alone, d)
	c2, err := Dial(t.Context(), alone)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if _, err := c2.Unseal(t.Context(), blob, nil, nil); !errors.Is(err, hsm.ErrApproval) || !strings.Contains(err.Error(), "nobody is there") {
		t.Errorf("no desk: %v", err)
	}
	if d.tries != 0 {
		t.Errorf("the device was given %d PINs", d.tries)
	}
	if err := Authorize(t.Context(), socketPath(t), 1, hsm.Answer{}); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("no socket: %v", err)
	}
}

func TestDeskIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := &Desk{Wait: time.Hour, Log: slog.New(slog.DiscardHandler)}
		errs := make(chan error, maxPending+1)
		begin := time.Now()
		for range maxPending {
			go func() {
				_, err := desk.Approve(t.Context(), hsm.Challenge{Kind: hsm.ChallengePIN})
				errs <- err
			}()
		}
		synctest.Wait()
		if _, err := desk.Approve(t.Context(), hsm.Challenge{Kind: hsm.ChallengePIN}); !errors.Is(err, hsm.ErrApproval) || !strings.Contains(err.Error(), "already") {
			t.Errorf("one more than the bound: %v", err)
		}
		for range maxPending {
			if err := <-errs; !errors.Is(err, hsm.ErrApproval) {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took != MaxWait {
			t.Errorf("waited %v, want %v at the most", took, MaxWait)
		}
	})
}

func FuzzDecodeDeskRequest(f *testing.F) {
	f.Add(deskRequest{op: deskPending}.encode())
	f.Add(deskRequest{op: deskAuthorize, id: 7, pin: secret.New([]byte("1234"))}.encode())
	f.Add(deskRequest{op: deskAuthorize, id: 7, approvals: hsm.Approvals{approval(f)}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeDeskRequest(b)
		if err == nil && !bytes.Equal(q.encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, q.encode())
		}
	})
}

func FuzzDecodeDeskReply(f *testing.F) {
	f.Add(deskReply{op: deskAuthorize}.encode())
	failed := deskReply{}
	failed.fail(hsm.Errorf(hsm.ErrPIN, "hint", "detail"))
	f.Add(failed.encode())
	st := approval(f)
	f.Add(deskReply{op: deskPending, list: []Pending{
		{ID: 1, Left: time.Minute, Challenge: hsm.Challenge{Kind: hsm.ChallengePIN, Use: "u"}},
		{ID: 2, Challenge: hsm.Challenge{Kind: hsm.ChallengePolicy, Preimage: []byte("preimage"), Need: 1, Keys: []signature.PublicKey{st.Key}}},
	}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeDeskReply(b)
		if err == nil && !bytes.Equal(p.encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, p.encode())
		}
	})
}
