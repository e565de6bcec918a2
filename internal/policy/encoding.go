package policy

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

const documentVersion = 1

const maxItem = 256 // bytes of one string of a set

// Encode is the canonical encoding.
func (d *Document) Encode() []byte {
	w := wire.NewWriter(documentVersion).Count(len(d.Assets))
	for _, a := range d.Assets {
		w.String(a.Symbol).String(a.ID).Uint8(a.Decimals)
	}
	w.Count(len(d.AddressBook))
	for _, e := range d.AddressBook {
		w.String(e.Label)
		writeStrings(w, e.Addresses)
	}
	w.Count(len(d.Guards))
	for i := range d.Guards {
		w.String(d.Guards[i].Name)
		d.Guards[i].When.encode(w)
	}
	w.Count(len(d.Rules))
	for i := range d.Rules {
		w.String(d.Rules[i].Name)
		d.Rules[i].When.encode(w)
		d.Rules[i].Then.encode(w)
	}
	return w.Bytes()
}

func writeStrings(w *wire.Writer, list []string) {
	w.Count(len(list))
	for _, s := range list {
		w.String(s)
	}
}

func (c *Condition) encode(w *wire.Writer) {
	w.Uint8(uint8(c.Op))
	switch c.Op.fields() {
	case fieldSub:
		w.Count(len(c.Sub))
		for i := range c.Sub {
			c.Sub[i].encode(w)
		}
	case fieldSet:
		writeStrings(w, c.Set)
	case fieldLimits:
		w.Count(len(c.Limits))
		for i := range c.Limits {
			w.String(c.Limits[i].Asset)
			chain.WriteAmount(w, &c.Limits[i].Amount)
		}
	case fieldRisk:
		writeStrings(w, c.Set)
		w.Count(len(c.Outcomes))
		for _, o := range c.Outcomes {
			w.Uint8(uint8(o))
		}
	}
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

// fields says which fields an operator uses.
func (o Op) fields() opFields {
	switch o {
	case All, Any, Not:
		return fieldSub
	case Chain, Wallet, Sender, Initiator,
		EveryAsset, AnyAsset, EveryRecipient, AnyRecipient, EverySpender, AnySpender,
		EveryContract, AnyContract, EveryMethod, AnyMethod, Contains:
		return fieldSet
	case AmountAtMost, AmountAtLeast, AllowanceAtMost, MaxFeeAtMost:
		return fieldLimits
	case RiskIs:
		return fieldRisk
	case OnlyTransfers:
		return fieldNone
	}
	return fieldUnknown
}

type opFields uint8

const (
	fieldUnknown opFields = iota
	fieldNone
	fieldSub
	fieldSet
	fieldLimits
	fieldRisk
)

// DecodeDocument is the inverse of Encode. What it returns is well formed; whether
// it fits a roster is Check's to say.
func DecodeDocument(b []byte) (*Document, error) {
	r := wire.NewReader(b, documentVersion)
	if len(b) > MaxDocument {
		r.Failf("%d bytes, at most %d", len(b), MaxDocument)
	}
	d := new(Document)
	for range r.Count("assets", MaxAssets, 9) {
		d.Assets = append(d.Assets, Asset{r.String("symbol", maxItem), r.String("asset id", maxItem), r.Uint8("decimals")})
	}
	for range r.Count("address book", MaxLabels, 8) {
		d.AddressBook = append(d.AddressBook, Entry{r.Name("label"), readStrings(r, "addresses", MaxAddresses)})
	}
	for range r.Count("guards", MaxGuards, 5) {
		d.Guards = append(d.Guards, Guard{r.Name("guard"), readCondition(r)})
	}
	for range r.Count("rules", MaxRules, 6) {
		d.Rules = append(d.Rules, Rule{r.Name("rule"), readCondition(r), readVerdict(r)})
	}
	err := r.Done()
	if err == nil {
		err = d.checkForm()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode policy: %w", err)
	}
	return d, nil
}

func readStrings(r *wire.Reader, field string, max int) []string {
	var list []string
	for range r.Count(field, max, 4) {
		list = append(list, r.Text(field, maxItem))
	}
	return list
}

func readCondition(r *wire.Reader) Condition {
	nodes := 0
	return readNode(r, 1, &nodes)
}

// readNode bounds depth and number of nodes before it goes deeper.
func readNode(r *wire.Reader, depth int, nodes *int) Condition {
	*nodes++
	c := Condition{Op: Op(r.Uint8("operator"))}
	if r.Err() == nil && (depth > MaxDepth || *nodes > MaxNodes) {
		r.Failf("condition: more than %d levels or %d operators", MaxDepth, MaxNodes)
	}
	if r.Err() != nil {
		return Condition{}
	}
	switch c.Op.fields() {
	case fieldSub:
		for range r.Count("operands", MaxNodes, 1) {
			if r.Err() != nil {
				break
			}
			c.Sub = append(c.Sub, readNode(r, depth+1, nodes))
		}
	case fieldSet:
		c.Set = readStrings(r, "set", MaxSet)
	case fieldLimits:
		for range r.Count("limits", MaxSet, 36) {
			c.Limits = append(c.Limits, Limit{r.String("asset", maxItem), chain.ReadAmount(r, "amount")})
		}
	case fieldRisk:
		c.Set = readStrings(r, "engine", 1)
		for range r.Count("outcomes", 3, 1) {
			c.Outcomes = append(c.Outcomes, request.Outcome(r.Uint8("outcome")))
		}
	case fieldUnknown:
		r.Failf("operator: unknown value %d", c.Op)
	}
	return c
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
