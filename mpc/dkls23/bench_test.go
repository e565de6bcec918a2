package dkls23_test

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// BenchmarkSign is the CPU of all signers, encoding, every check and the
// verification included; bytes/party is the largest that one signer sends.
func BenchmarkSign2of3(b *testing.B) { benchmarkSign(b, 3, 2) }
func BenchmarkSign3of5(b *testing.B) { benchmarkSign(b, 5, 3) }

func benchmarkSign(b *testing.B, n, t int) {
	c := shared(b, n, t)
	signers := mpctest.IDs(t)
	b.ReportAllocs()
	var sent int
	for b.Loop() {
		s := c.sign(b, "bench", signers, nil)
		if _, err := s.Run(); err != nil {
			b.Fatal(err)
		}
		sent = bytesOf(s, signers[0])
	}
	b.ReportMetric(float64(sent), "bytes/party")
}

func bytesOf(s *mpctest.Sign, id mpc.ID) int {
	total := 0
	for r := range s.Broadcast {
		total += len(s.Broadcast[r][id]) * (len(s.Signers) - 1)
		for _, m := range s.Private[r][id] {
			total += len(m)
		}
	}
	final, err := s.Final[id].MarshalBinary()
	if err != nil {
		panic(err)
	}
	return total + len(final)
}

// BenchmarkCombine is the combination with both checks by decred.
func BenchmarkCombine(b *testing.B) {
	c := shared(b, 3, 2)
	s := c.sign(b, "bench combine", mpctest.IDs(2), nil)
	if _, err := s.Run(); err != nil {
		b.Fatal(err)
	}
	shares := []*dkls23.FinalShare{s.Final[1], s.Final[2]}
	cfg := s.Configs[1]
	for b.Loop() {
		if _, err := dkls23.Combine(group.Secp256k1Point(cfg.Key.PublicKey), s.Signers, cfg.MessageHash, cfg.Tweak, shares); err != nil {
			b.Fatal(fmt.Errorf("combine: %w", err))
		}
	}
}

// BenchmarkBatch16 is a batch of 16, in whole.
func BenchmarkBatch16(b *testing.B) {
	c := shared(b, 3, 2)
	b.ReportAllocs()
	for b.Loop() {
		m := c.batch(b, "bench batch", mpctest.IDs(2), mpctest.Items(16), nil)
		if err := m.Run(); err != nil {
			b.Fatal(err)
		}
		if _, err := m.Combine(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOnline is a signature from a presignature V2, both signers and the
// verification.
func BenchmarkOnline(b *testing.B) {
	c := shared(b, 3, 2)
	presigs := c.presignatures(b, "bench online", mpctest.IDs(2), dkls23.Full)
	b.ReportAllocs()
	for b.Loop() {
		o := c.online(b, "bench online", mpctest.IDs(2), map[mpc.ID]*dkls23.Presignature{1: presigs[1].Clone(), 2: presigs[2].Clone()}, nil)
		o.Bare = true
		if _, err := o.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
