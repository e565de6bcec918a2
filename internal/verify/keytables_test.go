package verify

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

// A key's table is made when it is worth it, and says yes to that key's signatures over
// that statement only; of other algorithms it says nothing.
func TestKeyTables(t *testing.T) {
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := signature.PublicKey{Algorithm: signature.Ed25519, Key: string(pub)}
	st := signature.Statement{Domain: "coffer/approve/v1", Body: []byte("x")}
	digest := st.Digest()
	sig := signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(private, digest[:])}
	var tables keyTables
	for i := 1; i <= worthTable+2; i++ {
		if got := tables.confirms(key, st, sig); got != (i >= worthTable) {
			t.Fatalf("use %d: %v", i, got)
		}
	}
	if other := (signature.Statement{Domain: st.Domain, Body: []byte("y")}); tables.confirms(key, other, sig) {
		t.Fatal("a signature of another statement is confirmed")
	}
	odd := sig
	if odd.Algorithm = signature.P256; tables.confirms(key, st, odd) {
		t.Fatal("a signature that says it is of P-256 is confirmed")
	}
	alike := key
	if alike.Algorithm = signature.WebAuthnEd25519; tables.confirms(alike, st, sig) {
		t.Fatal("a passkey's is confirmed")
	}
}
