package coordinator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/sim"
)

// What people are shown under a limit counts what was signed before.
func TestLimitsAsPeopleSeeThem(t *testing.T) {
	f := own(t, seed+12)
	r := f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed)
	d := source.MustCompile(fmt.Sprintf(`
assets: {ETH: {id: %s, decimals: 18}}
limits: [{name: daily, max: 2 ETH, window: 24h}]
rules:
  - {name: small, when: onlyTransfers && within("daily"), then: allow}
`, evm.NativeAsset(sim.Chain)))
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	next := *r
	next.Bundle = f.transfer(sim.Known, sim.ETH(2))
	x, err := f.co.Explain(t.Context(), &next)
	if err != nil || x.Decision.Allow || len(x.Limits) != 1 || x.Limits[0].Used != sim.ETH(3) {
		t.Errorf("%+v, %v", x, err)
	}
}

// What is over a limit is for people to allow, where a later rule asks them: it does
// not go to the vaults, to be denied.
func TestOverALimitPeopleDecide(t *testing.T) {
	f := own(t, seed+13)
	// The vaults were made in the simulation's time: who saw its clock jump decides no limit.
	for _, id := range []uint16{1, 2, 3} {
		f.v.Crash(id)
		f.restartVault(id)
	}
	d := source.MustCompile(fmt.Sprintf(`
assets: {ETH: {id: %s, decimals: 18}}
limits: [{name: daily, max: 2 ETH, window: 24h}]
rules:
  - {name: small, when: onlyTransfers && within("daily"), then: allow}
  - {name: large, when: onlyTransfers, then: {require: {approvers: 2}}}
`, evm.NativeAsset(sim.Chain)))
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	if r := f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, Confirmed); !strings.Contains(f.reasons(r.ID), "allowed by rule small") {
		t.Error(f.reasons(r.ID))
	}
	over := f.state(f.handIn(f.transfer(sim.Known, sim.ETH(2))).ID, AwaitingApproval).ID
	if r := f.approve(over, "bob", true); r.State != AwaitingApproval || !strings.Contains(r.Reason, "1 given (bob)") || !strings.Contains(r.Reason, "3 ETH with this request (1 ETH before it) is above 2 ETH") {
		t.Errorf("%s: %s", r.State, r.Reason)
	}
	if as := f.attempts(over); len(as) != 0 {
		t.Errorf("the vaults were asked %d times", len(as))
	}
	f.approve(over, "carol", true)
	f.state(over, Confirmed)
	// The vaults count the same, and say so: those that signed at least.
	full := 0
	for _, u := range f.co.Usage(t.Context()) {
		if u.Err != nil || u.Usage.Policy != d.Root() || len(u.Usage.Counters) != 1 || u.Usage.Counters[0].Limit != "daily" {
			t.Fatalf("vault %d: %+v, %v", u.Vault, u.Usage, u.Err)
		}
		if c := &u.Usage.Counters[0]; c.Used == sim.ETH(3) && c.Frees > f.now() {
			full++
		}
	}
	if full < 2 {
		t.Errorf("%d vaults count all 3 ETH, want 2 or more", full)
	}
	// After a start the same, from the database; and what is within waits for nobody.
	f.restart()
	f.state(f.handIn(f.transfer(sim.Known, sim.ETH(1))).ID, AwaitingApproval)
}

// reasons are all that the request's history says.
func (f *fixture) reasons(id [32]byte) (out string) {
	f.t.Helper()
	ts, _, err := f.co.History(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, t := range ts {
		out += t.Reason + "\n"
	}
	return out
}
