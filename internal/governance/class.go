package governance

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy/analysis"
)

// Class says what a change does to what is allowed. Every vault computes it; nobody
// claims it.
type Class = analysis.Class

// The classes, the worse the higher.
const (
	Tightening = analysis.Tightening // proven to allow nothing that was not allowed: in force at once
	Loosening  = analysis.Loosening  // it may allow more: in force after the cooling-off time
	Unknown    = analysis.Unknown    // undecidable here: like loosening, and every admin must sign
)

// Judgement is a class with its reason, for people.
type Judgement struct {
	Class  Class
	Reason string
}

func tightens(format string, args ...any) Judgement {
	return Judgement{Tightening, fmt.Sprintf(format, args...)}
}

func loosens(format string, args ...any) Judgement {
	return Judgement{Loosening, fmt.Sprintf(format, args...)}
}

// worse is the worse of two judgements, the first if they are alike.
func worse(a, b Judgement) Judgement {
	if b.Class > a.Class {
		return b
	}
	return a
}

// Classify says what a change would do to what is in force, and to what is adopted
// already and waits: a change that tightens today and opens a door for what comes
// tomorrow is none that tightens. The reason is for people. A change whose body does
// not decode is Unknown.
func (st *State) Classify(c *Change) (Class, string) {
	x, err := decodeContent(c)
	if err != nil {
		return Unknown, err.Error()
	}
	j := st.judge(x)
	return j.Class, j.Reason
}

func (st *State) judge(x *content) Judgement {
	j := st.judgeAgainst(x)
	if len(st.Pending) == 0 {
		return j
	}
	k := st.without(st.superseded(x)).projected().judgeAgainst(x)
	if k.Class > j.Class {
		k.Reason = "with what waits already: " + k.Reason
	}
	return worse(j, k)
}

func (st *State) judgeAgainst(x *content) Judgement {
	switch x.change.Kind {
	case KindRoster:
		return st.judgeRoster(x.roster)
	case KindPolicy:
		return judgePolicy(st.Policy, x.policy, st.Roster, st.Roster)
	case KindBook:
		next, err := x.book.apply(st.Policy)
		if err != nil {
			return loosens("%v", err)
		}
		return judgePolicy(st.Policy, next, st.Roster, st.Roster)
	case KindKey:
		return st.judgeKey(x.key)
	case KindVault:
		if x.vault.Action == SuspendVault {
			return tightens("a suspended vault takes part in nothing")
		}
		return loosens("%s lets a vault take part that would not", x.vault.Action)
	case KindMeasurements:
		return judgeMeasurements(st.Measurements, x.measurements)
	case KindChains:
		return judgeChains(st.Chains, x.chains)
	case KindFreeze:
		if x.freeze.Thaw {
			return loosens("a thaw returns to what was allowed before the freeze")
		}
		return tightens("a freeze only stops")
	case KindWithdraw:
		return tightens("what is in force stays as it is")
	}
	return Judgement{Unknown, "a kind without a class"}
}

// judgeKey: whoever names the parties of a reshare says who can spend. A refresh
// changes neither who holds shares nor how many must agree; to abandon or erase
// gives nobody anything.
func (st *State) judgeKey(o *KeyOrder) Judgement {
	switch o.Action {
	case Reshare:
		return loosens("a reshare says who holds the shares of %s", o.Name)
	case SetTier:
		if o.Tier == TierCold {
			return tightens("cold is the strictest tier")
		}
		for i := len(st.Orders) - 1; i >= 0; i-- {
			if p := &st.Orders[i]; p.Action == SetTier && p.Key == o.Key {
				if p.Tier <= o.Tier {
					return tightens("%s is as strict as %s, in force since change %d", o.Tier, p.Tier, p.Seq)
				}
				break
			}
		}
		return loosens("%s may be weaker than the tier that the shares of %s are kept in", o.Tier, o.Name)
	}
	return tightens("%s lets nobody do more", o.Action)
}

