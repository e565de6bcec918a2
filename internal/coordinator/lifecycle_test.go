package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/sim"
)

// orderKey is the next change with an order about the fixture's wallet.
func (f *fixture) orderKey(action governance.Action, threshold uint16, parties ...uint16) *governance.SignedChange {
	f.t.Helper()
	gov := f.co.Governance()
	cert, err := f.current().Key()
	if err != nil {
		f.t.Fatal(err)
	}
	o := &governance.KeyOrder{Action: action, Key: f.wallet.ID, Name: f.wallet.Name, Epoch: cert.Epoch, Certificate: cert.Digest(), Parties: parties, Threshold: threshold}
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: governance.KindKey, Body: o.Encode(), Created: f.now(), Author: sim.Admins[0],
	}}
	for _, a := range sim.Admins[:gov.Quorum(&s.Change)] {
		k := sim.Person(f.v.Seed, a)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: a, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	return s
}

// current is the wallet as the coordinator knows it now.
func (f *fixture) current() *Wallet {
	f.t.Helper()
	w, err := f.co.walletByID(f.wallet.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return w
}

// epoch waits until the wallet is in an epoch.
func (f *fixture) epoch(want uint64) *Wallet {
	f.t.Helper()
	for range 3000 {
		w := f.current()
		cert, err := w.Key()
		if err != nil {
			f.t.Fatal(err)
		}
		if cert.Epoch == want {
			if a, err := w.Address(sim.Chain); err != nil || a != f.sender || w.ID != f.wallet.ID || w.Name != f.wallet.Name {
				f.t.Errorf("the wallet has address %s, key %x", a, w.ID)
			}
			return w
		}
		time.Sleep(10 * time.Millisecond)
		f.v.Clock.Advance(100 * time.Millisecond)
	}
	f.t.Fatalf("the wallet never reached epoch %d: %+v", want, f.co.Orders(f.current()))
	return nil
}

func (f *fixture) ordered(s *governance.SignedChange) {
	f.t.Helper()
	if x, err := f.co.Change(f.t.Context(), s); err != nil || !x.Applied {
		f.t.Fatalf("%+v, %v", x, err)
	}
}

// Orders are carried out while requests go on, also by a coordinator that was
// restarted in between; an order is carried out once.
func TestOrdersAreCarriedOut(t *testing.T) {
	f := own(t, seed+40)
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	s := f.orderKey(governance.Refresh, 0)
	f.ordered(s)
	during := f.handIn(f.transfer(sim.Known, sim.ETH(1)))
	f.epoch(2)
	f.state(during.ID, Confirmed)
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	if p := f.co.Orders(f.current()); len(p) != 1 || !p[0].Done || p[0].Detail != "" {
		t.Errorf("%+v", p)
	}
	f.ordered(f.orderKey(governance.Reshare, 3, 1, 2, 3))
	f.restart()
	w := f.epoch(3)
	if cert, err := w.Key(); err != nil || cert.Threshold != 3 {
		t.Errorf("threshold of %+v, %v", cert, err)
	}
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	f.restart()
	if cert, err := f.current().Key(); err != nil || cert.Epoch != 3 {
		t.Errorf("after a restart the wallet is in epoch %d, %v", cert.Epoch, err)
	}
	f.ordered(f.orderKey(governance.Erase, 0))
	for range 500 {
		if p := f.co.Orders(f.current()); p[2].Done {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("erase: %+v", f.co.Orders(f.current()))
}

// With a vault away that is to hold a share, the order waits and says for whom; the
// wallet works as before, and goes on when the vault is back.
func TestOrderWaitsForVault(t *testing.T) {
	f := own(t, seed+41)
	f.v.Crash(3)
	f.ordered(f.orderKey(governance.Refresh, 0))
	for n := 0; ; n++ {
		p := f.co.Orders(f.current())
		if len(p) == 1 && strings.Contains(p[0].Detail, "vault 3") {
			break
		}
		if n > 1000 {
			t.Fatalf("%+v", p)
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	f.restartVault(3)
	f.co.VaultsChanged()
	f.epoch(2)
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
}
