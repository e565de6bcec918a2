package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/audit/tiles"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/verify/logmaker"
	"github.com/cofferhq/coffer/internal/witness"
)

// TestLogShownWithCosignatures: what a node serves carries the other vaults' and an
// outside witness's cosignatures, and none that is forged.
func TestLogShownWithCosignatures(t *testing.T) {
	m, err := logmaker.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	if err := m.Write(dir, 300); err != nil {
		t.Fatal(err)
	}
	raw, err := logfile.ReadCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := audit.DecodeSignedCheckpoint(raw)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(t.TempDir(), "witness.example/w1", []string{m.Keys(1).NoteKey()})
	if err != nil {
		t.Fatal(err)
	}
	ws := httptest.NewServer(w)
	defer ws.Close()
	client, err := witness.ParseClient(ws.URL + " " + w.Cosigner().NoteKey())
	if err != nil {
		t.Fatal(err)
	}
	view, err := tiles.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	told := &audit.CosignedCheckpoint{Checkpoint: *cp}
	p := &publisher{
		node: &node{log: slog.New(slog.NewTextHandler(io.Discard, nil))}, view: view, witnesses: []*witness.Client{client},
		told: map[string]string{}, outside: map[uint64][]audit.Cosignature{},
		ask: func(context.Context, *cluster.Command) ([]byte, error) { return told.Encode(), nil },
	}
	good, forged := m.Cosign(2, cp, 5), m.Cosign(3, cp, 5)
	forged.Signature[0] ^= 1
	told.Cosignatures = []audit.Cosignature{good, forged}
	if err := p.collect(context.Background()); err != nil {
		t.Fatal(err)
	}
	note := view.Note()
	count := func(vault uint16) int {
		k := audit.Cosigner{Name: audit.Origin(m.Genesis(), vault), Key: m.Keys(vault).Log}
		return len(audit.ParseCosignatures(note[strings.Index(note, "\n\n")+2:], cp.Text(), k))
	}
	outside := audit.ParseCosignatures(note[strings.Index(note, "\n\n")+2:], cp.Text(), w.Cosigner())
	if count(2) != 1 || count(3) != 0 || len(outside) != 1 || !strings.HasPrefix(note, cp.Note(m.Keys(1))) {
		t.Fatalf("shown is\n%s", note)
	}
	// What the coordinator reads is the same, as long as it is new; then the vault is asked.
	p.node.publisher = p
	read, err := audit.DecodeCosignedCheckpoint(p.node.cosigned().Body)
	if err != nil || read.Checkpoint.Size != cp.Size || !slices.ContainsFunc(read.Cosignatures, func(c audit.Cosignature) bool { return c.Name == "witness.example/w1" }) {
		t.Fatalf("the node tells %+v, %v", read, err)
	}
	if p.newest(time.Now().Add(2*shownFor)) != nil {
		t.Fatal("what was collected long ago counts as the newest")
	}
	p.shown = nil
	if r := p.node.cosigned(); r.Failed == "" || r.Body != nil {
		t.Fatalf("without a vault the node tells %+v", r)
	}
	// A checkpoint that is not of this log is not shown, whoever signed it.
	other, err := m.Checkpoint(1, cp.Size, [32]byte{1}, cp.Time)
	if err != nil {
		t.Fatal(err)
	}
	told = &audit.CosignedCheckpoint{Checkpoint: *other, Cosignatures: []audit.Cosignature{m.Cosign(2, other, 5)}}
	if err := p.collect(context.Background()); err == nil || view.Note() != note {
		t.Fatalf("another log's checkpoint: %v", err)
	}
}

// What a configuration says of witnesses is refused where it could not be what is meant.
func TestWitnessesRefused(t *testing.T) {
	line := func(name string) string {
		w, err := witness.Open(t.TempDir(), name, []string{mustLogKey(t)})
		if err != nil {
			t.Fatal(err)
		}
		return "http://127.0.0.1:1 " + w.Cosigner().NoteKey()
	}
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, line(fmt.Sprintf("w%d.example", i)))
		}
		return out
	}
	a := line("a.example")
	vaults, err := audit.ParseCosigner(strings.Fields(a)[1])
	if err != nil {
		t.Fatal(err)
	}
	vaults.Name = "coffer/x"
	for name, x := range map[string]struct {
		lines []string
		tiles string
		want  string
	}{
		"none":                 {nil, "", ""},
		"as many as there may": {many(maxWitnesses), "127.0.0.1:0", ""},
		"one too many":         {many(maxWitnesses + 1), "127.0.0.1:0", "node.witnesses: 33, want at most 32"},
		"a name twice":         {[]string{a, line("a.example")}, "127.0.0.1:0", `"a.example": want a name that no other witness and no vault has`},
		"a vault's name":       {[]string{"http://127.0.0.1:1 " + vaults.NoteKey()}, "127.0.0.1:0", `"coffer/x": want a name that no other witness and no vault has`},
		"nothing is shown":     {[]string{a}, "", "want node.tiles"},
		"no key":               {[]string{"http://127.0.0.1:1"}, "127.0.0.1:0", "node.witnesses: "},
	} {
		c := new(Config)
		c.Node.Witnesses, c.Node.Tiles = x.lines, x.tiles
		got, err := c.checkWitnesses()
		if x.want == "" && (err != nil || len(got) != len(x.lines)) || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

func mustLogKey(t *testing.T) string {
	t.Helper()
	m, err := logmaker.New()
	if err != nil {
		t.Fatal(err)
	}
	return m.Keys(1).NoteKey()
}
