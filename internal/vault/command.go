package vault

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

const roleIdentity = hsm.RoleIdentity

// command answers the coordinator. It has no authority: each handler checks the
// signatures that justify what is asked.
func (v *Vault) command(in *Command) {
	c, err := cluster.DecodeCommand(in.Body)
	switch {
	case err != nil:
		v.refuse(in.ID, refusal.New("command.encoding", "", err.Error(), "a canonical command"))
	case c.Kind == cluster.CommandStatus:
		v.reply(in.ID, cluster.Reply{Outcome: cluster.OutcomeDone, Body: v.status().Encode()})
	case v.phase != phaseRunning || v.hello == nil && !v.outside:
		v.reply(in.ID, abortReply(benign("start", errors.New("the vault is still starting, or waits for its genesis"))))
	case c.Kind == cluster.CommandCosigned:
		v.tellCosigned(in.ID)
	case c.Kind == cluster.CommandLimits:
		v.reply(in.ID, cluster.Reply{Outcome: cluster.OutcomeDone, Body: v.usage().Encode()})
	case v.replaced(c) != nil:
		v.refuse(in.ID, v.replaced(c))
	case c.Kind == cluster.CommandChange:
		v.change(in.ID, c)
	case c.Kind == cluster.CommandAdoption:
		v.proveAdoption(in.ID, c)
	case c.Kind != cluster.CommandAbandon && v.ready() != nil:
		v.reply(in.ID, abortReply(benign("start", v.ready())))
	case c.Kind == cluster.CommandKeygen:
		v.keygen(in.ID, c)
	case c.Kind == cluster.CommandSign:
		v.sign(in.ID, c)
	case c.Kind == cluster.CommandReceipt:
		v.receipt(in.ID, c)
	case c.Kind == cluster.CommandHandover:
		v.handover(in.ID, c)
	case c.Kind == cluster.CommandAbandon:
		v.abandon(in.ID, c)
	}
}

func (v *Vault) refuse(id uint64, r *refusal.Refusal) {
	v.reply(id, cluster.Reply{Outcome: cluster.OutcomeRefused, Refusal: r.Encode()})
}

func abortReply(a *mpc.Abort) cluster.Reply {
	return cluster.Reply{Outcome: cluster.OutcomeAborted, Class: uint8(a.Class), Culprits: fromIDs(a.Culprits), Detail: audit.Clip(a.Step + ": " + a.Err.Error())}
}

func failed(err error) cluster.Reply {
	return cluster.Reply{Outcome: cluster.OutcomeFailed, Detail: audit.Clip(err.Error())}
}

// blame logs what a protocol run found out about a peer, and halts the pair
// where a consistency check failed.
func (v *Vault) blame(a *mpc.Abort) {
	v.blameFor(a, [32]byte{}, 0)
}

func (v *Vault) blameFor(a *mpc.Abort, key [32]byte, epoch uint32) {
	v.blameBy(a, key, epoch, func(e []byte) (mpc.ID, error) { return dkg.VerifyEvidence(e, v.verifyDealt) })
}

// blameBy takes the judge of the protocol's evidence.
func (v *Vault) blameBy(a *mpc.Abort, key [32]byte, epoch uint32, judge func(evidence []byte) (mpc.ID, error)) {
	switch a.Class {
	case mpc.Quarantine:
		for _, id := range a.Culprits {
			v.quarantine(id, key, epoch, a.Step)
		}
	case mpc.Attributed:
		for _, id := range a.Culprits {
			if p := v.peers[id]; p != nil {
				v.incident(p, a.Class.String(), a.Step, a.Err.Error(), v.evidence(p, a, judge))
			}
		}
	case mpc.Unattributed:
		v.note("unattributed abort: do not try the same signers again", "step", a.Step, "error", a.Err.Error())
	}
}

// evidence is what shows anybody that a peer dealt a wrong share: its signature
// over that share, and the hello that certifies the key which made it.
func (v *Vault) evidence(p *peer, a *mpc.Abort, judge func([]byte) (mpc.ID, error)) []byte {
	var pieces [][]byte
	for _, e := range dkg.Evidence(a.Err) {
		if dealer, err := judge(e); err == nil && dealer == p.id {
			pieces = append(pieces, e)
		}
	}
	if len(pieces) == 0 || p.hello == nil {
		return nil
	}
	w := wire.NewWriter(1).Var(p.hello.encode()).Count(len(pieces))
	for _, e := range pieces {
		w.Var(e)
	}
	return w.Bytes()
}

