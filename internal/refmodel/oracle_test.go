package refmodel

import (
	"crypto/sha3"
	"encoding/hex"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOracleVectors(t *testing.T) {
	var vs []struct {
		Tag   string
		Items []hexBytes
		Out   hexBytes
	}
	load(t, "transcript", "ro-DKLS23-SECP256K1-B4.json", &vs)
	if len(vs) == 0 {
		t.Fatal("the file holds no vector")
	}
	for _, v := range vs {
		var items [][]byte
		for _, x := range v.Items {
			items = append(items, x)
		}
		same(t, "RO "+v.Tag, RO(v.Tag, len(v.Out), items...), v.Out)
	}
}

// NIST, cSHAKE example 3 of SP 800-185.
func TestCSHAKE(t *testing.T) {
	h := sha3.NewCSHAKE256(nil, []byte("Email Signature"))
	_, _ = h.Write([]byte{0, 1, 2, 3})
	out := make([]byte, 64)
	_, _ = h.Read(out)
	same(t, "cSHAKE256", out, unhex(t, "d008828e2b80ac9d2218ffee1d070c48b8e4c87bff32c9699d5b6896eee0edd164020e2be0560858d9c00c037e34a96937c561a74c412bb4c746469527281c8c"))
}
