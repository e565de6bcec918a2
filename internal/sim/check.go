package sim

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/group"
)

// checker holds the invariants of ARCHITECTURE.md against everything that
// happens. It knows what the cast's policy wants from the jobs, not from the
// product's evaluation of it.
type checker struct {
	r *run

	logs   map[mpc.ID][][]byte // as last seen, to see that they only grow
	roots  map[mpc.ID]map[uint64][32]byte
	judged map[uint64]bool // replies that were looked at
	shares map[[16]byte]map[mpc.ID]*share
	points map[[33]byte][16]byte // R → the attempt that used it
	done   map[[32]byte][]version
	halted map[[2]mpc.ID]bool // (who, whom): a quarantine that was announced
	// onShare, when set, judges final shares in place of share.
	onShare func(*asked, *cluster.Reply)
	// onRefusal, when set, sees refusals.
	onRefusal func(*refusal.Refusal)
	// onEpoch and onDecision, when set, judge these entries of a log in place of what
	// judges a world of one wallet.
	onEpoch    func(mpc.ID, *dkg.Certificate)
	onDecision func(mpc.ID, *audit.Decision)
}

// share is a final share that left a vault.
type share struct {
	asked *asked
	final *dkls23.FinalShare
}

// version is a fully signed transaction of a request.
type version struct {
	unsigned []byte
	nonce    uint64
}

func newChecker(r *run) *checker {
	return &checker{
		r: r, logs: map[mpc.ID][][]byte{}, roots: map[mpc.ID]map[uint64][32]byte{}, judged: map[uint64]bool{},
		shares: map[[16]byte]map[mpc.ID]*share{}, points: map[[33]byte][16]byte{}, done: map[[32]byte][]version{},
		halted: map[[2]mpc.ID]bool{},
	}
}

func (c *checker) fault(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	c.r.res.Violations = append(c.r.res.Violations, s)
	c.r.lines("VIOLATION %s", s)
}

// ready looks at work before it is done: what leaves must not be ahead of what
// is durable.
func (c *checker) ready(p *Party, r vault.Ready) {
	// The disk as it will be when the messages leave.
	for _, rep := range r.Replies {
		d, err := cluster.DecodeReply(rep.Body)
		if err != nil {
			c.fault("vault %d answers with garbage: %v", p.ID, err)
			continue
		}
		a := c.r.byID[rep.ID]
		if a != nil && d.Outcome == cluster.OutcomeAborted && mpc.Class(d.Class) == mpc.Quarantine && !quarantineWritten(p, r) {
			c.fault("invariant 2: vault %d says that it halted the pair with %v before that is durable", p.ID, d.Culprits)
		}
		if a == nil || d.Outcome != cluster.OutcomeDone {
			continue
		}
		entries := append(append([][]byte(nil), p.Disk.Entries...), r.Entries...)
		if !logged(entries, a.attempt, audit.KindDecision) {
			c.fault("invariant 1: vault %d releases a share of attempt %x and no durable decision allows it", p.ID, a.attempt)
		}
		if len(d.Body) > 0 && !logged(entries, a.attempt, audit.KindOutcome) { // a witness gives none
			c.fault("invariant 1: vault %d releases a share of attempt %x before that is durable", p.ID, a.attempt)
		}
		cp := p.Disk.Checkpoint
		if r.Checkpoint != nil {
			cp = r.Checkpoint
		}
		if !covered(entries, cp, a.attempt) {
			c.fault("invariant 1: vault %d releases a share of attempt %x and no durable checkpoint covers its decision", p.ID, a.attempt)
		}
	}
}

// quarantineWritten says whether the record of a halted pair is on disk, or will
// be before anything of this step leaves.
func quarantineWritten(p *Party, r vault.Ready) bool {
	for n := range p.Disk.Records {
		if strings.HasPrefix(n, "quarantine/") {
			return true
		}
	}
	return slices.ContainsFunc(r.Writes, func(w vault.Record) bool { return strings.HasPrefix(w.Name, "quarantine/") })
}

// logged says whether an entry allows, or releases, an attempt.
func logged(entries [][]byte, attempt [16]byte, kind audit.Kind) bool {
	return find(entries, attempt, kind) >= 0
}

