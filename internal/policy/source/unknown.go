package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/policy"
)

// Unknown warns of methods and arguments in conditions that no call has: what is
// neither built in nor declared is not decoded, and denied before any condition. Such
// a condition is legal, and never true.
func Unknown(d *policy.Document) []string {
	var declared []string
	for _, m := range d.Methods {
		declared = append(declared, m.Signature)
	}
	u := unknown{methods: evm.Arguments(declared)}
	for name, args := range u.methods {
		u.names = append(u.names, name)
		u.args = append(u.args, args...)
	}
	slices.Sort(u.names)
	slices.Sort(u.args)
	u.args = slices.Compact(u.args)
	for i := range d.Guards {
		u.walk("guard "+d.Guards[i].Name, &d.Guards[i].When)
	}
	for i := range d.Rules {
		u.walk("rule "+d.Rules[i].Name, &d.Rules[i].When)
	}
	for i := range d.Invariants {
		u.walk("invariant "+d.Invariants[i].Name, &d.Invariants[i].When)
	}
	return u.out
}

type unknown struct {
	methods     map[string][]string
	names, args []string
	out         []string
}

func (u *unknown) walk(place string, e *policy.Expr) {
	switch e.Op {
	case policy.OpEq, policy.OpNe:
		for i := range e.Args {
			if o := &e.Args[1-i]; e.Args[i].Op == policy.OpText && kindOf(o) == methods {
				u.method(place, e.Args[i].Text)
			}
		}
	case policy.OpIn:
		if kindOf(&e.Args[0]) == methods {
			for _, s := range e.Set {
				u.method(place, s)
			}
		}
	case policy.OpArgUint, policy.OpArgAddress, policy.OpArgText, policy.OpArgFlag:
		first := e.Text
		if i := strings.IndexAny(first, ".["); i >= 0 {
			first = first[:i]
		}
		if !slices.Contains(u.args, first) {
			u.say("%s: no method that is built in or declared has an argument %q%s", place, first, form.Suggest(first, u.args))
		}
	}
	for i := range e.Args {
		u.walk(place, &e.Args[i])
	}
}

func (u *unknown) method(place, s string) {
	if _, ok := u.methods[s]; ok || strings.HasPrefix(s, `memo("`) { // Solana's memos
		return
	}
	u.say("%s: the method %s is neither built in nor declared under methods, so that no call of it is ever allowed%s", place, s, form.Suggest(s, u.names))
}

func (u *unknown) say(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(u.out, s) {
		u.out = append(u.out, s)
	}
}
