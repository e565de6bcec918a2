package policy

import (
	"strings"
	"testing"
)

// one is a rule whose condition is e.
func one(e Expr) func(*Document) { return func(d *Document) { d.Rules[0].When = e } }

// nested is a tree of so many levels.
func nested(levels int) Expr {
	e := yes()
	for range levels - 1 {
		e = op(OpNot, e)
	}
	return e
}

// wide is a tree of so many operators: an || of chained conjunctions.
func wide(operators int) Expr {
	out := op(OpOr)
	left := operators - 1
	for left > 0 {
		part := op(OpAnd)
		for range min(left-1, MaxSet) {
			part.Args = append(part.Args, yes())
		}
		left -= 1 + len(part.Args)
		if left == 1 || left == 2 { // an && needs two
			part.Args, left = part.Args[:len(part.Args)-2], left+2
		}
		out.Args = append(out.Args, part)
	}
	return out
}

func many[T any](n int, make func(name string, i int) T) []T {
	var out []T
	for i := range n {
		out = append(out, make("n"+string(rune('a'+i/26/26))+string(rune('a'+i/26%26))+string(rune('a'+i%26)), i))
	}
	return out
}

// TestBounds: what is at a bound is taken, what is just beyond it is not.
func TestBounds(t *testing.T) {
	guard := func(name string, _ int) Guard { return Guard{name, no()} }
	limit := func(name string, _ int) Limit {
		return Limit{Name: name, Measure: MeasureCount, Window: Window{Kind: Rolling, Length: 1}}
	}
	rules := func(n int) func(*Document) {
		return func(d *Document) {
			d.Rules = many(n, func(name string, _ int) Rule { return Rule{Name: name, When: yes(), Then: Verdict{Effect: Deny}} })
		}
	}
	sources := func(n int) func(*Document) {
		return func(d *Document) { d.Prices.Sources = many(n, func(name string, _ int) string { return name }) }
	}
	steps := func(n int) func(*Document) {
		return func(d *Document) {
			d.Zones[1].Steps = many(n, func(_ string, i int) Step { return Step{int64(i), int32(i % 2)} })
		}
	}
	require := func(n int) func(*Document) {
		return func(d *Document) {
			d.Rules[1].Then.Require = many(n, func(name string, _ int) Requirement { return Requirement{name, 1} })
		}
	}
	set := func(n int) func(*Document) {
		return one(Expr{Op: OpIn, Args: []Expr{op(OpInitiator)}, Set: many(n, func(name string, _ int) string { return name })})
	}
	path := func(n int) func(*Document) {
		return one(op(OpEq, named(OpMessageUint, strings.Repeat("p", n)), number(1)))
	}
	symbol := func(n int) func(*Document) {
		return func(d *Document) { d.Assets[0].Symbol = strings.Repeat("D", n) }
	}
	for name, c := range map[string]struct{ at, beyond func(*Document) }{
		"guards":          {func(d *Document) { d.Guards = many(MaxGuards, guard) }, func(d *Document) { d.Guards = many(MaxGuards+1, guard) }},
		"rules":           {rules(MaxRules), rules(MaxRules + 1)},
		"limits":          {func(d *Document) { *d = Document{Limits: many(MaxLimits, limit)} }, func(d *Document) { *d = Document{Limits: many(MaxLimits+1, limit)} }},
		"sources":         {sources(MaxSources), sources(MaxSources + 1)},
		"steps":           {steps(MaxSteps), steps(MaxSteps + 1)},
		"requirements":    {require(MaxRequirements), require(MaxRequirements + 1)},
		"approvals":       {func(d *Document) { d.Rules[1].Then.Require[0].Count = 16 }, func(d *Document) { d.Rules[1].Then.Require[0].Count = 17 }},
		"floor":           {func(d *Document) { d.Invariants[0].AtLeast.Approvals = 16 }, func(d *Document) { d.Invariants[0].AtLeast.Approvals = 17 }},
		"levels":          {one(nested(MaxDepth)), one(nested(MaxDepth + 1))},
		"operators":       {one(wide(MaxNodes)), one(wide(MaxNodes + 1))},
		"set":             {set(MaxSet), set(MaxSet + 1)},
		"path":            {path(128), path(129)},
		"path's bytes":    {one(named(OpMessageFlag, "~!")), one(named(OpMessageFlag, "\x7f"))},
		"symbol":          {symbol(16), symbol(17)},
		"symbol's bytes":  {func(d *Document) { d.Assets[0].Symbol = "aZ09.-z" }, func(d *Document) { d.Assets[0].Symbol = "a_" }},
		"symbol's begin":  {func(d *Document) { d.Assets[0].Symbol = "z0" }, func(d *Document) { d.Assets[0].Symbol = "0z" }},
		"decimals":        {func(d *Document) { d.Assets[0].Decimals = 77 }, func(d *Document) { d.Assets[0].Decimals = 78 }},
		"currency":        {func(d *Document) { d.Currency = "AZ09AZ09" }, func(d *Document) { d.Currency = "AZ09AZ09A" }},
		"short currency":  {func(d *Document) { d.Currency = "USD" }, func(d *Document) { d.Currency = "US" }},
		"tolerance":       {func(d *Document) { d.Prices.Tolerance = 10000 }, func(d *Document) { d.Prices.Tolerance = 10001 }},
		"age":             {func(d *Document) { d.Prices.MaxAge = maxPriceAge }, func(d *Document) { d.Prices.MaxAge = maxPriceAge + 1 }},
		"window":          {func(d *Document) { d.Limits[0].Window.Length = maxWindow }, func(d *Document) { d.Limits[0].Window.Length = maxWindow + 1 }},
		"empty window":    {func(d *Document) { d.Limits[0].Window.Length = 1 }, func(d *Document) { d.Limits[0].Window.Length = 0 }},
		"rolling unit":    {func(*Document) {}, func(d *Document) { d.Limits[0].Window.Unit = Day }},
		"calendar's unit": {func(d *Document) { d.Limits[1].Window.Unit = Year }, func(d *Document) { d.Limits[1].Window.Unit = Year + 1 }},
		"offset":          {func(d *Document) { d.Zones[1].Steps[0].Offset = 26 * 3600 }, func(d *Document) { d.Zones[1].Steps[0].Offset = 26*3600 + 1 }},
		"offset below":    {func(d *Document) { d.Zones[1].Steps[0].Offset = -26 * 3600 }, func(d *Document) { d.Zones[1].Steps[0].Offset = -26*3600 - 1 }},
		"until":           {func(d *Document) { d.Zones[1].Until = maxUnix }, func(d *Document) { d.Zones[1].Until = maxUnix + 1 }},
		"a step's time":   {func(*Document) {}, func(d *Document) { d.Zones[1].Steps[0].From = -1 }},
		"before":          {one(Expr{Op: OpBefore, Num: num(maxUnix)}), one(Expr{Op: OpBefore, Num: num(maxUnix + 1)})},
		"bool":            {one(yes()), one(Expr{Op: OpBool, Num: *ref(0).Not(ref(0))})},
	} {
		d := everything()
		c.at(d)
		if err := d.checkForm(); err != nil {
			t.Errorf("%s: at the bound: %v", name, err)
		}
		d = everything()
		c.beyond(d)
		if err := d.checkForm(); err == nil {
			t.Errorf("%s: what is beyond the bound is taken", name)
		}
	}
}

