package hsmtest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// Exercise uses a device without end and writes each blob that it sealed as one
// line of hex. It is the body of the process that testKill kills.
func Exercise(ctx context.Context, d hsm.HSM, w io.Writer) error {
	epoch, err := newestEpoch(ctx, d)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		blob, err := d.Seal(ctx, hsm.ClassState, epoch, fmt.Appendf(nil, "share %d", i), nil)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%x\n", blob); err != nil {
			return err
		}
		if _, err := d.Sign(ctx, hsm.RoleDecision, signature.Statement{Domain: domain, Body: blob}, nil); err != nil {
			return err
		}
		if _, err := d.Unseal(ctx, blob, nil, nil); err != nil {
			return err
		}
	}
}

// testKill kills a process in the middle of its use of the device, several times,
// while this process has it open too.
func testKill(t *testing.T, b Backend) {
	d := open(t, b.Open)
	before, err := d.Public(t.Context(), hsm.RoleIdentity)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		n := 5 + round*7
		blob := killedChild(t, b, n)
		again := open(t, b.Open)
		got, err := again.Unseal(t.Context(), blob, nil, nil)
		if want := fmt.Sprintf("share %d", n-1); err != nil || string(got) != want {
			t.Fatalf("sealed by the killed process: got %q, %v; want %q", got, err, want)
		}
		after, err := again.Public(t.Context(), hsm.RoleIdentity)
		if err != nil || after != before {
			t.Fatalf("identity was %v, is %v, %v", before, after, err)
		}
		usable(t, again)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	usable(t, d)
}

// killedChild kills a child after it has sealed n blobs and returns the last.
func killedChild(t *testing.T, b Backend, n int) []byte {
	t.Helper()
	cmd := b.Child()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var blob []byte
	lines := bufio.NewScanner(out)
	for range n {
		if !lines.Scan() {
			break
		}
		if blob, err = hex.DecodeString(lines.Text()); err != nil {
			break
		}
	}
	killErr := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if blob == nil || err != nil || killErr != nil {
		t.Fatalf("child sealed nothing: output %q, %v, %v, %v", lines.Text(), lines.Err(), err, killErr)
	}
	return blob
}

// newestEpoch is the epoch to seal in.
func newestEpoch(ctx context.Context, d hsm.HSM) (uint64, error) {
	r, ok := d.(hsm.Ratchet)
	if !ok {
		return 1, nil
	}
	epoch, err := r.SealEpoch(ctx)
	if errors.Is(err, hsm.ErrUnsupported) {
		return 1, nil
	}
	return epoch, err
}
