package verify

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
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
