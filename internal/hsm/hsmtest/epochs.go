package hsmtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

// ratchet returns the device's, or skips the test where it has none.
func ratchet(t *testing.T, d hsm.HSM) hsm.Ratchet {
	t.Helper()
	r, ok := d.(hsm.Ratchet)
	if ok {
		_, err := r.SealEpoch(t.Context())
		ok = !errors.Is(err, hsm.ErrUnsupported)
	}
	if !ok {
		t.Skip("the device has one epoch")
	}
	return r
}

// testEpochs advances, and erases what is old: what was sealed before opens no more,
// here or in a session that is opened then, and what is new goes on.
func testEpochs(t *testing.T, b Backend) {
	d := open(t, b.Open)
	r := ratchet(t, d)
	first := epochOf(t, d)
	if first == 0 {
		t.Fatal("the newest epoch is 0, the first is 1")
	}
	old := seal(t, d, "old share", "aad")
	oldCold, err := d.Seal(t.Context(), hsm.ClassCold, first, []byte("cold share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Erase(t.Context(), first+1); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("erasing the newest: got %v, want ErrInput", err)
	}
	if _, err := d.Seal(t.Context(), hsm.ClassState, first+1, nil, nil); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("sealing in an epoch to come: got %v, want ErrInput", err)
	}
	next, err := r.Advance(t.Context())
	if err != nil || next != first+1 || epochOf(t, d) != next {
		t.Fatalf("advanced from %d to %d, the newest is %d: %v", first, next, epochOf(t, d), err)
	}
	fresh := seal(t, d, "new share", "aad")
	for blob, want := range map[string]string{string(old): "old share", string(fresh): "new share"} {
		if got, err := d.Unseal(t.Context(), []byte(blob), []byte("aad"), nil); err != nil || string(got) != want {
			t.Fatalf("after advancing: %q, %v, want %q", got, err, want)
		}
	}
	relabelled(t, d, old, next)
	relabelled(t, d, fresh, first)

	for range 2 { // once more is no error
		if err := r.Erase(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Seal(t.Context(), hsm.ClassState, first, nil, nil); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("sealing in the epoch that was just erased: got %v, want ErrInput", err)
	}
	again := open(t, b.Open)
	for name, x := range map[string]hsm.HSM{"this": d, "another": again} {
		refused(t, x, "erased, through "+name+" session", old, []byte("aad"))
		if got, err := x.Unseal(t.Context(), oldCold, nil, b.Approver); !errors.Is(err, hsm.ErrUnseal) || got != nil {
			t.Errorf("erased and cold, through %s session: got %q, %v; want ErrUnseal", name, got, err)
		}
		if got, err := x.Unseal(t.Context(), fresh, []byte("aad"), nil); err != nil || string(got) != "new share" {
			t.Errorf("through %s session: %q, %v", name, got, err)
		}
		if _, err := x.Seal(t.Context(), hsm.ClassState, first, nil, nil); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("sealing in an erased epoch, through %s session: got %v, want ErrInput", name, err)
		}
	}
	if s, ok := again.(hsm.Sealer); ok {
		for _, class := range hsm.Classes() {
			if k, err := s.SealKey(t.Context(), class, first); err == nil {
				t.Errorf("the erased %v key is still there: %x", class, k.ID())
			}
		}
	}
	usable(t, d)
	usable(t, again)
}

// relabelled fails the test if a blob opens as one of another epoch that is there.
func relabelled(t *testing.T, d hsm.HSM, blob []byte, epoch uint64) {
	t.Helper()
	parts, err := hsm.DecodeBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	parts.Epoch = epoch
	refused(t, d, "relabelled for an epoch that is there", parts.Encode(), []byte("aad"))
	s, ok := d.(hsm.Sealer)
	if !ok {
		return
	}
	key, err := s.SealKey(t.Context(), hsm.ClassState, epoch)
	if err != nil {
		t.Fatal(err)
	}
	parts.KeyID = key.ID()
	refused(t, d, "relabelled, with that epoch's key", parts.Encode(), []byte("aad"))
}