func find(entries [][]byte, attempt [16]byte, kind audit.Kind) int {
	for i := len(entries) - 1; i >= 0; i-- {
		if !bytes.Contains(entries[i], attempt[:]) {
			continue
		}
		e, err := audit.DecodeEntry(entries[i])
		if err != nil || e.Kind != kind {
			continue
		}
		switch kind {
		case audit.KindDecision:
			if d, err := audit.DecodeDecision(e.Body); err == nil && d.Attempt == attempt && d.Allow {
				return i
			}
		case audit.KindOutcome:
			if o, err := audit.DecodeOutcome(e.Body); err == nil && o.Attempt == attempt && o.Stage == audit.StageReleased {
				return i
			}
		}
	}
	return -1
}

func covered(entries [][]byte, checkpoint []byte, attempt [16]byte) bool {
	cp, err := audit.DecodeSignedCheckpoint(checkpoint)
	return err == nil && uint64(find(entries, attempt, audit.KindDecision)) < cp.Size
}

// afterStep judges what is new.
func (c *checker) afterStep() {
	for id, rep := range c.r.Replies {
		if a := c.r.byID[id]; a != nil && !c.judged[id] {
			c.judged[id] = true
			c.reply(a, rep)
		}
	}
	for _, id := range c.r.IDs {
		c.logGrows(id)
	}
	c.judgeMoves()
}

func (c *checker) reply(a *asked, rep *cluster.Reply) {
	switch rep.Outcome {
	case cluster.OutcomeRefused:
		c.r.res.Refusals++
		f, err := refusal.Decode(rep.Refusal)
		if stranger := err == nil && f.Code == "request.wallet"; len(rep.Certificate) == 0 && !stranger {
			c.fault("invariant 1: vault %d refuses attempt %x without a certificate of it: %s", rep.Vault, a.attempt, Describe(rep))
		}
		if err == nil && f.Code == "version.conflict" {
			c.conflicting(a)
		}
		if err == nil && c.onRefusal != nil {
			c.onRefusal(f)
		}
	case cluster.OutcomeFailed:
		c.fault("vault %d failed by itself: %s", rep.Vault, rep.Detail)
	case cluster.OutcomeAborted:
		for _, culprit := range rep.Culprits {
			switch {
			case mpc.ID(culprit) != c.r.cheat:
				c.fault("invariant 5: vault %d blames vault %d, which is honest: %s", rep.Vault, culprit, rep.Detail)
			case mpc.Class(rep.Class) == mpc.Quarantine:
				pair := [2]mpc.ID{mpc.ID(rep.Vault), mpc.ID(culprit)}
				if c.halted[pair] {
					c.fault("invariant 2: vault %d answered a second check of vault %d, whose pair it had halted", pair[0], pair[1])
				}
				c.halted[pair] = true
				c.r.res.Halted++
			}
		}
	case cluster.OutcomeDone:
		if c.onShare != nil {
			c.onShare(a, rep)
			return
		}
		c.share(a, rep)
	}
}

// conflicting: a vault released a share for another version and went down before it
// could say so. An honest coordinator knows which versions it has asked for.
func (c *checker) conflicting(a *asked) {
	if tx, err := evm.DecodeUnsigned(a.unsigned); err == nil {
		a.job.other = tx.Nonce == a.job.nonce
	}
}

// share judges a final share that left.
func (c *checker) share(a *asked, rep *cluster.Reply) {
	f := new(dkls23.FinalShare)
	if err := f.UnmarshalBinary(rep.Body); err != nil {
		c.fault("vault %d's share does not decode: %v", rep.Vault, err)
		return
	}
	if !a.job.legal {
		c.fault("invariant 1: vault %d gave a share for request %x, which the policy does not allow", rep.Vault, a.job.bundle.Request.ID())
	}
	if !c.honest(a) {
		c.fault("invariant 1: vault %d gave a share for a transaction that nobody asked for", rep.Vault)
	}
	if c.shares[a.attempt] == nil {
		c.shares[a.attempt] = map[mpc.ID]*share{}
	}
	c.shares[a.attempt][a.vault] = &share{a, f}
	if old, used := c.points[f.R]; used && old != a.attempt {
		c.fault("invariant 2: attempts %x and %x use one nonce", old, a.attempt)
	}
	c.points[f.R] = a.attempt
	if len(c.shares[a.attempt]) == len(a.signers) {
		c.combine(a)
	}
}

// honest says whether the transaction is the one that the request fixes.
func (c *checker) honest(a *asked) bool {
	tx, err := evm.DecodeUnsigned(a.unsigned)
	return err == nil && tx.To != nil && *tx.To == a.job.to && tx.Value == a.job.amount && len(tx.Data) == 0
}