func (v *Vault) status() *cluster.Status {
	s := &cluster.Status{
		Vault: uint16(v.cfg.ID), Name: v.cfg.Name, Device: v.deviceStatus(), State: v.state(),
		Identity: v.cfg.Identity.Bytes(), Boot: v.boot, Clock: v.now, Cluster: v.clusterID(),
		Software: v.cfg.Software, Isolation: v.isolation(),
		Sessions: uint32(len(v.signs) + len(v.keygens) + len(v.handovers)),
	}
	if v.phase != phaseRunning {
		return s
	}
	s.GovernanceSeq, s.GovernanceHead = v.gov.Seq, v.gov.Head
	s.LogSize, s.LogRoot = v.log.Size(), v.log.Root()
	if s.State == cluster.StateAwaiting {
		s.Awaiting = v.awaited()
	}
	if x := v.gate.rolled; x != nil {
		s.RolledBack = &cluster.RolledBack{OwnSize: x.OwnSize, HeldBoot: x.HeldBoot, HeldSize: x.HeldSize, HeldRoot: x.HeldRoot, By: fromIDs(x.By)}
	}
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		s.Peers = append(s.Peers, cluster.PeerStatus{Vault: uint16(id), Connected: p.confirmed && v.attested(p) == nil, Ready: p.setup != nil, Quarantined: p.quarantined,
			Suspended: v.barred(p) && !p.quarantined || p.suspended, HeldBoot: p.held.boot, HeldSize: p.held.seen.size, HeldRoot: p.held.seen.root,
			Machine: v.attestStatus(p),
		})
	}
	for _, k := range v.sortedKeys() {
		if !k.holds() {
			continue
		}
		s.Keys = append(s.Keys, cluster.KeyStatus{
			ID: k.id, Name: k.name, Purpose: k.cert.Purpose, PublicKey: k.publicKey(),
			Threshold: uint16(k.cert.Threshold), Parties: fromIDs(k.cert.Parties), Epoch: k.epoch(), Tier: uint8(k.tier()),
		})
	}
	return s
}

// receipt logs a signature that came about, once this vault has verified it
// against what it was asked to sign.
func (v *Vault) receipt(id uint64, c *cluster.Command) {
	x, err := audit.DecodeReceipt(c.Body)
	if err != nil {
		v.refuse(id, refusal.New("receipt.encoding", "", err.Error(), "a canonical receipt"))
		return
	}
	a := v.index.of(x.Attempt, v.cfg.ID)
	k := v.keys[x.Key]
	if a == nil || k == nil || a.status != statusFinal || a.reserve.Request != x.Request || a.reserve.Key != x.Key {
		v.refuse(id, refusal.New("receipt.attempt", "", "this vault gave no share for that attempt of that request", "the receipt of an attempt that this vault took part in"))
		return
	}
	if len(x.Signatures) != 1 || string(x.PublicKey) != string(k.publicKey()) {
		v.refuse(id, refusal.New("receipt.signature", "", fmt.Sprintf("%d signatures, or another public key", len(x.Signatures)), "one signature under the wallet's key"))
		return
	}
	if err := k.scheme().Verify(x.PublicKey, a.reserve.Digest, x.Unsigned, &x.Signatures[0]); err != nil {
		v.refuse(id, refusal.New("receipt.signature", "", err.Error(), "a signature that verifies over what this vault signed"))
		return
	}
	if err := v.checkAssembled(&a.reserve, x); err != nil {
		v.refuse(id, refusal.New("receipt.transaction", "", err.Error(), "the transaction that this vault signed, with the id that the chain gives it"))
		return
	}
	if v.receipts[x.Attempt] {
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
		return
	}
	v.receipts[x.Attempt] = true
	v.appendLog(audit.KindReceipt, c.Body)
	v.covered(func(_ *audit.SignedCheckpoint, err error) {
		if err != nil {
			v.reply(id, failed(err))
			return
		}
		v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
	})
}

