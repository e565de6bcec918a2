package signature

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
)

// rsaPrivate is the key of testdata/rsa3072.pem, which openssl made.
func rsaPrivate(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	raw, err := os.ReadFile("testdata/rsa3072.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

func rsaPublic(t testing.TB) PublicKey {
	t.Helper()
	return PublicKey{RSA3072, string(rsaPrivate(t).N.Bytes())}
}

func rsaSign(t testing.TB, st Statement) Signature {
	t.Helper()
	d := st.Digest()
	b, err := rsa.SignPKCS1v15(nil, rsaPrivate(t), crypto.SHA256, d[:])
	if err != nil {
		t.Fatal(err)
	}
	return Signature{RSA3072, b}
}

// plusModulus is another number with the same remainder, where it fits into 384 bytes;
// else one that is too large for the modulus.
func plusModulus(k PublicKey, s Signature) Signature {
	n := new(big.Int).Add(new(big.Int).SetBytes(s.Bytes), new(big.Int).SetBytes([]byte(k.Key)))
	if n.BitLen() > rsaBits {
		n.Sub(new(big.Int).Lsh(big.NewInt(1), rsaBits), big.NewInt(1))
	}
	return Signature{RSA3072, n.FillBytes(make([]byte, rsaSize))}
}

// TestRSAVector: the signature over the test statement that openssl made with
//
//	openssl pkeyutl -sign -inkey rsa3072.pem -pkeyopt rsa_padding_mode:pkcs1 -pkeyopt digest:sha256 -in digest
//
// and this package's encodings of it and of its key, by their SHA-256.
func TestRSAVector(t *testing.T) {
	raw, err := os.ReadFile("testdata/rsa3072.sig")
	if err != nil {
		t.Fatal(err)
	}
	s := Signature{RSA3072, raw}
	if err := Verify(rsaPublic(t), statement, s); err != nil {
		t.Fatal(err)
	}
	if got := s.Encode(); hex.EncodeToString(got[:7]) != "01000300000180" || len(got) != 391 {
		t.Errorf("the signature's encoding begins %x and has %d bytes", got[:7], len(got))
	}
	key := rsaPublic(t).Bytes()
	if hex.EncodeToString(key[:7]) != "01000300000180" || len(key) != MaxKey {
		t.Errorf("the key's encoding begins %x and has %d bytes", key[:7], len(key))
	}
	want := "ad933b29b74a56c2f55e9bf061cd2bb422b7a0760396a26d0202b3c34bd35722"
	if sum := sha256.Sum256(key); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the key's encoding has SHA-256 %x, want %s", sum, want)
	}
}
