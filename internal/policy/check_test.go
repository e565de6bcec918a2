package policy

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
)

// TestRefusedDocuments changes one thing of a good document; decoding refuses it
// and says what is wrong.
func TestRefusedDocuments(t *testing.T) {
	if _, err := DecodeDocument(everything().Encode()); err != nil {
		t.Fatal(err)
	}
	rule := func(e Expr) func(*Document) { return func(d *Document) { d.Rules[0].When = e } }
	deep := yes()
	for range MaxDepth {
		deep = op(OpNot, deep)
	}
	wide := op(OpAnd)
	for range 200 {
		wide.Args = append(wide.Args, op(OpOr, yes(), yes(), yes(), yes(), yes(), yes(), yes(), yes(), yes(), yes()))
	}
	nested := func(n int) Expr {
		e := yes()
		for range n {
			e = op(OpAll, op(OpTransfers), e)
		}
		return e
	}
	costly := op(OpAnd)
	for range 200 {
		costly.Args = append(costly.Args, nested(2))
	}
	for name, c := range map[string]struct {
		change func(*Document)
		want   string
	}{
		"too deep":           {rule(deep), "more than 32 levels"},
		"too wide":           {rule(wide), "2048 operators"},
		"nested quantifiers": {rule(nested(3)), "nested more than 2 deep"},
		"too costly": {func(d *Document) {
			d.Rules[0].When, d.Rules[1].When, d.Guards[0].When, d.Guards[1].When, d.Guards[2].When, d.Guards[3].When = costly, costly, costly, costly, costly, costly
		}, "steps"},
		"unknown operator":    {rule(Expr{Op: 5}), "operator: unknown value 5"},
		"one operand":         {rule(op(OpAnd, yes())), "1 operands, want 2 to"},
		"number as condition": {rule(number(1)), "the condition is of type uint, want bool"},
		"operand":             {rule(op(OpNot, number(1))), "!: number is of type uint, want bool"},
		"compare":             {rule(op(OpEq, number(1), text("a"))), "==: compares uint with text"},
		"order of texts":      {rule(op(OpLt, text("a"), text("b"))), "orders text, which has no order"},
		"order of bools":      {rule(op(OpLe, yes(), no())), "orders bool"},
		"branches":            {rule(op(OpEq, op(OpIf, yes(), number(1), money(1)), number(1))), "branches are of type uint and money"},
		"choice":              {rule(op(OpIf, number(1), yes(), no())), "want bool"},
		"amount times amount": {rule(op(OpEq, op(OpMul, amountOf(1, eth), amountOf(1, eth)), amountOf(1, eth))), "*: has no meaning for amount and amount"},
		"money and amount":    {rule(op(OpEq, op(OpAdd, amountOf(1, eth), money(1)), money(1))), "+: has no meaning for amount and money"},
		"number less amount":  {rule(op(OpEq, op(OpSub, number(1), amountOf(1, eth)), number(1))), "-: has no meaning"},
		"number by amount":    {rule(op(OpEq, op(OpDiv, number(1), amountOf(1, eth)), number(1))), "/: has no meaning"},
		"amount modulo":       {rule(op(OpEq, op(OpMod, amountOf(1, eth), number(1)), amountOf(1, eth))), "%: has no meaning"},
		"texts added":         {rule(op(OpEq, op(OpAdd, text("a"), text("b")), text("ab"))), "+: has no meaning for text and text"},
		"list as value":       {rule(op(OpEq, op(OpTransfers), op(OpTransfers))), "a list is no value"},
		"no list":             {rule(op(OpAll, yes(), yes())), "the first operand is bool, want a list"},
		"unbound":             {rule(op(OpEq, field("to", 0), text(known))), "there are 0 around it"},
		"too far out":         {rule(op(OpAll, op(OpTransfers), op(OpEq, field("to", 1), text(known)))), "there are 1 around it"},
		"no such field":       {rule(op(OpAll, op(OpTransfers), op(OpEq, field("too", 0), text(known)))), `no field "too"`},
		"field of approver":   {rule(op(OpAll, op(OpApprovers), op(OpEq, field("to", 0), text(known)))), `no field "to"`},
		"item of transfer":    {rule(op(OpAll, op(OpTransfers), op(OpEq, op(OpItem), text("bob")))), "read one of its fields"},
		"argument":            {rule(op(OpAll, op(OpTransfers), named(OpArgFlag, "x"))), "have no arguments"},
		"path":                {rule(op(OpAll, op(OpCalls), named(OpArgFlag, "a b"))), "printable ASCII without spaces"},
		"empty path":          {rule(named(OpMessageFlag, "")), "want a path of 1 to 128 bytes"},
		"never equal":         {rule(op(OpEq, op(OpSender), op(OpInitiator))), "compares an account with a principal: never equal"},
		"wrong checksum":      {rule(op(OpEq, op(OpSender), text(strings.ToLower(wallet)))), "checksum"},
		"in, wrong checksum":  {rule(Expr{Op: OpIn, Args: []Expr{op(OpSender)}, Set: []string{strings.ToLower(wallet)}}), "checksum"},
		"chain":               {rule(op(OpEq, op(OpChain), text("ethereum"))), "ethereum"},
		"wallet":              {rule(op(OpEq, op(OpWallet), text("hot"))), "64 hex digits"},
		"asset literal":       {rule(op(OpAll, op(OpTransfers), op(OpEq, field("asset", 0), text("ETH")))), "not one of this policy's assets"},
		"method":              {rule(op(OpAll, op(OpCalls), op(OpEq, field("method", 0), text("a b")))), "without spaces"},
		"outcome":             {rule(op(OpEq, named(OpRiskOutcome, "screening"), text("passs"))), "want pass, hold or deny"},
		"empty set":           {rule(Expr{Op: OpIn, Args: []Expr{op(OpChain)}}), "0 values"},
		"set order":           {rule(Expr{Op: OpIn, Args: []Expr{op(OpChain)}, Set: []string{"eip155:5", "eip155:1"}}), "sorted"},
		"set twice":           {rule(Expr{Op: OpIn, Args: []Expr{op(OpChain)}, Set: []string{"eip155:1", "eip155:1"}}), "different values"},
		"number in set":       {rule(Expr{Op: OpIn, Args: []Expr{number(1)}, Set: []string{"a"}}), "want text"},
		"label":               {rule(named(OpLabelled, "knwon", op(OpSender))), `no label "knwon" in the address book`},
		"label of a person":   {rule(named(OpLabelled, "known", op(OpInitiator))), "want an account"},
		"group of an account": {rule(named(OpInGroup, "traders", op(OpSender))), "want a principal"},
		"group of a literal":  {rule(named(OpInGroup, "traders", text("alice"))), "want a principal"},
		"limit":               {rule(named(OpWithin, "dayly")), `no limit "dayly"`},
		"engine":              {rule(op(OpEq, named(OpRiskOutcome, "Screening!"), text("pass"))), "engine"},
		"bool literal":        {rule(Expr{Op: OpBool, Num: num(2)}), "want 0 (false) or 1 (true)"},
		"amount's asset":      {rule(op(OpEq, amountOf(1, "eip155:1/slip44:61"), amountOf(1, eth))), "not one of this policy's assets"},
		"hours":               {rule(Expr{Op: OpDuring, Text: "UTC", Num: num(1)}), "days 1 to 127"},
		"zone":                {rule(Expr{Op: OpDuring, Text: "Mars", Num: Hours{127, 0, 60}.Num()}), "not one of this policy's zones"},
		"time":                {rule(Expr{Op: OpBefore, Num: num(maxUnix + 1)}), "year 9999"},
		"break-glass denial":  {func(d *Document) { d.Rules[2].BreakGlass = true }, "denies and is a break-glass rule"},
		"name twice":          {func(d *Document) { d.Rules[1].Name = "small" }, "the name is taken"},
		"guard's name":        {func(d *Document) { d.Rules[1].Name = "calls" }, "the name is taken"},
		"built-in name":       {func(d *Document) { d.Rules[1].Name = undecodedGuard }, "built in"},
		"effect":              {func(d *Document) { d.Rules[0].Then.Effect = 4 }, "effect 4"},
		"nobody required":     {func(d *Document) { d.Rules[1].Then.Require = nil }, "0 groups must approve"},
		"no approvals":        {func(d *Document) { d.Rules[1].Then.Require[0].Count = 0 }, "0 approvals from compliance"},
		"group order":         {func(d *Document) { r := d.Rules[1].Then.Require; r[0], r[1] = r[1], r[0] }, "sorted"},
		"floor":               {func(d *Document) { d.Invariants[0].AtLeast.Approvals = 0 }, "demands 0 approvals"},
		"floor of both":       {func(d *Document) { d.Invariants[0].AtLeast.Deny = true }, "a denial and approvals"},
		"floor's group":       {func(d *Document) { d.Invariants[0].AtLeast.Group = "A" }, "group"},
		"invariant":           {func(d *Document) { d.Invariants[0].When = number(1) }, "want bool"},
		"money":               {func(d *Document) { d.Currency, d.Prices = "", PriceRule{} }, "currency"},
		"currency":            {func(d *Document) { d.Currency = "usd" }, "A-Z and 0-9"},
		"currency is asset":   {func(d *Document) { d.Currency = "ETH" }, "an asset has the symbol"},
		"prices alone":        {func(d *Document) { *d = Document{Prices: PriceRule{MaxAge: 1}} }, "no currency"},
		"no sources":          {func(d *Document) { d.Prices.Sources = nil }, "0 sources"},
		"source order":        {func(d *Document) { d.Prices.Sources = []string{"feed", "desk"} }, "sorted"},
		"nobody agrees":       {func(d *Document) { d.Prices.Agree = 0 }, "0 sources must agree"},
		"too many agree":      {func(d *Document) { d.Prices.Agree = 3 }, "3 sources must agree of 2"},
		"tolerance":           {func(d *Document) { d.Prices.Tolerance = 10001 }, "tolerance"},
		"age":                 {func(d *Document) { d.Prices.MaxAge = 0 }, "age of 0 ms"},
		"symbol":              {func(d *Document) { d.Assets[0].Symbol = "D AI" }, "symbol"},
		"symbol twice":        {func(d *Document) { d.Assets[0].Symbol = "eth" }, "two assets have the symbol"},
		"asset order":         {func(d *Document) { d.Assets[0], d.Assets[1] = d.Assets[1], d.Assets[0] }, "sorted by id"},
		"asset spelling":      {func(d *Document) { d.Assets[0].ID = strings.ToLower(dai) }, "0x6B175474E89094C44Da98b954EedeAC495271d0F"},
		"decimals":            {func(d *Document) { d.Assets[0].Decimals = 78 }, "78 decimals"},
		"wallet order":        {func(d *Document) { d.Wallets[0], d.Wallets[1] = d.Wallets[1], d.Wallets[0] }, "sorted"},
		"wallet twice":        {func(d *Document) { d.Wallets[1].ID = d.Wallets[0].ID }, "has a name already"},
		"label order":         {func(d *Document) { d.AddressBook[0], d.AddressBook[1] = d.AddressBook[1], d.AddressBook[0] }, "sorted"},
		"address twice":       {func(d *Document) { d.AddressBook[0].Addresses = []string{alpha, alpha} }, "different values"},
		"address spelling":    {func(d *Document) { d.AddressBook[1].Addresses = []string{strings.ToLower(known)} }, "checksum"},
		"method order":        {func(d *Document) { d.Methods[0], d.Methods[1] = d.Methods[1], d.Methods[0] }, "out of order"},
		"no signature":        {func(d *Document) { d.Methods[0].Signature = "" }, "types in parentheses"},
		"no steps":            {func(d *Document) { d.Zones[1].Steps = nil }, "0 steps"},
		"step order":          {func(d *Document) { d.Zones[0].Steps[1].From = 0 }, "each later than the one before"},
		"offset":              {func(d *Document) { d.Zones[0].Steps[1].Offset = 100000 }, "100000 s from UTC"},
		"until":               {func(d *Document) { d.Zones[1].Until = 0 }, "is known until 0"},
		"limit order":         {func(d *Document) { d.Limits[0], d.Limits[1] = d.Limits[1], d.Limits[0] }, "sorted"},
		"measure":             {func(d *Document) { d.Limits[0].Measure = 4 }, "measure 4"},
		"count of asset":      {func(d *Document) { d.Limits[2].Asset = eth }, "measures no amount"},
		"limit's asset":       {func(d *Document) { d.Limits[0].Asset = "eip155:1/slip44:61" }, "not one of this policy's assets"},
		"amount per asset":    {func(d *Document) { d.Limits[0].Per = []Scope{PerAsset} }, "per asset says nothing"},
		"scope":               {func(d *Document) { d.Limits[0].Per = []Scope{5} }, "per 5"},
		"scope order":         {func(d *Document) { d.Limits[0].Per = []Scope{PerDestination, PerWallet} }, "sorted"},
		"window":              {func(d *Document) { d.Limits[0].Window.Length = maxWindow + 1 }, "366 days"},
		"window kind":         {func(d *Document) { d.Limits[0].Window.Kind = 3 }, "window 3"},
		"calendar's length":   {func(d *Document) { d.Limits[1].Window.Length = 1 }, "no length"},
		"rolling zone":        {func(d *Document) { d.Limits[0].Window.Zone = "UTC" }, "no unit and zone"},
		"calendar's zone":     {func(d *Document) { d.Limits[1].Window.Zone = "Mars" }, "not one of this policy's zones"},
		"unit":                {func(d *Document) { d.Limits[1].Window.Unit = 5 }, "unit 5"},
	} {
		d := everything()
		c.change(d)
		got, err := DecodeDocument(d.Encode())
		if err == nil {
			t.Errorf("%s: decoded %+v", name, got)
			continue
		}
		wantText(t, name, err.Error(), c.want)
	}
}

