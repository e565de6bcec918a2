package policy

import (
	"cmp"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

// Document is a whole policy. Order matters in Guards, Rules and Invariants only;
// everything else is sorted.
type Document struct {
	Currency    string         // "USD"; empty: no money in this policy
	Prices      PriceRule      // zero when Currency is empty
	Assets      []Asset        // sorted by ID; conditions name no other asset
	Wallets     []NamedWallet  // sorted by name; for people only
	AddressBook []Entry        // sorted by label
	Methods     []chain.Method // sorted; contract methods that the admins declare
	Zones       []Zone         // sorted by name
	Limits      []Limit        // sorted by name
	Guards      []Guard        // any that matches denies
	Rules       []Rule         // the first that matches decides
	Invariants  []Invariant    // what publishing must prove of guards and rules

	compiled *program // set by Compile
}

// PriceRule says which prices count.
type PriceRule struct {
	Sources   []string // price sources of the roster, sorted
	Agree     uint8    // how many of them must have a fresh price
	Tolerance uint16   // how far apart the lowest and the highest may be, in 1/10000 of the lowest
	MaxAge    uint64   // ms
}

// Asset gives an asset its name and unit.
type Asset struct {
	Symbol   string // "ETH"
	ID       string // CAIP-19
	Decimals uint8  // one ETH is 10^18 of its smallest unit
}

// NamedWallet gives a wallet a name for people. Conditions hold the id.
type NamedWallet struct {
	Name string
	ID   [32]byte // the key's id
}

// Entry is a label of the address book.
type Entry struct {
	Label     string
	Addresses []string // CAIP-10, sorted
}

// Zone is a time zone, taken apart into its transitions by the tool that wrote
// the policy, so that every vault computes the same local time.
type Zone struct {
	Name  string // "Europe/Zurich"
	Steps []Step // sorted by From
	Until int64  // unix s; from then on nothing is known
}

// Step is a time from which local time is UTC + Offset.
type Step struct {
	From   int64 // unix s
	Offset int32 // s
}

// Measure is what a limit adds up.
type Measure uint8

// The measures.
const (
	MeasureAmount Measure = 1 // of one asset, its smallest unit
	MeasureMoney  Measure = 2 // of everything, 10^-6 of the currency
	MeasureCount  Measure = 3 // requests
)

// Scope is what a limit counts separately.
type Scope uint8

// The scopes.
const (
	PerWallet      Scope = 1
	PerAsset       Scope = 2
	PerInitiator   Scope = 3
	PerDestination Scope = 4
)

// WindowKind says how a limit's window moves.
type WindowKind uint8

// The kinds of windows.
const (
	Rolling  WindowKind = 1 // the last Length ms
	Calendar WindowKind = 2 // since the day, week, month or year began
)

// Unit is the length of a calendar window.
type Unit uint8

// The units. A week begins on Monday.
const (
	Day   Unit = 1
	Week  Unit = 2
	Month Unit = 3
	Year  Unit = 4
)

// Window is the time over which a limit counts.
type Window struct {
	Kind   WindowKind
	Length uint64 // Rolling: ms
	Unit   Unit   // Calendar
	Zone   string // Calendar
}

// Limit is a most over a window. It restrains nothing by itself: conditions ask
// within("name") or used("name").
type Limit struct {
	Name    string
	Measure Measure
	Asset   string  // MeasureAmount: CAIP-19
	Per     []Scope // sorted; empty: the whole cluster together
	Window  Window
	Max     chain.Amount // smallest unit; 10^-6 of the currency; a count
}

// Guard denies what matches.
type Guard struct {
	Name string
	When Expr
}

// Rule decides what matches.
type Rule struct {
	Name       string
	When       Expr
	Then       Verdict
	BreakGlass bool // for emergencies: a decision by it is marked in the log
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

// Invariant is a promise about guards and rules: for all requests where When
// holds, the verdict is at least AtLeast.
type Invariant struct {
	Name    string
	When    Expr
	AtLeast Floor
}

// Floor is the weakest verdict that an invariant permits.
type Floor struct {
	Deny              bool   // nothing passes; then the rest is zero
	Approvals         uint8  // different persons who approved
	InitiatorExcluded bool   // of whom none is the initiator
	Group             string // all of them from this group; empty: from any
}

// Bounds of a Document.
const (
	MaxDocument     = 512 << 10 // bytes of its encoding
	MaxAssets       = 256
	MaxWallets      = 256
	MaxLabels       = 256
	MaxAddresses    = 1024 // of one label
	MaxMethods      = 256
	MaxZones        = 16
	MaxSteps        = 512 // of one zone
	MaxSources      = 8
	MaxLimits       = 64
	MaxGuards       = 64
	MaxRules        = 256
	MaxInvariants   = 64
	MaxDepth        = 32      // of one condition
	MaxNodes        = 2048    // of one condition
	MaxNesting      = 2       // of quantifiers
	MaxCost         = 1 << 22 // nodes to visit for all conditions, each quantifier counting maxItems times
	MaxSet          = 256
	MaxRequirements = 8
	maxCount        = 16 // approvals of one requirement
	maxDecimals     = 77
	maxItems        = 64 // of one list of effects
	maxWindow       = 366 * 24 * 3600 * 1000
	maxPriceAge     = 24 * 3600 * 1000
)

const rootDomain = "coffer/policy/v2"

// Root names this exact document.
func (d *Document) Root() [32]byte { return wire.Hash(rootDomain, d.Encode()) }

// Sort puts everything but guards, rules and invariants in the order of the
// encoding.
func (d *Document) Sort() {
	slices.Sort(d.Prices.Sources)
	slices.SortFunc(d.Assets, func(a, b Asset) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(d.Wallets, func(a, b NamedWallet) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.AddressBook, func(a, b Entry) int { return cmp.Compare(a.Label, b.Label) })
	for _, e := range d.AddressBook {
		slices.Sort(e.Addresses)
	}
	slices.SortFunc(d.Methods, compareMethods)
	slices.SortFunc(d.Zones, func(a, b Zone) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(d.Limits, func(a, b Limit) int { return cmp.Compare(a.Name, b.Name) })
	for i := range d.Limits {
		slices.Sort(d.Limits[i].Per)
	}
	for i := range d.Guards {
		d.Guards[i].When.sort()
	}
	for i := range d.Rules {
		d.Rules[i].When.sort()
		slices.SortFunc(d.Rules[i].Then.Require, func(a, b Requirement) int { return cmp.Compare(a.Group, b.Group) })
	}
	for i := range d.Invariants {
		d.Invariants[i].When.sort()
	}
}

func compareMethods(a, b chain.Method) int {
	return cmp.Or(cmp.Compare(a.Contract, b.Contract), cmp.Compare(a.Signature, b.Signature))
}

func (e *Expr) sort() {
	slices.Sort(e.Set)
	for i := range e.Args {
		e.Args[i].sort()
	}
}

// asset finds an asset by id.
func (d *Document) asset(id string) (*Asset, bool) {
	return find(d.Assets, id, func(a *Asset) string { return a.ID })
}

// entry finds a label of the address book.
func (d *Document) entry(label string) (*Entry, bool) {
	return find(d.AddressBook, label, func(e *Entry) string { return e.Label })
}

// zone finds a zone by name.
func (d *Document) zone(name string) (*Zone, bool) {
	return find(d.Zones, name, func(z *Zone) string { return z.Name })
}

// Limit finds a limit by name.
func (d *Document) Limit(name string) (*Limit, bool) {
	return find(d.Limits, name, func(l *Limit) string { return l.Name })
}

// find searches a list that is sorted by key.
func find[T any](list []T, want string, key func(*T) string) (*T, bool) {
	i, ok := slices.BinarySearchFunc(list, want, func(x T, want string) int { return cmp.Compare(key(&x), want) })
	if !ok {
		return nil, false
	}
	return &list[i], true
}
