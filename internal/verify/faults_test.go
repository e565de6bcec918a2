package verify

import (
	"bytes"
	"crypto/sha256"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

func TestForgeries(t *testing.T) {
	for _, f := range forgeries {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.verify(f.make(w))
			if r.OK {
				t.Fatal("not found")
			}
			for _, x := range r.Faults {
				if x.Code == f.want && strings.Contains(x.String(), f.says) {
					return
				}
			}
			t.Fatalf("want %s with %q, got %v", f.want, f.says, r.Faults)
		})
	}
}

// TestEveryFaultIsTested: no code is in the list that no forgery provokes, and
// the specification has a line for each.
func TestEveryFaultIsTested(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "report.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile("../../docs/spec/verification.md")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{string(CopyUnreadable): true} // TestEveryFlippedByte, TestDirs
	for _, f := range forgeries {
		tested[string(f.want)] = true
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		vs, ok := node.(*ast.ValueSpec)
		if !ok || len(vs.Values) != 1 {
			return true
		}
		if id, ok := vs.Type.(*ast.Ident); !ok || id.Name != "Code" {
			return true
		}
		code := strings.Trim(vs.Values[0].(*ast.BasicLit).Value, `"`)
		n++
		if !tested[code] {
			t.Errorf("no forgery provokes %s", code)
		}
		if !bytes.Contains(spec, []byte("`"+code+"`")) {
			t.Errorf("docs/spec/verification.md does not explain %s", code)
		}
		return true
	})
	if n < 30 {
		t.Fatalf("found %d codes", n)
	}
}

// TestBodiesThatDoNotDecode: each kind of entry.
func TestBodiesThatDoNotDecode(t *testing.T) {
	for _, kind := range []audit.Kind{audit.KindBoot, audit.KindGenesis, audit.KindChange, audit.KindKey, audit.KindDecision, audit.KindOutcome, audit.KindReceipt, audit.KindIncident, audit.KindClone} {
		if kind == audit.KindGenesis {
			continue
		}
		w := newWorld(t)
		w.append(1, kind, []byte{7})
		if r := w.verify(w.copies()); len(r.Faults) != 1 || r.Faults[0].Code != EntryForm || *r.Faults[0].Entry != 2 {
			t.Errorf("%v: %v", kind, r.Faults)
		}
	}
	inner := map[string]func(w *world){
		"certificate": func(w *world) { k := w.keyEntry(); k.Certificate = nil; w.append(1, audit.KindKey, k.Encode()) },
		"order":       func(w *world) { k := w.keyEntry(); k.Order = nil; w.append(1, audit.KindKey, k.Encode()) },
		"bundle": func(w *world) {
			w.appendEntry(1, (&audit.Decision{}).Entry())
		},
		"decision's time": func(w *world) {
			e := w.decide(1, w.payment(known, ether(1), 0), [16]byte{1}, []uint16{1, 2}).Entry()
			e.Time++
			w.appendEntry(1, e)
		},
	}
	for name, write := range inner {
		w := newWorld(t)
		write(w)
		if r := w.verify(w.copies()); len(r.Faults) != 1 || r.Faults[0].Code != EntryForm {
			t.Errorf("%s: %v", name, r.Faults)
		}
	}
}

// TestNotFaults: what looks odd and is right.
func TestNotFaults(t *testing.T) {
	for name, make := range map[string]func(w *world) []Copy{
		"decided before a change, logged after it": then(func(w *world) {
			w.keygen()
			p := w.payment(known, ether(1), 0)
			attempt := w.nextAttempt()
			d := w.decide(1, p, attempt, []uint16{1, 2})
			w.change(5)
			w.appendEntry(1, d.Entry())
		}),
		"ordered by an admin of the time, certified after": then(func(w *world) {
			o := w.keyEntry()
			w.change(5)
			w.append(1, audit.KindKey, o.Encode())
		}),
		"a cold wallet, approved in the device that can": coldly(func(*world, *audit.Decision) {}),
		"two versions of which the chain takes one": then(func(w *world) {
			w.keygen()
			p := w.payment(known, ether(1), 0)
			w.pay(p, []uint16{1, 2}, hooks{})
			w.pay(p.with(w, known, ether(1), 0), []uint16{2, 3}, hooks{})
		}),
		"refusals that rest on a vault's ledger": then(func(w *world) {
			w.keygen()
			p := w.payment(known, ether(1), 0)
			for _, code := range []string{"version.conflict", "sign.attempt", "approval.device"} {
				d := w.decide(1, p, w.nextAttempt(), []uint16{1, 2})
				d.Allow, d.Code, d.Rule, d.Detail = false, code, "", "because"
				w.appendEntry(1, d.Entry())
			}
		}),
		"a copy older than another": func(w *world) []Copy {
			cs := w.history().copies()
			cp := w.checkpointAt(1, 5)
			return append(cs, w.copyWith(1, w.vaults[1].entries[:5], cp.Encode()))
		},
		"entries behind the checkpoint": func(w *world) []Copy {
			cs := w.history().copies()
			cs[0].Entries = append(cs[0].Entries, (&audit.Entry{Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 2}).Encode()}).Encode())
			return cs
		},
		"a newer copy after an older one": func(w *world) []Copy {
			cs := w.history().copies()
			cp := w.checkpointAt(1, 5)
			return append([]Copy{w.copyWith(1, w.vaults[1].entries[:5], cp.Encode())}, cs...)
		},
		"a decided attempt that was aborted, then another version": then(func(w *world) {
			w.keygen()
			p := w.payment(known, ether(1), 0)
			d := w.decide(1, p, w.nextAttempt(), []uint16{1, 2})
			w.appendEntry(1, d.Entry())
			w.append(1, audit.KindOutcome, (&audit.Outcome{Attempt: d.Attempt, Request: d.Request, Stage: audit.StageAborted}).Encode())
			w.pay(p.with(w, known, ether(1), 1), []uint16{1, 3}, hooks{})
		}),
		"an attempt that was aborted": then(func(w *world) {
			w.append(1, audit.KindOutcome, (&audit.Outcome{Attempt: [16]byte{7}, Stage: audit.StageAborted, Culprits: []uint16{2}}).Encode())
		}),
	} {
		w := newWorld(t)
		if r := w.verify(make(w)); !r.OK {
			t.Errorf("%s: %v", name, r.Faults)
		}
	}
}