// TestTwiceIsRefused: nothing that has a name or a place in an order stands twice.
func TestTwiceIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Document){
		"asset":   func(d *Document) { d.Assets = append(d.Assets, d.Assets[1]); d.Assets[2].Symbol = "X" },
		"wallet":  func(d *Document) { d.Wallets[1].Name = d.Wallets[0].Name },
		"label":   func(d *Document) { d.AddressBook[1].Label = d.AddressBook[0].Label },
		"method":  func(d *Document) { d.Methods = append(d.Methods, d.Methods[1]) },
		"zone":    func(d *Document) { d.Zones = append(d.Zones, d.Zones[1]) },
		"zones":   func(d *Document) { d.Zones[0], d.Zones[1] = d.Zones[1], d.Zones[0] },
		"limit":   func(d *Document) { d.Limits = append(d.Limits, d.Limits[2]) },
		"per":     func(d *Document) { d.Limits[0].Per = []Scope{PerWallet, PerWallet} },
		"source":  func(d *Document) { d.Prices.Sources = []string{"desk", "desk"} },
		"group":   func(d *Document) { d.Rules[1].Then.Require = []Requirement{{"a", 1}, {"a", 1}} },
		"literal": func(d *Document) { d.Guards[1].When.Args[0].Args[1].Args[0].Set = []string{"pause()", "pause()"} },
		"step":    func(d *Document) { d.Zones[0].Steps[1].From = d.Zones[0].Steps[0].From },
	} {
		d := everything()
		change(d)
		if err := d.checkForm(); err == nil {
			t.Errorf("%s: taken twice", name)
		}
	}
}

