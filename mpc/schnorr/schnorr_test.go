package schnorr_test

import (
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc/schnorr"
)

func vectors(t *testing.T) [][]string {
	t.Helper()
	dir := os.Getenv("COFFER_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	f, err := os.Open(filepath.Join(dir, "bip340-test-vectors.csv"))
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
		f, err = os.Open(filepath.Join("testdata", "bip340.csv"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBIP340Vectors(t *testing.T) {
	valid := 0
	rows := vectors(t)
	for _, row := range rows {
		key, msg, sig := unhex(t, row[2]), unhex(t, row[4]), unhex(t, row[5])
		want := row[6] == "TRUE"
		err := schnorr.VerifyBIP340(key, msg, sig)
		if (err == nil) != want {
			t.Errorf("vector %s (%s): %v, want %s", row[0], row[7], err, row[6])
		}
		if !want {
			continue
		}
		valid++
		// Every byte of a valid signature matters, and so does the message.
		for i := range sig {
			if valid > 1 && i%16 != valid%16 {
				continue
			}
			sig[i] ^= 0x10
			if schnorr.VerifyBIP340(key, msg, sig) == nil {
				t.Errorf("vector %s: verifies with byte %d of the signature changed", row[0], i)
			}
			sig[i] ^= 0x10
		}
		if schnorr.VerifyBIP340(key, append(msg, 0), sig) == nil {
			t.Errorf("vector %s: verifies for a longer message", row[0])
		}
	}
	if len(rows) < 15 || valid < 5 {
		t.Errorf("%d vectors, %d of them valid: the file is not whole", len(rows), valid)
	}
}

// A BIP-340 signature is a solution of the plain equation, too.
func TestVerifyEquation(t *testing.T) {
	for _, row := range vectors(t) {
		key, msg, sig := unhex(t, "02"+row[2]), unhex(t, row[4]), unhex(t, row[5])
		if row[6] != "TRUE" {
			continue
		}
		c := schnorr.TaggedHash("BIP0340/challenge", sig[:32], key[1:], msg)
		r := append([]byte{2}, sig[:32]...)
		if err := schnorr.Verify(key, r, c[:], sig[32:]); err != nil {
			t.Errorf("vector %s: %v", row[0], err)
		}
		odd := append([]byte{3}, sig[:32]...)
		z := append([]byte(nil), sig[32:]...)
		z[31] ^= 1
		for name, err := range map[string]error{
			"−R":              schnorr.Verify(key, odd, c[:], sig[32:]),
			"−P":              schnorr.Verify(append([]byte{3}, key[1:]...), r, c[:], sig[32:]),
			"z + 1":           schnorr.Verify(key, r, c[:], z),
			"z ≥ n":           schnorr.Verify(key, r, c[:], []byte(strings.Repeat("\xff", 32))),
			"another c":       schnorr.Verify(key, r, make([]byte, 32), sig[32:]),
			"short c":         schnorr.Verify(key, r, c[:31], sig[32:]),
			"short z":         schnorr.Verify(key, r, c[:], sig[33:]),
			"uncompressed R":  schnorr.Verify(key, make([]byte, 65), c[:], sig[32:]),
			"short key":       schnorr.Verify(key[:32], r, c[:], sig[32:]),
			"c = 0 and z = 0": schnorr.Verify(key, r, make([]byte, 32), make([]byte, 32)),
		} {
			if !errors.Is(err, schnorr.ErrInvalid) {
				t.Errorf("vector %s, %s: %v, want ErrInvalid", row[0], name, err)
			}
		}
	}
}

// What vectors cannot show: z + n, a point with the same y, an encoding of 65
// bytes. 5·G = 4·G + 1·G.
func TestVerifyIsStrict(t *testing.T) {
	g := "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	gy := "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
	r := "02e493dbf1c10d80f3581e4904930b1404cc6c13900ee0758474fa94abe8c4cd13"
	one, five := strings.Repeat("00", 31)+"01", strings.Repeat("00", 31)+"05"
	if err := schnorr.Verify(unhex(t, "02"+g), unhex(t, r), unhex(t, one), unhex(t, five)); err != nil {
		t.Fatal(err)
	}
	beta := new(big.Int).SetBytes(unhex(t, "7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501ee"))
	p := new(big.Int).SetBytes(unhex(t, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"))
	x := new(big.Int).SetBytes(unhex(t, r[2:]))
	x.Mod(x.Mul(x, beta), p)
	for name, err := range map[string]error{
		"z + n":            schnorr.Verify(unhex(t, "02"+g), unhex(t, r), unhex(t, one), unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364146")),
		"βx for x":         schnorr.Verify(unhex(t, "02"+g), append([]byte{2}, x.FillBytes(make([]byte, 32))...), unhex(t, one), unhex(t, five)),
		"key uncompressed": schnorr.Verify(unhex(t, "04"+g+gy), unhex(t, r), unhex(t, one), unhex(t, five)),
		"key hybrid":       schnorr.Verify(unhex(t, "06"+g+gy), unhex(t, r), unhex(t, one), unhex(t, five)),
	} {
		if !errors.Is(err, schnorr.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(make([]byte, 32), []byte("m"), make([]byte, 64))
	f.Add(make([]byte, 33), []byte(nil), make([]byte, 65))
	f.Fuzz(func(t *testing.T, key, msg, sig []byte) {
		if schnorr.VerifyBIP340(key, msg, sig) == nil {
			t.Error("a signature was found by chance")
		}
	})
}
