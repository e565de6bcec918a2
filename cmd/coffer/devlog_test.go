package main_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer/internal/audit"
)

// readDevLogs reads the logs that `coffer dev` shows with the Go team's client, with
// nothing but the URLs and keys that it printed.
func readDevLogs(t *testing.T, logs []string, witness string) {
	t.Helper()
	k, err := audit.ParseCosigner(witness)
	if err != nil || len(logs) != 3 {
		t.Fatalf("logs %q, witness %q, %v", logs, witness, err)
	}
	for _, at := range logs {
		url, key, _ := strings.Cut(at, " ")
		v, err := note.NewVerifier(key)
		if err != nil {
			t.Fatalf("%q: %v", at, err)
		}
		c := devTiles{url}
		for until := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			raw, err := c.get("/checkpoint")
			if err == nil {
				if text, lines, ok := strings.Cut(string(raw), "\n\n"); ok && len(audit.ParseCosignatures(lines, text+"\n", k)) == 1 {
					readDevLog(t, c, raw, v)
					break
				}
			}
			if time.Now().After(until) {
				t.Fatalf("%s: no checkpoint that the witness cosigned: %v\n%s", url, err, raw)
			}
		}
	}
}

func readDevLog(t *testing.T, c devTiles, raw []byte, v note.Verifier) {
	t.Helper()
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	lines := strings.Split(n.Text, "\n")
	if _, err := fmt.Sscan(lines[1], &size); err != nil || size < 1 {
		t.Fatalf("checkpoint %q: %v", n.Text, err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	// The reader checks every tile against the root of the checkpoint.
	if _, err := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, c).ReadHashes([]int64{tlog.StoredHashIndex(0, 0), tlog.StoredHashIndex(0, size-1)}); err != nil {
		t.Fatal(err)
	}
}

type devTiles struct{ base string }

func (c devTiles) Height() int { return 8 }

func (c devTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (c devTiles) ReadTiles(ts []tlog.Tile) (out [][]byte, err error) {
	for _, t := range ts {
		b, err := c.get("/" + strings.Replace(t.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func (c devTiles) get(path string) ([]byte, error) {
	r, err := http.Get(c.base + path)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, r.Status)
	}
	return b, err
}
