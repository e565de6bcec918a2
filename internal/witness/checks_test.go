package witness

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWitnessFolderIsRefused: a folder or a name that a witness could not stand by.
func TestWitnessFolderIsRefused(t *testing.T) {
	l, other := newLog(t, "example.com/log").grow(4), newLog(t, "example.com/other").grow(2)
	dir := t.TempDir()
	w, err := Open(dir, "w", []string{l.vkey, other.vkey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add([]byte(body(l, 0))); err != nil {
		t.Fatal(err)
	}
	again := newLog(t, l.origin)
	if _, err := Open(dir, "w", []string{l.vkey, again.vkey}); err == nil || !strings.Contains(err.Error(), "two keys") {
		t.Errorf("two keys of one log: %v", err)
	}
	if _, err := Open(t.TempDir(), "a name", []string{l.vkey}); err == nil {
		t.Error("a name with a space")
	}
	// The head of one log in another's place.
	b, err := os.ReadFile(w.headFile(l.origin))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.headFile(other.origin), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "w", []string{other.vkey}); err == nil || !strings.Contains(err.Error(), "origin") {
		t.Errorf("another log's head: %v", err)
	}
	short := t.TempDir()
	if err := os.WriteFile(filepath.Join(short, keyFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(short, "w", []string{l.vkey}); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("a short key: %v", err)
	}
}

// TestClientNamesConflicts: what a witness knows that does not fit is told as such.
func TestClientNamesConflicts(t *testing.T) {
	l := newLog(t, "example.com/log").grow(4)
	w, err := Open(t.TempDir(), "w", []string{l.vkey})
	if err != nil {
		t.Fatal(err)
	}
	text, signed := l.note()
	for answer, want := range map[string]string{"9\n": "longer log", "0\n": "another log of 0 entries"} {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusConflict)
			_, _ = rw.Write([]byte(answer))
		}))
		c := &Client{URL: srv.URL, Key: w.Cosigner(), HTTP: http.DefaultClient}
		if _, err := c.Cosign(context.Background(), text, signed, 4, l.tree.Consistency); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
		srv.Close()
	}
}
