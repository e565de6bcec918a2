package verify

import (
	"crypto/rand"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	decred "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

// TestFixedKeyIsDecreds: the table says yes to exactly the signatures that verify and
// recover to the key.
func TestFixedKeyIsDecreds(t *testing.T) {
	key := must[*secp256k1.PrivateKey](t)(secp256k1.GeneratePrivateKeyFromRand(rand.Reader))
	pub := key.PubKey().SerializeCompressed()
	k := newFixedKey(pub)
	account := must[string](t)(evm.Codec{}.Address(testChain, pub))
	slow := func(digest [32]byte, s *chain.Signature) bool {
		from, err := evm.Recover(digest, s)
		return chain.ECDSASecp256k1.Verify(pub, digest, nil, s) == nil && err == nil && evm.Account(testChain, from) == account
	}
	half := new(big.Int).Rsh(secp256k1.Params().N, 1)
	yes := 0
	for i := range 300 {
		var digest [32]byte
		binary.BigEndian.PutUint64(digest[24:], uint64(i)<<40)
		if i%7 == 0 {
			digest = [32]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, byte(i)} // near and above the order
		}
		c := decred.SignCompact(key, digest[:], true)
		good := chain.Signature{R: [32]byte(c[1:33]), S: [32]byte(c[33:]), RecoveryID: c[0] - 27 - 4}
		high := good
		var s secp256k1.ModNScalar
		s.SetBytes(&high.S)
		s.Negate().PutBytes(&high.S)
		high.RecoveryID ^= 1
		var others []chain.Signature
		for _, f := range []func(*chain.Signature){
			func(s *chain.Signature) { s.R[i%32] ^= 1 << (i % 8) }, func(s *chain.Signature) { s.S[i%32] ^= 1 << (i % 8) },
			func(s *chain.Signature) { s.RecoveryID ^= 1 }, func(s *chain.Signature) { s.RecoveryID += 2 },
			func(s *chain.Signature) { s.R = [32]byte{} }, func(s *chain.Signature) { s.S = [32]byte{} },
			func(s *chain.Signature) { half.FillBytes(s.S[:]) }, func(s *chain.Signature) { *s = high },
		} {
			x := good
			f(&x)
			others = append(others, x)
		}
		for j, x := range append(others, good) {
			if a, b := k.confirms(digest, &x), slow(digest, &x); a != b {
				t.Fatalf("digest %d, signature %d: the table says %v, decred %v", i, j, a, b)
			} else if a {
				yes++
			}
		}
		digest[0] ^= 1
		if k.confirms(digest, &good) {
			t.Fatal("a signature of another digest is confirmed")
		}
	}
	if yes != 300 {
		t.Fatalf("%d signatures are good, want 300", yes)
	}
	other := must[*secp256k1.PrivateKey](t)(secp256k1.GeneratePrivateKeyFromRand(rand.Reader))
	c := decred.SignCompact(other, make([]byte, 32), true)
	if k.confirms([32]byte{}, &chain.Signature{R: [32]byte(c[1:33]), S: [32]byte(c[33:]), RecoveryID: c[0] - 31}) {
		t.Fatal("another key's signature is confirmed")
	}
}
