package verify

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/audit/tiles"
)

// cosignature is one of a text in somebody's name.
func cosignature(name string, k ed25519.PrivateKey, text string, seconds uint64) audit.Cosignature {
	c := audit.Cosignature{Name: name, Time: seconds}
	c.Signature = [64]byte(ed25519.Sign(k, audit.Cosigned(text, seconds)))
	return c
}

// cosignAt is a vault's checkpoint over its first entries, cosigned by other vaults.
func (w *world) cosignAt(id uint16, size int, by ...uint16) *audit.CosignedCheckpoint {
	c := &audit.CosignedCheckpoint{Checkpoint: w.checkpointAt(id, size)}
	for _, b := range by {
		c.Cosignatures = append(c.Cosignatures, cosignature(audit.Origin(w.gov.Cluster, b), w.vaults[b].log, c.Checkpoint.Text(), w.now/1000))
	}
	return c
}

func putCosigned(t *testing.T, dir string, c *audit.CosignedCheckpoint) {
	t.Helper()
	audit.SortCosignatures(c.Cosignatures)
	if err := os.WriteFile(filepath.Join(dir, logfile.CosignedFile), c.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// paidFor is a history with a payment of vaults 2 and 3, and entries after it.
func paidFor(t *testing.T) (w *world, dirs []string, txid string) {
	w = newWorld(t).history()
	for _, s := range w.verify(w.copies()).Signed {
		if s.Rule == "large" {
			txid = s.TxID
		}
	}
	for i := range 5 {
		w.append(2, audit.KindIncident, (&audit.Incident{Peer: 1, Class: "benign", Step: "sign R0", Detail: string(rune('a' + i))}).Encode())
	}
	return w, write(t, w.copies()), txid
}

func made(t *testing.T, w *world, dirs []string, txid string, witnesses ...audit.Cosigner) *Bundle {
	t.Helper()
	b, err := Prove(w.gov.Cluster, dirs, txid, codecs, witnesses)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// by are the cosigners of a vault's part, as its reader counts them.
func by(t *testing.T, w *world, b *Bundle, vault uint16, d Demand) []string {
	t.Helper()
	p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, d)
	i := slices.IndexFunc(p.Cosigned, func(c Cosigned) bool { return c.Vault == vault })
	if !p.OK || i < 0 {
		t.Fatalf("vault %d: %v", vault, p.Faults)
	}
	return p.Cosigned[i].By
}

// TestBundleCarriesCosignatures: a bundle stands under the checkpoint that others
// cosigned, though there is a newer one, and its reader is told who they are and may
// demand some.
func TestBundleCarriesCosignatures(t *testing.T) {
	w, dirs, txid := paidFor(t)
	old := len(w.vaults[2].entries) - 3 // covers the payment, not what came last
	outside, key := edKey(t)
	witness := audit.Cosigner{Name: "witness.example/w1", Key: key}
	for i, c := range []*audit.CosignedCheckpoint{w.cosignAt(1, len(w.vaults[1].entries)), w.cosignAt(2, old, 1, 3), w.cosignAt(3, len(w.vaults[3].entries), 1)} {
		c.Cosignatures = append(c.Cosignatures, cosignature(witness.Name, outside, c.Checkpoint.Text(), 9))
		putCosigned(t, dirs[i], c)
	}
	b := made(t, w, dirs, txid)
	if got := by(t, w, b, 2, Demand{}); !slices.Equal(got, []string{"vault-1", "vault-3"}) {
		t.Errorf("vault 2's log is cosigned by %v", got)
	}
	if cp := must[*audit.SignedCheckpoint](t)(audit.DecodeSignedCheckpoint(b.Parts[0].Checkpoint)); cp.Size != uint64(old) {
		t.Errorf("the checkpoint covers %d entries, want %d", cp.Size, old)
	}
	p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{Cosigners: 1})
	all := strings.Join(p.Chain, "\n")
	if !p.OK || !strings.Contains(all, "cosigned by vault-1 at 2027-01-15 08:00:15 UTC, vault-3 at ") {
		t.Errorf("%v: %s", p.Faults, all)
	}
	// More than there are, and a witness whose cosignature is not in the bundle.
	_, strange := edKey(t)
	for name, d := range map[string]Demand{
		"two each":                   {Cosigners: 2},
		"a witness left out":         {Witnesses: []audit.Cosigner{witness}},
		"a vault's name, other key":  {Witnesses: []audit.Cosigner{{Name: audit.Origin(w.gov.Cluster, 1), Key: strange}}},
		"more than vaults could any": {Cosigners: 3},
	} {
		if p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, d); p.OK || p.Faults[0].Code != BundleCosignature || p.Cosigned != nil {
			t.Errorf("%s: %v", name, p.Faults)
		}
	}
	// With the outside witness's key its cosignature is in, and its reader needs the key.
	b = made(t, w, dirs, txid, witness)
	d := Demand{Witnesses: []audit.Cosigner{witness}, Cosigners: 2}
	if got := by(t, w, b, 3, d); !slices.Equal(got, []string{"vault-1", witness.Name}) {
		t.Errorf("vault 3's log is cosigned by %v", got)
	}
	for name, d := range map[string]Demand{"no key": {}, "another key": {Witnesses: []audit.Cosigner{{Name: witness.Name, Key: strange}}}} {
		if p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, d); p.OK || p.Faults[0].Code != BundleCosignature {
			t.Errorf("%s: %v", name, p.Faults)
		}
	}
	// One that stands under one part only is not enough.
	i := slices.IndexFunc(b.Parts[1].Cosignatures, func(c audit.Cosignature) bool { return c.Name == witness.Name })
	b.Parts[1].Cosignatures = slices.Delete(b.Parts[1].Cosignatures, i, i+1)
	if p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{Witnesses: []audit.Cosigner{witness}}); p.OK {
		t.Error("a witness of one log of two is enough")
	}
	b.Parts[0].Cosignatures[0], b.Parts[0].Cosignatures[1] = b.Parts[0].Cosignatures[1], b.Parts[0].Cosignatures[0]
	if p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{Witnesses: []audit.Cosigner{witness}}); p.OK {
		t.Error("cosignatures in another order")
	}
}

