package device

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/signature"
)

// operator answers a cold key's challenge as the one at the helper does.
type operator struct{ key *keyfile.Key }

func (o operator) Approve(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
	sig, err := o.key.Approve(c.Digest)
	return hsm.Answer{Approvals: []hsm.Approval{{Key: o.key.Public(), Signature: sig}}}, err
}

func p256Key(t *testing.T) *keyfile.Key {
	t.Helper()
	k, err := keyfile.NewP256(rand.Reader, "somebody")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTPMThroughHelper: what a vault asks of its TPM goes through the helper: decisions
// with approvals that came with the request, evidence, and a cold key that the operator
// at the helper authorises.
func TestTPMThroughHelper(t *testing.T) {
	if _, _, err := swtpm.Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	emulator, err := swtpm.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(emulator.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	authority, approver, cold := p256Key(t), p256Key(t), p256Key(t)
	uri := emulator.URI(filepath.Join(dir, "keys")) + "&authority=" + authority.Public().String() + "&operator=" + cold.Public().String()
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	l, err := remote.Listen(filepath.Join(dir, "h"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- (&remote.Server{Device: d, Log: slog.New(slog.DiscardHandler), Operator: operator{cold}}).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, d.Close()); err != nil {
			t.Error(err)
		}
	})
	c, err := remote.Dial(t.Context(), filepath.Join(dir, "h"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	installApprover(t, d.(*tpm.Device), authority, approver)
	throughHelper(t, c, approver)
}

func installApprover(t *testing.T, d *tpm.Device, authority, approver *keyfile.Key) {
	t.Helper()
	counter, now, err := d.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set, err := attest.NewApprovers([]signature.PublicKey{approver.Public()}, 1, counter, now+1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	by, err := authority.Approve(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.InstallApprovers(t.Context(), set, by); err != nil {
		t.Fatal(err)
	}
}

func throughHelper(t *testing.T, c *remote.Client, approver *keyfile.Key) {
	t.Helper()
	w := attest.Want{Nonce: [32]byte{1}, Bind: [32]byte{2}}
	var err error
	if w.Identity, err = c.Public(t.Context(), hsm.RoleIdentity); err != nil {
		t.Fatal(err)
	}
	if w.Decision, err = c.Public(t.Context(), hsm.RoleDecision); err != nil {
		t.Fatal(err)
	}
	e, err := c.Attest(t.Context(), w.Nonce, w.Bind)
	if err != nil {
		t.Fatal(err)
	}
	if w.Approval, err = attest.ApprovalKey(e.Kind, e.Bytes); err != nil || w.Approval == nil {
		t.Fatalf("no approval key in the evidence: %v", err)
	}
	if _, err := attest.Verify(e.Kind, e.Bytes, w); err != nil {
		t.Error(err)
	}
	st := signature.Statement{Domain: "coffer/approved/v1", Body: []byte("request")}
	digest, err := attest.ApprovalDigest(w.Approval, st)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := approver.Approve(digest)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.Public(t.Context(), hsm.RoleApproval)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Sign(t.Context(), hsm.RoleApproval, st, hsm.Approvals{{Key: approver.Public(), Signature: sig}})
	if err == nil {
		err = signature.Verify(key, st, got)
	}
	if err != nil {
		t.Errorf("approved: %v", err)
	}
	st.Body = []byte("another")
	if _, err := c.Sign(t.Context(), hsm.RoleApproval, st, hsm.Approvals{{Key: approver.Public(), Signature: sig}}); !errors.Is(err, hsm.ErrApproval) {
		t.Errorf("another request than was approved: %v, want ErrApproval", err)
	}
	blob, err := c.Seal(t.Context(), hsm.ClassCold, 1, []byte("cold share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := c.Unseal(t.Context(), blob, nil, nil); err != nil || string(opened) != "cold share" {
		t.Errorf("cold: %q, %v", opened, err)
	}
}
