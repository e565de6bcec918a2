package coordinator

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/sim"
)

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What a rule for emergencies lets pass is told as a warning, once signed, and stands in
// the request's history; what another rule lets pass is not.
func TestBreakGlassIsLoud(t *testing.T) {
	f := own(t, seed+31)
	var log lines
	f.mind = func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }
	f.restart()
	d := sim.Policy()
	d.Rules = append(d.Rules, policy.Rule{
		Name: "emergency", When: policy.Expr{Op: policy.OpOnlyTransfers}, Then: policy.Verdict{Effect: policy.Allow}, BreakGlass: true,
	})
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	f.upTo(1, 1, 2, 3)
	for name, c := range map[string]struct {
		eth  uint64
		loud bool
	}{"emergency": {50, true}, "small": {1, false}} {
		id := f.handIn(f.transfer(sim.Known, sim.ETH(c.eth))).ID
		f.state(id, Confirmed)
		ts, _, err := f.co.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, s := range ts {
			if strings.Contains(s.Reason, "BREAK-GLASS") {
				words = append(words, string(s.State))
			}
		}
		if got := strings.Join(words, " "); c.loud && got != "signing signed" || !c.loud && got != "" {
			t.Errorf("%s: loud in %q", name, got)
		}
		told := strings.Contains(log.String(), "level=WARN msg=\"BREAK-GLASS: a rule for emergencies allowed a request\" id="+short(id)+" rule=emergency")
		if told != c.loud {
			t.Errorf("%s: told %v", name, told)
		}
	}
}
