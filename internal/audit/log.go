package audit

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxSize bounds the number of entries of a log. It keeps sizes that a peer
// sends far from where the arithmetic of proofs would overflow.
const MaxSize = 1 << 40

// MaxProof bounds the hashes of a proof: a path in a tree of MaxSize leaves.
const MaxProof = 2 * 40

// ErrProof is wrapped by every proof that does not verify.
var ErrProof = errors.New("proof does not verify")

// Log is the Merkle tree over encoded entries. It keeps hashes, not entries:
// 2n − popcount(n) hashes of 32 bytes for n entries, so at most 64 bytes an
// entry (64 MB for a million). That is what proofs of any index and between any
// two sizes need without asking the untrusted host for anything.
//
// The zero value is the empty log. It is not safe for concurrent use: one owner.
type Log struct {
	size   int64
	hashes []tlog.Hash // by tlog.StoredHashIndex
}

// Load builds the log of all entries, in order.
func Load(entries [][]byte) *Log {
	l := new(Log)
	for _, e := range entries {
		l.Append(e)
	}
	return l
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("stored hash %d of %d", x, len(l.hashes))
		}
		out[i] = l.hashes[x]
	}
	return out, nil
}

// Append adds an encoded entry and returns its index.
func (l *Log) Append(entry []byte) (index uint64) {
	return l.AppendLeaf(LeafHash(entry))
}

// AppendLeaf adds an entry of which only the leaf hash is at hand.
func (l *Log) AppendLeaf(leaf [32]byte) (index uint64) {
	hs, err := tlog.StoredHashesForRecordHash(l.size, leaf, l)
	if err != nil || l.size >= MaxSize {
		panic(fmt.Sprintf("audit: log of %d entries can't grow: %v", l.size, err)) // the reader above has every hash
	}
	l.hashes = append(l.hashes, hs...)
	l.size++
	return uint64(l.size - 1)
}

// Size is the number of entries.
func (l *Log) Size() uint64 { return uint64(l.size) }

// Root is the root over all entries. That of the empty log is SHA-256("").
func (l *Log) Root() [32]byte {
	r, err := l.RootAt(l.Size())
	if err != nil {
		panic("audit: " + err.Error())
	}
	return r
}

// RootAt is the root over the first size entries.
func (l *Log) RootAt(size uint64) ([32]byte, error) {
	if size > l.Size() {
		return [32]byte{}, fmt.Errorf("log has %d entries, no root at size %d", l.size, size)
	}
	return tlog.TreeHash(int64(size), l)
}

// Leaf is the leaf hash of an entry.
func (l *Log) Leaf(index uint64) ([32]byte, error) {
	if index >= l.Size() {
		return [32]byte{}, fmt.Errorf("log has %d entries, no entry %d", l.size, index)
	}
	return l.hashes[tlog.StoredHashIndex(0, int64(index))], nil
}

// Inclusion proves that the entry at index is in the tree of size entries.
func (l *Log) Inclusion(index, size uint64) ([][32]byte, error) {
	if size > l.Size() || index >= size {
		return nil, fmt.Errorf("no inclusion proof of entry %d at size %d: log has %d entries", index, size, l.size)
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), l)
	if err != nil {
		return nil, fmt.Errorf("couldn't prove entry %d at size %d: %w", index, size, err)
	}
	return fromHashes(p), nil
}

// Consistency proves that the tree of from entries is a prefix of the tree of to
// entries.
func (l *Log) Consistency(from, to uint64) ([][32]byte, error) {
	if from > to || to > l.Size() {
		return nil, fmt.Errorf("no consistency proof from %d to %d: log has %d entries", from, to, l.size)
	}
	if from == 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(to), int64(from), l)
	if err != nil {
		return nil, fmt.Errorf("couldn't prove that %d entries are a prefix of %d: %w", from, to, err)
	}
	return fromHashes(p), nil
}

// LeafHash is the RFC 6962 leaf hash of an encoded entry, over its Leaf.
func LeafHash(entry []byte) [32]byte { return tlog.RecordHash(Leaf(entry)) }

// CheckInclusion verifies that the entry with this leaf hash stands at index in
// the tree of size entries with this root.
func CheckInclusion(proof [][32]byte, index, size uint64, root, leaf [32]byte) error {
	if size > MaxSize || index >= size {
		return fmt.Errorf("%w: entry %d is not below size %d, or size is above %d", ErrProof, index, size, uint64(MaxSize))
	}
	if err := tlog.CheckRecord(toHashes(proof), int64(size), root, int64(index), leaf); err != nil {
		return fmt.Errorf("%w: entry %d at size %d: %w", ErrProof, index, size, err)
	}
	return nil
}

// CheckConsistency verifies that the tree (fromSize, fromRoot) is a prefix of
// the tree (toSize, toRoot). Two trees of the same size must be the same.
func CheckConsistency(proof [][32]byte, fromSize uint64, fromRoot [32]byte, toSize uint64, toRoot [32]byte) error {
	switch {
	case toSize > MaxSize || fromSize > toSize:
		return fmt.Errorf("%w: from size %d to %d, want ascending sizes of at most %d", ErrProof, fromSize, toSize, uint64(MaxSize))
	case fromSize == 0:
		if len(proof) != 0 || fromRoot != new(Log).Root() || (toSize == 0 && toRoot != fromRoot) {
			return fmt.Errorf("%w: the empty log has one root and needs no proof", ErrProof)
		}
		return nil
	}
	if err := tlog.CheckTree(toHashes(proof), int64(toSize), toRoot, int64(fromSize), fromRoot); err != nil {
		return fmt.Errorf("%w: size %d to %d: %w", ErrProof, fromSize, toSize, err)
	}
	return nil
}

func fromHashes(hs []tlog.Hash) [][32]byte {
	out := make([][32]byte, len(hs))
	for i, h := range hs {
		out[i] = h
	}
	return out
}

func toHashes(hs [][32]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(hs))
	for i, h := range hs {
		out[i] = h
	}
	return out
}
