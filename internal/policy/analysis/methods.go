package analysis

import (
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
)

// What a policy declares of methods and messages decides what the vaults read: what is
// not declared and not built in is not understood, and denied.

// declaration is a declared method or message, and what it is about.
type declaration struct {
	chain.Method
	*evm.Declaration
}

func declarations(d *policy.Document) (out []declaration) {
	for i := range d.Methods {
		if x, err := family.Declared(&d.Methods[i]); err == nil {
			out = append(out, declaration{d.Methods[i], x})
		}
	}
	return out
}

// collide finds methods of one selector: a declaration may make the calls of another
// method, declared or built in, unreadable, so that to take it away lets them pass.
func collide(docs ...*policy.Document) (string, bool) {
	names := make(map[[4]byte]string)
	for _, d := range docs {
		for _, x := range declarations(d) {
			if x.Message {
				continue
			}
			other, ok := names[x.Selector]
			if ok && other != x.Name || x.Reserved != "" && x.Reserved != x.Name {
				return x.Name, true
			}
			names[x.Selector] = x.Name
		}
	}
	return "", false
}

// otherwise are the declarations by which the new policy reads something that the old
// one could not, or with another meaning or other names.
func otherwise(old, new *policy.Document) (out []declaration) {
	before, after := declarations(old), declarations(new)
	for _, x := range after {
		if !slices.ContainsFunc(before, func(o declaration) bool {
			return o.Signature == x.Signature && (o.Contract == x.Contract || o.Contract == "" && !x.Ambiguous)
		}) {
			out = append(out, x)
		}
	}
	for _, x := range before { // what is understood without is read by its built-in names and meaning then
		if x.Understood && !slices.ContainsFunc(after, func(n declaration) bool { return n.Method == x.Method }) {
			out = append(out, x)
		}
	}
	return out
}

// unreadable are the declarations of the old policy without which the new one cannot
// read what they are about.
func unreadable(old, new *policy.Document) (out []declaration) {
	after := declarations(new)
	for _, x := range declarations(old) {
		if !x.Message && !x.Understood && !slices.ContainsFunc(after, func(n declaration) bool { return !n.Message && n.Name == x.Name }) {
			out = append(out, x)
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

// declaredIn is whether a request has a call or a message that one of the declarations
// is about.
func (c *comparison) declaredIn(list []declaration) lit {
	key := "declared"
	var methods []declaration
	var any []lit
	for _, x := range list {
		if !x.Message {
			methods, key = append(methods, x), key+" "+x.Contract+" "+x.Signature
			continue
		}
		is := c.and(c.flag("message"), c.in(c.text(policy.OpMessageType.String(), plain), []string{x.Name}))
		if x.Contract != "" {
			is = c.and(is, c.in(c.text(policy.OpMessageContract.String(), plain), []string{x.Contract}))
		}
		any = append(any, is)
	}
	if len(methods) > 0 {
		any = append(any, c.exists(policy.OpCalls, key, func(i *item) truth {
			var of []lit
			for _, x := range methods {
				is := c.in(c.itemText(i, "method"), []string{x.Name})
				if x.Contract != "" {
					is = c.and(is, c.in(c.itemText(i, "to"), []string{x.Contract}))
				}
				of = append(of, is)
			}
			return certain(c.or(of...))
		}).is)
	}
	return c.or(any...)
}

// unread reports whether an input has a call or a message that the old policy cannot
// read.
func (c *comparison) unread(in *Input) bool {
	return slices.ContainsFunc(otherwise(c.old.doc, c.new.doc), func(x declaration) bool {
		if x.Understood {
			return false
		}
		if m := in.Effects.Message; x.Message {
			return m != nil && m.Type == x.Name && (x.Contract == "" || x.Contract == m.Contract)
		}
		return slices.ContainsFunc(in.Effects.Calls, func(call chain.Call) bool {
			return x.Name == call.Method && (x.Contract == "" || x.Contract == call.To)
		})
	})
}
