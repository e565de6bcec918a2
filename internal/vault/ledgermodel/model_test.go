package ledgermodel

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// COFFER_LEDGERMODEL=N multiplies what is searched: 1 takes seconds, 30 some minutes.
func factor(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("COFFER_LEDGERMODEL"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

const (
	ab = 0b011
	bc = 0b110
	ac = 0b101
)

// sessions are of different requests, each of amount 1, by these signers.
func sessions(signers ...uint8) (xs []Session) {
	for i, s := range signers {
		xs = append(xs, Session{Attempt: i, Request: i, Amount: 1, Signers: s})
	}
	return xs
}

func edit(xs []Session, f func([]Session)) []Session { f(xs); return xs }

// twoOfThree are, up to the names of vaults, all choices of signers of three sessions,
// with requests that are asked twice, amounts that differ, and an attempt id given
// twice.
func twoOfThree() map[string]Model {
	same := func(i, j int) func([]Session) { return func(xs []Session) { xs[j].Request = xs[i].Request } }
	ms := map[string]Model{
		"rotating":             {Limit: 1, Sessions: sessions(ab, bc, ac)},
		"rotating, room for 2": {Limit: 2, Sessions: sessions(ab, bc, ac)},
		"two by the same":      {Limit: 1, Sessions: sessions(ab, ab, bc)},
		"all by the same":      {Limit: 1, Sessions: sessions(ab, ab, ab)},
		"a retry":              {Limit: 1, Sessions: edit(sessions(ab, bc, ac), same(0, 1))},
		"a retry by the same":  {Limit: 1, Sessions: edit(sessions(ab, ab, bc), same(0, 1))},
		"a smaller version":    {Limit: 2, Sessions: edit(sessions(ab, bc, ac), func(xs []Session) { same(0, 1)(xs); xs[0].Amount = 2 })},
		"one attempt id":       {Limit: 1, Sessions: edit(sessions(ab, bc, ac), func(xs []Session) { xs[1].Attempt = 0 })},
		"one id, less told":    {Limit: 2, Sessions: edit(sessions(ab, bc, ac), func(xs []Session) { xs[1].Attempt, xs[1].Amount = 0, 2 })},
	}
	for name, m := range ms {
		m.Vaults = 3
		ms[name] = m
	}
	return ms
}

// Every interleaving of three sessions at 2 of 3: the limit holds.
func TestAllInterleavings(t *testing.T) {
	states := 0
	for name, m := range twoOfThree() {
		r := m.Search(20_000_000)
		states += r.States
		if !r.Full || !r.Granted || r.Spent > m.Limit {
			t.Errorf("%s: %+v, limit %d", name, r, m.Limit)
		}
	}
	t.Logf("%d states", states)
}

// The same with a vault that goes down at any moment and starts again with what is
// durable.
func TestAllInterleavingsWithCrashes(t *testing.T) {
	names := map[string]bool{"rotating": true, "a retry": true, "one attempt id": true}
	states := 0
	for name, m := range twoOfThree() {
		if m.Crashes = 1; factor(t) > 1 {
			m.Crashes = 3
		} else if !names[name] {
			continue
		}
		r := m.Search(200_000_000)
		states += r.States
		if !r.Full || !r.Granted || r.Spent > m.Limit {
			t.Errorf("%s: %+v, limit %d", name, r, m.Limit)
		}
	}
	t.Logf("%d states", states)
}

// Each rule is needed: without it the search finds how more is spent.
func TestWeakenedRulesAreCaught(t *testing.T) {
	ms := twoOfThree()
	for name, c := range map[string]struct {
		model string
		rules Rules
	}{
		"own counters only":             {"rotating, room for 2", Rules{OwnLedger: true}},
		"release after the final share": {"rotating", Rules{LateRelease: true}},
		"keyed by session alone":        {"one attempt id", Rules{SessionKey: true}},
		"keyed by session, less told":   {"one id, less told", Rules{SessionKey: true}},
	} {
		m := ms[c.model]
		m.Rules = c.rules
		if r := m.Search(20_000_000); r.Spent <= m.Limit {
			t.Errorf("%s: not found in %d states", name, r.States)
		}
	}
}

// faulty are sessions of 2 of 3, with the ledger quorum of f, and vault 2 lies.
func faulty(f int, rules Rules) Model {
	m := Model{Vaults: 3, Limit: 1, Corrupt: 0b100, Sessions: sessions(ab, bc, ac), Rules: rules}
	if f > 0 {
		for i := range m.Sessions {
			m.Sessions[i].Witnesses = 0b111 &^ m.Sessions[i].Signers
		}
	}
	return m
}

// A vault that lies, with f = 1: the third takes part in every session's ledger, and
// the limit holds; not if the allowance came back on one signer's word.
func TestCorruptVault(t *testing.T) {
	m := faulty(1, Rules{})
	if r := m.Search(20_000_000); !r.Full || !r.Granted || r.Spent > m.Limit {
		t.Errorf("3 of 3: %+v", r)
	}
	if m.Crashes = 1; factor(t) == 1 {
		m.Sessions = m.Sessions[:2]
	}
	if r := m.Search(200_000_000); !r.Full || r.Spent > m.Limit {
		t.Errorf("3 of 3 with a crash: %+v", r)
	}
	m = faulty(1, Rules{OneRelease: true})
	if r := m.Search(20_000_000); r.Spent <= m.Limit {
		t.Errorf("the allowance comes back on one signer's word, and %+v", r)
	}
}

// With f = 0 one corrupt vault overspends, up to n−t+1 times.
func TestCorruptVaultWithoutBound(t *testing.T) {
	m := faulty(0, Rules{})
	if r := m.Search(20_000_000); !r.Full || r.Spent != 2 {
		t.Errorf("2 of 3: spent %d of %d, want the bound of 2 times: %+v", r.Spent, m.Limit, r)
	}
}

// walks makes random runs of 3 of 5 with sessions drawn anew for each, and returns the
// most that was spent.
func walks(t *testing.T, runs, limit, quorum int, corrupt uint8, rules Rules) (most int) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, uint64(quorum)<<8|uint64(corrupt)))
	for range runs {
		m := Model{Vaults: 5, Limit: limit, Corrupt: corrupt, Crashes: r.IntN(3), Rules: rules}
		for i := range MaxSessions {
			x := Session{Attempt: i, Request: i, Amount: 1}
			if i > 0 && r.IntN(4) == 0 {
				x.Request = r.IntN(i)
			}
			if i > 0 && r.IntN(6) == 0 {
				x.Attempt = r.IntN(i)
			}
			for k, v := range r.Perm(5)[:quorum] {
				if k < 3 {
					x.Signers |= 1 << v
				} else {
					x.Witnesses |= 1 << v
				}
			}
			m.Sessions = append(m.Sessions, x)
		}
		if most = max(most, m.Walk(r.IntN)); most > limit && corrupt == 0 {
			break
		}
	}
	return most
}

