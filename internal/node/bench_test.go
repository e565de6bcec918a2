package node

import (
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/vaultlink"
)

// BenchmarkPersist is one durable change as a signature makes them: records of
// the ledger and the manifest, a decision's log entry, a checkpoint.
func BenchmarkPersist(b *testing.B) {
	s := openBound(b, b.TempDir())
	defer s.close()
	var seq, index uint64
	value, entry, cp := make([]byte, 600), make([]byte, 3000), make([]byte, 700)
	var took []time.Duration
	for b.Loop() {
		seq++
		start := time.Now()
		if err := s.persist(&vaultlink.Persist{
			Seq: seq, Writes: []vaultlink.Record{{Name: "ledger/1", Value: value}, {Name: "manifest", Value: value}},
			Index: index, Entries: [][]byte{entry}, Checkpoint: cp,
		}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		index++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
}

func openBound(t testing.TB, dir string) *store {
	t.Helper()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.bind(1, testCluster); err != nil {
		t.Fatal(err)
	}
	return s
}

var testCluster = [32]byte{0xc0, 0xff, 0xee, 31: 1}
