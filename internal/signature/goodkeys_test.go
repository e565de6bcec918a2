package signature

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// TestGoodKeys: what was good once is good again, what is bad stays bad however often it is
// asked for, also between good ones, and the memory of good ones is bounded.
func TestGoodKeys(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if k, err := ParsePublicKey(Ed25519, pub); err != nil || k.Key != string(pub) {
			t.Fatalf("%v, %v", k, err)
		}
		for _, x := range oddKeys {
			bad, _ := hex.DecodeString(x)
			if _, err := ParsePublicKey(Ed25519, bad); err == nil {
				t.Errorf("%s: accepted", x)
			}
		}
	}
	if !goodKeys.has(string(pub)) {
		t.Error("the good key is not remembered")
	}
	var s keySet
	for i := range uint32(3 * maxGoodKeys) {
		s.add(string(binary.BigEndian.AppendUint32(nil, i)))
		if len(s.keys) > maxGoodKeys {
			t.Fatalf("%d keys", len(s.keys))
		}
	}
}
