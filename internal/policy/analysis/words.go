package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/policy"
)

// format is a condition as people write it.
func (v *view) format(e *policy.Expr) string { return v.doc.Format(e) }

// Describe tells an input in a sentence, with the names of a document.
func Describe(d *policy.Document, in *Input) string {
	var what []string
	f := in.Effects
	for i := range f.Transfers {
		t := &f.Transfers[i]
		s := fmt.Sprintf("a transfer of %s", d.Amount(t.Asset, t.Amount))
		if t.From != f.Sender {
			s += " from " + account(d, t.From)
		}
		if t.To == "" {
			s += " to a new contract"
		} else {
			s += " to " + account(d, t.To)
		}
		what = append(what, s)
	}
	for i := range f.Approvals {
		a := &f.Approvals[i]
		amount := d.Amount(a.Asset, a.Amount)
		if a.Unlimited() {
			amount = "without limit of " + a.Asset
		}
		what = append(what, fmt.Sprintf("an allowance of %s for %s", amount, account(d, a.Spender)))
	}
	for i := range f.Calls {
		what = append(what, fmt.Sprintf("a call of %s of %s", f.Calls[i].Method, account(d, f.Calls[i].To)))
	}
	for range f.Creates {
		what = append(what, "the creation of a contract")
	}
	if f.Message != nil {
		what = append(what, fmt.Sprintf("a message %s of %s", f.Message.Type, f.Message.Contract))
	}
	if len(what) == 0 {
		what = []string{"a transaction that moves nothing"}
	}
	what = runs(what)
	native, _ := family.Native(f.Chain)
	s := fmt.Sprintf("%s, by %s", strings.Join(what, " and "), in.Request.Initiator)
	s += fmt.Sprintf(" from %s", wallet(d, in))
	if !in.Request.MaxFee.IsZero() {
		s += ", with a fee of at most " + d.Amount(native, in.Request.MaxFee)
	}
	return s + circumstances(d, in)
}

func circumstances(d *policy.Document, in *Input) string {
	s := ""
	if v := in.Verified; len(v.Approvers) > 0 {
		s += ", approved by " + strings.Join(v.Approvers, " and ")
	} else {
		s += ", approved by nobody"
	}
	for _, r := range in.Verified.Risk {
		s += fmt.Sprintf(", %s says %s", r.Engine, r.Outcome)
	}
	for _, l := range in.Ledger {
		if m := l.Movement.Moves; len(m) > 0 {
			s += fmt.Sprintf(", after %s had been moved %s before", d.Amount(m[0].Asset, m[0].Amount), time.Duration(in.Now-l.Time)*time.Millisecond)
		}
	}
	if d.Currency != "" && len(in.Verified.Prices) == 0 {
		s += ", without prices"
	}
	return s + ", at " + time.UnixMilli(int64(in.Now)).UTC().Format("Mon 2006-01-02 15:04 UTC")
}

func wallet(d *policy.Document, in *Input) string {
	for _, w := range d.Wallets {
		if w.ID == in.Request.Wallet {
			return w.Name
		}
	}
	return in.Effects.Sender
}

// account is an account with its labels, if it has any.
func account(d *policy.Document, a string) string {
	var labels []string
	for _, e := range d.AddressBook {
		if slices.Contains(e.Addresses, a) {
			labels = append(labels, e.Label)
		}
	}
	if len(labels) > 0 {
		return fmt.Sprintf("%s (%s)", a, strings.Join(labels, ", "))
	}
	return a
}

// runs counts what is repeated.
func runs(list []string) []string {
	var out []string
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && list[i+n] == list[i] {
			n++
		}
		if n > 1 {
			out = append(out, fmt.Sprintf("%d times %s", n, list[i]))
		} else {
			out = append(out, list[i])
		}
		i += n
	}
	return out
}
