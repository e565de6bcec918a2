package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// moment is how many entries all logs together had.
type moment int

// by is how many of a vault's entries were there.
func (w *world) by(id uint16, m moment) (n int) {
	for _, x := range w.appended[:m] {
		if x == id {
			n++
		}
	}
	return n
}

// exported is the copy of a log that was made at a moment, of an export begun at another.
// Its checkpoint is the one that the vault signed when it decided last.
func (w *world) exported(id uint16, begun, made moment, at uint64) Copy {
	entries := w.vaults[id].entries[:w.by(id, made)]
	size := len(entries)
	for i, b := range slices.Backward(entries) {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindDecision {
			size = i + 1
			break
		}
	}
	cp := w.checkpointAt(id, size)
	c := w.copyWith(id, entries, cp.Encode())
	c.Exported = &logfile.Exported{Entries: uint64(w.by(id, begun)), Begun: at}
	return c
}

func busyWorld(t *testing.T) (w *world, first moment) {
	w = newWorld(t)
	w.keygen()
	first = moment(len(w.appended))
	w.pay(w.payment(known, ether(1), 0), []uint16{2, 3}, hooks{})
	w.pay(w.payment(known, ether(1), 1), []uint16{1, 2}, hooks{})
	return w, first
}

func bare(copies []Copy) []Copy {
	out := slices.Clone(copies)
	for i := range out {
		out[i].Exported = nil
	}
	return out
}

// TestBusyCluster: however the cluster signs while the logs are copied one after another,
// the copies verify; without what the export knew at its beginning some do not.
func TestBusyCluster(t *testing.T) {
	w, first := busyWorld(t)
	last := moment(len(w.appended))
	alarms, unchecked := 0, 0
	orders := [][3]uint16{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}}
	for begun := first; begun <= last; begun++ {
		for a := begun; a <= last; a += 2 {
			for b := a; b <= last; b += 2 {
				order := orders[(begun+a+b/2)%3]
				var copies []Copy
				for k, made := range []moment{begun, a, b} {
					copies = append(copies, w.exported(order[k], begun, made, w.now))
				}
				r := w.verify(copies)
				if !r.OK {
					t.Fatalf("begun at %d, then %d and %d, in the order %v: %v", begun, a, b, order, r.Faults)
				}
				said := slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "not yet checked: ") })
				if said != (r.Counts.Unchecked > 0) || begun == last && said {
					t.Fatalf("%d unchecked, %v", r.Counts.Unchecked, r.Notes)
				}
				unchecked += min(1, r.Counts.Unchecked)
				strict := w.verify(bare(copies))
				if strict.OK && said {
					t.Fatalf("nothing is wrong by the strict rules, and the report says %v", r.Notes)
				}
				if !strict.OK {
					alarms++
				}
			}
		}
	}
	if alarms == 0 || unchecked != alarms {
		t.Errorf("%d exports that the strict rules refuse, %d with entries not yet checked: want the same", alarms, unchecked)
	}
}

// TestBusyClusterHidesNothing: what a log had when the export was begun is checked against
// all copies, and what is said to be young cannot be old.
func TestBusyClusterHidesNothing(t *testing.T) {
	w, first := busyWorld(t)
	last := moment(len(w.appended))
	cut := func(begun, made moment, at uint64) []Copy {
		return []Copy{w.exported(1, begun, last, at), w.exported(2, begun, made, at), w.exported(3, begun, last, at)}
	}
	found := func(name string, copies []Copy) {
		t.Helper()
		if r := w.verify(copies); r.OK || r.Counts.Unchecked > 0 {
			t.Errorf("%s: not found: %v", name, r.Notes)
		}
	}
	found("all entries are old, one log cut off", cut(last, first, w.now))
	found("entries said to be young are old", cut(first, first, w.now+maxCopying+10_000))
	mixed := cut(first, first, w.now)
	mixed[0].Exported.Begun++
	found("copies of two exports", mixed)
	mixed = cut(first, first, w.now)
	mixed[1].Exported = nil
	found("a copy from elsewhere", mixed)
	if r := w.verify(cut(first, first, w.now)); !r.OK || r.Counts.Unchecked != 4 || r.Counts.Receipts != 0 {
		t.Errorf("what came after the beginning: %+v, %v", r.Counts, r.Faults)
	} else if text := reportText(t, r); !strings.Contains(text, "not yet checked: of the log of vault 1, 2 entries are younger than the copy of vault 2") ||
		!strings.Contains(text, "verified, but for 4 entries that are too young") || strings.Contains(text, "every signature and every decision") {
		t.Errorf("%s", text)
	}
}

// TestYoungLies: being young excuses what is missing, and nothing that is there and wrong.
func TestYoungLies(t *testing.T) {
	for name, h := range map[string]hooks{
		"another session": {decision: func(d *audit.Decision, id uint16) {
			if id == 2 {
				d.R0Hash[5]++
			}
		}},
		"a signature that is none": {receipt: func(r *audit.Receipt) { r.Signatures[0].S[3] ^= 1 }},
		"a release that failed": {outcome: func(o *audit.Outcome, id uint16) {
			if id == 2 {
				o.Stage, o.Witnessed = audit.StageAborted, nil
			}
		}},
	} {
		w := newWorld(t)
		w.keygen()
		first := moment(len(w.appended))
		w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, h)
		last := moment(len(w.appended))
		var copies []Copy
		for id := uint16(1); id <= 3; id++ {
			copies = append(copies, w.exported(id, first, last, w.now))
		}
		if r := w.verify(copies); r.OK {
			t.Errorf("%s: not found: %v", name, r.Notes)
		}
	}
	// A peer that showed another log than it has.
	f := newWorld(t)
	f.keygen()
	began := moment(len(f.appended))
	f.pay(f.payment(known, ether(1), 0), []uint16{1, 2}, hooks{outcome: func(o *audit.Outcome, id uint16) {
		if id == 1 {
			o.Witnessed[0] = f.signCheckpoint(2, audit.Checkpoint{Cluster: f.gov.Cluster, Vault: 2, Size: 3, Root: [32]byte{9}, Boot: 1, Time: f.now})
		}
	}})
	all := moment(len(f.appended))
	r := f.verify([]Copy{f.exported(1, began, all, f.now), f.exported(2, began, all, f.now), f.exported(3, began, all, f.now)})
	if !slices.ContainsFunc(r.Faults, func(x Fault) bool { return x.Code == WitnessForked }) {
		t.Errorf("another log was shown: %v, %v", r.Faults, r.Notes)
	}
	// Whoever has the signature has its own part, too.
	w := newWorld(t)
	w.keygen()
	first := moment(len(w.appended))
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	v := w.vaults[2]
	n := len(v.entries)
	v.entries = slices.Delete(v.entries, n-2, n-1) // its release
	last := moment(len(w.appended) - 1)
	w.appended = slices.Delete(w.appended, len(w.appended)-1, len(w.appended))
	if r := w.verify([]Copy{w.exported(1, first, last, w.now), w.exported(2, first, last, w.now), w.exported(3, first, last, w.now)}); r.OK {
		t.Errorf("a signature without the release in the same log: %v", r.Notes)
	}
}

func reportText(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