func judgeMeasurements(old, new attest.Policy) Judgement {
	switch {
	case string(old.Normalize().Encode()) == string(new.Normalize().Encode()):
		return tightens("nothing changes")
	case !new.Demands():
		return loosens("it demands no evidence of the machines")
	case !old.Demands():
		return tightens("nothing was demanded of the machines before")
	case new.Emulators && !old.Emulators:
		return loosens("it accepts emulators")
	case len(new.Measurements) == 0 && len(old.Measurements) > 0:
		return loosens("it accepts machines whatever they booted")
	}
	for _, k := range new.Keys {
		// Where emulators are accepted nobody asks for a key.
		if !old.Emulators && !slices.ContainsFunc(old.Keys, func(o attest.TrustedKey) bool { return o.AK == k.AK }) {
			return loosens("it accepts another attestation key, %x", k.AK[:8])
		}
	}
	for _, m := range new.Measurements {
		if len(old.Measurements) > 0 && !slices.ContainsFunc(old.Measurements, func(o attest.Measurement) bool { return covers(&o, &m) }) {
			return loosens("it accepts another measurement, %s", m.Name)
		}
	}
	return tightens("it accepts nothing that was not accepted")
}

// covers says that whatever passes as m passes as o.
func covers(o, m *attest.Measurement) bool {
	return o.Kind == m.Kind && o.Mask == m.Mask && o.Digest == m.Digest && (o.Firmware == 0 || o.Firmware == m.Firmware)
}

// judgeChains: no list is every chain that the codecs read.
func judgeChains(old, new []string) Judgement {
	if len(old) == 0 {
		return tightens("every chain was allowed before")
	}
	if len(new) == 0 {
		return loosens("it allows every chain")
	}
	for _, c := range new {
		if !slices.Contains(old, c) {
			return loosens("it allows chain %s", c)
		}
	}
	return tightens("it allows no other chain")
}

// judgeRoster: a roster tightens if it only takes people, services, their keys and
// memberships away, or raises the quorum; and if the policy lets nobody do more
// because somebody is no longer in a group.
func (st *State) judgeRoster(next *identity.Roster) Judgement {
	least, err := removals(st.Roster, next)
	if err != nil {
		return loosens("%v", err)
	}
	if string(least.Encode()) != string(next.Encode()) {
		return loosens("it gives somebody a key, a group or a role, or changes who can sign")
	}
	return worse(tightens("it only takes away"), judgePolicy(st.Policy, st.Policy, st.Roster, next))
}

// removals is the old roster without what the next one lacks: if that is the next
// one, it adds nothing.
func removals(old, next *identity.Roster) (*identity.Roster, error) {
	back, err := identity.DecodeRoster(old.Encode()) // a copy, all of whose fields are the old ones
	if err != nil {
		return nil, err
	}
	if next.AdminQuorum < old.AdminQuorum {
		return nil, fmt.Errorf("it lowers the admin quorum from %d to %d", old.AdminQuorum, next.AdminQuorum)
	}
	back.AdminQuorum = next.AdminQuorum
	for i := range back.Principals {
		p := &back.Principals[i]
		n, ok := next.Principal(p.ID)
		if !ok {
			// Without a risk engine's or a price source's word something may pass that
			// would not have.
			if p.Kind != identity.Person && p.Kind != identity.Service {
				return nil, fmt.Errorf("it removes the %s %s", p.Kind, p.ID)
			}
			continue
		}
		for _, k := range n.Credentials {
			if !slices.Contains(p.Credentials, k) {
				return nil, fmt.Errorf("it gives %s the key %s", p.ID, k.Fingerprint())
			}
		}
		p.Credentials = n.Credentials
	}
	back.Principals = slices.DeleteFunc(back.Principals, func(p identity.Principal) bool { _, ok := next.Principal(p.ID); return !ok })
	for i := range back.Groups {
		g := &back.Groups[i]
		for _, m := range next.Members(g.Name) {
			if !slices.Contains(g.Members, m) {
				return nil, fmt.Errorf("it puts %s into the group %s", m, g.Name)
			}
		}
		g.Members = slices.Clone(next.Members(g.Name))
	}
	back.Groups = slices.DeleteFunc(back.Groups, func(g identity.Group) bool { return !next.HasGroup(g.Name) })
	return back, nil
}
