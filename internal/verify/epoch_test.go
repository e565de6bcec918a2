package verify

import (
	"crypto/rand"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/handover"
	"github.com/cofferhq/coffer/mpc/lifecycle"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// epochHooks change one thing of a wallet's way to its next epoch.
type epochHooks struct {
	order  func(o *governance.KeyOrder)
	plan   func(p *handover.Plan)
	commit func(b *handover.Bundle)
	entry  func(e *audit.EpochEntry)
}

// orderKey logs a change with an order in all vaults and returns its hash.
func (w *world) orderKey(o *governance.KeyOrder) [32]byte {
	w.tick()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: w.gov.Cluster, Seq: w.gov.Seq + 1, Prev: w.gov.Head, Kind: governance.KindKey, Body: o.Encode(), Created: w.now, Author: "alice",
	}}
	for _, a := range []string{"alice", "bob"} {
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: w.key(a), Signature: signEd(w.people[a], s.Change.Statement())})
	}
	w.gov = must[*governance.State](w.t)(w.gov.Apply(s, w.now))
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindChange, s.Encode())
	}
	return s.Change.Hash()
}

// deal makes the shares of the wallet's next epoch, in one hand.
func (w *world) deal(p *handover.Plan, sid byte) map[mpc.ID]*dkg.KeyShare {
	curve := group.Secp256k1()
	secret := curve.NewScalar()
	if err := secret.Decode(w.wallet.Serialize()); err != nil {
		w.t.Fatal(err)
	}
	poly := must[*sharing.Polynomial](w.t)(sharing.NewPolynomialWith(curve, rand.Reader, secret, p.NewThreshold))
	out := map[mpc.ID]*dkg.KeyShare{}
	for _, id := range p.New {
		parts := dkg.Parts{
			Suite: w.cert.Suite, Purpose: w.cert.Purpose, SID: [32]byte{sid}, Origin: dkg.Refreshed, Previous: w.cert, Epoch: w.cert.Epoch + 1, KeyID: w.cert.KeyID(),
			Self: id, Threshold: p.NewThreshold, Parties: p.New, Feldman: poly.Commit(), Share: poly.Eval(id), ZeroSeeds: map[mpc.ID][32]byte{},
		}
		for _, peer := range p.New {
			if peer != id {
				parts.ZeroSeeds[peer] = [32]byte{1}
			}
		}
		k, c, err := dkg.Assemble(parts)
		if err != nil {
			w.t.Fatal(err)
		}
		out[id], w.next = k, c
	}
	return out
}

func (w *world) vote(p *handover.Plan, k handover.Kind, id mpc.ID, proof []byte) handover.Vote {
	v := handover.Vote{Kind: k, From: id, Certificate: w.next.Digest(), Proof: proof}
	d := v.Digest(p.ID())
	domain := voteDomain
	if k == handover.Prepared {
		domain = certificateDomain
	}
	v.Signature = signP256(w.t, w.vaults[uint16(id)].identity, signature.Statement{Domain: domain, Body: d[:]}).Encode()
	return v
}

// refresh takes the wallet to its next epoch, in the logs of these vaults.
func (w *world) refresh(h epochHooks, ids ...uint16) {
	o := &governance.KeyOrder{Action: governance.Refresh, Key: w.cert.KeyID(), Name: "treasury", Epoch: w.cert.Epoch, Certificate: w.cert.Digest()}
	if h.order != nil {
		h.order(o)
	}
	p := &handover.Plan{
		Key: w.cert.KeyID(), From: w.cert.Epoch, Previous: w.cert.Digest(), Old: w.cert.Parties, OldThreshold: 2, Dealers: w.cert.Parties,
		New: w.cert.Parties, NewThreshold: 2, Order: w.orderKey(o),
	}
	if h.plan != nil {
		h.plan(p)
	}
	shares := w.deal(p, byte(len(ids)))
	b := &handover.Bundle{Plan: *p, Body: w.next.Encode()}
	id, digest := p.ID(), w.next.Digest()
	for _, k := range []handover.Kind{handover.Prepared, handover.Ready, handover.Closed} {
		for _, party := range []mpc.ID{1, 2, 3} {
			switch {
			case k == handover.Closed && !slices.Contains(p.Old, party), k != handover.Closed && !slices.Contains(p.New, party):
			case k == handover.Ready:
				proof := must[[]byte](w.t)(lifecycle.ProveShare(shares[party], wire.Hash("coffer/handover-proof/v1", id[:], digest[:]), rand.Reader))
				b.Votes = append(b.Votes, w.vote(p, k, party, proof))
			default:
				b.Votes = append(b.Votes, w.vote(p, k, party, nil))
			}
		}
	}
	if h.commit != nil {
		h.commit(b)
	}
	w.signCert(w.next, ids3(p.New)...)
	e := &audit.EpochEntry{Key: w.cert.KeyID(), Name: "treasury", Certificate: w.next.Encode(), Commit: b.Encode()}
	if h.entry != nil {
		h.entry(e)
	}
	for _, v := range ids {
		w.append(v, audit.KindEpoch, e.Encode())
	}
}

func ids3(in []mpc.ID) (out []uint16) {
	for _, id := range in {
		out = append(out, uint16(id))
	}
	return out
}

// epoched makes a forgery from hooks into one refresh.
func epoched(h epochHooks) func(w *world) []Copy {
	return then(func(w *world) {
		w.keygen()
		w.refresh(h, 1, 2, 3)
	})
}