func (c *checker) combine(a *asked) {
	var shares []*dkls23.FinalShare
	for _, id := range a.signers {
		shares = append(shares, c.shares[a.attempt][id].final)
	}
	if _, err := dkls23.Combine(group.Secp256k1Point(c.r.x.Certificate.PublicKey()), a.signers, a.digest, nil, shares); err != nil {
		c.fault("attempt %x: %d shares and no signature: %v", a.attempt, len(shares), err)
		return
	}
	tx, err := evm.DecodeUnsigned(a.unsigned)
	if err != nil {
		c.fault("attempt %x: %v", a.attempt, err)
		return
	}
	id := a.request
	for _, v := range c.done[id] {
		if bytes.Equal(v.unsigned, a.unsigned) {
			return
		}
		if v.nonce != tx.Nonce {
			c.fault("invariant 4: request %x is signed with nonces %d and %d: both can happen", id, v.nonce, tx.Nonce)
		}
	}
	c.done[id] = append(c.done[id], version{a.unsigned, tx.Nonce})
	c.r.res.Signatures++
}

func (c *checker) signed(j *job) bool { return len(c.done[j.bundle.Request.ID()]) > 0 }

// nonceOf is the nonce with which an honest coordinator goes on: that of a
// version for which a share is out, else the job's own.
func (c *checker) nonceOf(j *job) uint64 {
	best, found := j.nonce, false
	if j.other {
		best += otherNonce
	}
	for _, byVault := range c.shares {
		for _, s := range byVault {
			if s.asked.job != j || s.asked.request != j.bundle.Request.ID() {
				continue
			}
			if tx, err := evm.DecodeUnsigned(s.asked.unsigned); err == nil && (!found || tx.Nonce > best) {
				best, found = tx.Nonce, true
			}
		}
	}
	return best
}

// logGrows: what was durable once stays, and a checkpoint is never contradicted.
func (c *checker) logGrows(id mpc.ID) {
	disk := c.r.Parties[id].Disk
	old := c.logs[id]
	if len(disk.Entries) < len(old) {
		c.fault("invariant 6: vault %d's log shrank from %d to %d entries", id, len(old), len(disk.Entries))
		return
	}
	for i := max(0, len(old)-4); i < len(old); i++ {
		if !bytes.Equal(old[i], disk.Entries[i]) {
			c.fault("invariant 6: vault %d's log entry %d changed", id, i)
		}
	}
	c.logs[id] = disk.Entries
	if len(disk.Checkpoint) == 0 {
		return
	}
	cp, err := audit.DecodeSignedCheckpoint(disk.Checkpoint)
	if err != nil {
		c.fault("invariant 6: vault %d's checkpoint: %v", id, err)
		return
	}
	if c.roots[id] == nil {
		c.roots[id] = map[uint64][32]byte{}
	}
	if root, seen := c.roots[id][cp.Size]; seen && root != cp.Root {
		c.fault("invariant 6: vault %d signed two logs of %d entries", id, cp.Size)
	}
	c.roots[id][cp.Size] = cp.Root
	if cp.Size > uint64(len(disk.Entries)) {
		c.fault("invariant 6: vault %d's checkpoint covers %d entries, its log has %d", id, cp.Size, len(disk.Entries))
	}
}

// atEnd: liveness, and that the whole log is what the checkpoints say.
func (c *checker) atEnd() {
	c.epochsAtEnd()
	for _, id := range c.r.IDs {
		disk := c.r.Parties[id].Disk
		log := audit.Load(disk.Entries)
		for size, root := range c.roots[id] {
			if have, err := log.RootAt(size); err != nil || have != root {
				c.fault("invariant 6: vault %d's log at %d entries is not what its checkpoint said", id, size)
			}
		}
		if c.r.Parties[id].Vault == nil {
			c.fault("invariant 7: vault %d does not start any more", id)
		}
	}
	for _, j := range c.r.jobs {
		if j.legal && !c.signed(j) {
			c.fault("invariant 7: request %x is allowed and was not signed when the faults had stopped, in %d attempts", j.bundle.Request.ID(), j.tries)
		}
		if !j.legal && c.signed(j) {
			c.fault("invariant 1: request %x is not allowed and was signed", j.bundle.Request.ID())
		}
	}
}
