package e2e

import (
	"bytes"
	"context"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/audit/tiles"
	"github.com/cofferhq/coffer/internal/verify/logmaker"
)

// TestTesseraClientReadsLog: the client of transparency-dev's Tessera opens our
// checkpoint, fetches entries and proves that they are in the log.
func TestTesseraClientReadsLog(t *testing.T) {
	m, err := logmaker.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	if err := m.Write(dir, 700); err != nil {
		t.Fatal(err)
	}
	copied, err := logfile.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	view, err := tiles.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	srv := httptest.NewServer(tiles.Handler(view))
	defer srv.Close()
	root, err := url.Parse(srv.URL + "/vault-1/")
	if err != nil {
		t.Fatal(err)
	}
	f, err := client.NewHTTPFetcher(root, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(m.Keys(1).NoteKey())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	cp, _, _, err := client.FetchCheckpoint(ctx, f.ReadCheckpoint, v, audit.Origin(m.Genesis(), 1))
	if err != nil {
		t.Fatal(err)
	}
	if cp.Size != uint64(len(copied.Entries)) {
		t.Fatalf("%d entries, want %d", cp.Size, len(copied.Entries))
	}
	builder, err := client.NewProofBuilder(ctx, cp.Size, f.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{0, 1, 255, 256, 511, 512, cp.Size - 1} {
		b, err := client.GetEntryBundle(ctx, f.ReadEntryBundle, i/256, cp.Size)
		if err != nil {
			t.Fatal(err)
		}
		leaf := b.Entries[i%256]
		if !bytes.Equal(leaf, audit.Leaf(copied.Entries[i])) {
			t.Fatalf("entry %d is another", i)
		}
		p, err := builder.InclusionProof(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, cp.Size, rfc6962.DefaultHasher.HashLeaf(leaf), p, cp.Hash); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}
