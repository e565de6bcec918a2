package logmaker

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	decred "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/governance"
)

// Group is how many entries become durable together.
const Group = 64

// perGroup are the payments of a group: twenty-one of three entries each, and one
// refusal.
const perGroup = (Group - 1) / 3

// Begin are the first entries: genesis, start, wallet.
func (m *Maker) Begin() [][]byte {
	o := &governance.KeygenOrder{
		Cluster: m.state.Cluster, Name: "treasury", Parties: []uint16{1, 2, 3}, Threshold: 2, Purpose: governance.PurposeECDSA, Tier: governance.TierHot,
		Created: start, Author: "alice", Key: m.key("alice"),
	}
	o.Signature = signEd(m.people["alice"], o.Statement())
	key := &audit.KeyEntry{Key: m.cert.KeyID(), Name: "treasury", Certificate: m.cert.Encode(), Order: o.Encode()}
	boot := &audit.Boot{Vault: 1, Counter: 1, Software: "made up", Device: "made up"}
	var out [][]byte
	for _, e := range []audit.Entry{
		{Time: start, Kind: audit.KindGenesis, Body: m.genesis.Encode()},
		{Time: start, Kind: audit.KindBoot, Body: boot.Encode()},
		{Time: start, Kind: audit.KindKey, Body: key.Encode()},
	} {
		out = append(out, e.Encode())
	}
	return out
}

// Entries are the entries of the n-th group.
func (m *Maker) Entries(n uint64) ([][]byte, error) {
	cp, err := m.peerCheckpoint(n)
	if err != nil {
		return nil, err
	}
	var decisions, outcomes, receipts [][]byte
	for i := range uint64(perGroup + 1) {
		seq := n*(perGroup+1) + i
		kind := small
		switch {
		case i == perGroup:
			kind = refused
		case i%5 == 4:
			kind = large
		}
		b, unsigned, err := m.payment(kind, seq)
		if err != nil {
			return nil, err
		}
		now := start + seq
		d := &audit.Decision{
			Request: b.Request.ID(), Bundle: b.Encode(), Unsigned: unsigned, Key: m.cert.KeyID(), Epoch: 1, Parties: []uint16{1, 2},
			GovernanceSeq: m.state.Seq, GovernanceHead: m.state.Head, PolicyRoot: m.state.Policy.Root(), RosterRoot: m.state.Roster.Root(),
			Time: now, Allow: kind != refused, Rule: m.rules[kind],
		}
		binary.BigEndian.PutUint64(d.Attempt[:], seq+1)
		if kind == refused {
			d.Code = "policy.default"
			decisions = append(decisions, d.Entry().Encode())
			continue
		}
		d.R0Hash = [32]byte{1}
		decisions = append(decisions, d.Entry().Encode())
		o := &audit.Outcome{Attempt: d.Attempt, Request: d.Request, Stage: audit.StageReleased, Witnessed: []audit.SignedCheckpoint{*cp}}
		outcomes = append(outcomes, (&audit.Entry{Time: now, Kind: audit.KindOutcome, Body: o.Encode()}).Encode())
		r, err := m.receipt(d)
		if err != nil {
			return nil, err
		}
		receipts = append(receipts, (&audit.Entry{Time: now, Kind: audit.KindReceipt, Body: r.Encode()}).Encode())
	}
	return append(append(decisions, outcomes...), receipts...), nil
}

func (m *Maker) receipt(d *audit.Decision) (*audit.Receipt, error) {
	tx, err := evm.DecodeUnsigned(d.Unsigned)
	if err != nil {
		return nil, err
	}
	digest, err := tx.Digest()
	if err != nil {
		return nil, err
	}
	c := decred.SignCompact(m.wallet, digest[:], true)
	r := &audit.Receipt{Attempt: d.Attempt, Request: d.Request, Key: d.Key, Unsigned: d.Unsigned, PublicKey: m.wallet.PubKey().SerializeCompressed()}
	r.Signatures = []chain.Signature{{R: [32]byte(c[1:33]), S: [32]byte(c[33:]), RecoveryID: c[0] - 27 - 4}}
	_, r.TxID, err = evm.Codec{}.Assemble(m.sender, r.Unsigned, r.Signatures)
	return r, err
}

// Write makes a log of at least that many entries in a new folder, on all processors.
func (m *Maker) Write(dir string, entries int) error {
	l, err := logfile.Create(dir, logfile.Header{Cluster: m.state.Cluster, Vault: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	tree := new(audit.Log)
	add := func(es [][]byte) error {
		for _, e := range es {
			tree.Append(e)
		}
		return l.Append(es)
	}
	if err := add(m.Begin()); err != nil {
		return err
	}
	const ahead = 64 // groups made at a time
	for n := uint64(0); tree.Size() < uint64(entries); n += ahead {
		made := make([][][]byte, ahead)
		errs := make([]error, ahead)
		var wg sync.WaitGroup
		for w := range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := w; i < ahead; i += runtime.GOMAXPROCS(0) {
					made[i], errs[i] = m.Entries(n + uint64(i))
				}
			})
		}
		wg.Wait()
		var all [][]byte
		for i := range made {
			if errs[i] != nil {
				return fmt.Errorf("couldn't make a log: %w", errs[i])
			}
			if tree.Size()+uint64(len(all)) < uint64(entries) {
				all = append(all, made[i]...)
			}
		}
		if err := add(all); err != nil {
			return err
		}
	}
	cp, err := m.Checkpoint(1, tree.Size(), tree.Root(), start+tree.Size())
	if err != nil {
		return err
	}
	return l.SetCheckpoint(cp.Encode())
}
