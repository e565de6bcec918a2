package governance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// State is the governance after some number of changes, at a time. It is never
// changed: Apply and At return a new one. It is a function of the genesis, of the
// changes and of when each was adopted here.
type State struct {
	Genesis *Genesis
	Cluster [32]byte  // Genesis.Hash()
	Seq     uint64    // changes adopted so far
	Head    [32]byte  // Hash of the newest change; the cluster's id before the first
	Clock   uint64    // when the newest change was adopted, or the newest that waited came in force
	Pending []Pending // adopted, not in force yet; by seq, and so by when they are due
	Fates   []Fate    // of every change, by seq

	// In force:
	Roster       *identity.Roster
	Policy       *policy.Document
	Orders       []Order       // of keys, by seq
	Vaults       []Vault       // the cards, by id
	VaultOrders  []VaultChange // by seq
	Measurements attest.Policy // what the vaults' machines may run
	Chains       []string      // that vaults sign for, sorted; none: every chain
	Frozen       []Frozen      // by seq

	cards      []Card           // all there have been, by seq
	written    *policy.Document // the newest, as it was published
	books      []bookInForce    // since, by seq
	inForce    [32]byte
	policyRoot [32]byte
	rosterRoot [32]byte
	base       *State // before the oldest pending change, with all changes since
	records    []record
	leavers    []leaver
	tried      []tried
	enacted    uint64 // when the newest change that waited came in force
}

// Start is the state right after the genesis, which it checks.
func Start(g *Genesis) (*State, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	h := g.Hash()
	st := &State{Genesis: g, Cluster: h, Head: h, Roster: g.Roster, Policy: g.Policy, written: g.Policy, Chains: g.Chains}
	for i := range g.Enrolments {
		st.Vaults = append(st.Vaults, g.Enrolments[i].Vault)
		st.cards = append(st.cards, Card{Vault: g.Enrolments[i].Vault})
	}
	return st.sealed(), nil
}

// Apply checks a change that is adopted at a time (unix milliseconds) and returns
// the state after it: in force if it tightens or nothing has to wait, otherwise
// waiting. A time before the last change's counts as that one's. The error is a
// *refusal.Refusal that says what was found and what is wanted.
func (st *State) Apply(s *SignedChange, at uint64) (*State, error) { return st.Replay(s, at, at) }

// Replay is Apply of a change that was adopted before: at is its Fate's Adopted, told
// the time that Apply was given then.
func (st *State) Replay(s *SignedChange, at, told uint64) (*State, error) {
	at = max(at, st.Clock)
	now, c := st.At(at), &s.Change
	if err := now.checkPlace(c); err != nil {
		return nil, err
	}
	leaver := now.withdrawsAsLeaver(s)
	signed, err := now.checkSignatures(s, leaver)
	if err != nil {
		return nil, err
	}
	x, err := decodeContent(c)
	if err != nil {
		return nil, err
	}
	if x.freeze != nil && !slices.Contains(signed, c.Author) {
		return nil, refusal.Newf("change.author", "the author's signature", "change %d: a freeze is in its author's name, and %s has not signed it", c.Seq, c.Author)
	}
	// Whoever brings a change makes a vault think about it only if enough have signed.
	if err := now.checkQuorum(c, &Forecast{Quorum: now.quorum(x, Tightening)}, signed); err != nil {
		return nil, err
	}
	f := now.forecast(x, at)
	f.told, f.leaver = told, leaver
	if err := now.checkQuorum(c, f, signed); err != nil {
		return nil, err
	}
	return now.adopt(x, f, at, s)
}

// CheckChange checks all of a change but its signatures: whether it is worth
// signing at this time. The error is a *refusal.Refusal.
func (st *State) CheckChange(c *Change, at uint64) error {
	_, err := st.Forecast(c, at)
	return err
}

// body says that a change's body is not what its kind says.
func body(c *Change, err error) error {
	if r := refusal.As(err); r != nil {
		code := "change.body"
		switch r.Code {
		case "keygen.diversity", "policy.invariant": // one code, wherever it is found
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

// checkSignatures verifies every signature under the roster before the change:
// nobody makes themselves an admin. It returns who has signed. A leaver's withdrawal is
// verified under the last roster that named them.
func (st *State) checkSignatures(s *SignedChange, l *leaver) (signed []string, err error) {
	if l != nil {
		return []string{l.who}, verifyAdmin(l.roster, 0, &s.Signatures[0], s.Change.Statement())
	}
	if err := st.checkAdmin("author", s.Change.Author); err != nil {
		return nil, err
	}
	if err := s.checkOrder(); err != nil {
		return nil, err
	}
	statement := s.Change.Statement()
	for i, sig := range s.Signatures {
		if err := st.checkAdmin(fmt.Sprintf("signatures[%d]", i), sig.Principal); err != nil {
			return nil, err
		}
		if err := verifyAdmin(st.Roster, i, &sig, statement); err != nil {
			return nil, err
		}
		signed = append(signed, sig.Principal)
	}
	return signed, nil
}

func verifyAdmin(ro *identity.Roster, i int, sig *AdminSignature, statement signature.Statement) error {
	if err := ro.Verify(sig.Principal, sig.Key, statement, sig.Signature); err != nil {
		r := refusal.As(err)
		return refusal.New(r.Code, "", fmt.Sprintf("signatures[%d]: %s", i, r.Detail), r.Fix)
	}
	return nil
}

func (st *State) checkQuorum(c *Change, f *Forecast, signed []string) error {
	if len(signed) >= f.Quorum {
		return nil
	}
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
	why := ""
	if f.Class == Unknown {
		why = "; it takes all of them, since what it allows could not be decided: " + f.Reason
	}
	return refusal.Newf("change.quorum", fmt.Sprintf("%d more of %s", f.Quorum-len(signed), strings.Join(others, ", ")),
		"change %d is signed by %d of the %d admins that it takes (%s)%s", c.Seq, len(signed), f.Quorum, who, why)
}

// Quorum is how many admins must sign a change, as things stand. A change whose body
// does not decode takes the quorum.
func (st *State) Quorum(c *Change) int {
	x, err := decodeContent(c)
	if err != nil {
		return int(st.Roster.AdminQuorum)
	}
	return st.quorum(x, st.judge(x).Class)
}

func (st *State) quorum(x *content, class Class) int {
	switch {
	case x.vault != nil && !x.vault.Action.Quorum(), x.key != nil && !x.key.Action.Quorum(),
		x.freeze != nil && !x.freeze.Thaw, x.withdraw != nil:
		return 1
	case class == Unknown:
		return len(st.Roster.Members(identity.Admins))
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
