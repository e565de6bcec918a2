package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// vaultChange is the next change, an order about a vault, signed.
func (f *fixture) vaultChange(o *governance.VaultOrder, who ...string) *governance.SignedChange {
	gov := f.co.Governance()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: governance.KindVault, Body: o.Encode(), Created: f.now(), Author: who[0],
	}}
	for _, w := range who {
		k := sim.Person(f.v.Seed, w)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	s.Sort()
	return s
}

// TestHaltedVaults: a vault that says it signs nothing is not asked to, and the
// people who wait are told why.
func TestHaltedVaults(t *testing.T) {
	first := newFixture(t)
	for words, halt := range map[string]func(s *cluster.Status){
		"vault 2 has started, and signs nothing until vaults [1 3]": func(s *cluster.Status) {
			s.State, s.Awaiting = cluster.StateAwaiting, []uint16{1, 3}
		},
		"vault 2 was rolled back: its disk is older": func(s *cluster.Status) {
			s.State, s.RolledBack = cluster.StateRolledBack, &cluster.RolledBack{OwnSize: 3, HeldSize: 5, By: []uint16{1}}
		},
		"vault 2 is replaced":  func(s *cluster.Status) { s.State = cluster.StateReplaced },
		"vault 2 is suspended": func(s *cluster.Status) { s.State = cluster.StateSuspended },
		"suspended until the admins lift it: vault 1 by vault 2": func(s *cluster.Status) {
			for i := range s.Peers {
				s.Peers[i].Suspended = true
			}
		},
	} {
		alone := false // with vaults 1 and 2 only there is no other choice
		f := fixtureOf(t, first.v, sharedOrder(), devnode.Options{}, func(o *Options) {
			o.Vaults = &garbled{o.Vaults, func(vault uint16, x *cluster.Command) []byte {
				switch {
				case x.Kind != cluster.CommandStatus || vault == 1:
					return nil
				case vault == 3 && alone:
					return []byte("garbage")
				case vault == 3:
					return nil
				}
				b, err := first.v.Command(t.Context(), vault, x.Encode())
				if err != nil {
					return nil
				}
				r, err := cluster.DecodeReply(b)
				if err != nil {
					t.Error(err)
					return nil
				}
				s, err := cluster.DecodeStatus(r.Body)
				if err != nil {
					t.Error(err)
					return nil
				}
				halt(s)
				r.Body = s.Encode()
				return r.Encode()
			}}
		})
		for range 2 {
			id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
			f.state(id, Confirmed)
			for _, a := range f.attempts(id) {
				if slices.Contains(a.Signers, 2) {
					t.Errorf("%s: it was asked to sign", words)
				}
			}
		}
		alone = true
		f.co.peers.forget()
		b := f.transfer(sim.Known, sim.ETH(1))
		id := f.handIn(b).ID
		f.waiting(id, words)
		if _, err := f.co.Cancel(t.Context(), f.cancellation(id, sim.Trader)); err != nil {
			t.Errorf("%s: %v", words, err)
		}
	}
}

// TestSuspendedVault: what the admins suspended is not asked to sign from that change
// on, and is again once the quorum has lifted it.
func TestSuspendedVault(t *testing.T) {
	f := own(t, seed+40)
	if _, err := f.co.Change(t.Context(), f.vaultChange(&governance.VaultOrder{Action: governance.SuspendVault, Vault: 2, Reason: "its host was stolen"}, "ada")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		f.state(id, Confirmed)
		for _, a := range f.attempts(id) {
			if slices.Contains(a.Signers, 2) {
				t.Error("a suspended vault was asked to sign")
			}
		}
	}
	lift := &governance.VaultOrder{Action: governance.LiftVault, Vault: 2, Reason: "found"}
	if x, err := f.co.Change(t.Context(), f.vaultChange(lift, "ada")); err != nil || x.Applied {
		t.Fatalf("one admin lifts: %+v, %v", x, err)
	}
	if _, err := f.co.Change(t.Context(), f.vaultChange(lift, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	signed := false
	for range 6 {
		id := f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID
		f.state(id, Confirmed)
		for _, a := range f.attempts(id) {
			signed = signed || slices.Contains(a.Signers, 2)
		}
	}
	if !signed {
		t.Error("vault 2 never signs again")
	}
}

// TestOldDiskCatchesUp: a vault whose disk was set back is brought every change that
// it has forgotten, though it had applied them once; else no resume could reach it.
func TestOldDiskCatchesUp(t *testing.T) {
	f := own(t, seed+41)
	var old *sim.Disk
	f.v.Do(func(w *sim.World) { old = w.Parties[2].Disk.Clone() })
	for i := range 3 {
		o := &governance.VaultOrder{Action: governance.SuspendVault, Vault: 3, Reason: fmt.Sprint("reason ", i)}
		who := []string{"ada", "ben"}
		if i%2 == 1 {
			o.Action = governance.LiftVault
		}
		if _, err := f.co.Change(t.Context(), f.vaultChange(o, who...)); err != nil {
			t.Fatal(err)
		}
	}
	f.upTo(3, 1, 2, 3)
	f.v.Crash(2)
	f.v.Do(func(w *sim.World) { w.Parties[2].Disk = old })
	f.restartVault(2)
	next := f.vaultChange(&governance.VaultOrder{Action: governance.LiftVault, Vault: 3, Reason: "all is well"}, "ada", "ben")
	if _, err := f.co.Change(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	f.upTo(4, 1, 2, 3)
	f.v.Do(func(w *sim.World) {
		n := 0
		for name := range w.Parties[2].Disk.Records {
			if strings.HasPrefix(name, "change/") {
				n++
			}
		}
		if n != 4 {
			t.Errorf("%d changes on vault 2's disk, want 4", n)
		}
	})
}