// Random runs of six sessions at 3 of 5. COFFER_LEDGERMODEL=100 makes a million.
func TestRandomRuns(t *testing.T) {
	n := 1_500 * factor(t)
	for name, c := range map[string]struct {
		quorum  int
		corrupt uint8
	}{
		"f=0":                      {3, 0},
		"f=1, all honest":          {4, 0},
		"f=1, vault 4 lies":        {4, 0b10000},
		"f=2, vaults 0 and 3 lie":  {4, 0b01001},
		"f=1, vault 0 lies, all 5": {5, 0b00001},
	} {
		if most := walks(t, n, 2, c.quorum, c.corrupt, Rules{}); most < 1 || most > 2 {
			t.Errorf("%s: %d spent, want 1 or 2", name, most)
		}
	}
	for name, rules := range map[string]Rules{"own counters": {OwnLedger: true}, "late release": {LateRelease: true}, "session key": {SessionKey: true}} {
		if walks(t, 100*n, 3, 3, 0, rules) <= 3 { // ends when it is found
			t.Errorf("%s: not found in %d runs", name, 100*n)
		}
	}
	if most := walks(t, n, 1, 3, 0b10000, Rules{}); most < 2 || most > 3 {
		t.Errorf("f=0 and one that lies: %d spent, want 2 or 3: n−t+1 times the limit at most", most)
	}
}
