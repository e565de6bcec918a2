package analysis

import (
	"fmt"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/policy"
)

// large is a policy of n rules, each with recipients and amounts of its own.
func large(n int) *policy.Document {
	var rules []policy.Rule
	for i := range n {
		to := fmt.Sprintf("eip155:1:0x%040d", 1000+i)
		when := and(onlyTr, quant(policy.OpAll, policy.OpTransfers, in(field("to"), to, known1)), atMostETH(uint64(100+i)), riskPass)
		then := allow
		if i%3 == 0 {
			then = require(i%2 == 0, policy.Requirement{Group: "treasurers", Count: uint8(1 + i%3/2)})
		}
		rules = append(rules, rule(fmt.Sprint("rule-", i), when, then))
	}
	return base(rules...)
}

// TestClassifyCost: a change in the middle of 200 rules is decided in well under a
// second.
func TestClassifyCost(t *testing.T) {
	old := large(200)
	for name, change := range map[string]func(d *policy.Document){
		"a guard more":   func(d *policy.Document) { d.Guards = append(d.Guards, policy.Guard{Name: "g", When: atMostETH(3)}) },
		"a smaller rule": func(d *policy.Document) { d.Rules[100].When.Args[2] = atMostETH(50) },
		"a larger rule":  func(d *policy.Document) { d.Rules[100].When.Args[2] = atMostETH(5000) },
		"a rule less":    func(d *policy.Document) { d.Rules = append(d.Rules[:100:100], d.Rules[101:]...) },
		"two swapped":    func(d *policy.Document) { d.Rules[99], d.Rules[100] = d.Rules[100], d.Rules[99] },
	} {
		t.Run(name, func(t *testing.T) {
			next := large(200)
			change(next)
			begin := time.Now()
			got := Classify(old, next, testRoster(), testRoster())
			t.Logf("%v: %s", time.Since(begin), got.Class)
			if got.Class == Unknown {
				t.Error(got.Reason)
			}
		})
	}
}
