package analysis

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
)

func TestCompare(t *testing.T) {
	two := require(true, policy.Requirement{Group: "treasurers", Count: 2})
	old := base(rule("small", and(onlyTr, atMostETH(10)), allow), rule("large", and(onlyTr, atMostETH(20)), two))
	new := base(rule("small", and(onlyTr, allKnown, atMostETH(15)), allow), rule("large", and(onlyTr, atMostETH(20)), two))
	d := Compare(old, new, testRoster(), testRoster())
	if d.Class != Loosening || len(d.Open) > 0 {
		t.Errorf("%s, open %q", d.Class, d.Open)
	}
	if len(d.Allowed) != 1 || d.Allowed[0].Old != "large" || d.Allowed[0].New != "small" || !strings.Contains(d.Allowed[0].Example.Words, "(known)") {
		t.Errorf("allowed: %+v", d.Allowed)
	}
	if len(d.Forbidden) != 1 || d.Forbidden[0].Old != "small" || d.Forbidden[0].New != "large" {
		t.Errorf("forbidden: %+v", d.Forbidden)
	}
	for _, x := range d.Forbidden {
		in := x.Example.Input.Policy()
		if !old.Evaluate(testRoster(), in).Allow || new.Evaluate(testRoster(), in).Allow || !x.Example.Old.Allow || x.Example.New.Allow {
			t.Errorf("%s is no example", x.Example.Words)
		}
	}
	if d := Compare(old, old, testRoster(), testRoster()); len(d.Allowed)+len(d.Forbidden)+len(d.Open) > 0 || d.Class != Tightening {
		t.Errorf("of nothing: %+v", d)
	}
}