// What an operator does not use cannot be written, so it must not be there.
func TestUnusedFieldsAreRefused(t *testing.T) {
	for name, e := range map[string]Expr{
		"text": {Op: OpBool, Text: "x"}, "set": {Op: OpBool, Set: []string{"x"}}, "number": {Op: OpMessagePresent, Num: num(1)},
		"asset": {Op: OpBool, Asset: eth}, "depth": {Op: OpBool, Depth: 1}, "list": op(OpAll, Expr{Op: OpTransfers, Text: "x"}, yes()),
	} {
		if _, err := testPolicy().Type(&e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBigDocumentsAreRefused(t *testing.T) {
	for _, size := range []int{MaxDocument + 1, 10 << 20} {
		if _, err := DecodeDocument(bytes.Repeat([]byte{2}, size)); err == nil || !strings.Contains(err.Error(), "at most 524288") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	// A million nested operators end at the bound, not at the end of the stack.
	b := wire.NewWriter(documentVersion).String("").Count(0).Uint8(0).Uint16(0).Uint64(0)
	for range 6 {
		b.Count(0)
	}
	b.Count(1).String("deep").Fixed(bytes.Repeat([]byte{uint8(OpNot)}, 500_000))
	if _, err := DecodeDocument(b.Bytes()); err == nil || !strings.Contains(err.Error(), "32 levels") {
		t.Errorf("a deep tree: %v", err)
	}
	good := everything().Encode()
	for _, v := range []byte{0, 1, 3} {
		if _, err := DecodeDocument(append([]byte{v}, good[1:]...)); err == nil {
			t.Errorf("version %d is decoded", v)
		}
	}
	if _, err := DecodeDocument(append(good, 0)); err == nil {
		t.Error("a byte too many is decoded")
	}
}

func TestCheckNamesOfTheRoster(t *testing.T) {
	roster := testRoster(t)
	if err := everything().Check(roster); err != nil {
		t.Fatal(err)
	}
	rule := func(e Expr) func(*Document) { return func(d *Document) { d.Rules[0].When = e } }
	for name, c := range map[string]struct {
		change func(*Document)
		want   string
	}{
		"group":           {rule(named(OpInGroup, "trader", op(OpInitiator))), `no group "trader" in the roster; did you mean "traders"`},
		"role":            {rule(named(OpHasRole, "proposr", op(OpInitiator))), `no role "proposr"`},
		"engine":          {rule(op(OpEq, named(OpRiskOutcome, "screenin"), text("pass"))), `"screenin" is not in the roster`},
		"no engine":       {rule(op(OpLt, named(OpRiskScore, "alice"), number(5))), "alice is a person principal, want a risk engine"},
		"initiator":       {rule(op(OpEq, op(OpInitiator), text("mallory"))), `"mallory" is not in the roster`},
		"initiator, left": {rule(op(OpNe, text("mallory"), op(OpInitiator))), `"mallory" is not in the roster`},
		"initiators":      {rule(Expr{Op: OpIn, Args: []Expr{op(OpInitiator)}, Set: []string{"alice", "mallory"}}), `"mallory" is not in the roster`},
		"approver":        {rule(op(OpExists, op(OpApprovers), op(OpEq, op(OpItem), text("mallory")))), `"mallory" is not in the roster`},
		"source":          {func(d *Document) { d.Prices.Sources[0] = "alice" }, "want a price source"},
		"required group":  {func(d *Document) { d.Rules[1].Then.Require[0].Group = "bosses" }, `no group "bosses"`},
		"too few":         {func(d *Document) { d.Rules[1].Then.Require[0].Count = 3 }, "the group has 2 persons"},
		"guard":           {func(d *Document) { d.Guards[0].When = named(OpInGroup, "x", op(OpInitiator)) }, "guard known-bad"},
		"invariant":       {func(d *Document) { d.Invariants[0].When = named(OpInGroup, "x", op(OpInitiator)) }, "invariant no-lone-sender"},
		"floor":           {func(d *Document) { d.Invariants[0].AtLeast.Group = "x" }, "invariant no-lone-sender"},
		"form":            {func(d *Document) { d.Currency = "x" }, "currency"},
		"size":            {func(d *Document) { d.AddressBook = bigBook() }, "at most 524288"},
	} {
		d := everything()
		c.change(d)
		err := d.Check(roster)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantText(t, name, err.Error(), c.want)
	}
}

// bigBook takes more bytes than a document may have.
func bigBook() []Entry {
	var out []Entry
	for i := range 15 {
		e := Entry{Label: string(rune('a' + i))}
		if i == 1 {
			e.Label = "blocked"
		}
		for j := range 1000 {
			e.Addresses = append(e.Addresses, "cosmos:hub:"+strings.Repeat("z", 30)+string([]byte{byte('a' + j/100), byte('a' + j/10%10), byte('a' + j%10)}))
		}
		out = append(out, e)
	}
	out[11].Label = "known" // after k
	return slices.DeleteFunc(out, func(e Entry) bool { return e.Label == "l" })
}

// Format writes what people write.
func TestFormat(t *testing.T) {
	d := everything()
	for i, want := range []string{
		`transfers.exists(t, t.to.labelled("blocked")) || allowances.exists(a, a.unlimited || a.spender.labelled("blocked"))`,
		`!calls.all(c, c.method in ["pause()", "swap(address,uint256)"] && c.uint("amount") < 7 && c.address("token") == "` + known + `" && c.text("name") != "x" && c.flag("final") && transfers.exists_one(t, t.to == c.to))`,
		`creations.size() > 0`,
	} {
		if got := d.Format(&d.Guards[i].When); got != want {
			t.Errorf("guard %d is\n %s, want\n %s", i, got, want)
		}
	}
	for _, c := range []struct {
		e    Expr
		want string
	}{
		{d.Rules[1].When, `initiator.inGroup("traders") && initiator.hasRole("proposer") && approvers.filter(p, p.inGroup("traders")).size() >= 1 && (true ? used("monthly") <= (money("0.000001 USD") + money("0.000002 USD")) * 2 : false) && (5 - 2) % 2 == used("rate") / 3 && transfers.all(t, t.value > money("0 USD"))`},
		{op(OpSub, number(1), op(OpSub, number(2), number(3))), "1 - (2 - 3)"},
		{op(OpSub, op(OpSub, number(1), number(2)), number(3)), "1 - 2 - 3"},
		{op(OpNot, op(OpAnd, yes(), op(OpOr, no(), yes()))), "!(true && (false || true))"},
		{op(OpEq, op(OpWallet), text("01"+strings.Repeat("00", 31))), `wallet == "hot"`},
		{op(OpExists, op(OpTransfers), op(OpAll, op(OpTransfers), op(OpAnd, op(OpEq, field("asset", 1), text(eth)), op(OpEq, field("to", 0), field("to", 1))))), `transfers.exists(t, transfers.all(t2, t.asset == "ETH" && t2.to == t.to))`},
		{Expr{Op: OpDuring, Text: "UTC", Num: Hours{31, 480, 1080}.Num()}, `during("Mon-Fri 08:00-18:00 UTC")`},
		{Expr{Op: OpBefore, Num: num(1800000000)}, `before("2027-01-15T08:00:00Z")`},
		{op(OpLe, ofAsset(OpTotal, eth), Expr{Op: OpAmount, Num: eths(t, "2.5"), Asset: eth}), `total("ETH") <= amount("2.5 ETH")`},
		{op(OpNot, op(OpNot, yes())), "!(!true)"}, // CEL reads !!a as a
		{op(OpIf, yes(), op(OpIf, no(), yes(), no()), no()), "true ? (false ? true : false) : false"},
	} {
		if got := d.Format(&c.e); got != c.want {
			t.Errorf("is\n %s, want\n %s", got, c.want)
		}
	}
}

// A document that is copied or changed after Compile is evaluated as it is.
func TestCopiesAreNotCompiled(t *testing.T) {
	d := when(t, yes())
	copied := *d
	copied.Rules = []Rule{{Name: "it", When: no(), Then: Verdict{Effect: Allow}}}
	in := send(t, known, "1")
	if got := copied.Evaluate(testRoster(t), in); got.Allow {
		t.Errorf("a copy is evaluated as the original: %+v", got)
	}
	if got := d.Evaluate(testRoster(t), in); !got.Allow {
		t.Errorf("decided %+v", got)
	}
}

func TestCompiledIsACopy(t *testing.T) {
	d := when(t, yes())
	if d.Compiled() != d {
		t.Error("a compiled document is compiled again")
	}
	plain := *d
	c := plain.Compiled()
	if c == &plain || c.compiled == nil || c.compiled.doc != c || plain.compiled.doc == &plain {
		t.Error("Compiled changes its document")
	}
	if (*Document)(nil).Compiled() != nil {
		t.Error("nothing is compiled to something")
	}
}

// A chain of && or || has one form: what brackets would tell apart is refused, and so
// are hours that end when they begin.
func TestOneForm(t *testing.T) {
	d := &Document{Zones: []Zone{{Name: "UTC", Steps: []Step{{0, 0}}, Until: 4_000_000_000}}}
	hours := func(from, to uint16) Expr { return Expr{Op: OpDuring, Text: "UTC", Num: Hours{127, from, to}.Num()} }
	code := func(s string) Expr { return op(OpExists, op(OpCreations), op(OpEq, field("code", 0), text(s))) }
	for name, c := range map[string]struct {
		e    Expr
		want string // "" accepted
	}{
		"and in and":       {op(OpAnd, yes(), op(OpAnd, yes(), no())), "&&: an operand is && too"},
		"or in or":         {op(OpOr, op(OpOr, yes(), no()), yes()), "||: an operand is || too"},
		"deeper":           {op(OpNot, op(OpAnd, yes(), op(OpOr, yes(), op(OpOr, yes(), no())))), "||: an operand is || too"},
		"or in and in or":  {op(OpOr, yes(), op(OpAnd, yes(), op(OpOr, yes(), no()))), ""},
		"not not":          {op(OpNot, op(OpNot, yes())), ""},
		"no time":          {hours(480, 480), "to 1 to 1440 and not from"},
		"over midnight":    {hours(480, 479), ""},
		"all day":          {hours(0, 1440), ""},
		"code":             {code("0x" + strings.Repeat("0a", 32)), ""},
		"code, upper case": {code("0x" + strings.Repeat("0A", 32)), "code hash"},
		"code, short":      {code("0x" + strings.Repeat("0a", 31)), "code hash"},
		"code, bare":       {code(strings.Repeat("0a", 32)), "code hash"},
		"code, empty":      {code(""), "code hash"},
		"code, labelled":   {op(OpExists, op(OpCreations), named(OpLabelled, "x", field("code", 0))), "want an account"},
		"code, an account": {op(OpExists, op(OpCreations), op(OpEq, field("code", 0), op(OpSender))), "never equal"},
	} {
		_, err := d.Type(&c.e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	d.Rules = []Rule{{Name: "nested", When: op(OpAnd, yes(), op(OpAnd, yes(), no())), Then: Verdict{Effect: Allow}}}
	if _, err := DecodeDocument(d.Encode()); err == nil || !strings.Contains(err.Error(), "an operand is && too") {
		t.Errorf("decoded: %v", err)
	}
}
