package vole

import (
	"errors"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// A receiver finishes once, also when the first message was bad: a second answer
// under the same β tests it twice.
func TestFinishOnce(t *testing.T) {
	for _, spoil := range []bool{false, true} {
		rand := stream(81)
		bob, alice := dealt(rand)
		r, m1, err := Receive(rand, bob, [32]byte{1}, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, m2, err := Send(rand, alice, [32]byte{1}, m1, [][ell]*secp256k1.Scalar{{scalar(t, rand), scalar(t, rand)}})
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			m2.Mu[0] ^= 1
		}
		if _, err := r.Finish(m2); errors.Is(err, ErrCheck) != spoil {
			t.Errorf("first message, spoilt %v: %v", spoil, err)
		}
		m2.Mu[0] ^= 1
		if _, err := r.Finish(m2); !errors.Is(err, errFinished) {
			t.Errorf("second message: got %v, want errFinished", err)
		}
	}
}

// Both keys of a pad take the dsid, each by itself.
func TestPadBindsDSID(t *testing.T) {
	a, b := newPadder(&[32]byte{1}), newPadder(&[32]byte{2})
	if [32]byte(a.in[:32]) == [32]byte(b.in[:32]) {
		t.Error("the key of the hash is the same under another dsid")
	}
	if a.key == b.key {
		t.Error("the key of the cipher is the same under another dsid")
	}
}