// TestBundleLeavesOutWhatCountsForNothing: a cosignature that is forged, foreign or of
// a stale checkpoint neither gets into a bundle nor keeps one from being made.
func TestBundleLeavesOutWhatCountsForNothing(t *testing.T) {
	w, dirs, txid := paidFor(t)
	full := len(w.vaults[2].entries)
	good := func() *audit.CosignedCheckpoint { return w.cosignAt(2, full, 1) }
	stranger, _ := edKey(t)
	for name, tt := range map[string]struct {
		make func() *audit.CosignedCheckpoint
		want []string
	}{
		"good": {good, []string{"vault-1"}},
		"forged": {func() *audit.CosignedCheckpoint {
			c := good()
			c.Cosignatures = append(c.Cosignatures, cosignature(audit.Origin(w.gov.Cluster, 3), stranger, c.Checkpoint.Text(), 5))
			return c
		}, []string{"vault-1"}},
		"its own": {func() *audit.CosignedCheckpoint {
			c := good()
			c.Cosignatures = append(c.Cosignatures, cosignature(audit.Origin(w.gov.Cluster, 2), w.vaults[2].log, c.Checkpoint.Text(), 5))
			return c
		}, []string{"vault-1"}},
		"a vault that is none": {func() *audit.CosignedCheckpoint {
			c := good()
			c.Cosignatures = append(c.Cosignatures, cosignature(audit.Origin(w.gov.Cluster, 7), stranger, c.Checkpoint.Text(), 5))
			return c
		}, []string{"vault-1"}},
		"another cluster's": {func() *audit.CosignedCheckpoint {
			c := good()
			c.Cosignatures = append(c.Cosignatures, cosignature(audit.Origin([32]byte{9}, 3), w.vaults[3].log, c.Checkpoint.Text(), 5))
			return c
		}, []string{"vault-1"}},
		"of another checkpoint": {func() *audit.CosignedCheckpoint {
			c, older := good(), w.cosignAt(2, full-1, 3)
			c.Cosignatures = append(c.Cosignatures, older.Cosignatures...)
			return c
		}, []string{"vault-1"}},
		"stale":                {func() *audit.CosignedCheckpoint { return w.cosignAt(2, 4, 1, 3) }, []string{}},
		"beyond the copy":      {func() *audit.CosignedCheckpoint { c := good(); c.Checkpoint.Size += 9; return c }, []string{}},
		"of another vault":     {func() *audit.CosignedCheckpoint { return w.cosignAt(3, len(w.vaults[3].entries), 1) }, []string{}},
		"of a fork of the log": {func() *audit.CosignedCheckpoint { c := good(); c.Checkpoint.Root[0]++; return c }, []string{}},
		"checkpoint unsigned": {func() *audit.CosignedCheckpoint {
			c := good()
			c.Checkpoint.Log.Bytes = make([]byte, 64)
			return c
		}, []string{}},
	} {
		putCosigned(t, dirs[1], tt.make())
		if got := by(t, w, made(t, w, dirs, txid), 2, Demand{}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: cosigned by %v, want %v", name, got, tt.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dirs[1], logfile.CosignedFile), good().Encode()[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(w.gov.Cluster, dirs, txid, codecs, nil); err == nil || !strings.Contains(err.Error(), logfile.CosignedFile) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dirs[1], logfile.CosignedFile), bytes.Repeat([]byte{1}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(w.gov.Cluster, dirs, txid, codecs, nil); err == nil || !strings.Contains(err.Error(), "above") {
		t.Errorf("a huge file: %v", err)
	}
}

// TestTilesShowCopysCosignatures: a copy that came with cosignatures is served with
// those that verify.
func TestTilesShowCopysCosignatures(t *testing.T) {
	w, dirs, _ := paidFor(t)
	c := w.cosignAt(2, len(w.vaults[2].entries), 1, 3)
	c.Cosignatures[1].Signature[0] ^= 1
	putCosigned(t, dirs[1], c)
	v, err := tiles.Open(dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	note := v.Note()
	lines := note[strings.Index(note, "\n\n")+2:]
	for _, id := range []uint16{1, 3} {
		k := audit.Cosigner{Name: audit.Origin(w.gov.Cluster, id), Key: w.vaults[id].card.Log}
		if n := len(audit.ParseCosignatures(lines, c.Checkpoint.Text(), k)); n != map[uint16]int{1: 1, 3: 0}[id] {
			t.Errorf("%d cosignatures of vault %d are shown", n, id)
		}
	}
}
