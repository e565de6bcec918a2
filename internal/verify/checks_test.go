package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/mpc"
)

// TestMembersFit: who signs and who witnesses.
func TestMembersFit(t *testing.T) {
	w := newWorld(t)
	v := newVerifier(w.gov.Cluster, codecs)
	for _, tt := range []struct {
		self               uint16
		faults             int
		parties, witnesses []uint16
		want               string
	}{
		{1, 0, []uint16{1, 2}, nil, ""},
		{3, 0, []uint16{1, 2}, nil, "sign.signers"},
		{1, 0, []uint16{1, 2, 3}, nil, "sign.signers"},
		{1, 0, []uint16{1, 9}, nil, "sign.signers"},
		{1, 0, []uint16{1, 2}, []uint16{3}, "sign.witnesses"},
		{1, 1, []uint16{1, 2}, []uint16{3}, ""},
		{3, 1, []uint16{1, 2}, []uint16{3}, ""},
		{1, 1, []uint16{1, 2}, nil, "sign.witnesses"},
		{1, 1, []uint16{1, 2}, []uint16{2}, "sign.witnesses"},
		{1, 1, []uint16{1, 2}, []uint16{7}, "sign.signers"},
	} {
		if got := v.membersFit(tt.self, &keyInfo{faults: tt.faults}, w.cert, &audit.Decision{Parties: tt.parties, Witnesses: tt.witnesses}); got != tt.want {
			t.Errorf("vault %d of signers %v and witnesses %v with %d faults: %q, want %q", tt.self, tt.parties, tt.witnesses, tt.faults, got, tt.want)
		}
	}
}

// TestPrepareKeyOfAnotherSuite: a key signs only on chains that take its signatures.
func TestPrepareKeyOfAnotherSuite(t *testing.T) {
	w := newWorld(t)
	v := newVerifier(w.gov.Cluster, codecs)
	p := w.payment(known, ether(1), 0)
	if _, err := v.prepare(&keyInfo{cert: w.cert}, p.bundle.Request, p.unsigned, nil); err != nil {
		t.Fatal(err)
	}
	other := *w.cert
	other.Suite = mpc.FROSTEd25519
	if _, err := v.prepare(&keyInfo{cert: &other}, p.bundle.Request, p.unsigned, nil); err == nil || !strings.Contains(err.Error(), "takes signatures by") {
		t.Errorf("%v", err)
	}
}

