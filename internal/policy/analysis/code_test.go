package analysis

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

// A creation is allowed by the hash of its code: another hash is a loosening, shown
// with a creation of just that code; one less is a tightening.
func TestCreationsByCode(t *testing.T) {
	first, second := "0x"+strings.Repeat("01", 32), "0x"+strings.Repeat("ab", 32)
	of := func(hashes ...string) *policy.Document {
		return base(rule("safe", quant(policy.OpAll, policy.OpCreations, in(field("code"), hashes...)), allow))
	}
	d := Compare(of(first), of(first, second), testRoster(), testRoster())
	if d.Class != Loosening || len(d.Open) > 0 || len(d.Allowed) != 1 {
		t.Fatalf("%s, open %q, %+v", d.Class, d.Open, d.Allowed)
	}
	seen := d.Allowed[0].Example.Input.Policy()
	if c := seen.Effects.Creates; len(c) == 0 || c[0].CodeHash != [32]byte([]byte(strings.Repeat("\xab", 32))) {
		t.Errorf("the example makes %+v", c)
	}
	if got := Classify(of(first, second), of(second), testRoster(), testRoster()); got.Class != Tightening {
		t.Errorf("one hash less: %s, %s", got.Class, got.Reason)
	}
	any := base(rule("safe", boolean(true), allow))
	d = Compare(of(first), any, testRoster(), testRoster())
	if d.Class != Loosening || len(d.Allowed) != 1 {
		t.Fatalf("%s, open %q", d.Class, d.Open)
	}
	if in := d.Allowed[0].Example.Input.Policy(); of(first).Evaluate(testRoster(), in).Allow || !any.Evaluate(testRoster(), in).Allow {
		t.Errorf("%s is no example", d.Allowed[0].Example.Words)
	}
}
