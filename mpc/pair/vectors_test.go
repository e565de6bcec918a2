package pair

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorsFile = "testdata/pair-DKLS23-SECP256K1-B4.json"

// vector is one run. Randomness is SHAKE256 of the seed's ASCII bytes, read as a
// stream. The messages m1 … m5 of both sides are given by their SHA-256 (m1 also
// in full); everything is hex. Bob and Alice are the side's outputs: all leaves,
// and Δ and all leaves (docs/spec/random-oracle.md).
type vector struct {
	Suite   string        `json:"suite"`
	Context string        `json:"context"`
	Hash    string        `json:"hash"`
	Sides   [2]vectorSide `json:"sides"`
}

type vectorSide struct {
	ID       uint16        `json:"id"`
	Boot     string        `json:"boot"`
	Rand     string        `json:"rand"`
	M1       string        `json:"m1"`
	Messages [steps]string `json:"messages_sha256"`
	Bob      string        `json:"bob"`
	Alice    string        `json:"alice"`
}

func shake(seed string) io.Reader {
	h := sha3.NewSHAKE256()
	h.Write([]byte(seed))
	return h
}

func makeVector(t *testing.T, name string, lo, hi mpc.ID) vector {
	t.Helper()
	context := [32]byte{0xc0, 31: name[0]}
	boots := [2][32]byte{{0xb0}, {0xb1}}
	ids := [2]mpc.ID{lo, hi}
	v := vector{Context: hex.EncodeToString(context[:]), Suite: "DKLS23-SECP256K1-B4"}
	l := new(link)
	for i := range l.s {
		side := &v.Sides[i]
		side.ID, side.Boot = uint16(ids[i]), hex.EncodeToString(boots[i][:])
		side.Rand = "pair side " + string(rune('0'+i)) + " run " + name
		s, first, err := New(Config{Self: ids[i], Peer: ids[1-i], Context: context, SelfNonce: boots[i], PeerNonce: boots[1-i]}, shake(side.Rand))
		if err != nil {
			t.Fatal(err)
		}
		side.M1 = hex.EncodeToString(first)
		l.s[i] = s
		l.inbox[1-i] = [][]byte{first}
	}
	l.alter = func(from, step int, msg []byte) []byte {
		d := digestOf(msg)
		v.Sides[from].Messages[step-1] = hex.EncodeToString(d[:])
		return msg
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	for i, s := range l.setups(t) {
		var bob, alice []byte
		alice = append(alice, s.Alice.Delta[:]...)
		for i := range s.Bob.Leaf {
			for x := range s.Bob.Leaf[i] {
				bob = append(bob, s.Bob.Leaf[i][x][:]...)
				alice = append(alice, s.Alice.Leaf[i][x][:]...)
			}
		}
		v.Sides[i].Bob, v.Sides[i].Alice = hex.EncodeToString(bob), hex.EncodeToString(alice)
		v.Hash = hex.EncodeToString(s.Hash[:])
	}
	return v
}

// The frozen runs: a change of any byte of the protocol fails here and needs a
// new suite name.
func TestVectors(t *testing.T) {
	got, err := json.MarshalIndent([]vector{makeVector(t, "1", 1, 2), makeVector(t, "2", 3, 65535)}, "", " ")
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
