package vault

import (
	"crypto/ed25519"
	"errors"
	"sort"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault/planted"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// appendLog writes an entry. It is durable when this Step's Ready is.
func (v *Vault) appendLog(kind audit.Kind, body []byte) uint64 {
	return v.appendEntry(&audit.Entry{Time: v.now, Kind: kind, Body: body})
}

// appendDecision writes a decision under the time at which it was made, which
// may be some rounds ago: the entry that its certificate proves is made from the
// Decision alone.
func (v *Vault) appendDecision(d *audit.Decision) uint64 { return v.appendEntry(d.Entry()) }

func (v *Vault) appendEntry(entry *audit.Entry) uint64 {
	e := entry.Encode()
	v.out.Entries = append(v.out.Entries, e)
	v.store.dirty = true // the manifest names the log's size and root
	return v.log.Append(e)
}

// checkpointWaiter goes on once a signed checkpoint covers the log up to size.
type checkpointWaiter struct {
	size uint64
	then func(*audit.SignedCheckpoint, error)
}

// covered runs then once the HSM has signed a checkpoint over all that is in the
// log now. One signature serves everything that was appended before it; tick asks
// for it.
func (v *Vault) covered(then func(*audit.SignedCheckpoint, error)) {
	v.waiters = append(v.waiters, checkpointWaiter{v.log.Size(), then})
}

// The hold (docs/spec/checkpoint.md).
const (
	// maxHold bounds how long a checkpoint waits for decisions that are about to
	// fall, in milliseconds; where sessions take long already, holdShare is the part
	// of their age that they may wait.
	maxHold   = 25
	holdShare = 8
	// comingFor: a session of this age whose peers have not all spoken, and twice that
	// of those that wait, waits for a silent one, and nobody waits for it.
	comingFor = 1_000
)

// checkpointDue says whether the device is to sign a checkpoint now. While other
// sessions are about to decide it waits for them, at most the time that the device
// would take to sign for each of them alone.
func (v *Vault) checkpointDue() bool {
	switch {
	case v.signing, v.outside, !v.mayCheckpoint():
		return false
	case len(v.waiters) == 0:
		// What nobody waits for is covered too, a little later.
		return v.log.Size() > v.checkpointSize() && v.now-v.signedAt >= checkpointEvery
	case !v.holding:
		v.holding, v.heldFrom, v.holdMost = true, v.now, max(maxHold, v.waitingFor()/holdShare)
	}
	until := v.heldFrom + min(v.holdMost, v.coming()*v.deviceTook/1000)
	if v.now >= until {
		return true
	}
	v.out.Wake = until
	return false
}

// coming is how many sessions have not decided yet and soon will.
func (v *Vault) coming() (n uint64) {
	most := max(comingFor, 2*v.waitingFor())
	for _, s := range v.signs {
		if s.round < 2 && v.now-s.started < most {
			n++
		}
	}
	return n
}

// waitingFor is the age of the oldest session that waits for a checkpoint.
func (v *Vault) waitingFor() (age uint64) {
	for _, s := range v.signs {
		if s.round == 2 && s.busy {
			age = max(age, v.now-s.started)
		}
	}
	return age
}

func (v *Vault) checkpointSize() uint64 {
	if v.checkpoint == nil {
		return 0
	}
	return v.checkpoint.Size
}

func (v *Vault) signCheckpoint() {
	v.signing, v.signedAt, v.holding = true, v.now, false
	cp := audit.Checkpoint{
		Cluster: v.clusterID(), Vault: uint16(v.cfg.ID), Size: v.log.Size(), Root: v.log.Root(),
		Ledger: v.ledgers[v.cfg.ID].head().Hash, Quarantine: v.quarantineHead(), Boot: v.boot, Time: v.now,
	}
	v.ask(DeviceCommand{Kind: DeviceSign, Role: hsm.RoleDecision, Statement: cp.Statement()}, func(res DeviceResult) error {
		v.signing, v.deviceTook = false, res.Took
		if res.Err != "" {
			v.checkpointFailed(errors.New("the device does not sign the checkpoint: " + res.Err))
			return nil
		}
		v.checkpointSigned(&audit.SignedCheckpoint{
			Checkpoint: cp, HSM: res.Signature,
			Log: signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.logKey, []byte(cp.Text()))},
		})
		return nil
	})
}

