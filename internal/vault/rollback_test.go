package vault_test

import "testing"

// A snapshot older than what the peers know: its start is refused, and so are
// its later ones until it has caught up; the others go on without it.
func TestPitfall28_OlderStartIsRefused(t *testing.T) {
	f := start(t, 3, 2)
	old := f.Parties[2].Disk.Clone()
	for range 2 {
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
	}
	if !f.Parties[1].Vault.PairReady(2) {
		t.Fatal("a vault that starts again gets no channel")
	}
	f.Crash(2)
	f.Parties[2].Disk = old
	f.ok(f.Restart(2))
	f.ok(f.Settle())
	if f.Parties[2].Vault.PairReady(1) || f.Parties[2].Vault.PairReady(3) {
		t.Fatal("a vault that was rolled back gets a channel")
	}
	f.works(1, 3)
}

// However often the host restarts a vault, to try one bit of Δ each time, it
// meets another Δ, on either side.
func TestPitfall28_AnotherDeltaAtEveryStart(t *testing.T) {
	f := start(t, 3, 2)
	seen := map[[16]byte]bool{}
	note := func() {
		for _, d := range [][16]byte{f.Parties[1].Vault.Delta(2), f.Parties[2].Vault.Delta(1)} {
			if seen[d] || d == [16]byte{} {
				t.Fatalf("Δ %x, which was there before", d)
			}
			seen[d] = true
		}
	}
	note()
	for range 12 {
		f.Crash(2)
		f.ok(f.Restart(2))
		f.ok(f.Settle())
		note()
	}
	if len(seen) != 26 {
		t.Errorf("%d different Δ in 13 starts, want 26", len(seen))
	}
}
