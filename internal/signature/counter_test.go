package signature_test

import (
	"testing"

	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

func TestContradicts(t *testing.T) {
	x := passkeytest.New(signature.WebAuthnP256, "alice", site)
	use := func(counter uint32, what byte, minute uint64) *signature.Use {
		st := signature.Statement{Domain: "coffer/test/v1", Body: []byte{what}}
		x.Counter, x.Synced = counter-1, counter == 0
		if counter == 0 {
			x.Counter = 0
		}
		u := &signature.Use{Digest: st.Digest(), Signature: x.Sign(st)}
		if minute > 0 {
			u.Time = 1_700_000_000_000 + minute*60_000
		}
		if u.Counter() != counter {
			t.Fatalf("counter %d, want %d", u.Counter(), counter)
		}
		return u
	}
	for _, c := range []struct {
		name string
		a, b *signature.Use
		want bool
	}{
		{"one after the other", use(1, 'a', 1), use(2, 'b', 100), false},
		{"the same counter twice", use(5, 'a', 1), use(5, 'b', 1), true},
		{"the same counter, long after", use(5, 'a', 1), use(5, 'b', 1000), true},
		{"the same statement", use(5, 'a', 1), use(5, 'a', 1), false},
		{"the same statement signed again", use(5, 'a', 1), use(9, 'a', 1), false},
		{"another order within ten minutes", use(5, 'a', 11), use(6, 'b', 1), false},
		{"a lower counter later", use(5, 'a', 12), use(6, 'b', 1), true},
		{"no counter", use(0, 'a', 1), use(0, 'b', 100), false},
		{"no counter before the first", use(0, 'a', 1), use(7, 'b', 100), false},
		{"no counter after it counted", use(0, 'a', 100), use(7, 'b', 1), true},
		{"a time is not known", use(5, 'a', 0), use(6, 'b', 1), false},
		{"the same counter, no times", use(5, 'a', 0), use(5, 'b', 0), true},
	} {
		if c.a.Contradicts(c.b) != c.want || c.b.Contradicts(c.a) != c.want {
			t.Errorf("%s: contradiction is not %v", c.name, c.want)
		}
		w := wire.NewWriter(1)
		signature.WriteUse(w, c.a)
		r := wire.NewReader(w.Bytes(), 1)
		back := signature.ReadUse(r, "use")
		if err := r.Done(); err != nil || back.Digest != c.a.Digest || back.Time != c.a.Time || string(back.Signature.Bytes) != string(c.a.Signature.Bytes) {
			t.Errorf("%s: read back as %v, %v", c.name, back, err)
		}
	}
	w := wire.NewWriter(1)
	signature.WriteUse(w, &signature.Use{Signature: signature.Signature{Algorithm: signature.Ed25519, Bytes: make([]byte, 64)}})
	r := wire.NewReader(w.Bytes(), 1)
	if signature.ReadUse(r, "use"); r.Err() == nil {
		t.Error("a plain key's signature is read as a passkey's")
	}
}
