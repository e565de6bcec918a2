package dkg_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// suiteOf picks a suite by a fuzzed byte.
func suiteOf(n byte) mpc.Suite { return mpc.Suites()[int(n)%len(mpc.Suites())] }

func FuzzDecodeD2(f *testing.F) {
	for n, suite := range mpc.Suites() {
		f.Add(byte(n), layoutOf(suite).start(f, "fuzz", 2).Broadcast[2][1])
	}
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		if again, err := dkg.ReencodeD2(suiteOf(n), b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

func FuzzDecodeD3(f *testing.F) {
	for n, suite := range mpc.Suites() {
		f.Add(byte(n), layoutOf(suite).start(f, "fuzz", 3).Private[1][2])
	}
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		if again, err := dkg.ReencodeD3(suiteOf(n), b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

func FuzzDecodeCertificate(f *testing.F) {
	for _, suite := range mpc.Suites() {
		f.Add(mustKeysOf(f, suite).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := dkg.DecodeCertificate(b)
		if err == nil && !bytes.Equal(c.Encode(), b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, c.Encode())
		}
	})
}

func FuzzDecodeKeyShare(f *testing.F) {
	for _, suite := range mpc.Suites() {
		keys, _, err := mpctest.KeysOf(suite, "fuzz", mpctest.IDs(3), 2)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(keys[1].Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := dkg.DecodeKeyShare(b)
		if err == nil && !bytes.Equal(k.Encode(), b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, k.Encode())
		}
	})
}

func FuzzVerifyEvidence(f *testing.F) {
	for _, suite := range mpc.Suites() {
		l := layoutOf(suite)
		f.Add(l.evidenceOf(l.start(f, "fuzz", 3), 2, 1))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := dkg.VerifyEvidence(b, mpctest.Verify("session")); err == nil {
			t.Errorf("bytes without a dishonest signature convict %d", id)
		}
	})
}

// Any bytes in the place of any message of party 2 to party 1: party 1 ends in an
// abort that blames nobody but 2, or in the honest run's key.
func FuzzRounds(f *testing.F) {
	for n, suite := range mpc.Suites() {
		d := layoutOf(suite).start(f, "mutate", 3)
		for r := range 3 {
			f.Add(byte(n), byte(r), d.Broadcast[r][2])
		}
		f.Add(byte(n), byte(3), d.Private[2][1])
	}
	f.Fuzz(func(t *testing.T, n, r byte, b []byte) {
		genuine := false
		err := layoutOf(suiteOf(n)).mutate(t, int(r%4), func(m []byte) []byte {
			genuine = bytes.Equal(m, b)
			return b
		})
		if genuine {
			if err != nil {
				t.Errorf("an honest run: %v", err)
			}
			return
		}
		a := mpc.AsAbort(err)
		if a == nil {
			t.Fatalf("D%d of other bytes: %v, want an abort", r%4, err)
		}
		if a.Class != mpc.Benign {
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
	})
}
