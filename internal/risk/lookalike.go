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
			known = append(known, p.Transfers[i].To)
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

// receivers are those who get or may take the wallet's assets.
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
	return out
}

// ends is how many characters people compare at each end, after 0x.
const ends = 4

// alike says whether two accounts of one chain family differ only where people do
// not look.
func alike(a, b string) bool {
	fa, aa := address(a)
	fb, ab := address(b)
	if fa != fb || a == b || len(aa) < 2*ends || len(ab) < 2*ends {
		return false
	}
	return aa[:ends] == ab[:ends] && aa[len(aa)-ends:] == ab[len(ab)-ends:]
}

// address is an account's chain family and what people see of its address: hex
// digits whatever their case.
func address(account string) (family, text string) {
	family, _, _ = strings.Cut(account, ":")
	text = account[strings.LastIndexByte(account, ':')+1:]
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		return family, strings.ToLower(hex)
	}
	return family, text
}
