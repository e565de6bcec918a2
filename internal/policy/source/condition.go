package source

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/cofferhq/coffer/internal/form"
	"github.com/cofferhq/coffer/internal/policy"
)

// Bounds of one condition as text. The tree has bounds of its own.
const (
	maxExpression = 32 << 10 // characters
	maxNesting    = 64       // levels
	maxNodes      = 1 << 14  // of CEL's tree, macros spelled out
)

// condition is the compilation of one expression.
type condition struct {
	*compiler
	in      *value
	text    []rune
	places  *places
	env     *cel.Env
	ast     *ast.AST
	numbers map[string]string // variables that stand for numbers above 63 bits
	failed  bool
}

// condition compiles the CEL text of a node into a tree.
func (c *compiler) condition(v *value) policy.Expr {
	if v.kind() == "true or false" { // when: true
		return policy.Expr{Op: policy.OpBool, Num: number(v.boolean())}
	}
	text := v.text(`a condition such as onlyTransfers && total("ETH") <= amount("1 ETH")`)
	if !v.isText() {
		return policy.Expr{}
	}
	x := &condition{compiler: c, in: v, text: []rune(text), places: v.places(), numbers: make(map[string]string)}
	if strings.TrimSpace(text) == "" {
		v.fail("an empty condition; write true for one that always holds")
		return policy.Expr{}
	}
	if len(x.text) > maxExpression {
		v.fail("%d characters, at most %d of one condition", len(x.text), maxExpression)
		return policy.Expr{}
	}
	if !x.parse() {
		return policy.Expr{}
	}
	e := x.expr(x.ast.Expr(), nil)
	if x.failed {
		return policy.Expr{}
	}
	return e
}

// fail reports an error at a character of the text.
func (x *condition) fail(offset int, format string, args ...any) {
	x.failed = true
	line, column := x.places.at(offset)
	x.in.add(line, column, x.in.path, format, args...)
}

// failAt reports an error at an operand.
func (x *condition) failAt(e ast.Expr, format string, args ...any) {
	x.fail(x.offset(e.ID()), format, args...)
}

// offset is where an operand begins; of a call, where its name stands.
func (x *condition) offset(id int64) int {
	r, ok := x.ast.SourceInfo().GetOffsetRange(id)
	if !ok {
		return 0
	}
	return x.nameBefore(int(r.Start))
}

var identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*$`)

// nameBefore moves from the parenthesis of a call to its name: CEL counts a call's
// place from there.
func (x *condition) nameBefore(offset int) int {
	if offset < 0 || offset >= len(x.text) || x.text[offset] != '(' {
		return offset
	}
	before := strings.TrimRight(string(x.text[:offset]), " \n\t")
	if name := identifier.FindString(before); name != "" {
		return len([]rune(before)) - len(name)
	}
	return offset
}

// parse reads and type-checks the text.
func (x *condition) parse() bool {
	text := x.bigNumbers()
	env, err := base()
	if err == nil && len(x.numbers) > 0 {
		var opts []cel.EnvOption
		for _, name := range slices.Sorted(maps.Keys(x.numbers)) {
			opts = append(opts, cel.Variable(name, cel.IntType))
		}
		env, err = env.Extend(opts...)
	}
	if err != nil {
		x.fail(0, "couldn't prepare CEL: %v", err) // a fault of ours
		return false
	}
	x.env = env
	a, issues := env.Parse(text)
	if issues != nil && issues.Err() != nil {
		x.syntax(issues)
		return false
	}
	x.ast = a.NativeRep()
	x.supported(x.ast.Expr(), nil)
	if x.failed {
		return false
	}
	a, issues = env.Check(a)
	if issues != nil && issues.Err() != nil {
		for _, e := range issues.Errors() {
			x.explain(e)
		}
		return false
	}
	x.ast = a.NativeRep()
	if t := x.typeOf(x.ast.Expr()); t != "bool" {
		x.failAt(x.ast.Expr(), "a condition is true or false, this is %s", words(t))
		return false
	}
	return true
}

// digits finds numbers, and passes over what is no number: comments, and texts in all the
// forms that CEL has.
var digits = regexp.MustCompile(`//[^\n]*|` +
	`[rR]"""(?s:.*?)"""|[rR]'''(?s:.*?)'''|[rR]"[^"\n]*"|[rR]'[^'\n]*'|` +
	`"""(?s:\\.|[^\\])*?"""|'''(?s:\\.|[^\\])*?'''|"(?s:\\.|[^"\\])*"|'(?s:\\.|[^'\\])*'|` +
	`[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9.xXa-fA-F]*`)

