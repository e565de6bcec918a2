package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// tried is what earlier attempts at a request taught. It is rebuilt from the
// stored replies after a start.
type tried struct {
	attempts int
	spent    map[string]bool             // sets of signers that failed in a way that must not be repeated
	refused  map[uint16]*refusal.Refusal // vaults that said no
	trouble  map[uint16]bool             // vaults that cannot serve this request

	unapproved map[uint16]unapproved // vaults whose device wants more approvers
}

func newTried() *tried {
	return &tried{spent: map[string]bool{}, refused: map[uint16]*refusal.Refusal{}, trouble: map[uint16]bool{}, unapproved: map[uint16]unapproved{}}
}

// learn takes in what one attempt ended with.
func (t *tried) learn(a *Attempt, replies []*cluster.Reply) {
	done := 0
	for _, p := range replies {
		switch p.Outcome {
		case cluster.OutcomeDone:
			done++
		case cluster.OutcomeRefused:
			f, err := refusal.Decode(p.Refusal)
			switch {
			case err != nil || troubled(f.Code):
				t.trouble[p.Vault] = true
			case !passing(f.Code):
				t.refused[p.Vault] = f
			}
		case cluster.OutcomeAborted:
			// Of an accuser and an accused either may be the one who lies: they are not
			// to meet again. Each may go on with others.
			if c := mpc.Class(p.Class); c == mpc.Attributed || c == mpc.Quarantine || c == mpc.Unattributed {
				t.spent[a.set()] = true
			}
		}
	}
	if done == len(a.Signers)+len(a.Witnesses) {
		// All gave a share, and there is no signature: one share is wrong, nobody
		// knows whose.
		t.spent[a.set()] = true
	}
}

// wrong takes in whose share was wrong: whoever it was is not asked again about
// this request.
func (t *tried) wrong(err error) {
	if a := mpc.AsAbort(err); a != nil && a.Class == mpc.Attributed {
		for _, id := range a.Culprits {
			t.trouble[uint16(id)] = true
		}
	}
}

// troubled are refusals that speak of the vault, not of the request.
func troubled(code string) bool {
	return code == "request.wallet" || code == "request.chain" || code == "sign.signers" || code == "sign.witnesses" || code == "clock.jumped" || code == "command.encoding"
}

// passing are refusals that another attempt may not meet: the attempt was known,
// a version is in doubt, a clock is ahead, a verdict or an approval lapsed.
func passing(code string) bool {
	switch code {
	case codeUnapproved, "sign.attempt", "version.conflict", "limit.contended", "request.expired", "request.created", "policy.approvals", "policy.risk":
		return true
	}
	return passingPrices(code)
}

// codeUnapproved is the refusal of a vault whose device has too few of its approvers'
// signatures.
const codeUnapproved = "approval.device"

