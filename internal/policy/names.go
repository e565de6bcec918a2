package policy

import "fmt"

// The built-in guards. They come before all others and cannot be turned off.
const (
	undecodedGuard = "undecoded"
	effectsGuard   = "effects-match-request"
)

// operators are the names of the operators in the JSON form.
var operators = []struct {
	op   Op
	name string
}{
	{All, "all"}, {Any, "any"}, {Not, "not"},
	{Chain, "chain"}, {Wallet, "wallet"}, {Sender, "sender"}, {Initiator, "initiator"},
	{EveryAsset, "everyAsset"}, {AnyAsset, "anyAsset"},
	{EveryRecipient, "everyRecipient"}, {AnyRecipient, "anyRecipient"},
	{EverySpender, "everySpender"}, {AnySpender, "anySpender"},
	{EveryContract, "everyContract"}, {AnyContract, "anyContract"},
	{EveryMethod, "everyMethod"}, {AnyMethod, "anyMethod"},
	{AmountAtMost, "amountAtMost"}, {AmountAtLeast, "amountAtLeast"},
	{AllowanceAtMost, "allowanceAtMost"}, {MaxFeeAtMost, "maxFeeAtMost"},
	{Contains, "contains"}, {OnlyTransfers, "onlyTransfers"}, {RiskIs, "risk"},
}

func (o Op) String() string {
	for _, x := range operators {
		if x.op == o {
			return x.name
		}
	}
	return fmt.Sprintf("operator-%d", uint8(o))
}

// didYouMean suggests the candidate nearest to what somebody wrote, if one is near.
func didYouMean(got string, candidates []string) string {
	best, distance := "", 3
	if len(got) > 64 {
		return ""
	}
	for _, c := range candidates {
		if d := editDistance(got, c); d < distance {
			best, distance = c, d
		}
	}
	if best == "" || distance*2 > len(best) {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
