package source

import (
	"maps"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/cofferhq/coffer/internal/policy"
)

// The types of conditions, as CEL sees them. Numbers are CEL's int, whose literals
// need no suffix; what they mean is an unsigned number of 256 bits.
var (
	tAmount    = cel.ObjectType("amount")
	tMoney     = cel.ObjectType("money")
	tTransfer  = cel.ObjectType("transfer")
	tAllowance = cel.ObjectType("allowance")
	tCall      = cel.ObjectType("call")
	tCreation  = cel.ObjectType("creation")
	tMessage   = cel.ObjectType("message")
	tRisk      = cel.ObjectType("risk")
)

// objects are the fields of each type.
var objects = map[string]map[string]*cel.Type{
	"amount":    {},
	"money":     {},
	"transfer":  {"from": cel.StringType, "to": cel.StringType, "asset": cel.StringType, "amount": tAmount, "value": tMoney},
	"allowance": {"owner": cel.StringType, "spender": cel.StringType, "asset": cel.StringType, "amount": tAmount, "unlimited": cel.BoolType},
	"call":      {"from": cel.StringType, "to": cel.StringType, "method": cel.StringType, "value": tAmount, "depth": cel.IntType},
	"creation":  {"value": tAmount, "code": cel.StringType},
	"message":   {"present": cel.BoolType, "type": cel.StringType, "name": cel.StringType, "version": cel.StringType, "contract": cel.StringType},
	"risk":      {"outcome": cel.StringType, "score": cel.IntType},
}

// variables are the names that conditions may read.
var variables = map[string]*cel.Type{
	"chain": cel.StringType, "wallet": cel.StringType, "sender": cel.StringType, "initiator": cel.StringType,
	"onlyTransfers": cel.BoolType, "fee": tAmount, "message": tMessage,
	"transfers": cel.ListType(tTransfer), "allowances": cel.ListType(tAllowance), "calls": cel.ListType(tCall),
	"creations": cel.ListType(tCreation), "approvers": cel.ListType(cel.StringType),
}

// method is a function with its receiver, nil for none.
type method struct {
	name     string
	receiver *cel.Type
	args     []*cel.Type
	result   *cel.Type
}

var text1 = []*cel.Type{cel.StringType}

// functions are the functions that conditions may call, but for the operators.
var functions = []method{
	{"amount", nil, text1, tAmount}, {"money", nil, text1, tMoney}, {"units", nil, text1, cel.IntType},
	{"total", nil, text1, tAmount}, {"received", nil, text1, tAmount}, {"value", nil, nil, tMoney},
	{"risk", nil, text1, tRisk},
	{"during", nil, text1, cel.BoolType}, {"before", nil, text1, cel.BoolType}, {"after", nil, text1, cel.BoolType},
	{"within", nil, text1, cel.BoolType},
	{"used", nil, text1, tAmount}, // or what else the limit measures: three overloads by usedAs

	{"inGroup", cel.StringType, text1, cel.BoolType}, {"hasRole", cel.StringType, text1, cel.BoolType}, {"labelled", cel.StringType, text1, cel.BoolType},
	{"uint", tCall, text1, cel.IntType}, {"address", tCall, text1, cel.StringType}, {"text", tCall, text1, cel.StringType}, {"flag", tCall, text1, cel.BoolType},
	{"uint", tMessage, text1, cel.IntType}, {"address", tMessage, text1, cel.StringType}, {"text", tMessage, text1, cel.StringType}, {"flag", tMessage, text1, cel.BoolType},
}

// macros are CEL's own, those that a tree can hold.
var macros = []string{"all", "exists", "exists_one", "filter", "size"}

// absent are the names of CEL that people may look for, and what to say.
var absent = map[string]string{
	"has":        "every field is always there; ask message.present for a message",
	"map":        "lists can only be asked with all, exists, exists_one, filter and size",
	"matches":    "texts are compared with == and in only, there are no patterns",
	"startsWith": "texts are compared with == and in only, there are no patterns",
	"endsWith":   "texts are compared with == and in only, there are no patterns",
	"contains":   "texts are compared with == and in only; ask a list with exists",
	"int":        "numbers are whole and have one type: write them as they are",
	"double":     "numbers are whole: there are no fractions, write amounts as amount(\"0.5 ETH\")",
	"string":     "nothing is turned into text; compare values of one type",
	"bool":       "nothing is turned into true or false; compare values",
	"dyn":        "every value has one type",
	"type":       "every value has one type, known before",
	"timestamp":  "time is asked with during, before and after",
	"duration":   "time is asked with during, before and after; windows belong to limits",
	"now":        "time is asked with during, before and after",
}