// triedOf returns what is known of earlier attempts. After a start it also ends
// those that the coordinator left behind, since nobody waits for their shares.
func (c *Coordinator) triedOf(r *Record) (*tried, error) {
	c.mu.Lock()
	t := c.tried[r.ID]
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t = newTried()
	as, err := c.store.attempts(c.ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range as {
		t.attempts++
		t.learn(a, a.Replies)
		var open []uint16
		for _, id := range a.members() {
			if !slices.ContainsFunc(a.Replies, func(p *cluster.Reply) bool { return p.Vault == id }) {
				open = append(open, id)
			}
		}
		if len(open) > 0 && len(a.Replies) == 0 {
			c.abandon(a.ID, open)
		}
	}
	c.mu.Lock()
	c.tried[r.ID] = t
	c.mu.Unlock()
	return t, nil
}

func (c *Coordinator) forget(id [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tried, id)
	delete(c.quotes, id)
}

// pick chooses t vaults that are reachable, up to date and paired with each other, and
// of the others as many as the key's ledger quorum of q takes besides. Which they are
// rotates.
func (c *Coordinator) pick(t *tried, cert *dkg.Certificate, q int, lacking func(vault uint16) string) (*Attempt, error) {
	gov := c.Governance()
	ok, mute := map[uint16]*cluster.Status{}, map[uint16]bool{}
	reachable := 0
	var why []string
	for _, s := range c.peers.get(c.ctx) {
		if !slices.Contains(cert.Parties, mpc.ID(s.Vault.ID)) {
			continue
		}
		if s.Err != nil {
			why = append(why, s.Err.Error())
			continue
		}
		reachable++
		if s.Status.GovernanceSeq < gov.Seq {
			err := c.catchUp(s.Vault.ID, s.Status.GovernanceSeq)
			c.peers.forget()
			if err != nil {
				why = append(why, fmt.Sprintf("vault %d is at change %d of %d: %v", s.Vault.ID, s.Status.GovernanceSeq, gov.Seq, err))
				continue
			}
		}
		if f := t.refused[s.Vault.ID]; f != nil {
			why = append(why, fmt.Sprintf("vault %d refuses: %v", s.Vault.ID, f))
			continue
		}
		if halt := halted(gov, s.Status); halt != "" {
			why = append(why, halt)
			continue
		}
		if n := epochOf(s.Status, cert.KeyID()); n != cert.Epoch {
			why = append(why, fmt.Sprintf("vault %d is in epoch %d of the wallet, the wallet in epoch %d", s.Vault.ID, n, cert.Epoch))
			continue
		}
		if t.trouble[s.Vault.ID] {
			why = append(why, fmt.Sprintf("vault %d cannot serve this request", s.Vault.ID))
			continue
		}
		if words := lacking(s.Vault.ID); words != "" {
			why = append(why, words)
			mute[s.Vault.ID] = true // it may witness
		}
		ok[s.Vault.ID] = s.Status
	}
	var sets []*Attempt
	subsets(cert.Parties, cert.Threshold, func(set []uint16) {
		for _, id := range set {
			if ok[id] == nil || mute[id] || !together(ok[id], set, cert.Suite) {
				return
			}
		}
		var others []mpc.ID
		for _, id := range cert.Parties {
			if ok[uint16(id)] != nil && !slices.Contains(set, uint16(id)) {
				others = append(others, id)
			}
		}
		subsets(others, q-len(set), func(witnesses []uint16) {
			a := &Attempt{Signers: slices.Clone(set), Witnesses: slices.Clone(witnesses)}
			for _, id := range a.members() {
				if !together(ok[id], a.members(), "") {
					return
				}
			}
			if !t.spent[a.set()] {
				sets = append(sets, a)
			}
		})
	})
	if len(sets) == 0 {
		c.peers.forget()
		if len(ok)-len(mute) >= cert.Threshold && len(ok) >= q {
			why = append(why, unpaired(ok, t))
		}
		return nil, &retry{fmt.Errorf("waiting: %d of %d vaults reachable, %s (%s)", reachable, len(cert.Parties), needed(cert.Threshold, q), strings.Join(why, "; ")), vaultsMost}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	return sets[c.turn%len(sets)], nil
}

// needed says how many vaults a signature takes.
func needed(t, q int) string {
	if q == t {
		return fmt.Sprintf("%d must sign together", t)
	}
	return fmt.Sprintf("%d must sign together and %d more take part in the ledger", t, q-t)
}

// quorumOf is how many vaults take part in the ledger of a wallet's signatures.
func quorumOf(w *Wallet, cert *dkg.Certificate) (int, error) {
	o, err := governance.DecodeKeygenOrder(w.Order)
	if err != nil {
		return 0, err
	}
	return governance.Quorum(len(cert.Parties), cert.Threshold, min(int(o.Faults), cert.Threshold-1)), nil
}

// halted says why a vault signs nothing now; "" when it may.
func halted(gov *governance.State, s *cluster.Status) string {
	if o, ok := gov.Suspended(s.Vault); ok {
		return fmt.Sprintf("vault %d is suspended by change %d (%s)", s.Vault, o.Seq, o.Reason)
	}
	switch s.State {
	case 0, cluster.StateRunning:
		return ""
	case cluster.StateAwaiting:
		return fmt.Sprintf("vault %d has started, and signs nothing until vaults %v say which head of its log they hold", s.Vault, s.Awaiting)
	case cluster.StateRolledBack:
		return fmt.Sprintf("vault %d was rolled back: its disk is older than what its peers have seen, and only the admins can let it go on (coffer vault show %d)", s.Vault, s.Vault)
	}
	return fmt.Sprintf("vault %d is %v", s.Vault, s.State)
}

// epochOf is the epoch of which a vault holds a share; 0: it holds none.
func epochOf(s *cluster.Status, key [32]byte) uint64 {
	for i := range s.Keys {
		if s.Keys[i].ID == key {
			return uint64(s.Keys[i].Epoch)
		}
	}
	return 0
}

// unpaired says why enough vaults are there and still cannot sign together.
func unpaired(ok map[uint16]*cluster.Status, t *tried) string {
	var quarantined, suspended []string
	for _, s := range ok {
		for _, p := range s.Peers {
			if p.Suspended && ok[p.Vault] != nil {
				suspended = append(suspended, fmt.Sprintf("vault %d by vault %d", p.Vault, s.Vault))
			}
			if p.Quarantined && ok[p.Vault] != nil {
				quarantined = append(quarantined, fmt.Sprintf("vault %d with vault %d", s.Vault, p.Vault))
			}
		}
	}
	slices.Sort(quarantined)
	slices.Sort(suspended)
	switch {
	case len(suspended) > 0:
		return "suspended until the admins lift it: " + strings.Join(suspended, ", ")
	case len(quarantined) > 0:
		return "quarantined until the admins lift it: " + strings.Join(quarantined, ", ")
	case len(t.spent) > 0:
		return fmt.Sprintf("%d sets of signers failed and are not tried again", len(t.spent))
	}
	return "their channels or pair setups are not up yet"
}

// together says that a vault can sign with every other of the set: there is a
// channel, neither has suspended the other, the pair is not quarantined, and where the suite rests on pair setups
// there is one.
func together(s *cluster.Status, set []uint16, suite mpc.Suite) bool {
	pairs := suite == mpc.DKLS23Secp256k1
	for _, id := range set {
		if id == s.Vault {
			continue
		}
		if !slices.ContainsFunc(s.Peers, func(p cluster.PeerStatus) bool {
			return p.Vault == id && p.Connected && (p.Ready || !pairs) && !p.Quarantined && !p.Suspended
		}) {
			return false
		}
	}
	return true
}

// subsets calls f with every t of the parties, in order.
func subsets(parties []mpc.ID, t int, f func([]uint16)) {
	var walk func(from int, set []uint16)
	walk = func(from int, set []uint16) {
		if len(set) == t {
			f(set)
			return
		}
		for i := from; i <= len(parties)-(t-len(set)); i++ {
			walk(i+1, append(set, uint16(parties[i])))
		}
	}
	walk(0, nil)
}