// counted counts how often an approver is asked.
type counted struct {
	hsm.Approver
	asked atomic.Int64
}

func (c *counted) Approve(ctx context.Context, ch hsm.Challenge) (hsm.Answer, error) {
	c.asked.Add(1)
	return c.Approver.Approve(ctx, ch)
}

// testCold uses a cold key: what Info says of asking at each use is what happens.
func testCold(t *testing.T, b Backend) {
	d := open(t, b.Open)
	epoch := epochOf(t, d)
	blob, err := d.Seal(t.Context(), hsm.ClassCold, epoch, []byte("cold share"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(d.Info().Suites, hsm.HasPerUse) {
		if got, err := d.Unseal(t.Context(), blob, []byte("aad"), nil); err != nil || string(got) != "cold share" {
			t.Fatalf("the device says that it asks nobody: %q, %v", got, err)
		}
		return
	}
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), nil); !errors.Is(err, hsm.ErrApproval) || got != nil {
		t.Fatalf("the device says that it asks at each use, and nobody is there: %q, %v; want ErrApproval", got, err)
	}
	usable(t, d)
	if b.Approver == nil {
		return
	}
	right := &counted{Approver: b.Approver}
	for i := range int64(3) {
		if got, err := d.Unseal(t.Context(), blob, []byte("aad"), right); err != nil || string(got) != "cold share" {
			t.Fatalf("authorised: %q, %v", got, err)
		}
		if n := right.asked.Load(); n != i+1 {
			t.Fatalf("asked %d times for %d uses", n, i+1)
		}
	}
	if got, err := d.Unseal(t.Context(), blob, []byte("aae"), right); !errors.Is(err, hsm.ErrUnseal) || got != nil {
		t.Errorf("another aad: %q, %v; want ErrUnseal", got, err)
	}
	if b.Wrong == nil {
		return
	}
	wrong := &counted{Approver: b.Wrong}
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), wrong); !(errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrApproval)) || got != nil {
		t.Errorf("wrong authorisation: %q, %v; want ErrPIN or ErrApproval", got, err)
	}
	if n := wrong.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), right); err != nil || string(got) != "cold share" {
		t.Errorf("the right one after the wrong one: %q, %v", got, err)
	}
	usable(t, d)
}

// testStateCopied puts a copy of the device's state back after the device has gone on:
// if old blobs open again, the device must not say that it keeps that from happening.
func testStateCopied(t *testing.T, b Backend) {
	d := open(t, b.Open)
	r := ratchet(t, d)
	old := seal(t, d, "old share", "aad")
	grade := d.Info().Rollback
	copied := filepath.Join(t.TempDir(), "state")
	if err := copyTree(copied, b.State); err != nil {
		t.Fatal(err)
	}
	next, err := r.Advance(t.Context())
	if err == nil {
		err = r.Erase(t.Context(), next)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused(t, d, "erased", old, []byte("aad"))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// What is written over is not what is put back: the files of a copy are new.
	if err := errors.Join(os.RemoveAll(b.State), copyTree(b.State, copied)); err != nil {
		t.Fatal(err)
	}
	back := open(t, b.Open)
	got, err := back.Unseal(t.Context(), old, []byte("aad"), nil)
	switch opens := err == nil; {
	case opens && string(got) != "old share":
		t.Errorf("the old blob opens as %q", got)
	case opens && grade != hsm.GradeNone:
		t.Errorf("a copy of the state brings erased keys back, and the device grades its rollback %v", grade)
	case !opens && grade == hsm.GradeNone && !errors.Is(err, hsm.ErrUnseal):
		t.Errorf("the state put back: %v", err)
	}
	t.Logf("with the copy put back, the erased key opens: %v", err == nil)
	usable(t, back)
}

// copyTree copies regular files and directories with their modes.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case fi.IsDir():
			return os.MkdirAll(target, fi.Mode().Perm())
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, b, fi.Mode().Perm())
		}
		return nil
	})
}
