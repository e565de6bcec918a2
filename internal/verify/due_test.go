package verify

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
)

// waiting is a world in which changes that loosen wait an hour, and one waits in all logs.
func waiting(t testing.TB) (w *world, due uint64) {
	w = newWorldUnder(t, testPolicy(1))
	w.genesis.Cooling = 3_600_000
	for id := range w.vaults {
		w.vaults[id].entries = nil
	}
	w.gov = must[*governance.State](t)(governance.Start(w.genesis))
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindGenesis, w.genesis.Encode())
		w.append(id, audit.KindBoot, (&audit.Boot{Vault: id, Counter: 1, Software: "test", Device: "soft"}).Encode())
	}
	w.keygen()
	w.tick()
	s := w.signedChange(2, "alice", "bob")
	w.gov = must[*governance.State](t)(w.gov.Apply(s, w.now))
	if due = w.gov.NextDue(); due != w.now+w.genesis.Cooling {
		t.Fatalf("the change is due at %d", due)
	}
	for id := uint16(1); id <= 3; id++ {
		w.append(id, audit.KindChange, s.Encode())
		w.happened(id, audit.ChangeWaits, w.now)
	}
	return w, due
}

func (w *world) happened(id uint16, event audit.GovernanceEvent, at uint64) {
	f, _ := w.gov.Fate(1)
	w.append(id, audit.KindGovernance, (&audit.Governance{Event: event, Seq: 1, Change: f.Hash, Time: at}).Encode())
}

// enact puts the change in force at these vaults.
func (w *world) enact(due uint64, ids ...uint16) {
	w.gov = w.gov.At(due)
	for _, id := range ids {
		w.happened(id, audit.ChangeInForce, due)
	}
}

// TestDueChange: after the time of a change nothing happens in a log that does not say that
// it came in force.
func TestDueChange(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(w *world, due uint64)
		want []string // of the faults, by vault and code
	}{
		"in force in time": {func(w *world, due uint64) {
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
			w.now = due
			w.enact(due, 1, 2, 3)
			w.pay(w.payment(known, ether(2), 1), []uint16{1, 2}, hooks{})
		}, nil},
		"nothing happens any more": {func(w *world, due uint64) {
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
			w.now = due + 1
			w.append(1, audit.KindIncident, (&audit.Incident{Peer: 2}).Encode())
		}, nil},
		"a decision": {func(w *world, due uint64) {
			w.now = due
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
		}, []string{"1 decision.state", "2 decision.state", "1 change.time", "2 change.time"}},
		"a release and the signature": {func(w *world, due uint64) {
			w.now = due - 5000
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{outcome: func(*audit.Outcome, uint16) { w.now = due }})
		}, []string{"1 change.time", "2 change.time"}},
		"a release, of one vault": {func(w *world, due uint64) {
			w.now = due - 5000
			w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{outcome: func(_ *audit.Outcome, id uint16) {
				if id == 1 {
					w.now = due
					w.enact(due, 1)
				}
			}})
		}, []string{"2 change.time"}},
		"before its time": {func(w *world, due uint64) {
			w.now = due - 1
			w.happened(1, audit.ChangeInForce, due)
		}, []string{"1 change.time"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, due := waiting(t)
			tt.make(w, due)
			r := w.verify(w.copies())
			var got []string
			for _, f := range r.Faults {
				got = append(got, strings.Join([]string{string(rune('0' + f.Vault)), string(f.Code)}, " "))
			}
			all := strings.Join(got, ", ")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("no %s among %v", want, r.Faults)
				}
			}
			if len(tt.want) == 0 && !r.OK {
				t.Errorf("%v", r.Faults)
			}
			if tt.want != nil && !strings.Contains(all, "2 ") == strings.Contains(strings.Join(tt.want, ""), "2 ") {
				t.Errorf("%v", r.Faults)
			}
			if name == "a release, of one vault" && strings.Contains(all, "1 ") {
				t.Errorf("%v", r.Faults)
			}
		})
	}
}