// TestSuperfluousIsRefused: what says nothing where it stands is not there, so that
// every document has one encoding.
func TestSuperfluousIsRefused(t *testing.T) {
	list := func(e Expr) func(*Document) { return one(op(OpAll, e, yes())) }
	for name, change := range map[string]func(*Document){
		"allow and groups":   func(d *Document) { d.Rules[0].Then.Require = []Requirement{{"a", 1}} },
		"allow and excluded": func(d *Document) { d.Rules[0].Then.InitiatorExcluded = true },
		"deny and approvals": func(d *Document) { d.Invariants[1].AtLeast.Approvals = 1 },
		"deny and excluded":  func(d *Document) { d.Invariants[1].AtLeast.InitiatorExcluded = true },
		"deny and group":     func(d *Document) { d.Invariants[1].AtLeast.Group = "a" },
		"sources alone":      func(d *Document) { *d = Document{Prices: PriceRule{Sources: []string{"a"}}} },
		"agreement alone":    func(d *Document) { *d = Document{Prices: PriceRule{Agree: 1}} },
		"tolerance alone":    func(d *Document) { *d = Document{Prices: PriceRule{Tolerance: 1}} },
		"limit without money": func(d *Document) {
			*d = Document{Limits: []Limit{{Name: "a", Measure: MeasureMoney, Window: Window{Kind: Rolling, Length: 1}}}}
		},
		"value without money": func(d *Document) {
			*d = Document{Rules: []Rule{{Name: "a", When: op(OpAll, op(OpTransfers), op(OpEq, field("value", 0), field("value", 0))), Then: Verdict{Effect: Deny}}}}
		},
		"money without money": func(d *Document) {
			*d = Document{Rules: []Rule{{Name: "a", When: op(OpEq, money(1), money(1)), Then: Verdict{Effect: Deny}}}}
		},
		"list of a list":    list(op(OpTransfers, yes())),
		"list and set":      list(Expr{Op: OpTransfers, Set: []string{"a"}}),
		"list and number":   list(Expr{Op: OpTransfers, Num: num(1)}),
		"list and asset":    list(Expr{Op: OpTransfers, Asset: eth}),
		"list and depth":    list(Expr{Op: OpTransfers, Depth: 1}),
		"no list":           list(yes()),
		"in of a number":    one(Expr{Op: OpIn, Args: []Expr{number(1)}, Set: []string{"a"}}),
		"wallet's digits":   one(op(OpEq, op(OpWallet), text(strings.Repeat("zz", 32)))),
		"wallet's length":   one(op(OpEq, op(OpWallet), text("01"))),
		"wallet's case":     one(op(OpEq, op(OpWallet), text(strings.Repeat("AA", 32)))),
		"empty method":      one(op(OpExists, op(OpCalls), op(OpEq, field("method", 0), text("")))),
		"code":              one(op(OpExists, op(OpCreations), op(OpEq, field("code", 0), text("0x"+strings.Repeat("zz", 32))))),
		"empty path":        one(named(OpMessageFlag, "")),
		"path with a space": one(op(OpAll, op(OpCalls), named(OpArgFlag, "a b"))),
	} {
		d := everything()
		change(d)
		if err := d.checkForm(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
