package audit_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
)

func sampleClone() *audit.Clone {
	x := passkeytest.New(signature.WebAuthnEd25519, "bob", "coffer.example")
	c := &audit.Clone{Principal: "bob", Key: x.Public()}
	for i, u := range []*signature.Use{&c.First, &c.Second} {
		st := signature.Statement{Domain: "coffer/test/v1", Body: []byte{byte(i)}}
		x.Counter = 6
		*u = signature.Use{Digest: st.Digest(), Time: 1_790_000_000_000, Signature: x.Sign(st)}
	}
	return c
}

func TestClone(t *testing.T) {
	c := sampleClone()
	back, err := audit.DecodeClone(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(); err != nil {
		t.Error(err)
	}
	for n, b := 0, c.Encode(); n < len(b); n++ {
		if _, err := audit.DecodeClone(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(b))
		}
	}
	c.First = c.Second
	if c.Verify() == nil {
		t.Error("one signature contradicts itself")
	}
}

func FuzzDecodeClone(f *testing.F) {
	f.Add(sampleClone().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := audit.DecodeClone(b); err == nil && string(c.Encode()) != string(b) {
			t.Fatalf("encodes to %x", c.Encode())
		}
	})
}