// TestBundleDecodesOneWay: what stands in a bundle stands in order, once, and within its bounds.
func TestBundleDecodesOneWay(t *testing.T) {
	_, good := bundled(t)
	part := func(b *Bundle) *Part { return &b.Parts[0] }
	for want, change := range map[string]func(b *Bundle){
		"vault 2 after 3, want ascending": func(b *Bundle) { b.Parts[0], b.Parts[1] = b.Parts[1], b.Parts[0] },
		"vault 2 after 2, want ascending": func(b *Bundle) { b.Parts[1].Vault = 2 },
		"entry 0 after 0, want ascending": func(b *Bundle) { p := part(b); p.Entries = append(p.Entries[:1:1], p.Entries...) },
		"entry 0 after 1, want ascending": func(b *Bundle) {
			p := part(b)
			p.Entries = append([]PartEntry{{Index: 1, Bytes: []byte{1}}}, p.Entries...)
		},
		"head of 5 entries after 5, want ascending": func(b *Bundle) { part(b).Heads = []PartHead{{Size: 5}, {Size: 5}} },
		"head of 4 entries after 5, want ascending": func(b *Bundle) { part(b).Heads = []PartHead{{Size: 5}, {Size: 4}} },
	} {
		b, err := DecodeBundle(good.Encode())
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if _, err := DecodeBundle(b.Encode()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	b, err := DecodeBundle(good.Encode())
	if err != nil {
		t.Fatal(err)
	}
	part(b).Heads = []PartHead{{Size: 3}, {Size: 5}}
	if _, err := DecodeBundle(b.Encode()); err != nil {
		t.Errorf("ascending heads: %v", err)
	}
	if _, err := DecodeBundle(make([]byte, MaxBundle+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too long: %v", err)
	}
	b.Parts[0].Vault = 1
	if _, err := b.copies(); err == nil || !strings.Contains(err.Error(), "the checkpoint is of vault 2") {
		t.Errorf("another vault's part: %v", err)
	}
}

// TestBreakGlassIsTold: a rule for emergencies is loud in the log, and in what is verified,
// and a vault that keeps it quiet is found.
func TestBreakGlassIsTold(t *testing.T) {
	for _, hide := range []bool{false, true} {
		w := newWorldUnder(t, source.MustCompile(fmt.Sprintf(`
assets:
  ETH: {id: %s, decimals: 18}
rules:
  - {name: emergency, when: onlyTransfers, then: allow, breakGlass: true}
`, testETH)))
		w.keygen()
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{decision: func(d *audit.Decision, _ uint16) { d.BreakGlass = d.BreakGlass && !hide }})
		r := w.verify(w.copies())
		if hide {
			if r.OK || r.Faults[0].Code != DecisionVerdict || !strings.Contains(r.Faults[0].Detail, "break-glass") {
				t.Errorf("not found: %v", r.Faults)
			}
			continue
		}
		if text := reportText(t, r); !r.OK || !strings.Contains(text, `by rule "emergency" (BREAK-GLASS: for emergencies), decided by`) {
			t.Errorf("%s", text)
		}
		b, err := Prove(w.gov.Cluster, write(t, w.copies()), r.Signed[0].TxID, codecs, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{}); !p.OK || !slices.Contains(p.Chain, "  BREAK-GLASS: the rule is one for emergencies") {
			t.Errorf("%v, %q", p.Faults, p.Chain)
		}
	}
}

// TestApprovalOfSignersOnly: the device's word is asked of who signs, and of nobody else.
func TestApprovalOfSignersOnly(t *testing.T) {
	w := newWorld(t)
	k := &keyInfo{tier: governance.TierCold, cert: w.cert}
	for _, tt := range []struct {
		vault uint16
		d     audit.Decision
		good  bool
	}{
		{3, audit.Decision{Allow: true, Parties: []uint16{1, 3}}, false},
		{3, audit.Decision{Allow: false, Parties: []uint16{1, 3}}, true},
		{3, audit.Decision{Allow: true, Parties: []uint16{1, 2}, Witnesses: []uint16{3}}, true},
		{1, audit.Decision{Allow: true, Parties: []uint16{1, 3}}, true}, // its device has no approval key
	} {
		v := newVerifier(w.gov.Cluster, codecs)
		if got := v.checkApproved(&vaultLog{id: tt.vault}, &decision{Decision: &tt.d}, w.gov, k); got != tt.good || got != (len(v.report.Faults) == 0) {
			t.Errorf("vault %d, %+v: %v, want %v", tt.vault, tt.d, got, tt.good)
		}
	}
}

// TestClosedChain: what the governance of that moment closed is decided again as closed.
func TestClosedChain(t *testing.T) {
	w := newWorld(t)
	p := w.payment(known, ether(1), 0)
	d := &audit.Decision{Parties: []uint16{1, 2}, Unsigned: p.unsigned, Time: w.now}
	st := *w.gov
	st.Chains = []string{"eip155:1"}
	v := newVerifier(w.gov.Cluster, codecs)
	k := &keyInfo{id: w.cert.KeyID(), cert: w.cert}
	if got := v.judge(1, &st, k, w.cert, p.bundle, d, nil); got.allow || got.code != "chain.closed" {
		t.Errorf("%+v", got)
	}
	if got := v.judge(1, w.gov, k, w.cert, p.bundle, d, nil); !got.allow {
		t.Errorf("%+v", got)
	}
}

// TestBundleOfAnother: of another cluster, and with one cosignature twice.
func TestBundleOfAnother(t *testing.T) {
	w, b := bundled(t)
	other := w.gov.Cluster
	other[0]++
	if p := VerifyBundle(other, b.Encode(), codecs, Demand{}); p.OK || p.Faults[0].Code != BundleForeign {
		t.Errorf("%v", p.Faults)
	}
	p := &b.Parts[0]
	p.Cosignatures = append(p.Cosignatures, p.Cosignatures[0])
	got := VerifyBundle(w.gov.Cluster, b.Encode(), codecs, Demand{Cosigners: 2})
	if got.OK || got.Faults[0].Code != BundleCosignature || !strings.Contains(got.Faults[0].Detail, "want ascending") {
		t.Errorf("%v", got.Faults)
	}
	var text strings.Builder
	if err := got.WriteText(&text); err != nil || !strings.HasSuffix(text.String(), "NOT verified: 1 fault\n") {
		t.Errorf("%q, %v", text.String(), err)
	}
	// Whoever rejected is said to have rejected.
	var said []string
	v := newVerifier(w.gov.Cluster, codecs)
	pay := w.payment(known, ether(3), 9, "alice")
	pay.bundle.Approvals[0].Approve = false
	v.sayPeople(func(f string, args ...any) { said = append(said, fmt.Sprintf(f, args...)) }, pay.bundle)
	if !strings.HasPrefix(said[1], "← rejected by alice ") {
		t.Errorf("%q", said)
	}
}
