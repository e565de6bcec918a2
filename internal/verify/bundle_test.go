package verify

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
)

// bundled is the bundle of a payment with an approval, decided by vaults 2 and 3,
// cosigned by vault 1.
func bundled(t *testing.T) (*world, *Bundle) {
	t.Helper()
	w := newWorld(t).history()
	dirs := write(t, w.copies())
	var want string
	for _, s := range w.verify(w.copies()).Signed {
		if s.Rule == "large" {
			want = s.TxID
		}
	}
	b, err := Prove(w.gov.Cluster, dirs, want, codecs, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.cosign(b, 1)
	return w, b
}

func (w *world) cosign(b *Bundle, by uint16) {
	for i := range b.Parts {
		if p := &b.Parts[i]; p.Vault != by {
			cp := must[*audit.SignedCheckpoint](w.t)(audit.DecodeSignedCheckpoint(p.Checkpoint))
			c := audit.Cosignature{Name: audit.Origin(w.gov.Cluster, by), Time: w.now / 1000}
			c.Signature = [64]byte(ed25519.Sign(w.vaults[by].log, audit.Cosigned(cp.Text(), c.Time)))
			p.Cosignatures = append(p.Cosignatures, c)
		}
	}
}

func TestBundleTellsTheChain(t *testing.T) {
	w, b := bundled(t)
	p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{})
	if !p.OK || len(b.Parts) != 2 {
		t.Fatalf("%d parts, %v", len(b.Parts), p.Faults)
	}
	all := strings.Join(p.Chain, "\n")
	for _, want := range []string{
		"signed: " + p.Signed.TxID, `wallet "treasury"`, "it moves 3 ETH (" + testETH + ") from", "← vault 2 (vault-2) decided", "← vault 3 (vault-3) decided",
		`by rule "large"`, "proposed by carol with ", "approved by alice with", "ordered by alice", "certified by the HSM", "cosigned by vault-1", "← genesis ",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the chain does not tell %q:\n%s", want, all)
		}
	}
	// By the request's id, too; and not what nobody signed.
	dirs := write(t, w.copies())
	again, err := Prove(w.gov.Cluster, dirs, p.Signed.Request[:12], codecs, nil)
	if err != nil || again.Attempt != b.Attempt {
		t.Fatalf("by request: %v", err)
	}
	if _, err := Prove(w.gov.Cluster, dirs, "0123456789abcdef", codecs, nil); err == nil {
		t.Fatal("there is a bundle of nothing")
	}
	// Without the log of a vault that decided there is no bundle.
	if _, err := Prove(w.gov.Cluster, dirs[:2], p.Signed.TxID, codecs, nil); err == nil {
		t.Fatal("a bundle with one decision of two")
	}
}

// TestBundleEveryFlippedByte: of no bundle with another byte anything is verified.
func TestBundleEveryFlippedByte(t *testing.T) {
	w, b := bundled(t)
	raw := b.Encode()
	for i := 0; i < len(raw); i += sparse {
		x := bytes.Clone(raw)
		x[i] ^= 1 << (i % 8)
		if p := VerifyBundle(w.gov.Cluster, x, codecs, Demand{}); p.OK {
			t.Errorf("byte %d of %d changed: verified", i, len(raw))
		}
	}
	for _, x := range [][]byte{raw[:len(raw)-1], append(bytes.Clone(raw), 0), nil} {
		if p := VerifyBundle(w.gov.Cluster, x, codecs, Demand{}); p.OK {
			t.Error("a bundle of another length: verified")
		}
	}
	other := w.gov.Cluster
	other[0]++
	if p := VerifyBundle(other, raw, codecs, Demand{}); p.OK || p.Faults[0].Code != BundleForeign {
		t.Errorf("under another genesis: %v", p.Faults)
	}
}

