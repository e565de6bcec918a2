package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// write puts copies on disk as a node does.
func write(t testing.TB, copies []Copy) []string {
	t.Helper()
	root := t.TempDir()
	var dirs []string
	for _, c := range copies {
		dir := filepath.Join(root, c.Name)
		l, err := logfile.Create(dir, c.Header)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(c.Entries); err != nil {
			t.Fatal(err)
		}
		if err := l.SetCheckpoint(c.Checkpoint); err != nil {
			t.Fatal(err)
		}
		l.Close()
		dirs = append(dirs, dir)
	}
	return dirs
}

// TestEveryFlippedByte flips bytes of the files on disk, one at a time: every
// byte of a small history, every 97th of a larger one. Each time verification
// must fail. And a file that lost its last byte, or got one more, fails too.
func TestEveryFlippedByte(t *testing.T) {
	small := newWorld(t)
	small.keygen()
	history := newWorld(t).history()
	for name, tt := range map[string]struct {
		w      *world
		copies []Copy
		step   int
	}{"small": {small, small.copies()[:1], sparse}, "larger": {history, history.copies(), 97 * sparse}} {
		dirs := write(t, tt.copies)
		check := func() *Report { return Dirs(tt.w.gov.Cluster, dirs, codecs) }
		if r := check(); !r.OK {
			t.Fatalf("%s: %v", name, r.Faults)
		}
		n := 0
		for _, dir := range dirs {
			for _, file := range []string{logfile.EntriesFile, logfile.CheckpointFile} {
				path := filepath.Join(dir, file)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				try := func(what string, b []byte) {
					n++
					if err := os.WriteFile(path, b, 0o600); err != nil {
						t.Fatal(err)
					}
					if r := check(); r.OK {
						t.Errorf("%s: %s: %s: verified", name, path, what)
					}
				}
				for j := n % tt.step; j < len(whole); j += tt.step {
					b := bytes.Clone(whole)
					b[j] ^= 1 << (j % 8)
					try("flipped a bit", b)
				}
				try("last byte missing", whole[:len(whole)-1])
				try("a byte more", append(bytes.Clone(whole), 0))
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r := check(); !r.OK {
			t.Fatalf("%s: not restored: %v", name, r.Faults)
		}
		t.Logf("%s: %d changes, none verified", name, n)
	}
}

// TestEveryFlippedEntryByte: with the file's checksums made right again, as an
// attacker would, the checkpoint's root still tells.
func TestEveryFlippedEntryByte(t *testing.T) {
	w := newWorld(t)
	w.keygen()
	cs := w.copies()
	for i := range cs[0].Entries {
		for j := range cs[0].Entries[i] {
			if j%(17*sparse) != i%17 {
				continue
			}
			changed := append([]Copy{}, cs...)
			c := *cs[0].Copy
			c.Entries = append([][]byte{}, c.Entries...)
			c.Entries[i] = bytes.Clone(c.Entries[i])
			c.Entries[i][j] ^= 1 << (j % 8)
			changed[0].Copy = &c
			if r := w.verify(changed); r.OK {
				t.Fatalf("entry %d, byte %d: verified", i, j)
			}
		}
	}
}

func TestDirs(t *testing.T) {
	w := newWorld(t).history()
	dirs := write(t, w.copies())
	r := Dirs(w.gov.Cluster, append(dirs, filepath.Join(t.TempDir(), "nothing")), codecs)
	if r.OK || len(r.Faults) != 1 || r.Faults[0].Code != CopyUnreadable {
		t.Errorf("a folder that isn't there: %v", r.Faults)
	}
	other := w.gov.Cluster
	other[0]++
	if r := Dirs(other, dirs, codecs); r.OK || len(r.Faults) != 4 || r.Faults[0].Code != CopyMissing || r.Faults[1].Code != CopyForeign {
		t.Errorf("another genesis hash: %v", r.Faults)
	}
	// An export of a running vault's folder verifies like the folder.
	dst := filepath.Join(t.TempDir(), "export")
	if _, err := logfile.Export(dirs[0], dst); err != nil {
		t.Fatal(err)
	}
	if r := Dirs(w.gov.Cluster, append([]string{dst}, dirs[1:]...), codecs); !r.OK {
		t.Errorf("exported: %v", r.Faults)
	}
}

// TestExportedBeforeCheckpoint: a share is released while no checkpoint covers that yet, and
// the signature stands in the others' logs already. Copies that were made then, in any order,
// verify; one that was cut off at its checkpoint does not, and the fault says what it may be.
func TestExportedBeforeCheckpoint(t *testing.T) {
	w := newWorld(t)
	w.keygen()
	w.pay(w.payment(known, ether(1), 0), []uint16{1, 2}, hooks{})
	cs := w.copies()
	v := w.vaults[1]
	size := len(v.entries) - 1 // vault 1 has not been brought the signature
	cp := w.checkpointAt(1, size-1)
	decided := cp.Encode()
	cs[0] = w.copyWith(1, v.entries[:size], decided)
	dirs := write(t, cs)
	for i, dir := range dirs {
		dst := filepath.Join(t.TempDir(), "export")
		if _, err := logfile.Export(dir, dst); err != nil {
			t.Fatal(err)
		}
		dirs[i] = dst
	}
	if r := Dirs(w.gov.Cluster, dirs, codecs); !r.OK || r.Counts.Receipts != 1 {
		t.Errorf("%+v", r)
	}
	cs[0] = w.copyWith(1, v.entries[:size-1], decided)
	if r := w.verify(cs); r.OK || len(r.Faults) != 1 || r.Faults[0].Code != ReceiptReleases || !strings.Contains(r.Faults[0].Detail, "this copy of 4 entries was made before that, or cut off") {
		t.Errorf("cut off: %v", r.Faults)
	}
	cs[0] = w.copyWith(1, append(slices.Clone(v.entries[:size-1]), v.entries[size]), decided)
	if r := w.verify(cs); r.OK || r.Faults[0].Code != ReceiptReleases || !strings.Contains(r.Faults[0].Detail, "though it has the signature") {
		t.Errorf("left out: %v", r.Faults)
	}
}

// TestReportJSON fixes the names that programs read.
func TestReportJSON(t *testing.T) {
	w := newWorld(t).history()
	b, err := json.Marshal(w.verify(w.copies()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ok":true`, `"faults":[]`, `"txid":"0x`, `"rule":"small"`, `"refused":[{"vault":1,"entry":6,`, `"receipts":3`, `"vaults":[{"vault":1,"name":"vault-1"`, `"incidents":[`} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	cs := w.copies()
	cs[1].Checkpoint = nil
	r := w.verify(cs[1:])
	b, err = json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"ok":false`)) || !bytes.Contains(b, []byte(`{"vault":2,"code":"checkpoint.missing","detail":"`)) {
		t.Errorf("%s", b)
	}
	if got := (Fault{2, entry(17), ReceiptTx, "wrong"}).String(); got != "vault 2, entry 17: wrong (receipt.tx)" {
		t.Error(got)
	}
	if got := (Fault{0, nil, CopyMissing, "nothing"}).String(); got != "nothing (copy.missing)" {
		t.Error(got)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "FAULT: vault 2: copy-2: ") || !strings.Contains(text.String(), "NOT verified: ") {
		t.Errorf("%v: %s", err, text.String())
	}
}
