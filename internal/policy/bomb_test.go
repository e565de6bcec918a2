package policy

import (
	"testing"

	"github.com/cofferhq/coffer/internal/refusal"
)

// TestAttackCostBombs: what adds up all transfers, or asks for prices, once for every pair of
// transfers took a vault five and two seconds in policies of the allowed cost. Such
// operators count for what they take.
func TestAttackCostBombs(t *testing.T) {
	total := func(i int) Expr {
		return op(OpLt, op(OpAdd, ofAsset(OpTotal, eth), amountOf(uint64(i), eth)), ofAsset(OpTotal, eth))
	}
	received := func(i int) Expr {
		return op(OpLt, op(OpAdd, ofAsset(OpReceived, eth), amountOf(uint64(i), eth)), ofAsset(OpReceived, eth))
	}
	value := func(i int) Expr { return op(OpLt, money(uint64(1e18)+uint64(i)), field("value", i%2)) }
	for name, x := range map[string]struct {
		leaf      func(i int) Expr
		most, too int
	}{"total": {total, 7, 8}, "received": {received, 7, 8}, "value": {value, 56, 57}} {
		for _, n := range []int{x.most, x.too} {
			var or []Expr
			for i := range n {
				or = append(or, x.leaf(i))
			}
			d := testPolicy()
			e := op(OpExists, op(OpTransfers), op(OpExists, op(OpTransfers), Expr{Op: OpOr, Args: or}))
			d.Rules = []Rule{{Name: "it", When: e, Then: Verdict{Effect: Allow}}}
			err := d.Check(testRoster(t))
			if r := refusal.As(err); (n == x.too) != (r != nil && r.Code == "policy.invalid") {
				t.Errorf("%d of %s: %v", n, name, err)
			}
		}
	}
}
