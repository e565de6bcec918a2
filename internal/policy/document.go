package policy

import (
	"cmp"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Document is a whole policy. Order matters in Guards and Rules only; everything
// else is sorted.
type Document struct {
	Assets      []Asset // sorted by ID; conditions name no other asset
	AddressBook []Entry // sorted by label
	Guards      []Guard // any that matches denies
	Rules       []Rule  // the first that matches decides
}

// Asset gives an asset its name and unit.
type Asset struct {
	Symbol   string // "ETH"
	ID       string // CAIP-19
	Decimals uint8  // one ETH is 10^18 of its smallest unit
}

// Entry is a label of the address book.
type Entry struct {
	Label     string
	Addresses []string // CAIP-10, sorted
}

// Guard denies what matches.
type Guard struct {
	Name string
	When Condition
}

// Rule decides what matches.
type Rule struct {
	Name string
	When Condition
	Then Verdict
}

// Effect is what a rule does.
type Effect uint8

// The effects.
const (
	Allow   Effect = 1
	Deny    Effect = 2
	Require Effect = 3 // allow, once enough people approved
)

// Verdict is the right-hand side of a rule.
type Verdict struct {
	Effect            Effect
	Require           []Requirement // Require: sorted by group; each person counts for one of them
	InitiatorExcluded bool          // Require: the initiator's own approval does not count
}

// Requirement is a number of approvals from a group.
type Requirement struct {
	Group string `json:"group"`
	Count uint8  `json:"count"`
}

// Op is what a Condition tests.
type Op uint8

// The operators. "every" is false when there is nothing to look at, so that no
// condition holds vacuously.
const (
	All Op = 1 // every one of Sub
	Any Op = 2 // at least one of Sub
	Not Op = 3 // not Sub[0]

	Chain     Op = 10 // the chain is one of Set (CAIP-2)
	Wallet    Op = 11 // the wallet is one of Set (64 hex digits)
	Sender    Op = 12 // the sending account is one of Set (CAIP-10)
	Initiator Op = 13 // the initiator is one of Set ("alice", "group:traders")

	EveryAsset     Op = 20 // every transfer is of an asset of Set (CAIP-19)
	AnyAsset       Op = 21
	EveryRecipient Op = 22 // every transfer goes to one of Set ("label:known" or CAIP-10)
	AnyRecipient   Op = 23
	EverySpender   Op = 24 // every token allowance is for one of Set
	AnySpender     Op = 25
	EveryContract  Op = 26 // every call is of one of Set
	AnyContract    Op = 27
	EveryMethod    Op = 28 // every call's method is one of Set ("approve(address,uint256)")
	AnyMethod      Op = 29

	// Of each asset of Limits: what the whole transaction moves, all its transfers
	// together.
	AmountAtMost    Op = 30 // every transfer is of an asset of Limits, and no total is above its limit
	AmountAtLeast   Op = 31 // some asset's total reaches its limit
	AllowanceAtMost Op = 32 // every token allowance is of an asset of Limits and at most its limit
	MaxFeeAtMost    Op = 33 // the most that fees may be, by the request, is at most the native asset's limit

	Contains      Op = 40 // there is at least one of each of Set: "transfers", "allowances", "calls"
	OnlyTransfers Op = 41 // the sender moves assets of its own, and nothing else happens

	RiskIs Op = 50 // the verdict of the engine Set[0] is one of Outcomes
)

// Condition is a tree of operators. Which fields an operator uses stands at the
// operator; the others are empty.
type Condition struct {
	Op       Op
	Sub      []Condition
	Set      []string // sorted
	Limits   []Limit  // sorted by asset
	Outcomes []request.Outcome
}

// Limit is an amount of an asset, in its smallest unit.
type Limit struct {
	Asset  string // CAIP-19
	Amount chain.Amount
}

// Bounds of a Document.
const (
	MaxDocument     = 512 << 10 // bytes of its encoding
	MaxAssets       = 256
	MaxLabels       = 256
	MaxAddresses    = 1024 // of one label
	MaxGuards       = 64
	MaxRules        = 256
	MaxDepth        = 16   // of one condition
	MaxNodes        = 1024 // of one condition
	MaxSet          = 256
	MaxRequirements = 8
	maxCount        = 16 // approvals of one requirement
	maxDecimals     = 77
)

// Root names this exact document.
func (d *Document) Root() [32]byte { return wire.Hash("coffer/policy/v1", d.Encode()) }

// Sort puts everything but guards and rules in the order of the encoding.
func (d *Document) Sort() {
	slices.SortFunc(d.Assets, func(a, b Asset) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(d.AddressBook, func(a, b Entry) int { return cmp.Compare(a.Label, b.Label) })
	for _, e := range d.AddressBook {
		slices.Sort(e.Addresses)
	}
	for i := range d.Guards {
		d.Guards[i].When.sort()
	}
	for i := range d.Rules {
		d.Rules[i].When.sort()
		slices.SortFunc(d.Rules[i].Then.Require, func(a, b Requirement) int { return cmp.Compare(a.Group, b.Group) })
	}
}

func (c *Condition) sort() {
	slices.Sort(c.Set)
	slices.Sort(c.Outcomes)
	slices.SortFunc(c.Limits, func(a, b Limit) int { return cmp.Compare(a.Asset, b.Asset) })
	for i := range c.Sub {
		c.Sub[i].sort()
	}
}

// asset finds an asset by id.
func (d *Document) asset(id string) (*Asset, bool) {
	i, ok := slices.BinarySearchFunc(d.Assets, id, func(a Asset, id string) int { return cmp.Compare(a.ID, id) })
	if !ok {
		return nil, false
	}
	return &d.Assets[i], true
}

// entry finds a label of the address book.
func (d *Document) entry(label string) (*Entry, bool) {
	i, ok := slices.BinarySearchFunc(d.AddressBook, label, func(e Entry, l string) int { return cmp.Compare(e.Label, l) })
	if !ok {
		return nil, false
	}
	return &d.AddressBook[i], true
}
