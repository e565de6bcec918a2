package verify

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/wire"
)

// Bundle proves one signature: of each vault that took part the entries on which it
// rests, with proofs that they stand in its log (docs/spec/bundle.md).
type Bundle struct {
	Cluster [32]byte
	Attempt [16]byte
	Parts   []Part // by ascending vault
}

// Part is what a bundle has of one vault's log.
type Part struct {
	Vault        uint16
	Checkpoint   []byte // audit.SignedCheckpoint
	Entries      []PartEntry
	Heads        []PartHead
	Cosignatures []audit.Cosignature // of the checkpoint
}

// PartEntry is an entry with its inclusion proof at the part's checkpoint.
type PartEntry struct {
	Index uint64
	Bytes []byte
	Proof [][32]byte
}

// PartHead is an older head of the log, as others saw it, with the consistency proof
// to the part's checkpoint.
type PartHead struct {
	Size  uint64
	Root  [32]byte
	Proof [][32]byte
}

const (
	bundleVersion = 1
	// MaxBundle bounds a bundle.
	MaxBundle       = 64 << 20
	maxParts        = 16
	maxPartEntries  = 1 << 14
	maxHeads        = 1 << 12
	maxCosignatures = 64
	maxSigned       = 4 << 10
)

// Encode is the canonical encoding.
func (b *Bundle) Encode() []byte {
	w := wire.NewWriter(bundleVersion).Fixed(b.Cluster[:]).Fixed(b.Attempt[:]).Count(len(b.Parts))
	for i := range b.Parts {
		p := &b.Parts[i]
		w.Uint16(p.Vault).Var(p.Checkpoint).Count(len(p.Entries))
		for _, e := range p.Entries {
			w.Uint64(e.Index).Var(e.Bytes)
			writeProof(w, e.Proof)
		}
		w.Count(len(p.Heads))
		for _, h := range p.Heads {
			w.Uint64(h.Size).Fixed(h.Root[:])
			writeProof(w, h.Proof)
		}
		w.Count(len(p.Cosignatures))
		for j := range p.Cosignatures {
			w.Var(p.Cosignatures[j].Encode())
		}
	}
	return w.Bytes()
}

func writeProof(w *wire.Writer, proof [][32]byte) {
	w.Count(len(proof))
	for i := range proof {
		w.Fixed(proof[i][:])
	}
}

func readProof(r *wire.Reader) (proof [][32]byte) {
	for range r.Count("proof", audit.MaxProof, 32) {
		var h [32]byte
		r.Into("hash", h[:])
		proof = append(proof, h)
	}
	return proof
}

// DecodeBundle is the inverse of Encode. It does not verify.
func DecodeBundle(b []byte) (*Bundle, error) {
	if len(b) > MaxBundle {
		return nil, fmt.Errorf("couldn't decode bundle: %d bytes, at most %d", len(b), MaxBundle)
	}
	r, x := wire.NewReader(b, bundleVersion), new(Bundle)
	r.Into("cluster", x.Cluster[:])
	r.Into("attempt", x.Attempt[:])
	last := uint16(0)
	for range r.Count("parts", maxParts, 2+4+4+4+4) {
		p, err := readPart(r)
		if err != nil {
			r.Fail(err)
			break
		}
		if p.Vault <= last {
			r.Failf("vault %d after %d, want ascending", p.Vault, last)
			break
		}
		x.Parts, last = append(x.Parts, *p), p.Vault
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode bundle: %w", err)
	}
	return x, nil
}

func readPart(r *wire.Reader) (*Part, error) {
	p := &Part{Vault: r.Uint16("vault"), Checkpoint: r.Var("checkpoint", maxSigned)}
	for range r.Count("entries", maxPartEntries, 8+4+4) {
		e := PartEntry{Index: r.Uint64("index"), Bytes: r.Var("entry", logfile.MaxEntry), Proof: readProof(r)}
		if n := len(p.Entries); n > 0 && e.Index <= p.Entries[n-1].Index {
			return nil, fmt.Errorf("entry %d after %d, want ascending", e.Index, p.Entries[n-1].Index)
		}
		if r.Err() != nil {
			return nil, r.Err()
		}
		p.Entries = append(p.Entries, e)
	}
	for range r.Count("heads", maxHeads, 8+32+4) {
		h := PartHead{Size: r.Uint64("size")}
		r.Into("root", h.Root[:])
		h.Proof = readProof(r)
		if n := len(p.Heads); n > 0 && h.Size <= p.Heads[n-1].Size {
			return nil, fmt.Errorf("head of %d entries after %d, want ascending", h.Size, p.Heads[n-1].Size)
		}
		p.Heads = append(p.Heads, h)
	}
	for range r.Count("cosignatures", maxCosignatures, 4) {
		b := r.Var("cosignature", 1024)
		if r.Err() != nil {
			return nil, r.Err()
		}
		c, err := audit.DecodeCosignature(b)
		if err != nil {
			return nil, err
		}
		p.Cosignatures = append(p.Cosignatures, *c)
	}
	return p, r.Err()
}

