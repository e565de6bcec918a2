package otext

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/cofferhq/coffer/mpc/transcript"
)

// A row is three blocks of SHA-256 in counter mode, computed here from
// docs/spec/random-oracle.md; equal blocks would repeat choices and show the tail.
func TestPRGCountsItsBlocks(t *testing.T) {
	dsid := [32]byte{7}
	seed := [16]byte{1, 2, 3}
	var want []byte
	key := transcript.Sum(transcript.TagPRG, dsid[:])
	for c := range byte(3) {
		h := sha256.Sum256(append(append(key[:len(key):len(key)], c), seed[:]...))
		want = append(want, h[:]...)
	}
	v := newRow(1)
	newPRG(&dsid, 1).expand(v, &seed)
	got := make([]byte, rowSize(1))
	v.bytes(got, 1)
	if !bytes.Equal(got, want[:len(got)]) {
		t.Errorf("PRG gives %x, want %x", got, want[:len(got)])
	}
}
