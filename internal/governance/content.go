package governance

import (
	"cmp"
	"slices"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// content is a change with its decoded body: the one field of its kind is set.
type content struct {
	change       *Change
	hash         [32]byte
	roster       *identity.Roster
	policy       *policy.Document
	key          *KeyOrder
	vault        *VaultOrder
	measurements attest.Policy
	book         *Book
	chains       []string
	freeze       *Freeze
	withdraw     *Withdrawal
}

func decodeContent(c *Change) (*content, error) {
	x := &content{change: c, hash: c.Hash()}
	var err error
	switch c.Kind {
	case KindRoster:
		x.roster, err = identity.DecodeRoster(c.Body)
	case KindPolicy:
		x.policy, err = policy.DecodeDocument(c.Body)
	case KindKey:
		x.key, err = DecodeKeyOrder(c.Body)
	case KindVault:
		x.vault, err = DecodeVaultOrder(c.Body)
	case KindMeasurements:
		x.measurements, err = attest.DecodePolicy(c.Body)
	case KindBook:
		x.book, err = DecodeBook(c.Body)
	case KindChains:
		x.chains, err = DecodeChains(c.Body)
	case KindFreeze:
		x.freeze, err = DecodeFreeze(c.Body)
	case KindWithdraw:
		x.withdraw, err = DecodeWithdrawal(c.Body)
	default:
		return nil, refusal.Newf("change.kind", "", "kind: unknown value %d, want %s", c.Kind, kindNames)
	}
	if err != nil {
		return nil, body(c, err)
	}
	return x, nil
}

// bookInForce is an address book change on top of the policy in force.
type bookInForce struct {
	seq  uint64
	book *Book
}

// enact is the state with a change in force, if it fits what is.
func (st *State) enact(x *content) (*State, error) {
	next, c := *st, x.change
	switch c.Kind {
	case KindRoster:
		if err := st.checkNoVaultKey(x.roster); err != nil {
			return nil, err
		}
		next.Roster = x.roster
	case KindPolicy:
		next.written = x.policy
		next.books = slices.DeleteFunc(slices.Clone(st.books), func(b bookInForce) bool { return b.seq < c.Seq })
		if err := next.compose(); err != nil {
			return nil, body(c, err)
		}
	case KindBook:
		next.books = append(slices.Clone(st.books), bookInForce{c.Seq, x.book})
		slices.SortFunc(next.books, func(a, b bookInForce) int { return cmp.Compare(a.seq, b.seq) })
		if err := next.compose(); err != nil {
			return nil, body(c, err)
		}
	case KindKey:
		if err := st.checkKeyOrder(x.key); err != nil {
			return nil, body(c, err)
		}
		next.Orders = st.withOrder(x, x.key)
	case KindVault:
		if err := st.checkVaultOrder(x.vault); err != nil {
			return nil, body(c, err)
		}
		next.withVaultOrder(x, x.vault)
	case KindMeasurements:
		next.Measurements = x.measurements
	case KindChains:
		next.Chains = x.chains
	case KindFreeze:
		if err := st.checkFreeze(x.freeze); err != nil {
			return nil, body(c, err)
		}
		next.withFreeze(c, x.freeze)
	case KindWithdraw:
	}
	// A roster must leave the policy meaningful, and the other way round.
	if c.Kind == KindRoster || c.Kind == KindPolicy || c.Kind == KindBook {
		if err := next.Policy.Check(next.Roster); err != nil {
			return nil, body(c, err)
		}
		if err := checkInvariants(next.Policy, next.Roster); err != nil {
			return nil, body(c, err)
		}
	}
	return &next, nil
}

// compose makes the policy in force: the newest document, and every newer change of
// the address book in the order of their numbers, whenever each came in force.
func (st *State) compose() (err error) {
	st.Policy = st.written
	for _, b := range st.books {
		if st.Policy, err = b.book.apply(st.Policy); err != nil {
			return err
		}
	}
	return nil
}

// adopt puts a change in its place: in force at once, or waiting until it is due.
// signed is nil if nothing is to come of it.
func (st *State) adopt(x *content, f *Forecast, at uint64, signed *SignedChange) (*State, error) {
	c, next := x.change, *st
	next.Seq, next.Head, next.Clock = c.Seq, x.hash, at
	next.Fates = append(slices.Clone(st.Fates), Fate{
		Seq: c.Seq, Hash: x.hash, Kind: c.Kind, Class: f.Class, Reason: f.Reason, Quorum: f.Quorum, Adopted: at, Due: f.Due, Status: Waiting, Leaver: f.leaver != nil,
	})
	if c.Kind == KindWithdraw {
		return next.withdraw(x, f, at, signed, st)
	}
	for _, seq := range f.Supersedes {
		next.settle(Fate{Seq: seq, Status: Superseded, Since: at, By: c.Seq})
	}
	kept := next.without(f.Supersedes)
	if f.Due > at {
		if _, err := kept.projected().enact(x); err != nil {
			return nil, err
		}
		kept.Pending = append(slices.Clone(kept.Pending), Pending{*c, f.Due, x})
		return kept.remember(st, signed, at, f.told), nil
	}
	after, err := kept.enact(x)
	if err != nil {
		return nil, err
	}
	after.leave(kept.Roster, at)
	after.settle(Fate{Seq: c.Seq, Status: InForce, Since: at})
	return after.remember(st, signed, at, f.told), nil
}

// withdraw ends what waits. A withdrawal that comes too late, or names nothing that
// ever waited, has no effect but is adopted: whether it comes in time is a question
// of clocks, and the chain of changes must not depend on them.
func (st *State) withdraw(x *content, fc *Forecast, at uint64, signed *SignedChange, before *State) (*State, error) {
	seq, ended := x.withdraw.Seq, ""
	if seq == 0 || seq >= x.change.Seq {
		return nil, body(x.change, refusal.Newf("change.body", "the number of an earlier change", "withdrawal: there is no change %d before it", seq))
	}
	if l := fc.leaver; l != nil {
		if err := st.checkLeaver(x, l, fc.told); err != nil {
			return nil, err
		}
		st.tried = append(slices.Clone(st.tried), tried{l.who, seq, x.change.Seq})
		if fc.told >= st.rightEnds(l) {
			ended = refusal.As(st.rightEnded(l)).Detail
		}
	}
	if !st.waits(seq) {
		f, _ := st.Fate(seq)
		ended = "change " + f.Text()
	}
	if ended != "" {
		st.settle(Fate{Seq: x.change.Seq, Status: NoEffect, Since: at, Detail: ended})
		return st.remember(before, signed, at, fc.told), nil
	}
	st.settle(Fate{Seq: seq, Status: Withdrawn, Since: at, By: x.change.Seq, Detail: x.withdraw.Reason})
	next := st.without([]uint64{seq})
	next.settle(Fate{Seq: x.change.Seq, Status: InForce, Since: at})
	return next.remember(before, signed, at, fc.told), nil
}

// remember keeps what Backdate needs, while anything waits.
func (st *State) remember(before *State, signed *SignedChange, at, told uint64) *State {
	if signed != nil && len(st.Pending) > 0 {
		if st.base == nil {
			st.base = before
		}
		st.records = append(slices.Clone(st.records), record{signed, at, told})
	}
	return st.sealed()
}

// InForce names exactly what is in force: roster, policy, cards, orders, measurements,
// chains and freezes, whatever the changes were called that brought it about and
// whenever each came. Vaults that work together compare it (R0).
func (st *State) InForce() [32]byte { return st.inForce }

// PolicyRoot and RosterRoot name what is in force, computed once.
func (st *State) PolicyRoot() [32]byte { return st.policyRoot }

// RosterRoot names the roster in force.
func (st *State) RosterRoot() [32]byte { return st.rosterRoot }

func (st *State) root() [32]byte {
	roster, document := st.rosterRoot, st.policyRoot
	items := [][]byte{roster[:], document[:], st.Measurements.Normalize().Encode(), EncodeChains(st.Chains)}
	w := wire.NewWriter(1).Count(len(st.Frozen))
	for _, f := range slices.SortedFunc(slices.Values(st.Frozen), func(a, b Frozen) int { return cmp.Compare(a.Seq, b.Seq) }) {
		w.Uint64(f.Seq)
	}
	w.Count(len(st.Vaults))
	for i := range st.Vaults {
		w.Var(st.Vaults[i].Encode())
	}
	var orders [][32]byte
	for i := range st.VaultOrders {
		if !st.spent(i) {
			orders = append(orders, st.VaultOrders[i].Hash)
		}
	}
	w.Count(len(orders))
	for i := range orders {
		w.Fixed(orders[i][:])
	}
	w.Count(len(st.Orders))
	for i := range st.Orders {
		w.Fixed(st.Orders[i].Hash[:])
	}
	return wire.Hash("coffer/in-force/v1", append(items, w.Bytes())...)
}