// lenient is a codec that overlooks a byte at the end, as ours must not.
type lenient struct{ evm.Codec }

func (c lenient) Prepare(name, sender string, intent []byte, maxFee chain.Amount, unsigned []byte, methods []chain.Method) (*chain.Prepared, error) {
	if p, err := c.Codec.Prepare(name, sender, intent, maxFee, unsigned, methods); err == nil {
		return p, nil
	}
	return c.Codec.Prepare(name, sender, intent, maxFee, unsigned[:len(unsigned)-1], methods)
}

// TestSameSession: decisions that differ in anything that the signers had to
// agree on are of different sessions.
func TestSameSession(t *testing.T) {
	d := audit.Decision{Parties: []uint16{1, 2}, Unsigned: []byte{1}}
	of := func(d *audit.Decision) *decision {
		return &decision{Decision: d, unsigned: sha256.Sum256(d.Unsigned)}
	}
	if e := d; !sameSession(of(&d), of(&e)) {
		t.Fatal("one decision is of two sessions")
	}
	for name, change := range map[string]func(d *audit.Decision){
		"request": func(d *audit.Decision) { d.Request[0]++ }, "r0": func(d *audit.Decision) { d.R0Hash[0]++ },
		"key": func(d *audit.Decision) { d.Key[0]++ }, "epoch": func(d *audit.Decision) { d.Epoch++ },
		"parties": func(d *audit.Decision) { d.Parties = []uint16{1, 3} }, "tx": func(d *audit.Decision) { d.Unsigned = []byte{2} },
		"more parties": func(d *audit.Decision) { d.Parties = []uint16{1, 2, 3} },
		"seq":          func(d *audit.Decision) { d.GovernanceSeq++ }, "head": func(d *audit.Decision) { d.GovernanceHead[0]++ },
	} {
		e := d
		change(&e)
		if sameSession(of(&d), of(&e)) || sameSession(of(&e), of(&d)) {
			t.Errorf("%s does not count", name)
		}
	}
}

// TestLongestCopy: of several copies of one log the one with the most that is
// vouched for counts, and among equals the longest, in whatever order they come.
func TestLongestCopy(t *testing.T) {
	w := newWorld(t).history()
	cs := w.copies()[1:]
	at5, all := w.checkpointAt(1, 5), w.checkpoint(1)
	short := w.copyWith(1, w.vaults[1].entries[:5], at5.Encode())
	tail := w.copyWith(1, w.vaults[1].entries[:6], at5.Encode())
	long := w.copyWith(1, w.vaults[1].entries, at5.Encode())
	whole := w.copyWith(1, w.vaults[1].entries[:12], all.Encode())
	for _, tt := range []struct {
		copies           []Copy
		entries, covered uint64
	}{
		{[]Copy{short, tail}, 6, 5}, {[]Copy{tail, short}, 6, 5}, {[]Copy{whole, tail}, 12, 12},
		{[]Copy{tail, whole}, 12, 12}, {[]Copy{long, whole}, 12, 12}, {[]Copy{whole, short, long}, 12, 12},
	} {
		r := w.verify(append(tt.copies, cs...))
		if v := r.Vaults[0]; v.Entries != tt.entries || v.Covered != tt.covered || v.Copies != len(tt.copies) {
			t.Errorf("got %+v, want %d entries, %d covered", v, tt.entries, tt.covered)
		}
	}
}

// TestOneFault: a fault does not bring others that only confuse.
func TestOneFault(t *testing.T) {
	w := newWorld(t)
	cs := w.copies()
	cs[0].Checkpoint = nil
	if r := w.verify(cs); len(r.Faults) != 1 || r.Faults[0].Code != CheckpointMissing {
		t.Error(r.Faults)
	}
}

// TestNotes: what is not wrong but should be known is said.
func TestNotes(t *testing.T) {
	w := newWorld(t)
	cs := w.copies()
	cs[0].Entries = append(cs[0].Entries, w.vaults[1].entries[1])
	cs[0].Entries[2] = (&audit.Entry{Kind: audit.KindIncident, Body: (&audit.Incident{Peer: 2}).Encode()}).Encode()
	r := w.verify(cs[:2])
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"vault 1: the last 1 entry is not covered", "no copy of the log of vault 3", "hold no signature"} {
		if !r.OK || !strings.Contains(notes, want) {
			t.Errorf("want note %q, got %q, faults %v", want, notes, r.Faults)
		}
	}
}
