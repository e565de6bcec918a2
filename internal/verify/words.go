package verify

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/wire"
)

// maxDoes is how many effects one line tells.
const maxDoes = 3

// does tells in a few words what a transaction does: "1 ETH to eip155:1:0x…".
func does(doc *policy.Document, e *chain.Effects) string {
	amount := func(asset string, n chain.Amount) string {
		if text := doc.Amount(asset, n); !strings.Contains(text, asset) {
			return text
		}
		return n.Dec() + " smallest units of " + asset
	}
	var out []string
	for _, t := range e.Transfers {
		to := t.To
		if to == "" {
			to = "the contract that it creates"
		}
		line := amount(t.Asset, t.Amount) + " to " + to
		if t.From != e.Sender {
			line += " from " + t.From
		}
		out = append(out, line)
	}
	for _, a := range e.Approvals {
		if a.Unlimited() {
			out = append(out, fmt.Sprintf("%s may spend any amount of %s of %s", a.Spender, a.Asset, a.Owner))
		} else {
			out = append(out, fmt.Sprintf("%s may spend %s of %s", a.Spender, amount(a.Asset, a.Amount), a.Owner))
		}
	}
	if len(out) == 0 {
		for _, c := range e.Calls {
			out = append(out, fmt.Sprintf("a call of %s of %s", c.Method, c.To))
		}
	}
	for range e.Creates {
		out = append(out, "a new contract")
	}
	if e.Message != nil {
		out = append(out, fmt.Sprintf("a message %s for %s", e.Message.Type, e.Message.Contract))
	}
	if n := len(out) - maxDoes; n > 0 {
		out = append(out[:maxDoes], fmt.Sprintf("and %d more", n))
	}
	return wire.CleanText(strings.Join(out, "; "), 512)
}

// listed is "1, 2 and 3".
func listed[T any](ids []T) string {
	var b strings.Builder
	for i, id := range ids {
		switch {
		case i > 0 && i == len(ids)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprint(&b, id)
	}
	return b.String()
}