// without leaves out a vote.
func without(k handover.Kind, ids ...mpc.ID) epochHooks {
	return epochHooks{commit: func(b *handover.Bundle) {
		b.Votes = slices.DeleteFunc(b.Votes, func(v handover.Vote) bool { return v.Kind == k && slices.Contains(ids, v.From) })
	}}
}

var epochForgeries = []forgery{
	{"epoch that nobody ordered", EpochOrder, "no change in this log", epoched(epochHooks{plan: func(p *handover.Plan) { p.Order[0]++ }})},
	{"order about another epoch", EpochOrder, "in epoch 2, the entry", epoched(epochHooks{order: func(o *governance.KeyOrder) { o.Epoch = 2 }})},
	{"order about another wallet", EpochOrder, "about wallet \"other\"", epoched(epochHooks{order: func(o *governance.KeyOrder) { o.Name = "other" }})},
	{"order about another key", EpochOrder, "about wallet", epoched(epochHooks{order: func(o *governance.KeyOrder) { o.Key[0]++ }})},
	{"an order that makes no epoch", EpochOrder, "makes no epoch", epoched(epochHooks{order: func(o *governance.KeyOrder) { o.Action = governance.Erase }})},
	{"other parties than ordered for the epoch", EpochOrder, "orders 2 of [1 2 3], done was 2 of [1 2]", epoched(epochHooks{plan: func(p *handover.Plan) { p.New = []mpc.ID{1, 2} }})},
	{"another threshold than ordered for the epoch", EpochOrder, "orders 2 of [1 2 3], done was 3", epoched(epochHooks{plan: func(p *handover.Plan) { p.NewThreshold = 3 }})},
	{"reshare to others than ordered", EpochOrder, "orders 2 of [1 3], done was", epoched(epochHooks{order: func(o *governance.KeyOrder) {
		o.Action, o.Parties, o.Threshold = governance.Reshare, []uint16{1, 3}, 2
	}})},
	{"epoch that leaves another one", EpochOrder, "another certificate", epoched(epochHooks{plan: func(p *handover.Plan) { p.Previous[0]++ }})},
	{"order about an epoch that this log does not know", EpochOrder, "leaves another epoch", epoched(epochHooks{order: func(o *governance.KeyOrder) { o.Certificate[0]++ }, plan: func(p *handover.Plan) { p.Previous[0]++ }})},
	{"epoch of others' shares", EpochOrder, "leaves another epoch", epoched(epochHooks{plan: func(p *handover.Plan) {
		p.Old, p.Dealers = []mpc.ID{1, 2}, []mpc.ID{1, 2}
		p.New = []mpc.ID{1, 2}
	}, order: func(o *governance.KeyOrder) { o.Action, o.Parties, o.Threshold = governance.Reshare, []uint16{1, 2}, 2 }})},
	{"epoch twice", EpochOrder, "epoch 2 after epoch 2", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{}, 1, 2, 3)
		w.refresh(epochHooks{}, 1)
	})},
	{"not every new vault READY", EpochCommit, "2 READY, want 3", epoched(without(handover.Ready, 3))},
	{"not every new vault PREPARED", EpochCommit, "2 PREPARED, want 3", epoched(without(handover.Prepared, 2))},
	{"too few CLOSED", EpochCommit, "1 CLOSED, want 2", epoched(without(handover.Closed, 1, 2))},
	{"vote by another device", EpochCommit, "identity", epoched(epochHooks{commit: func(b *handover.Bundle) { b.Votes[0].Signature = b.Votes[1].Signature }})},
	{"vote that a device signed as something else", EpochCommit, "identity", epoched(epochHooks{commit: func(b *handover.Bundle) { b.Votes[6].Signature = b.Votes[0].Signature }})},
	{"proof of another share", EpochCommit, "READY of participant 1", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{commit: func(b *handover.Bundle) { b.Votes[3] = w.vote(&b.Plan, handover.Ready, 1, b.Votes[4].Proof) }}, 1, 2, 3)
	})},
	{"certificate that nobody voted for", EpochCommit, "voted for", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{entry: func(e *audit.EpochEntry) {
			p := &handover.Plan{New: w.cert.Parties, NewThreshold: 2}
			w.deal(p, 77)
			w.signCert(w.next, 1, 2, 3)
			e.Certificate = w.next.Encode()
		}}, 1, 2, 3)
	})},
	{"two epochs with one number", EpochForked, "another one than in the log of vault 1", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{}, 1)
		w.refresh(epochHooks{}, 2, 3)
	})},
	{"epoch that does not follow", EpochForked, "does not follow", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{}, 1, 2)
		w.refresh(epochHooks{}) // in no log
		w.cert = w.next
		w.refresh(epochHooks{}, 3)
	})},
	{"decision in an ended epoch", DecisionKey, "epoch 1, the key is in epoch 2", then(func(w *world) {
		w.keygen()
		w.refresh(epochHooks{}, 1, 2, 3)
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	})},
	{"one wallet, two keys by an epoch", KeyDiffers, "elsewhere", then(func(w *world) {
		w.tick()
		k := w.keyEntry()
		k.Certificate = w.recert(func(c *dkg.Certificate) { c.SID[0]++ }, 1, 2, 3)
		k.Key = must[*dkg.Certificate](w.t)(dkg.DecodeCertificate(k.Certificate)).KeyID()
		w.append(1, audit.KindKey, k.Encode())
		w.refresh(epochHooks{}, 2)
	})},
}

func init() { forgeries = append(forgeries, epochForgeries...) }
