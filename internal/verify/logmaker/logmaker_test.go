package logmaker_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/verify"
	"github.com/cofferhq/coffer/internal/verify/logmaker"
)

// TestMadeLogVerifies: the log that is measured is a good one, and no longer one when
// a byte of it differs.
func TestMadeLogVerifies(t *testing.T) {
	m, err := logmaker.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	if err := m.Write(dir, 3000); err != nil {
		t.Fatal(err)
	}
	r := verify.Alone(m.Genesis(), dir, family.Codecs())
	if !r.OK || r.Counts.Entries < 3000 || r.Counts.Receipts < 900 || r.Counts.Refused < 40 || len(r.Signed) != r.Counts.Receipts {
		t.Fatalf("%+v %v", r.Counts, r.Faults)
	}
	// For the cluster one log is not enough.
	if r := verify.Dirs(m.Genesis(), []string{dir}, family.Codecs()); r.OK {
		t.Fatal("signatures rest on logs that nobody gave")
	}
	path := filepath.Join(dir, logfile.EntriesFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{len(b) / 2, len(b) - 7} {
		x := bytes.Clone(b)
		x[at] ^= 4
		if err := os.WriteFile(path, x, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := verify.Alone(m.Genesis(), dir, family.Codecs()); r.OK {
			t.Errorf("byte %d changed: verified", at)
		}
	}
}

// BenchmarkVerify tells the CPU time of an entry, too, which a busy machine does not
// change.
func BenchmarkVerify(b *testing.B) {
	m, err := logmaker.New()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "log")
	const n = 30_000
	if err := m.Write(dir, n); err != nil {
		b.Fatal(err)
	}
	var before, after syscall.Rusage
	b.ResetTimer()
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		if r := verify.Alone(m.Genesis(), dir, family.Codecs()); !r.OK {
			b.Fatal(r.Faults)
		}
	}
	if err := errors.Join(err, syscall.Getrusage(syscall.RUSAGE_SELF, &after)); err != nil {
		b.Fatal(err)
	}
	spent := after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N)/n, "cpu-ns/entry")
}