// checkAssembled checks a receipt's transaction and its id. The coordinator
// brings both, and what the log says once it says for good: a wrong one would
// spoil every later verification. The signature is known to verify over what was
// reserved; that it recovers to the sender over this transaction, too, makes the
// two the same.
func (v *Vault) checkAssembled(e *event, x *audit.Receipt) error {
	if len(e.Slots) == 0 {
		return errors.New("the reservation names no account")
	}
	sender, _, _ := strings.Cut(e.Slots[0], "/") // "eip155:1:0x…/nonce/7"
	codec, ok := v.codec(sender)
	if !ok {
		return fmt.Errorf("no chain of %s", sender)
	}
	_, txid, err := codec.Assemble(sender, x.Unsigned, x.Signatures)
	if err != nil {
		return err
	}
	if txid != x.TxID {
		return fmt.Errorf("transaction id %q, want %s", x.TxID, txid)
	}
	return nil
}

// abandon ends an attempt that cannot finish, so that its reservation is
// released at once.
func (v *Vault) abandon(id uint64, c *cluster.Command) {
	if s := v.signs[c.Attempt]; s != nil {
		v.abortSign(s, benign("sign", errors.New("abandoned by the coordinator")))
	}
	if s := v.keygens[c.Attempt]; s != nil {
		v.abortKeygen(s, benign("keygen", errors.New("abandoned by the coordinator")))
	}
	if s := v.handovers[c.Attempt]; s != nil {
		v.abortHandover(s, benign("handover", errors.New("abandoned by the coordinator")))
	}
	v.reply(id, cluster.Reply{Outcome: cluster.OutcomeDone})
}

// pendingKey is a share whose certificate lacks signatures: this vault may have
// missed them when it, or a peer, went down in the last round.
type pendingKey struct {
	name  string
	order []byte
	held  *held
	cert  *dkg.Certificate
}

// completePending activates a pending key with the certificate that the
// coordinator brings from a vault which has all signatures.
func (v *Vault) completePending(id uint64, c *cluster.Command) bool {
	p := v.pending[c.Attempt]
	if p == nil || len(c.Unsigned) == 0 {
		return false
	}
	cert, err := dkg.DecodeCertificate(c.Unsigned)
	if err == nil && cert.Digest() != p.cert.Digest() {
		err = errors.New("it is not the certificate of this vault's share")
	}
	if err == nil {
		err = cert.Complete(v.verifyCertificate)
	}
	if err != nil {
		v.refuse(id, refusal.New("keygen.certificate", "", err.Error(), "the certificate that all parties signed"))
		return true
	}
	v.activate(id, c.Attempt, &pendingKey{p.name, p.order, p.held, cert})
	return true
}

// earlyFrame came before the command that it belongs to.
type earlyFrame struct {
	at   uint64
	from mpc.ID
	in   *inner
}

// Bounds of what waits. A peer answers round 0 with round 1 only, so nothing else
// can be early; and no peer takes another's place.
const (
	maxEarly     = 128 // frames of one peer
	maxEarlySize = 16 << 10
)

func (v *Vault) keepEarly(p *peer, in *inner) {
	if in.Round != 0 || len(in.Broadcast) > maxEarlySize || len(in.Private) > 0 {
		return
	}
	if v.index.of(in.Attempt, v.cfg.ID) != nil || v.begun[in.Attempt] {
		return // it has ended
	}
	waiting := 0
	for _, f := range v.early {
		if f.from == p.id {
			waiting++
		}
	}
	if waiting < maxEarly {
		v.early = append(v.early, earlyFrame{v.now, p.id, in})
	}
}

// dropEarly forgets what came over a peer's last channel.
func (v *Vault) dropEarly(id mpc.ID) {
	v.early = slices.DeleteFunc(v.early, func(f earlyFrame) bool { return f.from == id })
}

func (v *Vault) replayEarly(kind uint8, attempt [16]byte) {
	var mine []earlyFrame
	kept := v.early[:0]
	for _, f := range v.early {
		if f.in.Kind == kind && f.in.Attempt == attempt {
			mine = append(mine, f)
		} else {
			kept = append(kept, f)
		}
	}
	v.early = kept
	for _, f := range mine {
		v.onInner(v.peers[f.from], f.in)
	}
}

// sortedKeys lists the keys by name.
func (v *Vault) sortedKeys() []*key {
	ks := make([]*key, 0, len(v.keys))
	for _, k := range v.keys {
		ks = append(ks, k)
	}
	sort.Slice(ks, func(i, j int) bool { return ks[i].name < ks[j].name })
	return ks
}