func (v *Vault) checkpointSigned(cp *audit.SignedCheckpoint) {
	v.checkpoint = cp
	v.keepOwn(cp)
	v.out.Checkpoint = cp.Encode()
	waiters := v.waiters
	v.waiters = nil
	for _, w := range waiters {
		if w.size <= cp.Size {
			w.then(cp, nil)
		} else {
			v.waiters = append(v.waiters, w)
		}
	}
}

// checkpointFailed ends what waits. The entries stay: a later checkpoint covers
// them.
func (v *Vault) checkpointFailed(err error) {
	v.note("couldn't sign checkpoint", "error", err.Error())
	waiters := v.waiters
	v.waiters = nil
	for _, w := range waiters {
		w.then(nil, err)
	}
}

// maxIncidents bounds what one peer can make this vault write by misbehaving.
const maxIncidents = 32

// incident logs that a peer misbehaved.
func (v *Vault) incident(p *peer, class, step, detail string, evidence []byte) {
	if p.incidents++; p.incidents > maxIncidents && class != mpc.Quarantine.String() {
		return
	}
	i := audit.Incident{Peer: uint16(p.id), Class: class, Step: audit.Clip(step), Detail: audit.Clip(detail), Evidence: evidence}
	v.appendLog(audit.KindIncident, i.Encode())
	v.note("incident", "peer", p.id, "class", class, "step", step, "detail", audit.Clip(detail))
	if p.incidents == maxIncidents {
		v.note("no more incidents of this peer are written until the next start", "peer", p.id)
	}
}

// adoptOrReport takes over a delta; a fork is an incident, once.
func (v *Vault) adoptOrReport(p *peer, d *delta) error {
	err := v.adopt(p, d)
	var fork *forkError
	if errors.As(err, &fork) {
		p.forked, p.behind = true, false
		v.incident(p, "fork", "ledger", fork.Error(), v.forkEvidence(p, d))
	}
	return err
}

// quarantineRecord says why the pair with a peer is halted.
type quarantineRecord struct {
	Peer  mpc.ID
	Key   [32]byte // in whose session the check failed; zero in another
	Epoch uint32
	Time  uint64
	Step  string
}

func (q *quarantineRecord) encode() []byte {
	return wire.NewWriter(1).Uint16(uint16(q.Peer)).Fixed(q.Key[:]).Uint32(q.Epoch).Uint64(q.Time).String(q.Step).Bytes()
}

// quarantine halts a pair at once: in memory now, on disk before anything of
// this Step leaves. All sessions with the peer end, silently, so that it does
// not learn which check failed. Only a governance change lifts it.
func (v *Vault) quarantine(id mpc.ID, key [32]byte, epoch uint32, step string) {
	if p := v.peers[id]; p != nil {
		v.halt(p, key, epoch, step, mpc.Quarantine.String(), "a consistency check failed; the pair is halted until the admins lift it")
	}
}

func (v *Vault) halt(p *peer, key [32]byte, epoch uint32, step, class, detail string) {
	if p.quarantined {
		return
	}
	id := p.id
	p.quarantined = true
	v.closePair(p)
	q := quarantineRecord{id, key, epoch, v.now, audit.Clip(step)}
	if planted.Bug != planted.Quarantine {
		if err := v.store.put(recordQuarantine+idText(id), q.encode()); err != nil {
			panic("vault: randomness ended: " + err.Error())
		}
	}
	v.incident(p, class, step, detail, nil)
	v.endSessionsWith(id, errors.New("the pair is quarantined"))
}

func (v *Vault) loadQuarantine(records map[string][]byte) {
	for _, id := range sortedIDs(v.peers) {
		if _, ok := records[recordQuarantine+idText(id)]; ok {
			v.peers[id].quarantined = true
		}
	}
}

// quarantineHead covers the quarantine records, so that a checkpoint shows when
// one is gone.
func (v *Vault) quarantineHead() [32]byte {
	var names []string
	for n := range v.store.sums {
		if strings.HasPrefix(n, recordQuarantine) || strings.HasPrefix(n, recordSuspended) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	var items [][]byte
	for _, n := range names {
		items = append(items, []byte(n))
	}
	return wire.Hash("coffer/quarantine-head/v1", items...)
}

func idText(id mpc.ID) string { return string(appendID(nil, id)) }

func appendID(b []byte, id mpc.ID) []byte {
	const digits = "0123456789abcdef"
	return append(b, digits[id>>12&15], digits[id>>8&15], digits[id>>4&15], digits[id&15])
}
