package attest

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPolicyCheck(t *testing.T) {
	chip, err := newFake(t).verify()
	if err != nil {
		t.Fatal(err)
	}
	b, w := golden(t, "plain")
	soft, err := Verify(KindTPM, b, w)
	if err != nil {
		t.Fatal(err)
	}
	full := Policy{Keys: []TrustedKey{{AK: chip.AK, Note: "rack 7"}}, Measurements: []Measurement{chip.Measurement("release 1")}}
	for _, r := range []Result{chip, soft} {
		if err := (Policy{}).Check(r); err != nil {
			t.Errorf("no demand: %v", err)
		}
	}
	if err := full.Check(chip); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(p *Policy, r *Result)
		say    string // empty: accepted
	}{
		{"any boot", func(p *Policy, _ *Result) { p.Measurements = nil }, ""},
		{"any firmware", func(p *Policy, r *Result) { p.Measurements[0].Firmware = 0; r.Firmware++ }, ""},
		{"one of two boots", func(p *Policy, r *Result) {
			m := r.Measurement("release 2")
			m.Digest[0] ^= 1
			p.Measurements = append([]Measurement{m}, p.Measurements...)
		}, ""},
		{"emulator, not allowed", func(_ *Policy, r *Result) { *r = soft }, "accepts no emulators"},
		{"debug machine", func(_ *Policy, r *Result) { r.PCRs = append([][32]byte{{}}, r.PCRs[1:]...) }, "debug mode"},
		{"fewer PCRs than the boot's", func(_ *Policy, r *Result) { r.Mask = 0x7f; r.PCRs = r.PCRs[:7] }, "debug mode"},
		{"unknown attestation key", func(_ *Policy, r *Result) { r.AK[0] ^= 1 }, "nobody vouches"},
		{"no keys listed", func(p *Policy, _ *Result) { p.Keys = nil }, "nobody vouches"},
		{"another boot", func(_ *Policy, r *Result) { r.PCRDigest[0] ^= 1 }, "none of the 1 accepted"},
		{"another firmware", func(_ *Policy, r *Result) { r.Firmware++ }, "none of the 1 accepted"},
		{"more PCRs", func(_ *Policy, r *Result) { r.Mask |= 1 << 9 }, "none of the 1 accepted"},
		{"another kind", func(_ *Policy, r *Result) { r.Kind = 2 }, "none of the 1 accepted"},
		{"emulator, allowed, another boot", func(p *Policy, r *Result) { *r = soft; p.Emulators = true }, "none of the 1 accepted"},
		{"emulator, allowed", func(p *Policy, r *Result) {
			*r = soft
			*p = Policy{Emulators: true, Measurements: []Measurement{soft.Measurement("dev")}}
		}, ""},
	} {
		p, r := full, chip
		p.Measurements = append([]Measurement(nil), full.Measurements...)
		tc.change(&p, &r)
		err := p.Check(r)
		if tc.say == "" && err != nil || tc.say != "" && (!errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), tc.say)) {
			t.Errorf("%s: %v; want %q", tc.name, err, tc.say)
		}
		if again, err := DecodePolicy(p.Normalize().Encode()); tc.name != "another kind" && (err != nil || !bytes.Equal(again.Encode(), p.Normalize().Encode())) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestDecodePolicyRefuses(t *testing.T) {
	m := Measurement{Kind: KindTPM, Name: "x", Mask: 0xff, Digest: [32]byte{1}}
	for name, p := range map[string]Policy{
		"unknown kind":     {Measurements: []Measurement{{Kind: 2, Mask: 1}}},
		"no PCRs":          {Measurements: []Measurement{{Kind: 1}}},
		"PCR 24":           {Measurements: []Measurement{{Kind: 1, Mask: 1 << 24}}},
		"twice":            {Measurements: []Measurement{m, m}},
		"key twice":        {Keys: []TrustedKey{{}, {}}},
		"keys descend":     {Keys: []TrustedKey{{AK: [32]byte{2}}, {AK: [32]byte{1}}}},
		"control in note":  {Keys: []TrustedKey{{Note: "\n"}}},
		"too long a name":  {Measurements: []Measurement{{Kind: 1, Mask: 1, Name: strings.Repeat("x", 65)}}},
		"too many keys":    {Keys: make([]TrustedKey, MaxKeys+1)},
		"too many entries": {Measurements: make([]Measurement, MaxMeasurements+1)},
	} {
		if _, err := DecodePolicy(p.Encode()); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
}

func FuzzDecodePolicy(f *testing.F) {
	f.Add(Policy{}.Encode())
	f.Add(Policy{true, []TrustedKey{{Note: "a"}, {AK: [32]byte{1}}}, []Measurement{{Kind: 1, Mask: 1}, {Kind: 1, Mask: 2, Firmware: 3}}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodePolicy(b); err == nil && !bytes.Equal(p.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, p.Encode())
		}
	})
}
