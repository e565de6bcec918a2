package baseot

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorsFile = "testdata/baseot-DKLS23-SECP256K1-B4.json"

// vector is one run. Randomness is SHAKE256 of the seed's ASCII bytes, read as a
// stream. Everything else is hex; K0, K1 and K are 128 seeds, joined.
type vector struct {
	Suite    string `json:"suite"`
	PSID     string `json:"psid"`
	Sender   uint16 `json:"sender"`
	Receiver uint16 `json:"receiver"`
	BobRand  string `json:"bob_rand"`
	AliRand  string `json:"alice_rand"`
	Message1 string `json:"message1"`
	Message2 string `json:"message2"`
	K0       string `json:"k0"`
	K1       string `json:"k1"`
	Delta    string `json:"delta"`
	K        string `json:"k"`
}

func join(k *[N][SeedSize]byte) string {
	var b []byte
	for i := range k {
		b = append(b, k[i][:]...)
	}
	return hex.EncodeToString(b)
}

func makeVector(t *testing.T, bobRand, aliceRand string, inst Instance) vector {
	t.Helper()
	s, m1, err := Start(stream(bobRand))
	if err != nil {
		t.Fatal(err)
	}
	r, m2, err := Receive(stream(aliceRand), inst, m1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Finish(inst, m2)
	if err != nil {
		t.Fatal(err)
	}
	b1, _ := m1.MarshalBinary()
	b2, _ := m2.MarshalBinary()
	return vector{
		Suite: "DKLS23-SECP256K1-B4", PSID: hex.EncodeToString(inst.PSID[:]),
		Sender: uint16(inst.Sender), Receiver: uint16(inst.Receiver),
		BobRand: bobRand, AliRand: aliceRand,
		Message1: hex.EncodeToString(b1), Message2: hex.EncodeToString(b2),
		K0: join(&out.K0), K1: join(&out.K1),
		Delta: hex.EncodeToString(r.Delta[:]), K: join(&r.K),
	}
}

// The frozen run: a change of any byte of the protocol fails here and needs a new
// suite name.
func TestVectors(t *testing.T) {
	got, err := json.MarshalIndent([]vector{
		makeVector(t, "baseot bob 1", "baseot alice 1", Instance{PSID: [32]byte{1, 2, 3}, Sender: 2, Receiver: 1}),
		makeVector(t, "baseot bob 2", "baseot alice 2", Instance{PSID: [32]byte{31: 9}, Sender: 1, Receiver: 65535}),
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
