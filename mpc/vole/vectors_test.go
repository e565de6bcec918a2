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

const vectorsFile = "testdata/vole-DKLS23-SECP256K1-B4.json"

// vector is one run of OT extension and VOLE. Randomness is SHAKE256 of the
// seed's ASCII bytes, read as a stream; the stream of seeds_rand gives Δ (16
// bytes), then for i = 0 … 31 and x = 0 … 15 the leaf x of tree i (16 bytes each),
// as a trusted dealer would. The members a, chi, c and d have one entry for each
// signature of the batch. Everything else is hex.
type vector struct {
	Suite     string      `json:"suite"`
	SeedsRand string      `json:"seeds_rand"`
	DSID      string      `json:"dsid"`
	BobRand   string      `json:"bob_rand"`
	AliceRand string      `json:"alice_rand"`
	A         [][2]string `json:"a"`
	Message1  string      `json:"message1"`
	Chi       []string    `json:"chi"`
	Message2  string      `json:"message2"`
	C         [][2]string `json:"c"`
	D         [][2]string `json:"d"`
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

func makeVector(t *testing.T, name string, a ...[2]*secp256k1.Scalar) vector {
	t.Helper()
	v := vector{
		Suite: suite, SeedsRand: "vole seeds " + name, BobRand: "vole bob " + name, AliceRand: "vole alice " + name,
	}
	dsid := [32]byte{0xd5, 31: name[0]}
	bobSeeds, aliceSeeds := dealt(shake(v.SeedsRand))
	bob, m1, err := Receive(shake(v.BobRand), bobSeeds, dsid, len(a))
	if err != nil {
		t.Fatal(err)
	}
	c, m2, err := Send(shake(v.AliceRand), aliceSeeds, dsid, m1, a)
	if err != nil {
		t.Fatal(err)
	}
	d, err := bob.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	b1, _ := m1.MarshalBinary()
	b2, _ := m2.MarshalBinary()
	v.DSID, v.Message1, v.Message2 = hex.EncodeToString(dsid[:]), hex.EncodeToString(b1), hex.EncodeToString(b2)
	for k := range a {
		if !holds(a[k], bob.Chi(k), c[k], d[k]) {
			t.Fatalf("signature %d: c + d is not a·χ", k)
		}
		v.Chi = append(v.Chi, hexOf(bob.Chi(k)))
		v.A = append(v.A, [2]string{hexOf(a[k][0]), hexOf(a[k][1])})
		v.C = append(v.C, [2]string{hexOf(&c[k][0]), hexOf(&c[k][1])})
		v.D = append(v.D, [2]string{hexOf(&d[k][0]), hexOf(&d[k][1])})
	}
	return v
}

// The frozen runs: a change of any byte of the protocol fails here and needs a
// new suite name.
func TestVectors(t *testing.T) {
	minusOne := secp256k1.NewScalar().Negate(secp256k1.NewScalar().SetUint64(1))
	var batch [][2]*secp256k1.Scalar
	for _, k := range []string{"0", "1", "2"} {
		batch = append(batch, [2]*secp256k1.Scalar{scalar(t, shake("vole batch a0 "+k)), scalar(t, shake("vole batch a1 "+k))})
	}
	got, err := json.MarshalIndent([]vector{
		makeVector(t, "1", [2]*secp256k1.Scalar{scalar(t, shake("vole a0 1")), scalar(t, shake("vole a1 1"))}),
		makeVector(t, "2", [2]*secp256k1.Scalar{secp256k1.NewScalar(), minusOne}),
		makeVector(t, "3", batch...),
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
