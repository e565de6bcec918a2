package soft

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

// TestAdvanceCutShort: a process that stopped between the two keys of an epoch has not
// advanced, and the next advance takes what it left.
func TestAdvanceCutShort(t *testing.T) {
	dir := provision(t)
	if err := provisionKey(dir, sealName{hsm.ClassCold, 2}.String()); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, err := d.SealEpoch(t.Context()); err != nil || epoch != 1 {
		t.Fatalf("epoch %d, %v; want 1", epoch, err)
	}
	left, err := os.ReadFile(keyFile(dir, "cold-2"))
	if err != nil {
		t.Fatal(err)
	}
	if epoch, err := d.Advance(t.Context()); err != nil || epoch != 2 {
		t.Fatalf("advanced to %d, %v; want 2", epoch, err)
	}
	if now, err := os.ReadFile(keyFile(dir, "cold-2")); err != nil || !bytes.Equal(now, left) {
		t.Errorf("the key that was left was replaced: %v", err)
	}
	// After an erasure, provisioning again does not bring the first epoch back.
	if err := d.Erase(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := Provision(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"seal", "cold"} {
		if _, err := os.Lstat(keyFile(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of epoch 1 is there again: %v", name, err)
		}
	}
}

// TestAdvanceFails: where the cold key can't be made there is no new epoch.
func TestAdvanceFails(t *testing.T) {
	dir := provision(t)
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(keyFile(dir, "cold-2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if epoch, err := d.Advance(t.Context()); err == nil {
		t.Fatalf("advanced to %d", epoch)
	}
	if epoch, err := d.SealEpoch(t.Context()); err != nil || epoch != 1 {
		t.Fatalf("epoch %d, %v; want 1", epoch, err)
	}
}

// TestEraseOverwrites looks at the file through a second name: removing it alone would
// leave the bytes where they were.
func TestEraseOverwrites(t *testing.T) {
	dir := provision(t)
	d, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	witness := keyFile(dir, "witness")
	if err := os.Link(keyFile(dir, "seal"), witness); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Erase(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(witness)
	if err != nil || len(b) == 0 || len(bytes.Trim(b, "\x00")) != 0 {
		t.Fatalf("%d bytes are left of the key, %v", len(bytes.Trim(b, "\x00")), err)
	}
	// A kill between the overwriting and the removal leaves such a file: it is erased, and
	// erasing again removes it.
	if err := os.Rename(witness, keyFile(dir, "seal")); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Erase(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(keyFile(dir, "seal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestParseName(t *testing.T) {
	for _, n := range []sealName{{hsm.ClassState, 1}, {hsm.ClassCold, 1}, {hsm.ClassState, 2}, {hsm.ClassCold, 1 << 63}} {
		if got, ok := parseName(n.String() + ".key"); !ok || got != n {
			t.Errorf("%v is read back as %v, %v", n, got, ok)
		}
	}
	for _, s := range []string{"seal", "seal-1.key", "seal-0.key", "seal-02.key", "seal-x.key", "identity.key", "seal-2.key.new-1", "warm.key", "seal--2.key", ".key"} {
		if n, ok := parseName(s); ok {
			t.Errorf("%q is read as %v", s, n)
		}
	}
}
