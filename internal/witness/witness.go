package witness

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Witness is one witness with its folder.
type Witness struct {
	dir  string
	self audit.Cosigner
	key  ed25519.PrivateKey
	logs map[string]ed25519.PublicKey // by origin
	now  func() time.Time

	mu    sync.Mutex // guards the fields below: check and record are one step
	heads map[string]head
}

type head struct {
	size uint64
	root [32]byte
}

const (
	keyFile     = "key"
	headVersion = 1
	maxProof    = 63
	// maxBody bounds what is submitted.
	maxBody = audit.MaxNote + maxProof*64 + 64
)

// Open opens a witness's folder, and makes it and the key when there is none. logs are
// the keys of the logs that it knows (Keys.NoteKey).
func Open(dir, name string, logs []string) (*Witness, error) {
	w := &Witness{dir: dir, logs: map[string]ed25519.PublicKey{}, heads: map[string]head{}, now: time.Now}
	if !audit.ValidKeyName(name) {
		return nil, fmt.Errorf("name %q: want one without spaces and '+', such as witness.example/w1", name)
	}
	for _, vkey := range logs {
		origin, key, err := audit.ParseLogKey(vkey)
		if err != nil {
			return nil, err
		}
		if _, ok := w.logs[origin]; ok {
			return nil, fmt.Errorf("two keys of the log %s", origin)
		}
		w.logs[origin] = key
	}
	if err := w.loadKey(name); err != nil {
		return nil, err
	}
	for origin := range w.logs {
		b, err := os.ReadFile(w.headFile(origin))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		h, err := decodeHead(b, origin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: nothing of this log can be cosigned until its head is known", w.headFile(origin), err)
		}
		w.heads[origin] = h
	}
	return w, nil
}

// Cosigner is the witness's name and key.
func (w *Witness) Cosigner() audit.Cosigner { return w.self }

func (w *Witness) loadKey(name string) error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(w.dir, keyFile)
	seed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if heads, _ := filepath.Glob(filepath.Join(w.dir, "head-*")); len(heads) > 0 {
			return fmt.Errorf("%s is missing, and there are heads: a witness has one key", path)
		}
		seed = make([]byte, ed25519.SeedSize)
		if _, err = rand.Read(seed); err == nil {
			err = replace(path, seed)
		}
	}
	if err != nil {
		return err
	}
	if len(seed) != ed25519.SeedSize {
		return fmt.Errorf("%s has %d bytes, want %d", path, len(seed), ed25519.SeedSize)
	}
	w.key = ed25519.NewKeyFromSeed(seed)
	w.self = audit.Cosigner{Name: name, Key: signature.PublicKey{Algorithm: signature.Ed25519, Key: string(w.key.Public().(ed25519.PublicKey))}}
	return nil
}

func (w *Witness) headFile(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return filepath.Join(w.dir, fmt.Sprintf("head-%x", h[:16]))
}

func encodeHead(origin string, h head) []byte {
	return wire.NewWriter(headVersion).String(origin).Uint64(h.size).Fixed(h.root[:]).Bytes()
}

func decodeHead(b []byte, origin string) (h head, err error) {
	r := wire.NewReader(b, headVersion)
	if got := r.String("origin", 256); got != origin {
		r.Failf("origin: %q, want %q", got, origin)
	}
	h.size = r.Uint64("size")
	r.Into("root", h.root[:])
	return h, r.Done()
}

// refused is an answer that is no cosignature.
type refused struct {
	status int
	why    string
	size   *uint64
}

func (r *refused) Error() string { return r.why }

func refuse(status int, format string, args ...any) *refused {
	return &refused{status: status, why: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers POST /add-checkpoint.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/add-checkpoint" {
		http.NotFound(rw, r)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(rw, "want POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "the body is too long or was cut off", http.StatusBadRequest)
		return
	}
	line, err := w.Add(body)
	var no *refused
	switch {
	case err == nil:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(rw, line)
	case errors.As(err, &no) && no.size != nil:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(no.status)
		_, _ = fmt.Fprintf(rw, "%d\n", *no.size)
	case errors.As(err, &no):
		http.Error(rw, no.why, no.status)
	default:
		http.Error(rw, "the witness couldn't keep the checkpoint", http.StatusInternalServerError)
	}
}

// Add judges a request: the old size, a consistency proof, a checkpoint. It returns
// the signature line.
func (w *Witness) Add(body []byte) (string, error) {
	old, proof, note, err := parseRequest(body)
	if err != nil {
		return "", refuse(http.StatusBadRequest, "%v", err)
	}
	origin, size, root, text, _, err := audit.OpenNote(note, func(o string) (ed25519.PublicKey, bool) { k, ok := w.logs[o]; return k, ok })
	switch {
	case errors.Is(err, audit.ErrOrigin):
		return "", refuse(http.StatusNotFound, "the log is not known here")
	case errors.Is(err, signature.ErrInvalid):
		return "", refuse(http.StatusForbidden, "%v", err)
	case err != nil:
		return "", refuse(http.StatusBadRequest, "%v", err)
	case old > size:
		return "", refuse(http.StatusBadRequest, "old size %d, the checkpoint has %d", old, size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.heads[origin]
	if old != h.size || size == h.size && size > 0 && root != h.root {
		r := refuse(http.StatusConflict, "the last one that was cosigned has %d entries", h.size)
		r.size = &h.size
		return "", r
	}
	known := h.root
	if h.size == 0 {
		known = sha256.Sum256(nil) // of the empty log
	}
	if err := audit.CheckConsistency(proof, h.size, known, size, root); err != nil {
		return "", refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if size > h.size {
		if err := replace(w.headFile(origin), encodeHead(origin, head{size, root})); err != nil {
			return "", err
		}
		w.heads[origin] = head{size, root}
	}
	c := audit.Cosignature{Name: w.self.Name, Time: uint64(max(0, w.now().Unix()))}
	c.Signature = [64]byte(ed25519.Sign(w.key, audit.Cosigned(text, c.Time)))
	return c.Line(w.self), nil
}

func parseRequest(body []byte) (old uint64, proof [][32]byte, note []byte, err error) {
	r := bufio.NewReader(bytes.NewReader(body))
	line, err := r.ReadString('\n')
	n, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "old ")
	if err != nil || !ok {
		return 0, nil, nil, errors.New("the first line: want \"old SIZE\"")
	}
	if old, err = strconv.ParseUint(n, 10, 63); err != nil || strconv.FormatUint(old, 10) != n {
		return 0, nil, nil, fmt.Errorf("old size %.30q", n)
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, nil, nil, errors.New("want an empty line and a checkpoint behind the proof")
		}
		if line == "\n" {
			break
		}
		b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil || len(b) != 32 || len(proof) == maxProof {
			return 0, nil, nil, fmt.Errorf("proof line %.60q, or more than %d", line, maxProof)
		}
		proof = append(proof, [32]byte(b))
	}
	note, err = io.ReadAll(r)
	return old, proof, note, err
}

// replace makes a file durable in one step.
func replace(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
