package tiles

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Handler serves the logs, each below /vault-N/; a single one at the root, too.
func Handler(views ...*View) http.Handler {
	mux := http.NewServeMux()
	for _, v := range views {
		prefix := fmt.Sprintf("/vault-%d", v.Vault())
		mux.Handle("GET "+prefix+"/", http.StripPrefix(prefix, http.HandlerFunc(v.serve)))
	}
	if len(views) == 1 {
		mux.HandleFunc("GET /", views[0].serve)
	}
	return mux
}

const (
	immutable = "public, max-age=604800, immutable"
	mutable   = "no-cache"
)

func (v *View) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/checkpoint" {
		v.serveCheckpoint(w)
		return
	}
	b, entries, err := v.resource(r.URL.Path)
	switch {
	case errors.Is(err, errNone):
		http.Error(w, "there is no "+strconv.Quote(r.URL.Path)+" in this log", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "couldn't read the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", immutable)
	if entries && acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Vary", "Accept-Encoding")
		z := gzip.NewWriter(w)
		_, _ = z.Write(b) // the client may be gone
		_ = z.Close()
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if name, q, _ := strings.Cut(strings.TrimSpace(part), ";"); name == "gzip" && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

func (v *View) serveCheckpoint(w http.ResponseWriter) {
	if err := v.Refresh(); err != nil {
		http.Error(w, "couldn't read the log", http.StatusInternalServerError)
		return
	}
	note := v.Note()
	if note == "" {
		http.Error(w, "this log has no checkpoint yet", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", mutable)
	_, _ = w.Write([]byte(note))
}

// resource finds what a path names; it has to be written as the specification says.
func (v *View) resource(path string) (b []byte, entries bool, err error) {
	if h, ok := strings.CutPrefix(path, "/body/"); ok {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != h {
			return nil, false, errNone
		}
		b, err = v.Body([32]byte(raw))
		return b, true, err
	}
	t, err := parsePath(path)
	if err != nil {
		return nil, false, err
	}
	b, err = v.Tile(t.L, t.N, t.W)
	return b, t.L < 0, err
}

// parsePath reads /tile/<L>/<N>[.p/<W>] and /tile/entries/<N>[.p/<W>].
func parsePath(path string) (tlog.Tile, error) {
	rest, ok := strings.CutPrefix(path, "/tile/")
	if !ok {
		return tlog.Tile{}, errNone
	}
	if n, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + n
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", height, rest))
	if err != nil || path != "/"+pathOf(t) {
		return tlog.Tile{}, errNone
	}
	return t, nil
}

// pathOf is a tile's path, relative to the log's prefix.
func pathOf(t tlog.Tile) string {
	p := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height))
	if n, ok := strings.CutPrefix(p, "data/"); ok {
		p = "entries/" + n
	}
	return "tile/" + p
}

// Export writes all that Handler would serve as files below dir, which must be new.
func (v *View) Export(dir string) error {
	cp, _ := v.Head()
	if cp == nil {
		return errors.New("couldn't export tiles: the log has no checkpoint yet")
	}
	put := func(name string, b []byte) error {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, b, 0o644)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("couldn't export tiles: %w", err)
	}
	for _, t := range tilesOf(int64(cp.Size)) {
		b, err := v.Tile(t.L, t.N, t.W)
		if err == nil {
			err = put(pathOf(t), b)
		}
		if err != nil {
			return fmt.Errorf("couldn't export tile %s: %w", pathOf(t), err)
		}
	}
	for h, i := range v.long {
		if i >= cp.Size {
			continue
		}
		b, err := v.Body(h)
		if err == nil {
			err = put(fmt.Sprintf("body/%x", h), b)
		}
		if err != nil {
			return fmt.Errorf("couldn't export entry %d: %w", i, err)
		}
	}
	// Last, as in a log: who finds a checkpoint finds what it covers.
	return put("checkpoint", []byte(v.Note()))
}

// tilesOf are all tiles of a tree of a size, those of entries among them.
func tilesOf(size int64) (out []tlog.Tile) {
	out = tlog.NewTiles(height, 0, size)
	for _, t := range slices.Clone(out) {
		if t.L == 0 {
			t.L = -1
			out = append(out, t)
		}
	}
	return out
}
