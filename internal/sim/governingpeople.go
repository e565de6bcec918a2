package sim

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc"
)

// mostApproved is what two approvers may let pass, in SOL.
const mostApproved = maxCeiling + 2

// people are the approvers as a roster has them, in the order of Approvers.
type people [3]struct {
	out bool // of the group
	key int  // which of the person's keys
}

// without says whether p only takes people away from q.
func (p *people) without(q *people) bool {
	for i := range p {
		if p[i].key != q[i].key || q[i].out && !p[i].out {
			return false
		}
	}
	return true
}

// hand is a person's key after so many rotations.
func (g *governing) hand(name string, key int) ed25519.PrivateKey {
	if key > 0 {
		name = fmt.Sprintf("%s/%d", name, key)
	}
	return Person(g.Seed, name)
}

func (g *governing) roster(p people) *identity.Roster {
	ro := Roster(g.Seed)
	var in []string
	for i, name := range Approvers {
		if !p[i].out {
			in = append(in, name)
		}
		k := slices.IndexFunc(ro.Principals, func(x identity.Principal) bool { return x.ID == name })
		ro.Principals[k].Credentials = keysOf(g.hand(name, p[i].key))
	}
	k := slices.IndexFunc(ro.Groups, func(x identity.Group) bool { return x.Name == "approvers" })
	ro.Groups[k].Members = in
	return ro
}

// orderRoster has the admins take somebody out of the approvers, put somebody back, or
// give somebody another key.
func (g *governing) orderRoster() error {
	p := g.lastPeople()
	i := g.rng.IntN(len(p))
	switch others := !p[(i+1)%3].out && !p[(i+2)%3].out; {
	case g.rng.IntN(3) == 0:
		p[i].key++
	case p[i].out || others: // the rule takes two
		p[i].out = !p[i].out
	}
	g.log("the admins say that the approvers are %v", p)
	c, err := g.Publish(governance.KindRoster, g.roster(p).Encode())
	if err == nil {
		g.rosters[c.Change.Seq] = p
	}
	return err
}

func (g *governing) lastPeople() (p people) {
	for seq := uint64(1); seq <= uint64(len(g.changes)); seq++ {
		if n, ok := g.rosters[seq]; ok {
			p = n
		}
	}
	return p
}

// withdraw has an admin withdraw one of the newest changes that may wait, in time or not.
func (g *governing) withdraw() error {
	for seq := uint64(len(g.changes)); seq > 0; seq-- {
		c := &g.changes[seq-1].Change
		if c.Kind != governance.KindPolicy && c.Kind != governance.KindRoster || g.rng.IntN(2) == 0 {
			continue
		}
		g.log("an admin withdraws change %d", seq)
		_, err := g.Publish(governance.KindWithdraw, (&governance.Withdrawal{Seq: seq, Reason: "drill"}).Encode())
		return err
	}
	return nil
}

// orderVault suspends a vault, or lifts that.
func (g *governing) orderVault(id mpc.ID) error {
	o := &governance.VaultOrder{Action: governance.SuspendVault, Vault: uint16(id), Reason: "drill"}
	if g.suspended[id] {
		o.Action = governance.LiftVault
	}
	g.suspended[id] = !g.suspended[id]
	g.log("the admins order about vault %d: suspended %v", id, g.suspended[id])
	_, err := g.OrderVault(o)
	return err
}

// approve has some of the approvers say yes, each with a key of theirs, the newest or not.
func (g *governing) approve(p *payment) {
	last := g.lastPeople()
	for i, name := range Approvers {
		if g.rng.IntN(3) == 0 {
			continue
		}
		key := max(0, last[i].key-g.rng.IntN(4)/3)
		g.approveAs(p, i, key, name)
	}
	p.bundle.Sort()
}

func (g *governing) approveAs(p *payment, i, key int, name string) {
	k := g.hand(name, key)
	a := request.Approval{Request: p.bundle.Request.ID(), Principal: name, Approve: true, Time: g.Now, Expires: p.bundle.Request.Expires, Key: PublicKey(k)}
	a.Signature = SignStatement(k, a.Statement())
	p.bundle.Approvals = append(p.bundle.Approvals, a)
	p.yes = append(p.yes, yes{i, key})
}

// yes is an approval: whose, and with which key.
type yes struct{ who, key int }

// counted is how many of the approvals are by somebody who may give them.
func (p *payment) counted(in *people) (n int) {
	for _, y := range p.yes {
		if !in[y.who].out && in[y.who].key == y.key {
			n++
		}
	}
	return n
}