// operatorTypes are the operators with the types that they take; the result of
// comparisons is a bool.
func operatorTypes() map[string][]method {
	n, s, b, a, m := cel.IntType, cel.StringType, cel.BoolType, tAmount, tMoney
	pair := func(l, r, result *cel.Type) method { return method{args: []*cel.Type{l, r}, result: result} }
	out := map[string][]method{
		operators.LogicalAnd: {pair(b, b, b)}, operators.LogicalOr: {pair(b, b, b)},
		operators.LogicalNot: {{args: []*cel.Type{b}, result: b}},
		operators.Equals:     {pair(n, n, b), pair(s, s, b), pair(b, b, b), pair(a, a, b), pair(m, m, b)},
		operators.Add:        {pair(n, n, n), pair(a, a, a), pair(m, m, m)},
		operators.Subtract:   {pair(n, n, n), pair(a, a, a), pair(m, m, m)},
		operators.Multiply:   {pair(n, n, n), pair(a, n, a), pair(n, a, a), pair(m, n, m), pair(n, m, m)},
		operators.Divide:     {pair(n, n, n), pair(a, n, a), pair(m, n, m), pair(a, a, n), pair(m, m, n)},
		operators.Modulo:     {pair(n, n, n), pair(a, a, a), pair(m, m, m)},
		operators.In:         {pair(s, cel.ListType(s), b)},
	}
	out[operators.NotEquals] = out[operators.Equals]
	for _, op := range []string{operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals} {
		out[op] = []method{pair(n, n, b), pair(a, a, b), pair(m, m, b)}
	}
	for _, t := range []*cel.Type{n, s, b, a, m} {
		out[operators.Conditional] = append(out[operators.Conditional], method{args: []*cel.Type{b, t, t}, result: t})
	}
	return out
}

// base is the environment of every policy, but for used, which depends on limits.
var base = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.CustomTypeProvider(provider{}),
		cel.Macros(cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.FilterMacro),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(2 * maxNesting),
		cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(maxNodes),
		cel.EnableMacroCallTracking(),
	}
	for name, t := range variables {
		opts = append(opts, cel.Variable(name, t))
	}
	overloads := make(map[string][]cel.FunctionOpt)
	id := 0
	add := func(name string, m method) {
		id++
		overload := "coffer_" + string(rune('a'+id/26)) + string(rune('a'+id%26))
		if m.receiver != nil {
			overloads[name] = append(overloads[name], cel.MemberOverload(overload, append([]*cel.Type{m.receiver}, m.args...), m.result))
		} else {
			overloads[name] = append(overloads[name], cel.Overload(overload, m.args, m.result))
		}
	}
	table := operatorTypes()
	for _, op := range slices.Sorted(maps.Keys(table)) {
		for _, m := range table[op] {
			add(op, m)
		}
	}
	for _, m := range functions {
		if m.name != "used" {
			add(m.name, m)
		}
	}
	for measure, t := range map[policy.Measure]*cel.Type{policy.MeasureAmount: tAmount, policy.MeasureMoney: tMoney, policy.MeasureCount: cel.IntType} {
		add(usedAs[measure], method{args: text1, result: t})
	}
	// What the macros are made of. A filter's list is counted, and nothing else.
	add(operators.NotStrictlyFalse, method{args: []*cel.Type{cel.BoolType}, result: cel.BoolType})
	any := cel.ListType(cel.TypeParamType("T"))
	add("size", method{receiver: any, result: cel.IntType})
	add("size", method{args: []*cel.Type{any}, result: cel.IntType})
	add(operators.Add, method{args: []*cel.Type{any, any}, result: any})
	add(operators.Conditional, method{args: []*cel.Type{cel.BoolType, any, any}, result: any})
	for name, o := range overloads {
		opts = append(opts, cel.Function(name, o...))
	}
	return cel.NewCustomEnv(opts...)
})

// provider tells CEL the fields of the types.
type provider struct{}

func (provider) EnumValue(name string) ref.Val    { return types.NewErr("unknown enum %s", name) }
func (provider) FindIdent(string) (ref.Val, bool) { return nil, false }
func (provider) NewValue(t string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("%s is not made in a condition", t)
}

func (provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := objects[name]; !ok {
		return nil, false
	}
	return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
}

func (provider) FindStructFieldNames(name string) ([]string, bool) {
	f, ok := objects[name]
	return slices.Sorted(maps.Keys(f)), ok
}

func (provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := objects[name][field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{Type: t}, true
}
