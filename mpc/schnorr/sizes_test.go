package schnorr_test

import (
	"errors"
	"testing"

	"github.com/cofferhq/coffer/mpc/schnorr"
)

// Lengths that are none are refused, not sliced.
func TestSizes(t *testing.T) {
	for _, c := range []struct{ key, sig int }{{0, 64}, {31, 64}, {33, 64}, {32, 0}, {32, 31}, {32, 63}, {32, 65}} {
		if err := schnorr.VerifyBIP340(make([]byte, c.key), []byte("m"), make([]byte, c.sig)); !errors.Is(err, schnorr.ErrInvalid) {
			t.Errorf("key of %d and signature of %d bytes: %v, want ErrInvalid", c.key, c.sig, err)
		}
	}
	// A signature with a byte more than it takes, all else being right.
	v := vectors(t)[0]
	if err := schnorr.VerifyBIP340(unhex(t, v[2]), unhex(t, v[4]), append(unhex(t, v[5]), 0)); !errors.Is(err, schnorr.ErrInvalid) {
		t.Errorf("a signature of 65 bytes: %v, want ErrInvalid", err)
	}
}

// z is below n: z + n is no second form of a signature.
func TestResponseIsCanonical(t *testing.T) {
	g := unhex(t, "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	one, zero := make([]byte, 32), make([]byte, 32)
	one[31] = 1
	// With c = 0 it is 1·G = G.
	if err := schnorr.Verify(g, g, zero, one); err != nil {
		t.Fatal(err)
	}
	plus := unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142")
	if err := schnorr.Verify(g, g, zero, plus); !errors.Is(err, schnorr.ErrInvalid) {
		t.Errorf("z + n is accepted for z: %v", err)
	}
}
