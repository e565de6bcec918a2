package audit

import (
	"crypto/sha256"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// MaxLeaf is the longest leaf: an entry bundle of C2SP tlog-tiles writes its length
// in two bytes. The leaf of a longer entry is a Stub.
const MaxLeaf = 1<<16 - 1

// stubVersion differs from that of an entry, so that no stub is an entry.
const stubVersion = entryVersion + 1

// Stub stands in the tree for an entry that is longer than MaxLeaf.
type Stub struct {
	Time   uint64
	Kind   Kind
	Length uint32   // of the entry, encoded
	Hash   [32]byte // SHA-256 of it
}

// Leaf is what the leaf hash of an encoded entry is over: the entry, or its stub.
func Leaf(entry []byte) []byte {
	if len(entry) <= MaxLeaf {
		return entry
	}
	s := Stub{Length: uint32(len(entry)), Hash: sha256.Sum256(entry)}
	if r := wire.NewReader(entry, entryVersion); r.Err() == nil {
		s.Time, s.Kind = r.Uint64("time"), Kind(r.Uint8("kind"))
	}
	return s.Encode()
}

// Encode is the canonical encoding (docs/spec/log.md).
func (s *Stub) Encode() []byte {
	return wire.NewWriter(stubVersion).Uint64(s.Time).Uint8(uint8(s.Kind)).Uint32(s.Length).Fixed(s.Hash[:]).Bytes()
}

// DecodeStub is the inverse of Encode. ok says whether a leaf is a stub at all.
func DecodeStub(leaf []byte) (s *Stub, ok bool, err error) {
	if len(leaf) == 0 || leaf[0] != stubVersion {
		return nil, false, nil
	}
	r := wire.NewReader(leaf, stubVersion)
	s = &Stub{Time: r.Uint64("time"), Kind: Kind(r.Uint8("kind")), Length: r.Uint32("length")}
	r.Into("hash", s.Hash[:])
	if s.Length <= MaxLeaf || s.Length > MaxBody+entryHead {
		r.Failf("length: %d bytes, want %d to %d", s.Length, MaxLeaf+1, MaxBody+entryHead)
	}
	if err := r.Done(); err != nil {
		return nil, true, fmt.Errorf("couldn't decode the stub of a long entry: %w", err)
	}
	return s, true, nil
}

// Of checks that this entry is the one that the stub stands for.
func (s *Stub) Of(entry []byte) error {
	if len(entry) != int(s.Length) || sha256.Sum256(entry) != s.Hash {
		return fmt.Errorf("an entry of %d bytes with SHA-256 %x is not the one of %d bytes that the log has (%x)", len(entry), sha256.Sum256(entry), s.Length, s.Hash)
	}
	return nil
}
