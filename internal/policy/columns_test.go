package policy

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/request"
)

// constrain draws a comparison of a fact with a constant.
func (g *gen) constrain() Expr {
	draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "constraint") }
	numbers := func(fact, constant Expr) Expr {
		o := OpEq + Op(draw(6))
		if draw(4) == 0 {
			return op(o, constant, fact)
		}
		return op(o, fact, constant)
	}
	asset := g.pick("asset", eth, eth, eth, dai)
	switch draw(5) {
	case 0:
		fact := []Expr{ofAsset(OpTotal, eth), ofAsset(OpReceived, dai), op(OpFee)}[draw(3)]
		return numbers(fact, Expr{Op: OpAmount, Num: poolNumber(g.t), Asset: asset})
	case 1:
		fact := []Expr{op(OpCount, op(OpTransfers)), op(OpCount, op(OpCalls)), named(OpRiskScore, "screening"), named(OpMessageUint, "amount")}[draw(4)]
		return numbers(fact, Expr{Op: OpUint, Num: poolNumber(g.t)})
	case 2:
		return texts(g, op(OpInitiator), poolPeople)
	case 3:
		return texts(g, []Expr{op(OpSender), op(OpMessageContract), named(OpMessageAddress, "to")}[draw(3)], poolAccounts)
	}
	return texts(g, named(OpRiskOutcome, "screening"), []string{"deny", "hold", "pass"})
}

func texts(g *gen, fact Expr, pool []string) Expr {
	one := Expr{Op: OpIn, Args: []Expr{fact}, Set: []string{min(pool[0], pool[1]), max(pool[0], pool[1])}}
	switch rapid.IntRange(0, 3).Draw(g.t, "texts") {
	case 0:
		return op(OpEq, fact, text(g.pick("text", pool...)))
	case 1:
		return op(OpEq, text(g.pick("text", pool...)), fact)
	case 2:
		return op(OpNe, fact, text(g.pick("text", pool...)))
	}
	return one
}

// TestColumnsAgreeWithReference: many rules about the same few facts. Each is what
// the reference says, whichever of them were computed together.
func TestColumnsAgreeWithReference(t *testing.T) {
	roster := testRoster(t)
	columns := 0
	agree := func(t *rapid.T) (last Truth) {
		d, g := genPolicy(), &gen{t: t}
		for i := range rapid.IntRange(2, 8).Draw(t, "rules") {
			var parts []Expr
			for range rapid.IntRange(1, 3).Draw(t, "parts") {
				parts = append(parts, g.constrain())
			}
			e := parts[0]
			if len(parts) > 1 {
				e = chained([]Op{OpAnd, OpOr}[rapid.IntRange(0, 1).Draw(t, "join")], parts...)
			}
			d.Rules = append(d.Rules, Rule{Name: "r" + string(rune('a'+i)), When: e, Then: Verdict{Effect: Allow}})
		}
		if err := d.checkForm(); err != nil {
			t.Fatal(err)
		}
		d.Compile()
		columns += len(d.compiled.columns)
		in := genInput(t)
		r, run := &reference{d: d, ro: roster, in: in}, newEvaluation(d, d.program(), roster, in)
		for i := range d.Rules {
			want := r.eval(&d.Rules[i].When)
			expect := want.state
			if want.state == True {
				expect = truth(want.b)
			}
			if last = run.boolean(&d.compiled.rules[i]); last != expect {
				t.Fatalf("%s\n is %s, the reference says %s", d.Format(&d.Rules[i].When), last, expect)
			}
		}
		return last
	}
	rapid.Check(t, func(t *rapid.T) { agree(t) })
	lookedAtAll(t, agree)
	if columns == 0 {
		t.Error("no columns: the test looks at too little")
	}
}

// TestHoldWaitsInColumns: an engine that says hold counts as one that has not
// answered when nothing else matches, also where many rules ask it.
func TestHoldWaitsInColumns(t *testing.T) {
	d := testPolicy()
	for i, outcome := range []string{"pass", "deny"} {
		e := op(OpEq, named(OpRiskOutcome, "screening"), text(outcome))
		d.Rules = append(d.Rules, Rule{Name: "r" + string(rune('a'+i)), When: e, Then: Verdict{Effect: Allow}})
	}
	d = checked(t, d)
	if len(d.compiled.columns) != 1 {
		t.Fatalf("%d columns, want 1", len(d.compiled.columns))
	}
	if got := d.Evaluate(testRoster(t), send(t, known, "1", screened(request.Hold))); !got.Pending || got.Rule != "ra" {
		t.Errorf("decided %+v, want that rule ra waits for the engine that holds", got)
	}
}

// TestLimitsAreAskedLast: a rule that is false whatever the ledgers hold asks no
// limit, wherever its conditions stand.
func TestLimitsAreAskedLast(t *testing.T) {
	d := testPolicy()
	d.Rules = []Rule{
		{Name: "first", When: op(OpAnd, named(OpWithin, "daily"), op(OpLt, ofAsset(OpTotal, eth), amountOf(1, eth))), Then: Verdict{Effect: Allow}},
		{Name: "second", When: op(OpOr, named(OpWithin, "rate"), op(OpOnlyTransfers)), Then: Verdict{Effect: Allow}},
	}
	got := checked(t, d).Evaluate(testRoster(t), send(t, known, "1"))
	if !got.Allow || got.Rule != "second" || len(got.Limits) != 0 {
		t.Errorf("decided %+v, want that rule second allows and no limit was asked", got)
	}
}
