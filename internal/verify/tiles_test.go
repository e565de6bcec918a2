package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/tiles"
	"github.com/cofferhq/coffer/internal/signature"
)

// tileClient is the Go team's client of tiled logs, over HTTP.
type tileClient struct {
	t    *testing.T
	base string
}

func (c *tileClient) Height() int { return 8 }

func (c *tileClient) get(path string) ([]byte, http.Header, error) {
	r, err := http.Get(c.base + path)
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, r.Status)
	}
	return b, r.Header, err
}

func (c *tileClient) ReadTiles(ts []tlog.Tile) (out [][]byte, err error) {
	for _, t := range ts {
		b, h, err := c.get("/" + strings.Replace(t.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		if !strings.Contains(h.Get("Cache-Control"), "immutable") {
			return nil, errors.New("a tile without immutable caching")
		}
		out = append(out, b)
	}
	return out, nil
}

func (c *tileClient) SaveTiles([]tlog.Tile, [][]byte) {}

// longHistory is a history with more entries than a tile has, one of them too long
// for a leaf.
func longHistory(t *testing.T) *world {
	w := newWorld(t).history()
	for i := range 600 {
		w.append(1, audit.KindIncident, (&audit.Incident{Peer: 3, Class: "benign", Step: "sign R0", Detail: fmt.Sprint("silent ", i)}).Encode())
	}
	w.append(1, audit.KindIncident, (&audit.Incident{Peer: 2, Class: "attributed", Step: "sign R0", Detail: "long", Evidence: bytes.Repeat([]byte{7}, 100_000)}).Encode())
	w.append(1, audit.KindIncident, (&audit.Incident{Peer: 3, Class: "benign", Step: "sign R0", Detail: "after"}).Encode())
	return w
}

// TestTilesClientReadsLog: a client that is not ours opens the checkpoint and finds
// every leaf and the root through tiles.
func TestTilesClientReadsLog(t *testing.T) {
	w := longHistory(t)
	dirs := write(t, w.copies())
	view, err := tiles.Open(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	srv := httptest.NewServer(tiles.Handler(view))
	defer srv.Close()
	for _, base := range []string{srv.URL, srv.URL + "/vault-1"} {
		readTiles(t, w, &tileClient{t, base})
	}
	// The same from files.
	out := filepath.Join(t.TempDir(), "static")
	if err := view.Export(out); err != nil {
		t.Fatal(err)
	}
	static := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(out, r.URL.Path))
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Cache-Control", "immutable")
		_, _ = rw.Write(b)
	}))
	defer static.Close()
	readTiles(t, w, &tileClient{t, static.URL})
}

func readTiles(t *testing.T, w *world, c *tileClient) {
	t.Helper()
	keys := audit.Keys{Cluster: w.gov.Cluster, Vault: 1, Decision: w.vaults[1].card.Decision, Log: w.vaults[1].card.Log}
	verifier := must[note.Verifier](t)(note.NewVerifier(keys.NoteKey()))
	raw, _, err := c.get("/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	n := must[*note.Note](t)(note.Open(raw, note.VerifierList(verifier)))
	lines := strings.Split(n.Text, "\n")
	var size int64
	if _, err := fmt.Sscan(lines[1], &size); err != nil || lines[0] != keys.NoteKey()[:len(lines[0])] {
		t.Fatalf("checkpoint %q: %v", n.Text, err)
	}
	root := must[tlog.Hash](t)(tlog.ParseHash(lines[2]))
	if int(size) != len(w.vaults[1].entries) {
		t.Fatalf("size %d, want %d", size, len(w.vaults[1].entries))
	}
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, c)
	i, stubs := int64(0), 0
	for bundle := int64(0); bundle<<8 < size; bundle++ {
		path := fmt.Sprintf("/tile/entries/%03d", bundle)
		if w := size - bundle<<8; w < 256 {
			path += fmt.Sprintf(".p/%d", w)
		}
		b, _, err := c.get(path)
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			k := int(binary.BigEndian.Uint16(b))
			leaf := b[2 : 2+k]
			b = b[2+k:]
			stubs += checkLeaf(t, c, leaf, w.vaults[1].entries[i])
			// The reader checks every tile against the root of the checkpoint.
			got := must[[]tlog.Hash](t)(hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)}))
			if got[0] != tlog.RecordHash(leaf) {
				t.Fatalf("entry %d is not in the tree", i)
			}
			i++
		}
	}
	if i != size || stubs != 1 {
		t.Fatalf("%d entries and %d stubs, want %d and 1", i, stubs, size)
	}
	for _, bad := range []string{"/tile/0/4", "/tile/0/003", "/tile/0/002.p/0", "/tile/0/002.p/200", "/tile/00/000", "/tile/7/000", "/tile/data/000", "/tile/8/0/000", "/tile/entries/0", "/body/00", "/x", "/tile/0/x000/000"} {
		if b, _, err := c.get(bad); err == nil {
			t.Errorf("%s: %d bytes, want none", bad, len(b))
		}
	}
}

func checkLeaf(t *testing.T, c *tileClient, leaf, entry []byte) (stubs int) {
	t.Helper()
	s, ok, err := audit.DecodeStub(leaf)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		if !bytes.Equal(leaf, entry) {
			t.Fatal("a leaf is not its entry")
		}
		return 0
	}
	b, _, err := c.get(fmt.Sprintf("/body/%x", s.Hash))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Of(b); err != nil || !bytes.Equal(b, entry) {
		t.Fatalf("the stub's body: %v", err)
	}
	other := bytes.Clone(b)
	other[len(b)/2] ^= 1
	if s.Of(b[1:]) == nil || s.Of(other) == nil {
		t.Fatal("another body is taken for the stub's")
	}
	return 1
}

// TestTilesRefuseEditedLog: what is not the log that the checkpoint covers is not
// served at all.
func TestTilesRefuseEditedLog(t *testing.T) {
	w := newWorld(t).history()
	copies := w.copies()
	copies[0].Entries[3] = bytes.Clone(copies[0].Entries[4])
	dirs := write(t, copies)
	if _, err := tiles.Open(dirs[0]); err == nil || !strings.Contains(err.Error(), "checkpoint covers") {
		t.Fatalf("an edited log: %v", err)
	}
	// Nor is one under a checkpoint of other keys.
	forged := w.copies()
	cp := must[*audit.SignedCheckpoint](t)(audit.DecodeSignedCheckpoint(forged[0].Checkpoint))
	bad := w.signCheckpoint(2, cp.Checkpoint)
	forged[0].Checkpoint = bad.Encode()
	if _, err := tiles.Open(write(t, forged)[0]); !errors.Is(err, signature.ErrInvalid) {
		t.Fatalf("a forged checkpoint: %v", err)
	}
}
