package witness

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/cofferhq/coffer/internal/audit"
)

// testLog is a log with the Go team's signer of notes.
type testLog struct {
	t      *testing.T
	origin string
	signer note.Signer
	vkey   string
	tree   *audit.Log
}

func newLog(t *testing.T, origin string) *testLog {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &testLog{t, origin, s, vkey, new(audit.Log)}
}

func (l *testLog) grow(n int) *testLog {
	for range n {
		l.tree.Append(fmt.Appendf(nil, "%s entry %d", l.origin, l.tree.Size()))
	}
	return l
}

func (l *testLog) note() (text, signed string) {
	root := l.tree.Root()
	text = fmt.Sprintf("%s\n%d\n%s\nextension\n", l.origin, l.tree.Size(), base64.StdEncoding.EncodeToString(root[:]))
	b, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return text, string(b)
}

func post(t *testing.T, url, body string) (int, string, string) {
	t.Helper()
	r, err := http.Post(url+"/add-checkpoint", "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b), r.Header.Get("Content-Type")
}

func body(l *testLog, from uint64) string {
	_, signed := l.note()
	proof, err := l.tree.Consistency(from, l.tree.Size())
	if err != nil {
		l.t.Fatal(err)
	}
	s := fmt.Sprintf("old %d\n", from)
	for _, h := range proof {
		s += base64.StdEncoding.EncodeToString(h[:]) + "\n"
	}
	return s + "\n" + signed
}

func TestWitnessCosignsAndRemembers(t *testing.T) {
	dir, l := t.TempDir(), newLog(t, "example.com/log").grow(5)
	open := func() (*Witness, *httptest.Server) {
		w, err := Open(dir, "witness.example/w1", []string{l.vkey})
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(w)
		t.Cleanup(srv.Close)
		return w, srv
	}
	w, srv := open()
	c, err := ParseClient(srv.URL + " " + w.Cosigner().NoteKey())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (*audit.Cosignature, error) {
		text, signed := l.note()
		return c.Cosign(context.Background(), text, signed, l.tree.Size(), l.tree.Consistency)
	}
	for _, n := range []int{0, 0, 7, 300} {
		l.grow(n)
		if _, err := ask(); err != nil {
			t.Fatalf("at %d: %v", l.tree.Size(), err)
		}
	}
	// Another start of the witness knows the head; a client that knows nothing learns it.
	w2, srv2 := open()
	if w2.Cosigner() != w.Cosigner() {
		t.Fatal("another key after a start")
	}
	c = &Client{URL: srv2.URL, Key: c.Key, HTTP: http.DefaultClient}
	l.grow(1)
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	// A fork of the same size and a longer one are refused, as is a shorter log.
	fork := &testLog{t, l.origin, l.signer, l.vkey, audit.Load([][]byte{{1}})}
	for fork.tree.Size() < l.tree.Size() {
		fork.tree.Append([]byte{2})
	}
	text, signed := fork.note()
	if _, err := c.Cosign(context.Background(), text, signed, fork.tree.Size(), fork.tree.Consistency); err == nil {
		t.Fatal("a fork of the same size is cosigned")
	}
	fork.grow(3)
	text, signed = fork.note()
	if _, err := c.Cosign(context.Background(), text, signed, fork.tree.Size(), fork.tree.Consistency); err == nil || !strings.Contains(err.Error(), "422") {
		t.Fatalf("a longer fork: %v", err)
	}
	short := &testLog{t, l.origin, l.signer, l.vkey, audit.Load(nil)}
	if code, answer, kind := post(t, srv2.URL, body(short.grow(3), 0)); code != 409 || answer != fmt.Sprintln(l.tree.Size()) || kind != "text/x.tlog.size" {
		t.Fatalf("a shorter log: %d %q %q", code, answer, kind)
	}
}

// TestWitnessStatuses: the answers that the specification asks for.
func TestWitnessStatuses(t *testing.T) {
	dir, l, stranger := t.TempDir(), newLog(t, "example.com/log").grow(4), newLog(t, "example.com/other").grow(4)
	forger := newLog(t, "example.com/log").grow(4)
	w, err := Open(dir, "w", []string{l.vkey})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w)
	defer srv.Close()
	good := body(l, 0)
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"unknown log": {body(stranger, 0), 404}, "another key": {body(forger, 0), 403}, "old above size": {strings.Replace(good, "old 0", "old 9", 1), 400},
		"old not known": {body(l, 2), 409}, "proof from nothing": {strings.Replace(good, "old 0\n", "old 0\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", 1), 422},
		"no old": {strings.TrimPrefix(good, "old 0\n"), 400}, "old 00": {strings.Replace(good, "old 0", "old 00", 1), 400}, "nothing": {"", 400},
		"64 hashes":  {"old 0\n" + strings.Repeat(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", 64) + "\n", 400},
		"other text": {strings.Replace(good, "extension", "Extension", 1), 403}, "too long": {good + strings.Repeat("x", maxBody), 400},
	} {
		if code, answer, _ := post(t, srv.URL, tt.body); code != tt.want {
			t.Errorf("%s: %d %q, want %d", name, code, answer, tt.want)
		}
	}
	if code, answer, _ := post(t, srv.URL, good); code != 200 {
		t.Fatalf("%d %q", code, answer)
	}
	// Damaged memory is no memory to go on from; heads without their key neither.
	head := w.headFile(l.origin)
	b, err := os.ReadFile(head)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(head, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "w", []string{l.vkey}); err == nil {
		t.Error("a witness with a damaged head opens")
	}
	if err := os.Remove(dir + "/" + keyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "w", []string{l.vkey}); err == nil {
		t.Error("a witness that lost its key opens")
	}
}

// TestForgedWitness: an answer that is not the witness's own cosignature of this
// checkpoint does not count.
func TestForgedWitness(t *testing.T) {
	l := newLog(t, "example.com/log").grow(4)
	w, err := Open(t.TempDir(), "w.example", []string{l.vkey})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(t.TempDir(), "w.example", []string{l.vkey})
	if err != nil {
		t.Fatal(err)
	}
	text, signed := l.note()
	line, err := other.Add([]byte(body(l, 0)))
	if err != nil {
		t.Fatal(err)
	}
	own, err := w.Add([]byte(body(l, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if got := audit.ParseCosignatures(own, text, w.Cosigner()); len(got) != 1 {
		t.Fatal("the own cosignature does not count")
	}
	for name, answer := range map[string]string{"another key": line, "nothing": "", "of another text": own, "a log's signature": signed[strings.Index(signed, "\n\n")+2:]} {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, answer) }))
		c := &Client{URL: srv.URL, Key: w.Cosigner(), HTTP: http.DefaultClient}
		of := text
		if name == "of another text" {
			of = strings.Replace(text, "extension", "Extension", 1)
		}
		if _, err := c.Cosign(context.Background(), of, signed, 4, l.tree.Consistency); err == nil {
			t.Errorf("%s: counts", name)
		}
		srv.Close()
	}
}
