package evm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/cofferhq/coffer/internal/chain"
)

// highS is the other signature of the same key and digest: s ↦ n − s, and the
// recovery id flips with it. It is valid ECDSA and refused by EIP-2.
func highS(sig chain.Signature) chain.Signature {
	var s secp256k1.ModNScalar
	s.SetBytes(&sig.S)
	sig.S = s.Negate().Bytes()
	sig.RecoveryID ^= 1
	return sig
}

func TestAssembleRefuses(t *testing.T) {
	_, tx := transfer(t)
	unsigned, err := tx.Encode()
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := tx.Digest()
	me := sender(t)
	good := sign(key(), digest)
	if _, _, err := (Codec{}).Assemble(me, unsigned, []chain.Signature{good}); err != nil {
		t.Fatal(err)
	}
	change := func(f func(s *chain.Signature)) []chain.Signature {
		s := good
		f(&s)
		return []chain.Signature{s}
	}
	order := unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	other := secp256k1.PrivKeyFromBytes(bytes.Repeat([]byte{0x47}, 32))
	for name, c := range map[string]struct {
		sender     string
		unsigned   []byte
		signatures []chain.Signature
		word       string
	}{
		"no signature":      {me, unsigned, nil, "0 signatures, want 1"},
		"two signatures":    {me, unsigned, []chain.Signature{good, good}, "2 signatures, want 1"},
		"high s":            {me, unsigned, []chain.Signature{highS(good)}, "above half the group order"},
		"other parity":      {me, unsigned, change(func(s *chain.Signature) { s.RecoveryID ^= 1 }), "signature is of"},
		"recovery id 2":     {me, unsigned, change(func(s *chain.Signature) { s.RecoveryID += 2 }), "recovery id"},
		"recovery id 27":    {me, unsigned, change(func(s *chain.Signature) { s.RecoveryID += 27 }), "recovery id"},
		"r zero":            {me, unsigned, change(func(s *chain.Signature) { s.R = [32]byte{} }), "belongs to no key"},
		"s zero":            {me, unsigned, change(func(s *chain.Signature) { s.S = [32]byte{} }), "belongs to no key"},
		"r is the order":    {me, unsigned, change(func(s *chain.Signature) { s.R = [32]byte(order) }), "belongs to no key"},
		"s is the order":    {me, unsigned, change(func(s *chain.Signature) { s.S = [32]byte(order) }), "above half the group order"},
		"another key":       {me, unsigned, []chain.Signature{sign(other, digest)}, "want " + me[len("eip155:1:"):]},
		"another message":   {me, unsigned, []chain.Signature{sign(key(), [32]byte{1})}, "want " + me[len("eip155:1:"):]},
		"another chain":     {strings.Replace(me, ":1:", ":5:", 1), unsigned, []chain.Signature{good}, "is for eip155:1, the sender is on eip155:5"},
		"a bad sender":      {"0x", unsigned, []chain.Signature{good}, "sender: account"},
		"a bad transaction": {me, unsigned[:9], []chain.Signature{good}, "couldn't decode unsigned transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, txid, err := Codec{}.Assemble(c.sender, c.unsigned, c.signatures)
			wantError(t, err, c.word)
			if raw != nil || txid != "" {
				t.Errorf("an error, and yet %x %s", raw, txid)
			}
		})
	}
}

// TestSignedFieldsDropLeadingZeros: r and s are integers in RLP. Signatures whose
// r or s has leading zero bytes are found by trying nonces.
func TestSignedFieldsDropLeadingZeros(t *testing.T) {
	short := 0
	for nonce := uint64(0); short < 3; nonce++ {
		_, tx := transfer(t)
		tx.Nonce = nonce
		unsigned, _ := tx.Encode()
		digest, _ := tx.Digest()
		sig := sign(key(), digest)
		if sig.R[0] != 0 && sig.S[0] != 0 {
			continue
		}
		short++
		raw, txid, err := Codec{}.Assemble(sender(t), unsigned, []chain.Signature{sig})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%#x", keccak256(raw)); txid != want {
			t.Errorf("txid %s, want %s", txid, want)
		}
		d := newRLPDecoder(raw[1:])
		for range 9 {
			d.next("field")
		}
		if got := d.uint64("y parity"); got != uint64(sig.RecoveryID) {
			t.Errorf("y parity %d, want %d", got, sig.RecoveryID)
		}
		r, s := d.amount("r"), d.amount("s")
		if err := d.done(); err != nil || r.Bytes32() != sig.R || s.Bytes32() != sig.S {
			t.Errorf("signature in the raw transaction is %s %s, %v", r.Hex(), s.Hex(), err)
		}
	}
}
