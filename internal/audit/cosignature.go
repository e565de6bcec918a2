package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Cosignature is the statement of a witness that a checkpoint goes on from all that
// it has seen of that log (C2SP tlog-cosignature, cosignature/v1).
type Cosignature struct {
	Name      string // of the cosigner; a vault's is the origin of its own log
	Time      uint64 // unix seconds
	Signature [64]byte
}

// Cosigner is the name and the key of one whose cosignatures count.
type Cosigner struct {
	Name string
	Key  signature.PublicKey // Ed25519
}

const (
	cosignatureVersion = 1
	noteCosignature    = "\x04"
	cosignatureHeader  = "cosignature/v1\ntime "
)

// Cosigned is what a cosigner signs: it can neither be a checkpoint's text, which
// begins with an origin, nor a digest, which has 32 bytes (docs/spec/checkpoint.md).
func Cosigned(text string, time uint64) []byte {
	return []byte(cosignatureHeader + strconv.FormatUint(time, 10) + "\n" + text)
}

// Encode is the canonical encoding.
func (c *Cosignature) Encode() []byte {
	return wire.NewWriter(cosignatureVersion).String(c.Name).Uint64(c.Time).Fixed(c.Signature[:]).Bytes()
}

// DecodeCosignature is the inverse of Encode. It does not verify.
func DecodeCosignature(b []byte) (*Cosignature, error) {
	r := wire.NewReader(b, cosignatureVersion)
	c := &Cosignature{Name: r.Text("cosigner", maxName), Time: r.Uint64("time")}
	if c.Time > 1<<62 {
		r.Failf("time: %d, want unix seconds", c.Time)
	}
	if !ValidKeyName(c.Name) {
		r.Failf("cosigner: %q, want a name without spaces and '+'", c.Name)
	}
	r.Into("signature", c.Signature[:])
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode cosignature: %w", err)
	}
	return c, nil
}

// ValidKeyName says whether a name can stand on a note's signature line.
func ValidKeyName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsAny(s, " +\t\r\n\u2028\u2029") && wire.CheckText(s, maxName) == nil
}

// Verify checks the cosignature over a checkpoint's text.
func (c *Cosignature) Verify(k Cosigner, text string) error {
	if c.Name != k.Name {
		return fmt.Errorf("cosignature of %q, want one of %q", c.Name, k.Name)
	}
	if k.Key.Algorithm != signature.Ed25519 || len(k.Key.Key) != ed25519.PublicKeySize ||
		!ed25519.Verify(ed25519.PublicKey(k.Key.Key), Cosigned(text, c.Time), c.Signature[:]) {
		return fmt.Errorf("cosignature of %s: %w under %v", c.Name, signature.ErrInvalid, k.Key)
	}
	return nil
}

// Line is the cosignature as a line of a signed note.
func (c *Cosignature) Line(k Cosigner) string {
	b := noteKeyID(c.Name, noteCosignature+k.Key.Key)
	b = binary.BigEndian.AppendUint64(b, c.Time)
	return "— " + c.Name + " " + base64.StdEncoding.EncodeToString(append(b, c.Signature[:]...)) + "\n"
}

// ParseCosignatures finds a cosigner's valid cosignatures of a checkpoint among the
// lines of a note's signatures.
func ParseCosignatures(lines, text string, k Cosigner) (out []Cosignature) {
	for line := range strings.Lines(lines) {
		name, b64, ok := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
		b, err := base64.StdEncoding.DecodeString(b64)
		if !ok || name != k.Name || err != nil || len(b) != 4+8+64 || string(b[:4]) != string(noteKeyID(name, noteCosignature+k.Key.Key)) {
			continue
		}
		c := Cosignature{Name: name, Time: binary.BigEndian.Uint64(b[4:]), Signature: [64]byte(b[12:])}
		if c.Verify(k, text) == nil {
			out = append(out, c)
		}
	}
	return out
}

// NoteKey is the cosigner's key as C2SP clients take it: name+id+base64.
func (k Cosigner) NoteKey() string {
	key := noteCosignature + k.Key.Key
	return fmt.Sprintf("%s+%x+%s", k.Name, noteKeyID(k.Name, key), base64.StdEncoding.EncodeToString([]byte(key)))
}

// ParseCosigner is the inverse of NoteKey.
func ParseCosigner(vkey string) (Cosigner, error) {
	bad := func(why string) (Cosigner, error) {
		return Cosigner{}, fmt.Errorf("key %.100q: %s, want NAME+ID+BASE64 of an Ed25519 cosigner (type 04)", vkey, why)
	}
	name, rest, ok := strings.Cut(vkey, "+")
	id, b64, ok2 := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(b64)
	switch {
	case !ok || !ok2 || err != nil || !ValidKeyName(name):
		return bad("it has another form")
	case len(key) != 33 || key[0] != noteCosignature[0]:
		return bad("it is a key of another type")
	case id != fmt.Sprintf("%x", noteKeyID(name, string(key))):
		return bad("its id is not that of the name and the key")
	}
	return Cosigner{Name: name, Key: signature.PublicKey{Algorithm: signature.Ed25519, Key: string(key[1:])}}, nil
}