// bigNumbers replaces numbers that do not fit in CEL's 63 bits by variables of the
// same length, so that every character keeps its place.
func (x *condition) bigNumbers() string {
	return digits.ReplaceAllStringFunc(string(x.text), func(s string) string {
		if len(s) < 19 || strings.Trim(s, "0123456789") != "" {
			return s
		}
		name := fmt.Sprintf("n%0*d", len(s)-1, len(x.numbers))
		x.numbers[name] = s
		return name
	})
}

// offsetOf turns CEL's line and column into a character.
func (x *condition) offsetOf(e *cel.Error) int {
	if e.Location == nil || e.Location.Line() < 1 {
		return 0
	}
	at, line := 0, 1
	for at < len(x.text) && line < e.Location.Line() {
		if x.text[at] == '\n' {
			line++
		}
		at++
	}
	return min(at+max(e.Location.Column(), 0), len(x.text))
}

var expecting = regexp.MustCompile(`(?s) expecting .*`)

// syntax reports what CEL's parser says.
func (x *condition) syntax(issues *cel.Issues) {
	e := issues.Errors()[0]
	at := x.offsetOf(e)
	text := expecting.ReplaceAllString(strings.TrimPrefix(e.Message, "Syntax error: "), "")
	rest := strings.ToLower(string(x.text[min(at, len(x.text)):]))
	switch {
	case strings.Contains(text, "'<EOF>'"):
		x.fail(len(x.text), "the condition ends too early: an operand or a closing bracket is missing")
	case at < len(x.text) && x.text[at] == '=':
		x.fail(at, "a single =; compare with ==")
	case at < len(x.text) && (x.text[at] == '&' || x.text[at] == '|'):
		x.fail(at, "a single %c; write && for and, || for or", x.text[at])
	case strings.HasPrefix(rest, "and "), strings.HasPrefix(rest, "or "), strings.HasPrefix(rest, "not "):
		x.fail(at, "write && for and, || for or, ! for not")
	case strings.HasPrefix(text, "token recognition") && at < len(x.text):
		switch c := x.text[at]; c {
		case '#':
			x.fail(at, "comments begin with // inside a condition")
		case '"', '\'':
			x.fail(at, "a text that does not end: the second %c is missing", c)
		default:
			x.fail(at, "unexpected character %q", c)
		}
	default:
		x.fail(at, "%s", text)
	}
}

var (
	undeclared = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	undefined  = regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '(.*)'`)
	unexpected = regexp.MustCompile(`^expected type '([^']*)' but found '([^']*)'`)
	noField    = regexp.MustCompile(`^type '([^']*)' does not support field selection`)
)

// explain reports what CEL's checker says, in words of the policy.
func (x *condition) explain(e *cel.Error) {
	at := x.nameBefore(x.offsetOf(e))
	switch {
	case undeclared.MatchString(e.Message):
		x.unknown(at, strings.TrimPrefix(undeclared.FindStringSubmatch(e.Message)[1], "."))
	case undefined.MatchString(e.Message):
		x.unknownField(at, e.ExprID, undefined.FindStringSubmatch(e.Message)[1])
	case noOverload.MatchString(e.Message):
		m := noOverload.FindStringSubmatch(e.Message)
		x.mismatch(at, m[1], m[2])
	case unexpected.MatchString(e.Message):
		m := unexpected.FindStringSubmatch(e.Message)
		x.fail(at, "want %s here, this is %s%s", words(m[1]), words(m[2]), comparing(m[2]))
	case noField.MatchString(e.Message):
		x.fail(at, "%s has no fields", words(noField.FindStringSubmatch(e.Message)[1]))
	default:
		x.fail(at, "%s", e.Message)
	}
}

