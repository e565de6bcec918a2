package policy

import (
	"testing"

	"github.com/cofferhq/coffer/internal/request"
)

// A choice between texts whose condition has no value has none either: it waits, or is
// an error, whatever the branches are, in a comparison, in a set and under !.
func TestChoiceOfTexts(t *testing.T) {
	fails := op(OpLt, op(OpDiv, number(1), number(0)), number(1))
	choose := func(c Expr) Expr { return op(OpIf, c, text("a"), text("a")) }
	for name, of := range map[string]func(Expr) Expr{
		"==":     func(x Expr) Expr { return op(OpEq, x, text("a")) },
		"!=":     func(x Expr) Expr { return op(OpNe, x, text("b")) },
		"in":     func(x Expr) Expr { return Expr{Op: OpIn, Args: []Expr{x}, Set: []string{"a", "b"}} },
		"not":    func(x Expr) Expr { return op(OpNot, op(OpEq, x, text("b"))) },
		"nested": func(x Expr) Expr { return op(OpEq, op(OpIf, yes(), x, text("b")), text("a")) },
	} {
		for what, c := range map[string]struct {
			condition Expr
			in        Input
			want      string
		}{
			"there":   {passes(), send(t, known, "1", screened(request.Pass)), CodeAllow},
			"waiting": {passes(), send(t, known, "1"), CodeRisk},
			"failing": {fails, send(t, known, "1"), CodeError},
		} {
			e := of(choose(c.condition))
			got := when(t, e).Evaluate(testRoster(t), c.in)
			if got.Code != c.want || got.Pending != (c.want == CodeRisk) || got.Allow != (c.want == CodeAllow) {
				t.Errorf("%s, %s: decided %+v, want %s", name, what, got, c.want)
			}
		}
	}
}
