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
