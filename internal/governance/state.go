package governance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// State is the governance after some number of changes. It is never changed:
// Apply returns a new one.
type State struct {
	Genesis *Genesis
	Cluster [32]byte // Genesis.Hash()
	Seq     uint64   // changes so far
	Head    [32]byte // Hash of the newest change; the cluster's id before the first
	Roster  *identity.Roster
	Policy  *policy.Document
	Orders  []Order // of keys, by seq

	Vaults       []Vault       // the cards in force, by id
	VaultOrders  []VaultChange // by seq
	Measurements attest.Policy // what the vaults' machines may run

	cards []Card // all there have been, by seq
}

// Start is the state right after the genesis, which it checks.
func Start(g *Genesis) (*State, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	h := g.Hash()
	st := &State{Genesis: g, Cluster: h, Head: h, Roster: g.Roster, Policy: g.Policy}
	for i := range g.Enrolments {
		st.Vaults = append(st.Vaults, g.Enrolments[i].Vault)
		st.cards = append(st.cards, Card{Vault: g.Enrolments[i].Vault})
	}
	return st, nil
}

// Apply checks a change and returns the state after it. The error is a
// *refusal.Refusal that says what was found and what is wanted.
func (st *State) Apply(s *SignedChange) (*State, error) {
	c := &s.Change
	if err := st.checkPlace(c); err != nil {
		return nil, err
	}
	if err := st.checkSignatures(s); err != nil {
		return nil, err
	}
	return st.after(c)
}

// CheckChange checks all of a change but its signatures: whether it is worth
// signing. The error is a *refusal.Refusal.
func (st *State) CheckChange(c *Change) error {
	if err := st.checkPlace(c); err != nil {
		return err
	}
	_, err := st.after(c)
	return err
}

// after is the state with the change in force. Place and signatures are checked
// before.
func (st *State) after(c *Change) (*State, error) {
	next := *st
	next.Seq, next.Head = c.Seq, c.Hash()
	switch c.Kind {
	case KindRoster:
		roster, err := identity.DecodeRoster(c.Body)
		if err != nil {
			return nil, body(c, err)
		}
		if err := st.checkNoVaultKey(roster); err != nil {
			return nil, err
		}
		next.Roster = roster
	case KindPolicy:
		document, err := policy.DecodeDocument(c.Body)
		if err != nil {
			return nil, body(c, err)
		}
		next.Policy = document
	case KindKey:
		order, err := DecodeKeyOrder(c.Body)
		if err != nil {
			return nil, body(c, err)
		}
		if err := st.checkKeyOrder(order); err != nil {
			return nil, body(c, err)
		}
		next.Orders = st.withOrder(c, order)
	case KindVault:
		order, err := DecodeVaultOrder(c.Body)
		if err != nil {
			return nil, body(c, err)
		}
		if err := st.checkVaultOrder(order); err != nil {
			return nil, body(c, err)
		}
		next.withVaultOrder(c, order)
	case KindMeasurements:
		accepted, err := attest.DecodePolicy(c.Body)
		if err != nil {
			return nil, body(c, err)
		}
		next.Measurements = accepted
	default:
		return nil, refusal.Newf("change.kind", "", "kind: unknown value %d, want %s", c.Kind, kindNames)
	}
	// A roster must leave the policy meaningful, and the other way round.
	if err := next.Policy.Check(next.Roster); err != nil {
		return nil, body(c, err)
	}
	return &next, nil
}

// body says that a change's body is not what its kind says.
func body(c *Change, err error) error {
	if r := refusal.As(err); r != nil {
		code := "change.body"
		if r.Code == "keygen.diversity" { // one code, whether a key is made or moved
			code = r.Code
		}
		return refusal.New(code, "", fmt.Sprintf("%s of change %d: %s", c.Kind, c.Seq, r.Detail), r.Fix)
	}
	return refusal.Newf("change.body", "", "%s of change %d: %v", c.Kind, c.Seq, err)
}