// TestBundleForgeries: what is left out, exchanged or forged is found.
func TestBundleForgeries(t *testing.T) {
	kind := func(p *Part, k audit.Kind) int {
		return slices.IndexFunc(p.Entries, func(e PartEntry) bool { return isKind(e.Bytes, k) })
	}
	drop := func(k audit.Kind) func(*world, *Bundle) {
		return func(_ *world, b *Bundle) {
			i := kind(&b.Parts[0], k)
			b.Parts[0].Entries = slices.Delete(b.Parts[0].Entries, i, i+1)
		}
	}
	for _, tt := range []struct {
		name string
		code Code
		make func(*world, *Bundle)
	}{
		{"a vault's part missing", ReceiptDecisions, func(_ *world, b *Bundle) { b.Parts = b.Parts[:1] }},
		{"genesis missing", BundleForm, drop(audit.KindGenesis)},
		{"decision missing", OutcomeDecision, drop(audit.KindDecision)},
		{"release missing", ReceiptReleases, drop(audit.KindOutcome)},
		{"key missing", DecisionKey, drop(audit.KindKey)},
		{"receipts missing", BundleIncomplete, func(_ *world, b *Bundle) {
			for i := range b.Parts {
				j := kind(&b.Parts[i], audit.KindReceipt)
				b.Parts[i].Entries = slices.Delete(b.Parts[i].Entries, j, j+1)
			}
		}},
		{"head missing", WitnessForked, func(_ *world, b *Bundle) {
			for i := range b.Parts {
				b.Parts[i].Heads = nil
			}
		}},
		{"head of nothing", BundleForm, func(_ *world, b *Bundle) {
			b.Parts[0].Heads = slices.Insert(b.Parts[0].Heads, 0, PartHead{Root: new(audit.Log).Root()})
		}},
		{"head of the checkpoint itself", BundleForm, func(w *world, b *Bundle) {
			cp := must[*audit.SignedCheckpoint](w.t)(audit.DecodeSignedCheckpoint(b.Parts[0].Checkpoint))
			b.Parts[0].Heads = append(b.Parts[0].Heads, PartHead{Size: cp.Size, Root: cp.Root})
		}},
		{"entry of another attempt", BundleForm, func(_ *world, b *Bundle) { b.Attempt[0]++ }},
		{"entry at another place", BundleForm, func(_ *world, b *Bundle) { b.Parts[0].Entries[1].Index++ }},
		{"checkpoint of another vault", BundleForm, func(w *world, b *Bundle) { b.Parts[0].Checkpoint = b.Parts[1].Checkpoint }},
		{"forged checkpoint", CheckpointForeign, func(w *world, b *Bundle) {
			cp := must[*audit.SignedCheckpoint](w.t)(audit.DecodeSignedCheckpoint(b.Parts[0].Checkpoint))
			forged := w.signCheckpoint(1, cp.Checkpoint)
			b.Parts[0].Checkpoint = forged.Encode()
		}},
		{"forged witness", BundleCosignature, func(w *world, b *Bundle) {
			b.Parts[0].Cosignatures[0].Signature = [64]byte(ed25519.Sign(w.vaults[2].log, []byte("x")))
		}},
		{"unknown witness", BundleCosignature, func(w *world, b *Bundle) { b.Parts[0].Cosignatures[0].Name = "w.example/1" }},
		{"cosignature of an older checkpoint", BundleCosignature, func(w *world, b *Bundle) {
			c := &b.Parts[0].Cosignatures[0]
			c.Signature = b.Parts[1].Cosignatures[0].Signature
		}},
		{"a vault that cosigns itself", BundleCosignature, func(w *world, b *Bundle) {
			b.Parts[0].Cosignatures, b.Parts[1].Cosignatures = nil, nil
			cp := must[*audit.SignedCheckpoint](w.t)(audit.DecodeSignedCheckpoint(b.Parts[0].Checkpoint))
			c := audit.Cosignature{Name: cp.Origin(), Time: 1}
			c.Signature = [64]byte(ed25519.Sign(w.vaults[cp.Vault].log, audit.Cosigned(cp.Text(), 1)))
			b.Parts[0].Cosignatures = []audit.Cosignature{c}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, b := bundled(t)
			tt.make(w, b)
			p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{})
			if p.OK || !slices.ContainsFunc(p.Faults, func(f Fault) bool { return f.Code == tt.code }) {
				t.Fatalf("ok %v, faults %v, want %s", p.OK, p.Faults, tt.code)
			}
			if len(p.Chain) != 0 || p.Signed != nil {
				t.Fatal("something is told all the same")
			}
		})
	}
}

func FuzzDecodeBundle(f *testing.F) {
	f.Add((&Bundle{Parts: []Part{{Vault: 1, Entries: []PartEntry{{1, []byte{1}, [][32]byte{{2}}}}, Heads: []PartHead{{Size: 3}}, Cosignatures: []audit.Cosignature{{Name: "w", Time: 1}}}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeBundle(b)
		if err == nil && !bytes.Equal(x.Encode(), b) {
			t.Fatalf("encodes to something else: %x", x.Encode())
		}
		if err == nil {
			VerifyBundle(x.Cluster, b, codecs, Demand{})
		}
	})
}

// TestEffectsInUnits: amounts in the units of the policy, and smallest units of what it does not name.
func TestEffectsInUnits(t *testing.T) {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	token := testChain + "/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"
	sayEffects(say, testPolicy(1), &chain.Effects{
		Transfers: []chain.Transfer{{Asset: testETH, From: "a", To: "b", Amount: ether(3)}, {Asset: token, From: "a", Amount: ether(1)}},
		Approvals: []chain.Approval{{Asset: testETH, Owner: "a", Spender: "c", Amount: ether(2)}, {Asset: token, Owner: "a", Spender: "c", Amount: chain.Amount{0, 1 << 40}}},
	})
	want := []string{
		"  it moves 3 ETH (" + testETH + ") from a to b",
		"  it moves 1000000000000000000 smallest units of " + token + " (the policy does not name it) from a to the contract that it creates",
		"  it lets c spend 2 ETH (" + testETH + ") of a",
		"  it lets c spend any amount of " + token + " of a",
	}
	if !slices.Equal(out, want) {
		t.Errorf("%q", out)
	}
}
