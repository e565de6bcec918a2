package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/sim"
)

type silent struct{}

func (silent) Command(context.Context, uint16, []byte) ([]byte, error) {
	return nil, errors.New("no vault answers")
}

// governed is a coordinator of a cluster with a cooling-off time, whose vaults are silent
// and whose clock the test moves.
type governed struct {
	*testing.T
	co   *Coordinator
	now  time.Time
	seed uint64
}

func newGoverned(t *testing.T, cooling time.Duration) *governed {
	g := &governed{T: t, now: time.UnixMilli(sim.Start).Add(time.Hour), seed: 5}
	w, err := sim.NewGoverned(g.seed, 3, sim.Roster(g.seed), sim.Policy(), func(x *governance.Genesis) { x.Cooling = uint64(cooling.Milliseconds()) })
	if err != nil {
		t.Fatal(err)
	}
	now := g.now
	opts := Options{Genesis: w.Genesis, Database: filepath.Join(t.TempDir(), "c.db"), Vaults: silent{}, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now }}
	if g.co, err = New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.co.Close() })
	return g
}

// at starts the coordinator anew at another time.
func (g *governed) at(later time.Duration) {
	g.Helper()
	opts := g.co.opts
	g.co.Close()
	now := g.now.Add(later)
	opts.Now = func() time.Time { return now }
	var err error
	if g.co, err = New(opts); err != nil {
		g.Fatal(err)
	}
}

func (g *governed) change(kind governance.Kind, body []byte, who ...string) (*StoredChange, error) {
	g.Helper()
	st := g.co.Governance()
	s := &governance.SignedChange{Change: governance.Change{
		Cluster: st.Cluster, Seq: st.Seq + 1, Prev: st.Head, Kind: kind, Body: body, Created: g.co.now(), Author: who[0],
	}}
	for _, w := range who {
		k := sim.Person(g.seed, w)
		s.Signatures = append(s.Signatures, governance.AdminSignature{Principal: w, Key: sim.PublicKey(k), Signature: sim.SignStatement(k, s.Change.Statement())})
	}
	s.Sort()
	return g.co.Change(g.Context(), s)
}

func (g *governed) must(x *StoredChange, err error) {
	g.Helper()
	if err != nil || !x.Applied {
		g.Fatalf("%+v, %v", x, err)
	}
}

// A leaver's withdrawal is taken while it has an effect, and otherwise leaves nothing
// behind: the chain is not moved by one who is no admin.
func TestLeaver(t *testing.T) {
	g := newGoverned(t, time.Hour)
	ro := sim.Roster(g.seed)
	for i := range ro.Groups {
		if ro.Groups[i].Name == "admins" {
			ro.Groups[i].Members = slices.DeleteFunc(slices.Clone(ro.Groups[i].Members), func(m string) bool { return m == "cleo" })
		}
	}
	loose := sim.Policy()
	loose.Rules = append(loose.Rules, policy.Rule{Name: "everything", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{Effect: policy.Allow}})
	w := func(seq uint64) []byte { return (&governance.Withdrawal{Seq: seq, Reason: "not with me"}).Encode() }
	g.must(g.change(governance.KindRoster, ro.Encode(), "ada", "ben"))
	g.must(g.change(governance.KindPolicy, loose.Encode(), "ada", "ben"))
	for name, seq := range map[string]uint64{"what is in force": 1} {
		if _, err := g.change(governance.KindWithdraw, w(seq), "cleo"); refusal.As(err) == nil || refusal.As(err).Code != "change.leaver" || !strings.Contains(err.Error(), "no effect") {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.at(time.Hour - time.Millisecond)
	g.must(g.change(governance.KindWithdraw, w(2), "cleo"))
	if f, _ := g.co.Governance().Fate(2); f.Status != governance.Withdrawn {
		t.Errorf("%+v", f)
	}
	g.must(g.change(governance.KindPolicy, loose.Encode(), "ada", "ben"))
	g.at(time.Hour)
	if _, err := g.change(governance.KindWithdraw, w(4), "cleo"); refusal.As(err) == nil || refusal.As(err).Code != "change.leaver" || !strings.Contains(err.Error(), "ended at") {
		t.Errorf("%v", err)
	}
	if st := g.co.Governance(); st.Seq != 4 {
		t.Errorf("the chain is at %d", st.Seq)
	}
	if all, err := g.co.Changes(t.Context()); err != nil || len(all) != 4 {
		t.Errorf("%d changes are kept, %v", len(all), err)
	}
}