// checkPlace checks that the change is the next one here.
func (st *State) checkPlace(c *Change) error {
	if err := st.checkCluster("change", c.Cluster); err != nil {
		return err
	}
	if c.Seq != st.Seq+1 {
		fix := fmt.Sprintf("a change with sequence number %d", st.Seq+1)
		if c.Seq <= st.Seq {
			return refusal.Newf("change.seq", fix, "change %d: this cluster has applied %d changes already", c.Seq, st.Seq)
		}
		return refusal.Newf("change.seq", fix, "change %d: changes %d to %d are missing here", c.Seq, st.Seq+1, c.Seq-1)
	}
	if c.Prev != st.Head {
		return refusal.Newf("change.prev", fmt.Sprintf("a change that follows %x", st.Head), "change %d follows %x, which is not this cluster's newest, %x", c.Seq, c.Prev, st.Head)
	}
	if err := wire.CheckText(c.Note, MaxNote); err != nil {
		return refusal.Newf("change.note", "", "note: %v", err)
	}
	return nil
}

func (st *State) checkCluster(what string, cluster [32]byte) error {
	if cluster != st.Cluster {
		return refusal.Newf(what+".cluster", fmt.Sprintf("one for cluster %x", st.Cluster[:8]), "it is for cluster %x, this is cluster %x", cluster[:8], st.Cluster[:8])
	}
	return nil
}

func (st *State) checkAdmin(field, id string) error {
	if !st.Roster.InGroup(id, identity.Admins) {
		return refusal.Newf("governance.admin", "one of "+strings.Join(st.Roster.Members(identity.Admins), ", "),
			"%s: %s is not an admin", field, wire.CleanText(id, 80))
	}
	return nil
}

// checkSignatures counts the admins of the state before the change: nobody makes
// themselves one.
func (st *State) checkSignatures(s *SignedChange) error {
	if err := st.checkAdmin("author", s.Change.Author); err != nil {
		return err
	}
	if err := s.checkOrder(); err != nil {
		return err
	}
	statement := s.Change.Statement()
	var signed []string
	for i, sig := range s.Signatures {
		if err := st.checkAdmin(fmt.Sprintf("signatures[%d]", i), sig.Principal); err != nil {
			return err
		}
		if err := st.Roster.Verify(sig.Principal, sig.Key, statement, sig.Signature); err != nil {
			r := refusal.As(err)
			return refusal.New(r.Code, "", fmt.Sprintf("signatures[%d]: %s", i, r.Detail), r.Fix)
		}
		signed = append(signed, sig.Principal)
	}
	if want := st.Quorum(&s.Change); len(signed) < want {
		who := strings.Join(signed, ", ")
		if who == "" {
			who = "nobody"
		}
		var others []string
		for _, m := range st.Roster.Members(identity.Admins) {
			if !slices.Contains(signed, m) {
				others = append(others, m)
			}
		}
		return refusal.Newf("change.quorum", fmt.Sprintf("%d more of %s", want-len(signed), strings.Join(others, ", ")),
			"change %d is signed by %d of the %d admins that it takes (%s)", s.Change.Seq, len(signed), want, who)
	}
	return nil
}

// Quorum is how many admins must sign a change.
func (st *State) Quorum(c *Change) int {
	if c.Kind == KindVault {
		if o, err := DecodeVaultOrder(c.Body); err == nil && !o.Action.Quorum() {
			return 1
		}
	}
	if c.Kind == KindKey {
		if o, err := DecodeKeyOrder(c.Body); err == nil && !o.Action.Quorum() {
			return 1
		}
	}
	return int(st.Roster.AdminQuorum)
}

// checkNoVaultKey keeps vaults' keys, those of retired devices too, out of people's
// hands.
func (st *State) checkNoVaultKey(roster *identity.Roster) error {
	for i := range st.cards {
		v := &st.cards[i].Vault
		for _, k := range v.keys() {
			if p, ok := roster.Owner(k); ok {
				return refusal.Newf("change.body", "", "roster: the key %s of %s is a key of vault %d", k.Fingerprint(), p.ID, v.ID)
			}
		}
	}
	return nil
}
