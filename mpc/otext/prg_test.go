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
	var v row
	newPRG(&dsid).expand(&v, &seed)
	var got [rowSize]byte
	v.bytes(&got)
	if !bytes.Equal(got[:], want[:rowSize]) {
		t.Errorf("PRG gives %x, want %x", got, want[:rowSize])
	}
}
