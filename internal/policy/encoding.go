package policy

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

const documentVersion = 2

const maxItem = 256 // bytes of one string

// Encode is the canonical encoding.
func (d *Document) Encode() []byte {
	w := wire.NewWriter(documentVersion).String(d.Currency)
	writeStrings(w, d.Prices.Sources)
	w.Uint8(d.Prices.Agree).Uint16(d.Prices.Tolerance).Uint64(d.Prices.MaxAge)
	w.Count(len(d.Assets))
	for _, a := range d.Assets {
		w.String(a.Symbol).String(a.ID).Uint8(a.Decimals)
	}
	w.Count(len(d.Wallets))
	for i := range d.Wallets {
		w.String(d.Wallets[i].Name).Fixed(d.Wallets[i].ID[:])
	}
	w.Count(len(d.AddressBook))
	for _, e := range d.AddressBook {
		w.String(e.Label)
		writeStrings(w, e.Addresses)
	}
	w.Count(len(d.Methods))
	for _, m := range d.Methods {
		w.String(m.Contract).String(m.Signature)
	}
	w.Count(len(d.Zones))
	for i := range d.Zones {
		d.Zones[i].encode(w)
	}
	w.Count(len(d.Limits))
	for i := range d.Limits {
		d.Limits[i].encode(w)
	}
	d.encodeRules(w)
	return w.Bytes()
}

func (d *Document) encodeRules(w *wire.Writer) {
	w.Count(len(d.Guards))
	for i := range d.Guards {
		w.String(d.Guards[i].Name)
		d.Guards[i].When.encode(w)
	}
	w.Count(len(d.Rules))
	for i := range d.Rules {
		r := &d.Rules[i]
		w.String(r.Name)
		r.When.encode(w)
		r.Then.encode(w)
		w.Bool(r.BreakGlass)
	}
	w.Count(len(d.Invariants))
	for i := range d.Invariants {
		v := &d.Invariants[i]
		w.String(v.Name)
		v.When.encode(w)
		w.Bool(v.AtLeast.Deny).Uint8(v.AtLeast.Approvals).Bool(v.AtLeast.InitiatorExcluded).String(v.AtLeast.Group)
	}
}

func writeStrings(w *wire.Writer, list []string) {
	w.Count(len(list))
	for _, s := range list {
		w.String(s)
	}
}

func (z *Zone) encode(w *wire.Writer) {
	w.String(z.Name).Count(len(z.Steps))
	for _, s := range z.Steps {
		w.Uint64(uint64(s.From)).Uint32(uint32(s.Offset))
	}
	w.Uint64(uint64(z.Until))
}

func (l *Limit) encode(w *wire.Writer) {
	w.String(l.Name).Uint8(uint8(l.Measure)).String(l.Asset).Count(len(l.Per))
	for _, s := range l.Per {
		w.Uint8(uint8(s))
	}
	w.Uint8(uint8(l.Window.Kind)).Uint64(l.Window.Length).Uint8(uint8(l.Window.Unit)).String(l.Window.Zone)
	chain.WriteAmount(w, &l.Max)
}

func (v *Verdict) encode(w *wire.Writer) {
	w.Uint8(uint8(v.Effect))
	if v.Effect != Require {
		return
	}
	w.Count(len(v.Require))
	for _, q := range v.Require {
		w.String(q.Group).Uint8(q.Count)
	}
	w.Bool(v.InitiatorExcluded)
}

// Encode is the canonical encoding of a tree.
func (e *Expr) Encode() []byte {
	w := new(wire.Writer)
	e.encode(w)
	return w.Bytes()
}

func (e *Expr) encode(w *wire.Writer) {
	w.Uint8(uint8(e.Op))
	info := ops[e.Op]
	if info.uses&usesText != 0 {
		w.String(e.Text)
	}
	if info.uses&usesSet != 0 {
		writeStrings(w, e.Set)
	}
	if info.uses&usesNum != 0 {
		chain.WriteAmount(w, &e.Num)
	}
	if info.uses&usesAsset != 0 {
		w.String(e.Asset)
	}
	if info.uses&usesDepth != 0 {
		w.Uint8(e.Depth)
	}
	if info.min != info.max {
		w.Count(len(e.Args))
	}
	for i := range e.Args {
		e.Args[i].encode(w)
	}
}

