package analysis

import (
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
)

// undeclared are the methods of a that b does not declare.
func undeclared(a, b *policy.Document) []chain.Method {
	var out []chain.Method
	for _, m := range a.Methods {
		if !slices.ContainsFunc(b.Methods, func(o chain.Method) bool {
			return o.Signature == m.Signature && (o.Contract == m.Contract || o.Contract == "")
		}) {
			out = append(out, m)
		}
	}
	return out
}

// renamed reports whether one call could have differently named arguments under
// the two policies: then what conditions read of it is not the same.
func renamed(a, b *policy.Document) bool {
	for _, m := range a.Methods {
		for _, o := range b.Methods {
			if m.Signature != o.Signature && types(m.Signature) == types(o.Signature) && (m.Contract == o.Contract || m.Contract == "" || o.Contract == "") {
				return true
			}
		}
	}
	return false
}

// types is a method as calls name it, "swap(address,uint256)": without the names
// of its parameters.
func types(signature string) string {
	var b strings.Builder
	word := false // the type of this parameter is written already
	for i := 0; i < len(signature); i++ {
		switch c := signature[i]; {
		case c == ' ':
			word = b.Len() > 0 && !strings.HasSuffix(b.String(), ",") && !strings.HasSuffix(b.String(), "(")
		case c == '(' || c == ')' || c == ',' || c == '[' || c == ']':
			word = false
			b.WriteByte(c)
		case !word:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// calls is whether some call is of one of the methods.
func (c *comparison) calls(methods []chain.Method) lit {
	key := "declared"
	for _, m := range methods {
		key += " " + m.Contract + " " + m.Signature
	}
	return c.exists(policy.OpCalls, key, func(i *item) truth {
		var any []lit
		for _, m := range methods {
			is := c.in(c.itemText(i, "method"), []string{types(m.Signature)})
			if m.Contract != "" {
				is = c.and(is, c.in(c.itemText(i, "to"), []string{m.Contract}))
			}
			any = append(any, is)
		}
		return certain(c.or(any...))
	}).is
}

// unreadable reports whether an input calls a method that only the new policy
// declares.
func (c *comparison) unreadable(in *Input) bool {
	added := undeclared(c.new.doc, c.old.doc)
	return slices.ContainsFunc(in.Effects.Calls, func(call chain.Call) bool {
		return slices.ContainsFunc(added, func(m chain.Method) bool {
			return types(m.Signature) == call.Method && (m.Contract == "" || m.Contract == call.To)
		})
	})
}
