package dkg_test

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

func FuzzDecodeD2(f *testing.F) {
	f.Add(start(f, 2).Broadcast[2][1])
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := dkg.ReencodeD2(mpc.DKLS23Secp256k1, b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

func FuzzDecodeD3(f *testing.F) {
	f.Add(start(f, 3).Private[1][2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := dkg.ReencodeD3(mpc.DKLS23Secp256k1, b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

func FuzzDecodeCertificate(f *testing.F) {
	f.Add(mustKeys(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := dkg.DecodeCertificate(b)
		if err == nil && !bytes.Equal(c.Encode(), b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, c.Encode())
		}
	})
}

func FuzzDecodeKeyShare(f *testing.F) {
	keys, _, err := mpctest.Keys("fuzz", mpctest.IDs(3), 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(keys[1].Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := dkg.DecodeKeyShare(b)
		if err == nil && !bytes.Equal(k.Encode(), b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, k.Encode())
		}
	})
}

func FuzzVerifyEvidence(f *testing.F) {
	f.Add(evidenceOf(start(f, 3), 2, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := dkg.VerifyEvidence(b, mpctest.Verify("session")); err == nil {
			t.Errorf("bytes without a dishonest signature convict %d", id)
		}
	})
}
