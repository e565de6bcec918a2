package vole

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorsFile = "testdata/vole-DKLS23-SECP256K1-B1.json"

// vector is one run of OT extension and VOLE. Randomness is SHAKE256 of the
// seed's ASCII bytes, read as a stream; the stream of seeds_rand gives Δ (16
// bytes), then for i = 0 … 127 k_{i,0} and k_{i,1} (16 bytes each), as a trusted
// dealer would. Everything else is hex.
type vector struct {
	Suite     string    `json:"suite"`
	SeedsRand string    `json:"seeds_rand"`
	DSID      string    `json:"dsid"`
	BobRand   string    `json:"bob_rand"`
	AliceRand string    `json:"alice_rand"`
	A         [2]string `json:"a"`
	Message1  string    `json:"message1"`
	Chi       string    `json:"chi"`
	Message2  string    `json:"message2"`
	C         [2]string `json:"c"`
	D         [2]string `json:"d"`
}

func shake(seed string) io.Reader {
	h := sha3.NewSHAKE256()
	h.Write([]byte(seed))
	return h
}

func hexOf(s *secp256k1.Scalar) string {
	b := s.Bytes()
	return hex.EncodeToString(b[:])
}

func makeVector(t *testing.T, name string, a [2]*secp256k1.Scalar) vector {
	t.Helper()
	v := vector{
		Suite: Suite, SeedsRand: "vole seeds " + name, BobRand: "vole bob " + name, AliceRand: "vole alice " + name,
	}
	dsid := [32]byte{0xd5, 31: name[0]}
	bobSeeds, aliceSeeds := dealt(shake(v.SeedsRand))
	bob, m1, err := Receive(shake(v.BobRand), bobSeeds, dsid, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, m2, err := Send(shake(v.AliceRand), aliceSeeds, dsid, m1, [][2]*secp256k1.Scalar{a})
	if err != nil {
		t.Fatal(err)
	}
	d, err := bob.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	if !holds(a, bob.Chi(0), c[0], d[0]) {
		t.Fatal("c + d is not a·χ")
	}
	b1, _ := m1.MarshalBinary()
	b2, _ := m2.MarshalBinary()
	v.DSID, v.Message1, v.Message2 = hex.EncodeToString(dsid[:]), hex.EncodeToString(b1), hex.EncodeToString(b2)
	v.Chi = hexOf(bob.Chi(0))
	for w := range a {
		v.A[w], v.C[w], v.D[w] = hexOf(a[w]), hexOf(&c[0][w]), hexOf(&d[0][w])
	}
	return v
}

// The frozen runs: a change of any byte of the protocol fails here and needs a
// new suite name.
func TestVectors(t *testing.T) {
	minusOne := secp256k1.NewScalar().Negate(secp256k1.NewScalar().SetUint64(1))
	got, err := json.MarshalIndent([]vector{
		makeVector(t, "1", [2]*secp256k1.Scalar{scalar(t, shake("vole a0 1")), scalar(t, shake("vole a1 1"))}),
		makeVector(t, "2", [2]*secp256k1.Scalar{secp256k1.NewScalar(), minusOne}),
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the run differs from the frozen vectors")
	}
}
