package tiles

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/governance"
)

// height of a tile: 256 hashes.
const height = 8

// width is how many hashes or entries a full tile has.
const width = 1 << height

// View is a log as tiles show it, up to its newest checkpoint.
type View struct {
	dir string

	mu      sync.RWMutex // guards the fields below
	reader  *logfile.Reader
	tree    *audit.Log
	offsets []int64             // of the entries
	long    map[[32]byte]uint64 // entries that have a stub, by SHA-256
	state   *governance.State
	way     governance.Course // that leads to state
	raw     []byte
	cp      *audit.SignedCheckpoint
	keys    audit.Keys
	signed  *Cosigned // the newest checkpoint that others have signed, too
}

// Open opens the log in a folder. It need not have a checkpoint yet.
func Open(dir string) (*View, error) {
	r, err := logfile.OpenReader(dir)
	if err != nil {
		return nil, err
	}
	v := &View{dir: dir, reader: r, tree: new(audit.Log), long: map[[32]byte]uint64{}}
	err = v.Refresh()
	if err == nil {
		err = v.takeCopied()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return v, nil
}

// takeCopied shows the cosignatures that came with a copy, those of other vaults. What
// does not fit this log counts for nothing.
func (v *View) takeCopied() error {
	c, err := logfile.ReadCosigned(v.dir)
	if err != nil || c == nil {
		return err
	}
	_, _ = v.Take(c, v.Cosigners())
	return nil
}

// Close closes the log's file.
func (v *View) Close() error { return v.reader.Close() }

// Vault is the vault whose log it is.
func (v *View) Vault() uint16 { return v.reader.Header.Vault }

// Refresh reads on, up to the newest checkpoint. It refuses a log that is not the
// one that its checkpoint covers.
func (v *View) Refresh() error {
	raw, err := logfile.ReadCheckpoint(v.dir)
	if err != nil || raw == nil {
		return err
	}
	return v.refresh(raw)
}

func (v *View) refresh(raw []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if bytes.Equal(raw, v.raw) {
		return nil
	}
	cp, err := audit.DecodeSignedCheckpoint(raw)
	if err != nil {
		return fmt.Errorf("log %s: %w", v.dir, err)
	}
	for uint64(len(v.offsets)) < cp.Size {
		at := v.reader.Offset()
		b, err := v.reader.Next()
		if err == io.EOF || errors.Is(err, logfile.ErrTorn) {
			return fmt.Errorf("log %s: its checkpoint covers %d entries, it has %d", v.dir, cp.Size, len(v.offsets))
		} else if err != nil {
			return fmt.Errorf("log %s: %w", v.dir, err)
		}
		v.take(at, b)
	}
	if root, err := v.tree.RootAt(cp.Size); err != nil || root != cp.Root {
		return fmt.Errorf("log %s: its first %d entries are not those that its checkpoint covers", v.dir, cp.Size)
	}
	keys, err := v.keysFor(cp)
	if err != nil {
		return fmt.Errorf("log %s: %w", v.dir, err)
	}
	v.raw, v.cp, v.keys = raw, cp, keys
	return nil
}

// take adds an entry that the reader found at an offset.
func (v *View) take(at int64, b []byte) {
	i := v.tree.Append(b)
	v.offsets = append(v.offsets, at)
	if len(b) > audit.MaxLeaf {
		v.long[sha256.Sum256(b)] = i
	}
	e, err := audit.DecodeEntry(b)
	if err != nil {
		return // internal/verify says what is wrong
	}
	switch e.Kind {
	case audit.KindGenesis:
		if g, err := governance.DecodeGenesis(e.Body); err == nil && i == 0 {
			v.state, _ = governance.Start(g) // nil: no keys will be found
		}
	default:
		if v.state != nil {
			v.way.State = v.state.At(e.Time)
			_ = v.way.Entry(e) // internal/verify says what is wrong
			v.state = v.way.State
		}
	}
}

// keysFor finds the card of the vault under which a checkpoint verifies.
func (v *View) keysFor(cp *audit.SignedCheckpoint) (audit.Keys, error) {
	if v.state == nil {
		return audit.Keys{}, errors.New("it does not begin with the cluster's genesis")
	}
	err := fmt.Errorf("the genesis names no vault %d", cp.Vault)
	cards := v.state.Cards(v.Vault())
	for i := len(cards) - 1; i >= 0; i-- {
		c := &cards[i].Vault
		k := audit.Keys{Cluster: v.state.Cluster, Vault: c.ID, Decision: c.Decision, Log: c.Log}
		if err = cp.Verify(k); err == nil {
			return k, nil
		}
	}
	return audit.Keys{}, err
}

// Head is the newest checkpoint and the keys under which it verifies; nil: none yet.
func (v *View) Head() (*audit.SignedCheckpoint, audit.Keys) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.cp, v.keys
}