// ParseLogKey reads a log's key as C2SP has it (Keys.NoteKey): name and Ed25519 key.
func ParseLogKey(vkey string) (origin string, key ed25519.PublicKey, err error) {
	name, rest, ok := strings.Cut(vkey, "+")
	id, b64, ok2 := strings.Cut(rest, "+")
	b, err := base64.StdEncoding.DecodeString(b64)
	if !ok || !ok2 || err != nil || len(b) != 33 || b[0] != noteEd25519[0] || id != fmt.Sprintf("%x", noteKeyID(name, string(b))) {
		return "", nil, fmt.Errorf("key %.100q: want NAME+ID+BASE64 of a log's Ed25519 key (type 01)", vkey)
	}
	return name, b[1:], nil
}

// CosignedWithin is how much older, by its own time, a checkpoint with cosignatures may
// be than the newest one to be shown instead of it, in ms.
const CosignedWithin = 30_000

const maxCosignatures = 64

// CosignedCheckpoint is a checkpoint with the cosignatures of others, by ascending name.
type CosignedCheckpoint struct {
	Checkpoint   SignedCheckpoint
	Cosignatures []Cosignature
}

// SortCosignatures puts them in order.
func SortCosignatures(cs []Cosignature) {
	slices.SortFunc(cs, func(a, b Cosignature) int { return strings.Compare(a.Name, b.Name) })
}

// Encode is the canonical encoding.
func (c *CosignedCheckpoint) Encode() []byte {
	w := wire.NewWriter(cosignatureVersion).Var(c.Checkpoint.Encode()).Count(len(c.Cosignatures))
	for i := range c.Cosignatures {
		w.Var(c.Cosignatures[i].Encode())
	}
	return w.Bytes()
}

// DecodeCosignedCheckpoint is the inverse of Encode. It does not verify.
func DecodeCosignedCheckpoint(b []byte) (*CosignedCheckpoint, error) {
	r := wire.NewReader(b, cosignatureVersion)
	cp, err := DecodeSignedCheckpoint(r.Var("checkpoint", maxCheckpoint))
	if err != nil {
		r.Fail(err)
	}
	x := new(CosignedCheckpoint)
	for range r.Count("cosignatures", maxCosignatures, 4) {
		c, err := DecodeCosignature(r.Var("cosignature", 1024))
		if err != nil {
			r.Fail(err)
			break
		}
		if n := len(x.Cosignatures); n > 0 && c.Name <= x.Cosignatures[n-1].Name {
			r.Failf("cosignatures: %q after %q, want ascending", c.Name, x.Cosignatures[n-1].Name)
			break
		}
		x.Cosignatures = append(x.Cosignatures, *c)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode cosigned checkpoint: %w", err)
	}
	x.Checkpoint = *cp
	return x, nil
}

// ErrNote says that bytes are no signed note of a checkpoint.
var ErrNote = errors.New("not a signed note of a checkpoint")

// OpenNote splits a signed note and verifies the log's own signature. It returns
// origin, size and root of the checkpoint, its text and its signature lines.
func OpenNote(b []byte, key func(origin string) (ed25519.PublicKey, bool)) (origin string, size uint64, root [32]byte, text, lines string, err error) {
	fail := func(e error) (string, uint64, [32]byte, string, string, error) {
		return origin, 0, [32]byte{}, "", "", e
	}
	s := string(b)
	cut := strings.LastIndex(s, "\n\n")
	if len(b) > MaxNote || cut < 0 || !strings.HasSuffix(s, "\n") {
		return fail(fmt.Errorf("%w: want text, an empty line and signature lines, at most %d bytes", ErrNote, MaxNote))
	}
	text, lines = s[:cut+1], s[cut+2:]
	parts := strings.SplitN(text, "\n", 4)
	if len(parts) < 4 || parts[0] == "" {
		return fail(fmt.Errorf("%w: want origin, size and root", ErrNote))
	}
	origin = parts[0]
	size, err = strconv.ParseUint(parts[1], 10, 63)
	raw, err2 := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || err2 != nil || len(raw) != 32 || size > MaxSize || strconv.FormatUint(size, 10) != parts[1] {
		return fail(fmt.Errorf("%w: size %.30q, root %.60q", ErrNote, parts[1], parts[2]))
	}
	pub, ok := key(origin)
	if !ok {
		return fail(ErrOrigin)
	}
	id := noteKeyID(origin, noteEd25519+string(pub))
	for line := range strings.Lines(lines) {
		name, b64, ok := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "— "), " ")
		sig, err := base64.StdEncoding.DecodeString(b64)
		if ok && err == nil && name == origin && len(sig) == 4+64 && string(sig[:4]) == string(id) && ed25519.Verify(pub, []byte(text), sig[4:]) {
			return origin, size, [32]byte(raw), text, lines, nil
		}
	}
	return fail(fmt.Errorf("checkpoint of %s at size %d: %w of its log key", origin, size, signature.ErrInvalid))
}

// MaxNote bounds a signed note that comes from outside.
const MaxNote = 64 << 10

// ErrOrigin says that a note is of a log whose key is not known.
var ErrOrigin = errors.New("unknown log")
