package otext

import "testing"

// The hash of the check takes its dsid by itself: rows of one extension never pass
// as those of another, whatever else binds them.
func TestCheckBindsDSID(t *testing.T) {
	var a, b [Rows]gf
	a[0].lo, b[0].lo = 1, 1
	if sumOf(&[32]byte{1}, &a) == sumOf(&[32]byte{2}, &b) {
		t.Error("TH is the same under another dsid")
	}
}

// Every message has the one length of its batch.
func TestDecodeSizes(t *testing.T) {
	for _, n := range []int{1, 2, MaxBatch} {
		good := make([]byte, MessageSize(n))
		if _, err := DecodeMessage(good, n); err != nil {
			t.Errorf("batch of %d: %v", n, err)
		}
		for _, size := range []int{0, 1, len(good) - 1, len(good) + 1, MessageSize(n + 1)} {
			if _, err := DecodeMessage(make([]byte, size), n); err == nil {
				t.Errorf("batch of %d: %d bytes decode, want %d alone", n, size, len(good))
			}
		}
	}
	for _, n := range []int{-1, 0, MaxBatch + 1} {
		if _, err := DecodeMessage(nil, n); err == nil {
			t.Errorf("a batch of %d decodes", n)
		}
	}
}