// DecodeDocument is the inverse of Encode. What it returns is well formed and
// well typed; whether it fits a roster is Check's to say.
func DecodeDocument(b []byte) (*Document, error) {
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("couldn't decode policy: %d bytes, at most %d", len(b), MaxDocument)
	}
	r := wire.NewReader(b, documentVersion)
	d := &Document{Currency: r.Text("currency", maxItem)}
	d.Prices = PriceRule{Sources: readStrings(r, "price sources", MaxSources), Agree: r.Uint8("agree"), Tolerance: r.Uint16("tolerance"), MaxAge: r.Uint64("price age")}
	for range r.Count("assets", MaxAssets, 9) {
		d.Assets = append(d.Assets, Asset{r.Text("symbol", maxItem), r.Text("asset id", maxItem), r.Uint8("decimals")})
	}
	for range r.Count("wallets", MaxWallets, 36) {
		nw := NamedWallet{Name: r.Name("wallet")}
		r.Into("wallet id", nw.ID[:])
		d.Wallets = append(d.Wallets, nw)
	}
	for range r.Count("address book", MaxLabels, 8) {
		d.AddressBook = append(d.AddressBook, Entry{r.Name("label"), readStrings(r, "addresses", MaxAddresses)})
	}
	for range r.Count("methods", MaxMethods, 8) {
		d.Methods = append(d.Methods, chain.Method{Contract: r.Text("contract", maxItem), Signature: r.Text("signature", maxMethod)})
	}
	for range r.Count("zones", MaxZones, 16) {
		d.Zones = append(d.Zones, readZone(r))
	}
	for range r.Count("limits", MaxLimits, 59) {
		d.Limits = append(d.Limits, readLimit(r))
	}
	d.readRules(r)
	err := r.Done()
	if err == nil {
		err = d.checkForm()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode policy: %w", err)
	}
	return d, nil
}

func (d *Document) readRules(r *wire.Reader) {
	for range r.Count("guards", MaxGuards, 5) {
		d.Guards = append(d.Guards, Guard{r.Name("guard"), readExpr(r)})
	}
	for range r.Count("rules", MaxRules, 7) {
		d.Rules = append(d.Rules, Rule{r.Name("rule"), readExpr(r), readVerdict(r), r.Bool("break-glass")})
	}
	for range r.Count("invariants", MaxInvariants, 12) {
		v := Invariant{Name: r.Name("invariant"), When: readExpr(r)}
		v.AtLeast = Floor{r.Bool("deny"), r.Uint8("approvals"), r.Bool("initiator excluded"), r.Text("group", wire.MaxName)}
		d.Invariants = append(d.Invariants, v)
	}
}

func readStrings(r *wire.Reader, field string, max int) []string {
	var list []string
	for range r.Count(field, max, 4) {
		list = append(list, r.Text(field, maxItem))
	}
	return list
}

func readZone(r *wire.Reader) Zone {
	z := Zone{Name: r.Text("zone", maxItem)}
	for range r.Count("steps", MaxSteps, 12) {
		z.Steps = append(z.Steps, Step{int64(r.Uint64("from")), int32(r.Uint32("offset"))})
	}
	z.Until = int64(r.Uint64("until"))
	return z
}

func readLimit(r *wire.Reader) Limit {
	l := Limit{Name: r.Name("limit"), Measure: Measure(r.Uint8("measure")), Asset: r.Text("asset", maxItem)}
	for range r.Count("per", 4, 1) {
		l.Per = append(l.Per, Scope(r.Uint8("per")))
	}
	l.Window = Window{WindowKind(r.Uint8("window")), r.Uint64("length"), Unit(r.Uint8("unit")), r.Text("zone", maxItem)}
	l.Max = chain.ReadAmount(r, "max")
	return l
}

func readVerdict(r *wire.Reader) Verdict {
	v := Verdict{Effect: Effect(r.Uint8("effect"))}
	if v.Effect != Require {
		return v
	}
	for range r.Count("requirements", MaxRequirements, 5) {
		v.Require = append(v.Require, Requirement{r.Name("group"), r.Uint8("count")})
	}
	v.InitiatorExcluded = r.Bool("initiator excluded")
	return v
}

func readExpr(r *wire.Reader) Expr {
	nodes := 0
	return readNode(r, 1, &nodes)
}

// readNode bounds depth and number of nodes before it goes deeper.
func readNode(r *wire.Reader, depth int, nodes *int) Expr {
	*nodes++
	e := Expr{Op: Op(r.Uint8("operator"))}
	if r.Err() == nil && (depth > MaxDepth || *nodes > MaxNodes) {
		r.Failf("condition: more than %d levels or %d operators", MaxDepth, MaxNodes)
	}
	info, known := ops[e.Op]
	if r.Err() == nil && !known {
		r.Failf("operator: unknown value %d", e.Op)
	}
	if r.Err() != nil {
		return Expr{}
	}
	if info.uses&usesText != 0 {
		e.Text = r.Text("text", maxItem)
	}
	if info.uses&usesSet != 0 {
		e.Set = readStrings(r, "set", MaxSet)
	}
	if info.uses&usesNum != 0 {
		e.Num = chain.ReadAmount(r, "number")
	}
	if info.uses&usesAsset != 0 {
		e.Asset = r.Text("asset", maxItem)
	}
	if info.uses&usesDepth != 0 {
		e.Depth = r.Uint8("depth")
	}
	n := info.min
	if info.min != info.max {
		n = r.Count("operands", info.max, 1)
	}
	for range n {
		if r.Err() != nil {
			break
		}
		e.Args = append(e.Args, readNode(r, depth+1, nodes))
	}
	return e
}
