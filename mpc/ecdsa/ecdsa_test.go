package ecdsa_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/cofferhq/coffer/mpc/ecdsa"
)

type wycheproof struct {
	Groups []struct {
		Key struct {
			Uncompressed string `json:"uncompressed"`
		} `json:"publicKey"`
		Tests []struct {
			ID                        int `json:"tcId"`
			Comment, Msg, Sig, Result string
		} `json:"tests"`
	} `json:"testGroups"`
}

// The bitcoin set of Wycheproof demands s ≤ q/2 and strict DER, as we do. DER is
// parsed here, strictly; r and s of every signature that parses go to Verify and
// Recover.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("COFFER_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "wycheproof-ecdsa_secp256k1_sha256_bitcoin_test.json"))
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		t.Skipf("no vectors: set COFFER_VECTORS to the folder that has them: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproof
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	valid, reached := 0, 0
	for _, g := range file.Groups {
		key := compressed(t, g.Key.Uncompressed)
		for _, c := range g.Tests {
			sig, ok := parseDER(unhex(t, c.Sig))
			if !ok {
				if c.Result != "invalid" {
					t.Errorf("%d %s: signature does not parse", c.ID, c.Comment)
				}
				continue
			}
			reached++
			hash := sha256.Sum256(unhex(t, c.Msg))
			err := ecdsa.Verify(key, hash, sig)
			if (err == nil) != (c.Result == "valid") {
				t.Errorf("%d %s: %v, want %s", c.ID, c.Comment, err, c.Result)
			}
			if err == nil {
				valid++
			} else if !errors.Is(err, ecdsa.ErrInvalid) {
				t.Errorf("%d %s: %v is not ErrInvalid", c.ID, c.Comment, err)
			}
			if (checks(hash, *sig, key) == nil) != (c.Result == "valid") {
				t.Errorf("%d %s: Check does not agree with %s", c.ID, c.Comment, c.Result)
			}
			if recovers(hash, sig, key) != (c.Result == "valid") {
				t.Errorf("%d %s: recovery does not agree with %s", c.ID, c.Comment, c.Result)
			}
		}
	}
	if valid < 100 || reached < 200 {
		t.Errorf("%d valid signatures of %d that parse: the file is not what it was", valid, reached)
	}
}

// checks is Check with the recovery id that fits, if there is one.
func checks(hash [32]byte, sig ecdsa.Signature, key [33]byte) (err error) {
	for id := range byte(4) {
		sig.RecoveryID = id
		if err = ecdsa.Check(key, hash, &sig); err == nil {
			return nil
		}
	}
	return err
}

// recovers reports whether one of the four recovery ids gives the key.
func recovers(hash [32]byte, sig *ecdsa.Signature, key [33]byte) bool {
	for id := range byte(4) {
		s := *sig
		s.RecoveryID = id
		if got, err := ecdsa.Recover(hash, &s); err == nil && got == key {
			return true
		}
	}
	return false
}

func parseDER(b []byte) (*ecdsa.Signature, bool) {
	in := cryptobyte.String(b)
	var seq cryptobyte.String
	r, s := new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(s) || !seq.Empty() {
		return nil, false
	}
	if r.Sign() < 0 || s.Sign() < 0 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, false
	}
	sig := new(ecdsa.Signature)
	r.FillBytes(sig.R[:])
	s.FillBytes(sig.S[:])
	return sig, true
}

func compressed(t *testing.T, uncompressed string) (key [33]byte) {
	t.Helper()
	b := unhex(t, uncompressed)
	key[0] = 2 + b[64]&1
	copy(key[1:], b[1:33])
	return key
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// q and q/2, big-endian.
var (
	order, _ = hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	half, _  = hex.DecodeString("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")
)

func TestSignatureEncoding(t *testing.T) {
	one := make([]byte, 32)
	one[31] = 1
	zero := make([]byte, 32)
	afterOrder := bytes.Clone(order)
	afterOrder[31]++
	next := bytes.Clone(half)
	next[31]++
	for _, c := range []struct {
		name string
		r, s []byte
		id   byte
		ok   bool
	}{
		{"least", one, one, 0, true},
		{"greatest s", one, half, 3, true},
		{"s above q/2", one, next, 0, false},
		{"r = 0", zero, one, 0, false},
		{"s = 0", one, zero, 0, false},
		{"r = q", order, one, 0, false},
		{"s = q", one, order, 0, false},
		{"r = q + 1", afterOrder, one, 0, false},
		{"s = q + 1", one, afterOrder, 0, false},
		{"recovery id 4", one, one, 4, false},
	} {
		b := append(append(append([]byte(nil), c.r...), c.s...), c.id)
		var sig ecdsa.Signature
		err := sig.SetBytes(b)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := sig.Bytes(); c.ok && !bytes.Equal(got[:], b) {
			t.Errorf("%s: encodes to %x, want %x", c.name, got, b)
		}
	}
	var sig ecdsa.Signature
	long := append(append(append([]byte(nil), one...), one...), 0, 0)
	if sig.SetBytes(long[:64]) == nil || sig.SetBytes(nil) == nil || sig.SetBytes(long) == nil {
		t.Error("a signature of the wrong length decodes")
	}
	if ecdsa.Verify([33]byte{}, [32]byte{1}, &ecdsa.Signature{R: [32]byte{31: 1}, S: [32]byte{31: 1}}) == nil {
		t.Error("a signature verifies under no key")
	}
}

func FuzzDecodeSignature(f *testing.F) {
	f.Add(make([]byte, 65))
	f.Add(append(append(append([]byte(nil), half...), half...), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sig ecdsa.Signature
		if sig.SetBytes(b) != nil {
			return
		}
		if got := sig.Bytes(); !bytes.Equal(got[:], b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, got)
		}
		_, _ = ecdsa.Recover([32]byte{1}, &sig)
	})
}
