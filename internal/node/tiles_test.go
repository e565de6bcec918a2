package node

import (
	"context"
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
