package logfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/signature"
)

var header = Header{Cluster: [32]byte{1, 2, 3}, Vault: 2}

func entries(n int) [][]byte {
	var out [][]byte
	for i := range n {
		out = append(out, bytes.Repeat([]byte{byte(i + 1)}, 3*i+1))
	}
	return out
}

// build makes a closed log of n entries.
func build(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l, err := Create(dir, header)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Append(entries(n)), l.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func content(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, EntriesFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func overwrite(t testing.TB, dir string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, EntriesFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAppendAndReopen(t *testing.T) {
	dir := build(t, 0)
	want := entries(7)
	for i := 0; i < len(want); i += 2 {
		l, err := Open(dir, header, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(want[i:min(i+2, len(want))]); err != nil {
			t.Fatal(err)
		}
		got, err := l.Entries()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[:min(i+2, len(want))], got); d != "" {
			t.Fatal(d)
		}
		if l.Size() != uint64(len(got)) {
			t.Fatalf("size %d, want %d", l.Size(), len(got))
		}
		l.Close()
	}
	c, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Copy{Header: header, Entries: want}, c); d != "" {
		t.Fatal(d)
	}
}

// TestCrashAtEveryByte cuts the file at every length, as a crash in the middle
// of an append does, and fills the rest with zeros, as some file systems do: the
// log opens if and only if it still has what was durable, and then holds exactly
// that, and takes new entries.
func TestCrashAtEveryByte(t *testing.T) {
	const n, durable = 3, 2
	want := entries(n)
	full := content(t, build(t, n))
	need := len(content(t, build(t, durable)))
	for cut := range len(full) + 1 {
		for _, tail := range []int{0, 100} {
			if tail > 0 && cut < need {
				continue
			}
			dir := build(t, 0)
			overwrite(t, dir, append(bytes.Clone(full[:cut]), make([]byte, tail)...))
			l, err := Open(dir, header, durable)
			if cut < need {
				if err == nil {
					t.Fatalf("cut at %d: opens without the durable entries", cut)
				}
				if !bytes.Equal(content(t, dir), full[:cut]) {
					t.Fatalf("cut at %d: a refused log was changed", cut)
				}
				continue
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if err := errors.Join(l.Append([][]byte{[]byte("new")}), l.Close()); err != nil {
				t.Fatal(err)
			}
			c, err := Read(dir)
			if err != nil || c.Damage != nil {
				t.Fatalf("cut at %d: %v, %v", cut, err, c.Damage)
			}
			if d := cmp.Diff(append(want[:durable:durable], []byte("new")), c.Entries); d != "" {
				t.Fatalf("cut at %d: %s", cut, d)
			}
		}
	}
}

// TestEveryFlippedByteIsDamage: whichever byte of a copy changes, its reader
// says so.
func TestEveryFlippedByteIsDamage(t *testing.T) {
	full := content(t, build(t, 5))
	for i := range full {
		for bit := range 8 {
			b := bytes.Clone(full)
			b[i] ^= 1 << bit
			c, err := read(bytes.NewReader(b))
			if err == nil && c.Damage == nil {
				t.Fatalf("byte %d, bit %d: no damage found", i, bit)
			}
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
}

// TestDamageIsNamed: a copy that ends early is torn, one with other bytes is
// damaged, and the entries before are read all the same.
func TestDamageIsNamed(t *testing.T) {
	full := content(t, build(t, 3))
	ends := []int{headerSize}
	for _, e := range entries(3) {
		ends = append(ends, ends[len(ends)-1]+frameSize+len(e))
	}
	for cut := range full {
		c, err := read(bytes.NewReader(full[:cut]))
		if cut < headerSize {
			if !errors.Is(err, ErrTorn) {
				t.Errorf("cut at %d, within the header: %v", cut, err)
			}
			continue
		}
		whole, clean := -1, false
		for _, end := range ends {
			if end <= cut {
				whole++
				clean = end == cut
			}
		}
		if err != nil || len(c.Entries) != whole || (c.Damage == nil) != clean || !clean && !errors.Is(c.Damage, ErrTorn) {
			t.Errorf("cut at %d: %d entries, %v, %v", cut, len(c.Entries), c.Damage, err)
		}
	}
	flipped := bytes.Clone(full)
	flipped[len(full)-1] ^= 1
	tooLong := appendFrame(bytes.Clone(full), nil)
	binary.BigEndian.PutUint32(tooLong[len(full):], MaxEntry+1)
	for name, tt := range map[string]struct {
		b       []byte
		entries int
	}{"flipped": {flipped, 2}, "empty entry": {appendFrame(bytes.Clone(full), nil), 3}, "huge entry": {tooLong, 3}} {
		c, err := read(bytes.NewReader(tt.b))
		if err != nil || len(c.Entries) != tt.entries || !errors.Is(c.Damage, ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := build(t, 2)
	other := header
	other.Vault = 3
	if _, err := Open(dir, other, 2); err == nil || !strings.Contains(err.Error(), "vault-2, want coffer/") {
		t.Errorf("opens the log of another vault: %v", err)
	}
	if _, err := Create(dir, header); !errors.Is(err, os.ErrExist) {
		t.Errorf("creates over a log: %v", err)
	}
	if _, err := Open(t.TempDir(), header, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opens a folder without a log: %v", err)
	}
	l, err := Open(dir, header, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range [][]byte{nil, make([]byte, MaxEntry+1)} {
		if err := l.Append([][]byte{{1}, e}); err == nil || !strings.Contains(err.Error(), "entry 3") {
			t.Errorf("appends %d bytes: %v", len(e), err)
		}
	}
	if l.Size() != 2 || len(content(t, dir)) != int(l.offset) {
		t.Error("a refused append left something behind")
	}
	// A write that fails (the file is closed under it) poisons the log.
	l.file.Close()
	if err := l.Append([][]byte{{1}}); err == nil {
		t.Error("appends to a closed file")
	}
	if err := l.Append([][]byte{{1}}); err == nil || !strings.Contains(err.Error(), "earlier write failed") {
		t.Errorf("goes on after a failed write: %v", err)
	}
}

func checkpoint(size uint64) []byte {
	sig := signature.Signature{Algorithm: signature.Ed25519, Bytes: make([]byte, 64)}
	return (&audit.SignedCheckpoint{Checkpoint: audit.Checkpoint{Vault: 2, Size: size}, HSM: sig, Log: sig}).Encode()
}

func TestCheckpointAndExport(t *testing.T) {
	dir := build(t, 5)
	l, err := Open(dir, header, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err := l.Checkpoint(); b != nil || err != nil {
		t.Fatalf("checkpoint before any was set: %x, %v", b, err)
	}
	if _, err := Export(dir, filepath.Join(t.TempDir(), "x")); err == nil {
		t.Fatal("exports without a checkpoint")
	}
	for _, size := range []uint64{2, 4} {
		if err := l.SetCheckpoint(checkpoint(size)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := l.Checkpoint(); !bytes.Equal(b, checkpoint(4)) || err != nil {
		t.Fatalf("checkpoint %x, %v", b, err)
	}
	// A torn append beside the reader does not disturb the export.
	overwrite(t, dir, append(content(t, dir), 1, 2, 3))
	dst := filepath.Join(t.TempDir(), "copy")
	if n, err := Export(dir, dst); n != 5 || err != nil {
		t.Fatalf("exported %d: %v", n, err)
	}
	c, err := Read(dst)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Copy{Header: header, Entries: entries(5), Checkpoint: checkpoint(4)}, c); d != "" {
		t.Fatal(d)
	}
	if _, err := Export(dir, dst); !errors.Is(err, os.ErrExist) {
		t.Errorf("exports over a copy: %v", err)
	}
	if err := l.SetCheckpoint(checkpoint(6)); err != nil {
		t.Fatal(err)
	}
	if _, err := Export(dir, filepath.Join(t.TempDir(), "y")); err == nil || !strings.Contains(err.Error(), "covers 6") {
		t.Errorf("exports less than the checkpoint covers: %v", err)
	}
	if err := l.SetCheckpoint(make([]byte, maxCheckpointFile+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("reads a huge checkpoint: %v", err)
	}
}

// FuzzRead: what is read, written again, is the prefix that was read.
func FuzzRead(f *testing.F) {
	f.Add(content(f, build(f, 3)))
	f.Add(append(content(f, build(f, 2)), 0, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := read(bytes.NewReader(b))
		if err != nil {
			return
		}
		again := c.Header.encode()
		for _, e := range c.Entries {
			again = appendFrame(again, e)
		}
		if !bytes.HasPrefix(b, again) || (c.Damage == nil) != (len(again) == len(b)) {
			t.Fatalf("read %d entries, %d of %d bytes, damage %v", len(c.Entries), len(again), len(b), c.Damage)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l, err := Create(filepath.Join(b.TempDir(), "log"), header)
	if err != nil {
		b.Fatal(err)
	}
	e := [][]byte{bytes.Repeat([]byte{1}, 1000)}
	for b.Loop() {
		if err := l.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}
