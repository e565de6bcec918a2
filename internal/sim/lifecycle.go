package sim

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// KeygenAmong runs the key generation among some of the vaults.
func (w *World) KeygenAmong(name string, threshold int, parties ...mpc.ID) (*Wallet, error) {
	all := w.IDs
	w.IDs = parties
	defer func() { w.IDs = all }()
	return w.Keygen(name, threshold)
}

// OrderChange is the next change with an order about a wallet's key, signed by as
// many admins as it takes.
func (w *World) OrderChange(x *Wallet, name string, action governance.Action, threshold int, parties ...mpc.ID) (*governance.SignedChange, error) {
	o := &governance.KeyOrder{Action: action, Key: x.ID, Name: name, Epoch: x.Certificate.Epoch, Certificate: x.Certificate.Digest(), Threshold: uint16(threshold)}
	for _, id := range parties {
		o.Parties = append(o.Parties, uint16(id))
	}
	return w.Publish(governance.KindKey, o.Encode())
}

// OrderTier is the change by which a wallet's key goes to another custody tier.
func (w *World) OrderTier(x *Wallet, name string, tier governance.Tier) (*governance.SignedChange, error) {
	o := &governance.KeyOrder{Action: governance.SetTier, Key: x.ID, Name: name, Epoch: x.Certificate.Epoch, Certificate: x.Certificate.Digest(), Tier: tier}
	return w.Publish(governance.KindKey, o.Encode())
}

// Publish is the next change, signed by as many admins as it takes. Vaults get it by
// CatchUp.
func (w *World) Publish(kind governance.Kind, body []byte) (*governance.SignedChange, error) {
	gov, err := w.governance()
	if err != nil {
		return nil, err
	}
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: kind, Body: body, Created: w.Now, Author: Admins[0],
	}}
	signers := Admins[:gov.Quorum(&s.Change)]
	if w.Unanimous {
		signers = Admins
	}
	for _, a := range signers {
		k := Person(w.Seed, a)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: PublicKey(k), Signature: SignStatement(k, s.Change.Statement())})
	}
	next, err := gov.Apply(s, w.Now)
	if err != nil {
		return nil, err
	}
	w.gov = next
	w.changes = append(w.changes, s)
	return s, nil
}

func (w *World) governance() (*governance.State, error) {
	if w.gov == nil {
		gov, err := governance.Start(w.Genesis)
		if err != nil {
			return nil, err
		}
		w.gov = gov
	}
	return w.gov, nil
}

// CatchUp brings a vault all changes that it lacks.
func (w *World) CatchUp(id mpc.ID) error {
	for _, s := range w.changes {
		if _, err := w.Command(id, &cluster.Command{Kind: cluster.CommandChange, Body: s.Encode()}); err != nil {
			return err
		}
	}
	return nil
}

// StartHandover brings an order to everybody whom it concerns, and the command to
// carry it out. Nothing is delivered yet.
func (w *World) StartHandover(x *Wallet, s *governance.SignedChange, dealers ...mpc.ID) (map[mpc.ID]uint64, error) {
	o, err := governance.DecodeKeyOrder(s.Change.Body)
	if err != nil {
		return nil, err
	}
	h := cluster.Handover{Order: s.Change.Hash(), Certificate: x.Certificate.Encode()}
	c := &cluster.Command{Kind: cluster.CommandHandover, Attempt: w.Attempt(), Body: h.Encode()}
	for _, id := range dealers {
		c.Signers = append(c.Signers, uint16(id))
	}
	all := slices.Clone(x.Certificate.Parties)
	for _, id := range o.Parties {
		all = append(all, mpc.ID(id))
	}
	slices.Sort(all)
	ids := map[mpc.ID]uint64{}
	for _, id := range slices.Compact(all) {
		if err := w.CatchUp(id); err != nil {
			return nil, err
		}
		if ids[id], err = w.Command(id, c); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Handover carries out an order and returns the wallet in its new epoch.
func (w *World) Handover(x *Wallet, s *governance.SignedChange, dealers ...mpc.ID) (*Wallet, error) {
	ids, err := w.StartHandover(x, s, dealers...)
	if err != nil {
		return nil, err
	}
	if err := w.Settle(); err != nil {
		return nil, err
	}
	var cert []byte
	for id, n := range ids {
		r := w.Replies[n]
		if r == nil || r.Outcome != cluster.OutcomeDone {
			return nil, fmt.Errorf("handover: vault %d: %s", id, Describe(r))
		}
		if cert != nil && string(cert) != string(r.Body) {
			return nil, fmt.Errorf("handover: vaults have different certificates")
		}
		cert = r.Body
	}
	next, err := w.Wallet(cert)
	if err == nil && (next.ID != x.ID || string(next.PublicKey) != string(x.PublicKey) || next.Sender != x.Sender) {
		err = fmt.Errorf("handover: key %x became key %x", x.PublicKey, next.PublicKey)
	}
	return next, err
}

// Next is the wallet with another certificate.
func (w *World) Next(cert *dkg.Certificate) (*Wallet, error) { return w.Wallet(cert.Encode()) }
