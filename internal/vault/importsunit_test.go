package vault

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
)

// An old vault's ledger counts if it is the one that the vault closed with; without
// enough of them this vault states nothing when it closes.
func TestImported(t *testing.T) {
	l := func(party mpc.ID, n byte) *ledger {
		x := &ledger{party: party}
		for i := range n {
			x.append([]byte{i})
		}
		return x
	}
	other := func(party mpc.ID) ledgerHead {
		h := l(party, 2).head()
		h.Hash[0]++
		return h
	}
	own, one, two := l(4, 2).head(), l(1, 2).head(), l(2, 2).head()
	for name, c := range map[string]struct {
		closed  []ledgerHead
		resumed uint64
		says    string // "": imported
	}{
		"both":                        {[]ledgerHead{one, two}, 0, ""},
		"one":                         {[]ledgerHead{one}, 0, "2 of the old vaults have not stated theirs"},
		"another than it closed with": {[]ledgerHead{one, other(2)}, 0, "vault 2 shows another ledger"},
		"not known so far":            {[]ledgerHead{one, {Party: 2, Seq: 3}}, 0, "vault 2 is not known up to its event 3"},
		"of nobody here":              {[]ledgerHead{one, {Party: 9, Seq: 1}}, 0, "vault 9 is not known"},
		"its own":                     {[]ledgerHead{one, own}, 0, ""},
		"its own, of another disk":    {[]ledgerHead{one, other(4)}, 0, "vault 4 shows another ledger"},
		"its own, rebuilt":            {[]ledgerHead{one, other(4)}, 1, ""},
	} {
		v := &Vault{cfg: Config{ID: 4}, ledgers: map[mpc.ID]*ledger{1: l(1, 2), 2: l(2, 2), 4: l(4, 2)}, keys: map[[32]byte]*key{}}
		v.gate.resumed = c.resumed
		k := &key{cert: &dkg.Certificate{Epoch: 2}, imports: imports{old: 3, threshold: 2, closed: map[mpc.ID]ledgerHead{}}}
		for _, h := range c.closed {
			k.imports.closed[h.Party] = h
		}
		v.keys[k.id] = k
		err := v.imported(k)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if stated := v.closing(&handover.Plan{}); (stated == nil) != (err != nil) {
			t.Errorf("%s: it states %x", name, stated)
		}
	}
}

// Of how many old parties the ledgers are needed.
func TestImportNeed(t *testing.T) {
	for _, c := range []struct{ n, t, made, need int }{{0, 0, 0, 0}, {2, 2, 0, 1}, {3, 2, 0, 2}, {3, 2, 1, 2}, {3, 3, 0, 1}, {3, 3, 1, 2}, {3, 3, 2, 3}, {5, 3, 0, 3}, {5, 3, 1, 3}, {5, 3, 2, 4}, {5, 3, 4, 4}, {7, 4, 3, 5}} {
		i := imports{old: c.n, threshold: c.t}.under(uint16(c.made))
		if got := i.need(); got != c.need {
			t.Errorf("%d of %d made with %d faults: %d, want %d", c.t, c.n, c.made, got, c.need)
		}
		if q := i.quorum(); c.n > 0 && (i.need() > q || i.need()+q-c.n <= i.faults) {
			t.Errorf("%d of %d: quorum %d, need %d", c.t, c.n, q, i.need())
		}
	}
}

// What all its signers have given back, so that it is dead too, need not be known in
// the next epoch; one of the two alone is not enough.
func TestNothingReleasedIsRestated(t *testing.T) {
	for name, c := range map[string]struct {
		faults   uint16
		other    bool // vault 2 reserved another digest
		releases []mpc.ID
		want     int
	}{
		"live":                       {0, false, nil, 1},
		"dead":                       {0, false, []mpc.ID{1}, 1},
		"released":                   {0, false, []mpc.ID{1, 2}, 0},
		"released under two digests": {1, true, []mpc.ID{1, 2}, 2},
	} {
		v := &Vault{cfg: Config{ID: 3}, index: newRequestIndex(3)}
		e := event{Kind: eventReserve, Attempt: [16]byte{1}, Key: [32]byte{7}, Parties: []mpc.ID{1, 2}, Faults: c.faults}
		first, second := e, e
		if c.other {
			second.Digest[0]++
		}
		v.index.add(1, &first)
		v.index.add(2, &second)
		for _, id := range c.releases {
			v.index.add(id, &event{Kind: eventRelease, Attempt: e.Attempt})
		}
		if got := v.toRestate(&handover.Plan{Key: e.Key, Old: []mpc.ID{1, 2, 3}}, 3); len(got) != c.want {
			t.Errorf("%s: %d restated, want %d", name, len(got), c.want)
		}
	}
}