// names are all names that a condition may use: variables, bound ones, functions.
func (x *condition) names() []string {
	out := slices.Collect(maps.Keys(variables))
	for _, f := range functions {
		out = append(out, f.name)
	}
	for _, m := range x.ast.SourceInfo().MacroCalls() {
		if m.Kind() == ast.CallKind && len(m.AsCall().Args()) > 0 && m.AsCall().Args()[0].Kind() == ast.IdentKind {
			out = append(out, m.AsCall().Args()[0].AsIdent())
		}
	}
	out = append(out, macros...)
	slices.Sort(out)
	return slices.Compact(out)
}

func (x *condition) unknown(at int, name string) {
	name, _, _ = strings.Cut(name, ".")
	if why := absent[name]; why != "" {
		x.fail(at, "%s is not there: %s", name, why)
		return
	}
	if called := at+len(name) < len(x.text) && x.text[at+len(name)] == '('; called {
		x.fail(at, "unknown function %s%s", name, form.Suggest(name, x.names()))
		return
	}
	if u := usage[name]; u != "" {
		x.fail(at, "%s is a function: write %s", name, u)
		return
	}
	hint := form.Suggest(name, x.names())
	if hint == "" {
		if _, ok := x.unitOf(name); ok {
			hint = fmt.Sprintf("; an asset is text, %q", name)
		} else {
			hint = "; text stands in quotes; names are " + strings.Join(slices.Sorted(maps.Keys(variables)), ", ")
		}
	}
	x.fail(at, "unknown name %s%s", name, hint)
}

func (x *condition) unknownField(at int, id int64, field string) {
	of, fields := "", []string{}
	if t := x.objectOf(x.ast.Expr(), id, nil); t != "" {
		of = " of " + words(t)
		fields = append(fields, slices.Sorted(maps.Keys(objects[t]))...)
		for _, f := range functions {
			if f.receiver != nil && f.receiver.TypeName() == t {
				fields = append(fields, f.name+"(…)")
			}
		}
	}
	hint := form.Suggest(field, fields)
	if hint == "" && len(fields) > 0 {
		hint = "; there are " + strings.Join(fields, ", ")
	}
	if at < len(x.text) && x.text[at] == '.' {
		at++
	}
	x.fail(at, "unknown field %s%s%s", field, of, hint)
}

// objectOf finds the type of what the field selection id looks into, before types
// are known: what variables and quantifiers say.
func (x *condition) objectOf(e ast.Expr, id int64, scope map[string]string) string {
	found := ""
	visit := func(scope map[string]string, list ...ast.Expr) {
		for _, s := range list {
			if found == "" {
				found = x.objectOf(s, id, scope)
			}
		}
	}
	switch e.Kind() {
	case ast.SelectKind:
		if e.ID() == id {
			return x.elementType(e.AsSelect().Operand(), scope)
		}
		visit(scope, e.AsSelect().Operand())
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			visit(scope, e.AsCall().Target())
		}
		visit(scope, e.AsCall().Args()...)
	case ast.ComprehensionKind:
		k := e.AsComprehension()
		inner := maps.Clone(scope)
		if inner == nil {
			inner = make(map[string]string)
		}
		if k.IterRange().Kind() == ast.IdentKind {
			if t := variables[k.IterRange().AsIdent()]; t != nil && t.Kind() == types.ListKind {
				inner[k.IterVar()] = t.Parameters()[0].TypeName()
			}
		}
		visit(scope, k.IterRange())
		visit(inner, k.LoopStep())
	}
	return found
}

func (x *condition) elementType(e ast.Expr, scope map[string]string) string {
	switch e.Kind() {
	case ast.IdentKind:
		if t, ok := scope[e.AsIdent()]; ok {
			return t
		}
		if t := variables[e.AsIdent()]; t != nil {
			return t.TypeName()
		}
	case ast.CallKind:
		for _, f := range functions {
			if f.name == e.AsCall().FunctionName() {
				return f.result.TypeName()
			}
		}
	}
	return ""
}

// comparing says how a value becomes a condition.
func comparing(t string) string {
	switch t {
	case "amount":
		return "; compare it, such as total(\"ETH\") <= amount(\"2 ETH\")"
	case "money":
		return "; compare it, such as value() <= money(\"10,000 USD\")"
	case "int":
		return "; compare it, such as transfers.size() == 1"
	case "string":
		return "; compare it, such as chain == \"eip155:1\""
	}
	return ""
}