// NoteOf is the signed note of a checkpoint of this log.
func (v *View) NoteOf(cp *audit.SignedCheckpoint) (string, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	keys, err := v.keysFor(cp)
	if err != nil {
		return "", err
	}
	return cp.Note(keys), nil
}

// Proof is the consistency proof between two sizes of the log.
func (v *View) Proof(from, to uint64) ([][32]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.tree.Consistency(from, to)
}

// Cosigned is a checkpoint with signature lines of others.
type Cosigned struct {
	Checkpoint *audit.SignedCheckpoint
	Keys       audit.Keys
	Lines      string
}

// SetCosigned gives the view a checkpoint that others have signed. The caller has
// verified their signatures.
func (v *View) SetCosigned(c *Cosigned) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.signed = c
}

// Cosigners are the vaults of the cluster, with the log keys of their cards.
func (v *View) Cosigners() (out []audit.Cosigner) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.state == nil {
		return nil
	}
	for i := range v.state.Vaults {
		if c := &v.state.Vaults[i]; c.ID != v.Vault() {
			out = append(out, audit.Cosigner{Name: audit.Origin(v.state.Cluster, c.ID), Key: c.Log})
		}
	}
	return out
}

// Take shows a checkpoint with all its cosignatures that verify under these keys, and
// says how many do. The checkpoint has to be one of this log.
func (v *View) Take(c *audit.CosignedCheckpoint, known []audit.Cosigner) (int, error) {
	v.mu.RLock()
	root, err := v.tree.RootAt(c.Checkpoint.Size)
	var keys audit.Keys
	if err == nil && root != c.Checkpoint.Root {
		err = errors.New("it is not a checkpoint of this log")
	}
	if err == nil {
		keys, err = v.keysFor(&c.Checkpoint)
	}
	v.mu.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("cosigned checkpoint: %w", err)
	}
	lines, n, text := "", 0, c.Checkpoint.Text()
	for i := range c.Cosignatures {
		for _, k := range known {
			if c.Cosignatures[i].Verify(k, text) == nil {
				lines += c.Cosignatures[i].Line(k)
				n++
			}
		}
	}
	if n > 0 {
		v.SetCosigned(&Cosigned{&c.Checkpoint, keys, lines})
	}
	return n, nil
}

// Note is the signed note to serve; empty: there is no checkpoint yet.
func (v *View) Note() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.cp == nil {
		return ""
	}
	if s := v.signed; s != nil && s.Checkpoint.Size <= v.cp.Size && s.Checkpoint.Time+audit.CosignedWithin >= v.cp.Time {
		return s.Checkpoint.Note(s.Keys) + s.Lines
	}
	return v.cp.Note(v.keys)
}

var errNone = errors.New("not in this log")

// Tile is the content of a tile: level ≥ 0 of hashes, −1 of entries.
func (v *View) Tile(level int, n int64, w int) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.cp == nil || level > 6 || n < 0 || n > audit.MaxSize>>height || w < 1 || w > width {
		return nil, errNone
	}
	// Hashes at the tile's level that the tree has: whole subtrees.
	have := int64(v.cp.Size) >> (height * max(level, 0))
	if n<<height+int64(w) > have {
		return nil, errNone
	}
	if level >= 0 {
		return tlog.ReadTileData(tlog.Tile{H: height, L: level, N: n, W: w}, v.tree)
	}
	var out []byte
	for i := n << height; i < n<<height+int64(w); i++ {
		b, err := v.reader.At(v.offsets[i])
		if err != nil {
			return nil, err
		}
		leaf := audit.Leaf(b)
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(leaf))), leaf...)
	}
	return out, nil
}

// Body is an entry that is in the tree as a stub, by its SHA-256.
func (v *View) Body(hash [32]byte) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, ok := v.long[hash]
	if !ok || v.cp == nil || i >= v.cp.Size {
		return nil, errNone
	}
	return v.reader.At(v.offsets[i])
}
