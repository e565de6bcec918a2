package chain

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// The names of chains, accounts and assets, as the Chain Agnostic Improvement
// Proposals write them. These functions check the form only; whether an address
// exists on its chain, and its checksum, is the codec's to say.

// CheckID checks a CAIP-2 chain id, e.g. "eip155:1".
func CheckID(id string) error {
	ns, ref, ok := strings.Cut(id, ":")
	if !ok || !word(ns, 3, 8, "-") || strings.ToLower(ns) != ns || !word(ref, 1, 32, "-_") {
		return fmt.Errorf("chain %q: want a CAIP-2 id such as eip155:1", wire.CleanText(id, 80))
	}
	return nil
}

// ParseAccount splits a CAIP-10 account, e.g. "eip155:1:0x…", into the chain and
// the address on it.
func ParseAccount(account string) (id, address string, err error) {
	i := strings.LastIndexByte(account, ':')
	if i < 0 || CheckID(account[:i]) != nil || !word(account[i+1:], 1, 128, "-.%") {
		return "", "", fmt.Errorf("account %q: want a CAIP-10 account such as eip155:1:0x52908400098527886E0F7030069857D2E4169EE7", wire.CleanText(account, 200))
	}
	return account[:i], account[i+1:], nil
}

// ParseAsset splits a CAIP-19 asset, e.g. "eip155:1/slip44:60" or
// "eip155:1/erc20:0x…", into the chain, the namespace and the reference. Where
// one contract has several, as of ERC-1155, the reference ends in "/" and the
// token's number: "eip155:1/erc1155:0x…/7".
func ParseAsset(asset string) (id, namespace, reference string, err error) {
	id, rest, _ := strings.Cut(asset, "/")
	ns, ref, ok := strings.Cut(rest, ":")
	contract, token, several := strings.Cut(ref, "/")
	if !ok || CheckID(id) != nil || !word(ns, 3, 8, "-") || strings.ToLower(ns) != ns || !word(contract, 1, 128, "-.%") || several && (ns != "erc1155" || !number(token)) {
		return "", "", "", fmt.Errorf("asset %q: want a CAIP-19 asset such as eip155:1/slip44:60 or eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F", wire.CleanText(asset, 200))
	}
	return id, ns, ref, nil
}

// number reports whether s is a decimal number as formatted: at most 78 digits,
// no zero in front.
func number(s string) bool {
	return word(s, 1, 78, "") && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// word reports whether s has min to max characters, letters, digits or extra.
func word(s string, min, max int, extra string) bool {
	if len(s) < min || len(s) > max {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return true
}