// sparseTree is a log's tree as far as a bundle proves it; while a bundle is made, it
// asks the whole one and remembers what was asked.
type sparseTree struct {
	size   uint64
	roots  map[uint64][32]byte
	leaves map[uint64][32]byte
	whole  treeView
	asked  map[uint64]bool
}

func (t *sparseTree) Size() uint64 { return t.size }

func (t *sparseTree) RootAt(size uint64) ([32]byte, error) {
	if root, ok := t.roots[size]; ok {
		return root, nil
	}
	if t.whole == nil || size > t.size {
		return [32]byte{}, fmt.Errorf("the bundle does not tell the log's head of %d entries", size)
	}
	t.asked[size] = true
	return t.whole.RootAt(size)
}

func (t *sparseTree) Leaf(i uint64) ([32]byte, error) {
	if leaf, ok := t.leaves[i]; ok {
		return leaf, nil
	}
	return [32]byte{}, fmt.Errorf("the bundle has no entry %d", i)
}

// kindsInBundle are those that have to do with a signature; of an attempt only its own.
func (b *Bundle) wants(e *parsed, key *[32]byte) bool {
	switch {
	case e.e == nil || e.err != nil:
		return false
	case e.d != nil:
		return e.d.Attempt == b.Attempt
	case e.o != nil:
		return e.o.Attempt == b.Attempt
	case e.r != nil:
		return e.r.Attempt == b.Attempt
	}
	switch e.e.Kind {
	case audit.KindGenesis, audit.KindBoot, audit.KindChange, audit.KindGovernance:
		return true
	case audit.KindKey:
		k, err := audit.DecodeKeyEntry(e.e.Body)
		return err == nil && (key == nil || k.Key == *key)
	case audit.KindEpoch:
		k, err := audit.DecodeEpochEntry(e.e.Body)
		return err == nil && (key == nil || k.Key == *key)
	}
	return false
}

// copies checks every proof of the bundle against its checkpoints. Whose these are is
// seen later.
func (b *Bundle) copies() ([]copied, error) {
	var out []copied
	for i := range b.Parts {
		p := &b.Parts[i]
		c, err := b.copy(p)
		if err != nil {
			return nil, fmt.Errorf("vault %d: %w", p.Vault, err)
		}
		out = append(out, *c)
	}
	return out, nil
}

func (b *Bundle) copy(p *Part) (*copied, error) {
	cp, err := audit.DecodeSignedCheckpoint(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	if cp.Vault != p.Vault {
		return nil, fmt.Errorf("the checkpoint is of vault %d", cp.Vault)
	}
	t := &sparseTree{size: cp.Size, roots: map[uint64][32]byte{cp.Size: cp.Root}, leaves: map[uint64][32]byte{}}
	s := &scanned{header: logfile.Header{Cluster: b.Cluster, Vault: p.Vault}, tree: t, sparse: []posEntry{}}
	for _, e := range p.Entries {
		leaf := audit.LeafHash(e.Bytes)
		if err := audit.CheckInclusion(e.Proof, e.Index, cp.Size, cp.Root, leaf); err != nil {
			return nil, err
		}
		if x := parse(e.Bytes); !b.wants(&x, nil) {
			return nil, fmt.Errorf("entry %d has nothing to do with attempt %x", e.Index, b.Attempt)
		}
		t.leaves[e.Index] = leaf
		s.sparse = append(s.sparse, posEntry{e.Index, e.Bytes})
		s.note(e.Index, e.Bytes)
	}
	if s.first == nil {
		return nil, errors.New("its first entry, the genesis, is missing")
	}
	for _, h := range p.Heads {
		if h.Size >= cp.Size || h.Size == 0 {
			return nil, fmt.Errorf("a head of %d entries beside the checkpoint of %d", h.Size, cp.Size)
		}
		if err := audit.CheckConsistency(h.Proof, h.Size, h.Root, cp.Size, cp.Root); err != nil {
			return nil, err
		}
		t.roots[h.Size] = h.Root
	}
	return &copied{name: fmt.Sprintf("vault %d's part", p.Vault), checkpoint: p.Checkpoint, scanned: s}, nil
}