// symbols are the operators as people write them.
var symbols = map[string]string{
	operators.LogicalAnd: "&&", operators.LogicalOr: "||", operators.LogicalNot: "!", operators.Conditional: "?:",
	operators.Equals: "==", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=",
	operators.Greater: ">", operators.GreaterEquals: ">=", operators.In: "in",
	operators.Add: "+", operators.Subtract: "-", operators.Multiply: "*", operators.Divide: "/", operators.Modulo: "%",
}

// mismatch says which types a function or an operator takes.
func (x *condition) mismatch(at int, name, applied string) {
	var given []string
	for _, t := range strings.Split(strings.NewReplacer("(", "", ")", "", ".", ", ").Replace(strings.ReplaceAll(applied, "list(", "list of ")), ", ") {
		if t != "" {
			given = append(given, words(t))
		}
	}
	got := strings.Join(given, " and ")
	symbol, isOperator := symbols[name]
	switch {
	case name == operators.In:
		x.fail(at, "in takes text and a list of texts, such as chain in [\"eip155:1\"], not %s", got)
	case name == operators.LogicalAnd, name == operators.LogicalOr, name == operators.LogicalNot:
		x.fail(at, "%s takes conditions, not %s", symbol, got)
	case name == operators.Conditional:
		x.fail(at, "a ? b : c takes a condition and two values of one type, not %s", got)
	case isOperator:
		x.fail(at, "%s does not take %s; %s", symbol, got, x.conversion(applied))
	case name == "size":
		x.fail(at, "size counts a list: transfers, allowances, calls, creations, approvers, or one of them with filter")
	default:
		var forms []string
		for _, f := range functions {
			if f.name == name && !slices.Contains(forms, usage[name]) {
				forms = append(forms, usage[name])
			}
		}
		if got == "" {
			got = "nothing"
		}
		x.fail(at, "%s does not take %s; write it as %s", name, got, strings.Join(forms, " or "))
	}
}

// usage is how functions are written.
var usage = map[string]string{
	"amount": `amount("2 ETH")`, "money": `money("10,000 USD")`, "units": `units("2 ETH")`,
	"total": `total("ETH")`, "received": `received("ETH")`, "value": `value()`, "risk": `risk("screening").outcome`,
	"during": `during("Mon-Fri 08:00-18:00 Europe/Zurich")`, "before": `before("2027-01-01T00:00:00Z")`, "after": `after("2027-01-01T00:00:00Z")`,
	"within": `within("daily")`, "used": `used("daily")`,
	"inGroup": `initiator.inGroup("traders")`, "hasRole": `initiator.hasRole("proposer")`, "labelled": `t.to.labelled("known")`,
	"uint": `c.uint("amount")`, "address": `c.address("to")`, "text": `c.text("memo")`, "flag": `c.flag("exact")`,
}

// conversion says how to make two values comparable.
func (x *condition) conversion(applied string) string {
	has := func(s string) bool { return strings.Contains(applied, s) }
	switch {
	case has("double"):
		return "numbers are whole; amounts are written as amount(\"0.5 ETH\")"
	case has("amount") && has("string"):
		return "write an amount as amount(\"2 ETH\")"
	case has("amount") && has("int"):
		return "write an amount as amount(\"2 ETH\"), or a number of smallest units as units(\"2 ETH\")"
	case has("money"):
		return "write money as money(\"10,000 USD\")"
	case has("list"):
		return "ask lists with all, exists, exists_one, filter and size"
	case has("string") && has("int"):
		return "text and numbers are different; numbers have no quotes"
	}
	return "both sides must have one type"
}

// words names a type for people.
func words(t string) string {
	switch t = strings.TrimSpace(t); t {
	case "int":
		return "a number"
	case "string":
		return "text"
	case "bool":
		return "a condition"
	case "amount", "allowance":
		return "an " + t
	case "money":
		return "money"
	case "risk":
		return "a risk verdict"
	case "double":
		return "a fraction"
	}
	if of, ok := strings.CutPrefix(t, "list"); ok {
		of = strings.TrimPrefix(strings.Trim(of, "()"), " of ")
		switch of {
		case "string":
			return "a list of texts"
		case "int":
			return "a list of numbers"
		}
		return "a list of " + of + "s"
	}
	return "a " + t
}
