package risk

import (
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// lookalike finds recipients that were made to be taken for somebody else
// ("address poisoning"): people compare the ends of an address, so an attacker
// makes one with the same ends, and gets it into the history that people copy from.
func (e *Engine) lookalike(f *findings, x *chain.Effects, past []*chain.Effects) {
	known := append([]string{x.Sender}, e.checks.Known...)
	for _, p := range past {
		for i := range p.Transfers {
			if t := &p.Transfers[i]; t.From == x.Sender && t.To != "" && !t.Amount.IsZero() {
				known = append(known, t.To)
			}
		}
	}
	told := map[string]bool{}
	for _, to := range receivers(x) {
		if told[to] {
			continue
		}
		twin := ""
		for _, k := range known {
			if k == to {
				twin = ""
				break // it is known itself
			}
			if twin == "" && alike(k, to) {
				twin = k
			}
		}
		if twin != "" {
			told[to] = true
			f.add(e.checks.LookalikeWeight, "%s looks like %s, which this wallet knows, and is another account", to, twin)
		}
	}
}

// receivers are those who get or may take assets, or whom a call or a message names:
// methods that the policy declares pay whom their arguments say.
func receivers(x *chain.Effects) []string {
	var out []string
	for i := range x.Transfers {
		if t := &x.Transfers[i]; t.To != "" && t.To != x.Sender {
			out = append(out, t.To)
		}
	}
	for i := range x.Approvals {
		out = append(out, x.Approvals[i].Spender)
	}
	for i := range x.Calls {
		out = append(out, named(x.Calls[i].Args)...)
	}
	if x.Message != nil {
		out = append(out, named(x.Message.Fields)...)
	}
	return out
}

// ends is how many characters people compare at each end, after 0x.
const ends = 4

// alike says whether two accounts of one chain family differ only where people do
// not look.
func alike(a, b string) bool {
	fa, aa := split(a)
	fb, ab := split(b)
	if fa != fb || aa == ab || len(aa) < 2*ends || len(ab) < 2*ends {
		return false
	}
	return aa[:ends] == ab[:ends] && aa[len(aa)-ends:] == ab[len(ab)-ends:]
}

// split is an account's chain family and what people see of its address: hex digits
// whatever their case.
func split(account string) (family, address string) {
	id, address, err := chain.ParseAccount(account)
	if err != nil {
		return "", account
	}
	family, _, _ = strings.Cut(id, ":")
	if hex, ok := strings.CutPrefix(address, "0x"); ok {
		return family, strings.ToLower(hex)
	}
	return family, address
}
