package frost_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// Two of three parties sign. Here all of them live in one process and the maps
// are the network; a real caller authenticates every message and makes "share
// authorised" durable before the share leaves. exampleKeys is a run of mpc/dkg.
func Example() {
	keys := exampleKeys(mpc.FROSTEd25519, []mpc.ID{1, 2, 3}, 2)
	terms := frost.Terms{
		Signers:     []mpc.ID{1, 3},
		AttemptID:   [16]byte{1},  // never twice
		RequestHash: [32]byte{42}, // what the signers have approved
		Jobs:        []frost.Job{{Message: []byte("one coin to Alice")}},
	}
	sessions := map[mpc.ID]*frost.Session{}
	r0, shares := messages{}, messages{}
	for _, id := range terms.Signers {
		s, err := frost.New(frost.Config{Terms: terms, Key: keys[id], Purpose: keys[id].Purpose}, rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		sessions[id], r0[id] = s, must(s.Round0(nil))
	}
	for id, s := range sessions {
		shares[id] = must(s.Share(r0.except(id)))
	}
	// Anybody may combine; the signature is judged by crypto/ed25519 inside.
	pub := frost.PublicOf(keys[1])
	signatures, err := frost.Combine(pub, terms, r0, shares)
	if err != nil {
		log.Fatal(err)
	}
	key := must(pub.VerificationKey(terms.Jobs[0]))
	fmt.Println(ed25519.Verify(key, terms.Jobs[0].Message, signatures[0]))
	// Output: true
}

// A Taproot output that can be spent by key only, and nonces that were made
// ahead: their commitments are known, so that one message a signer is enough.
func ExamplePackage() {
	keys := exampleKeys(mpc.FROSTSecp256k1TR, []mpc.ID{1, 2, 3}, 2)
	now, minute := uint64(0), uint64(60_000)
	pools := map[mpc.ID]*frost.NoncePool{}
	var list []*frost.Commitment
	for _, id := range []mpc.ID{2, 3} {
		pool, err := frost.NewNoncePool(keys[id], nil, 10, minute)
		if err != nil {
			log.Fatal(err)
		}
		made, err := pool.Refill(1, now, rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		pools[id], list = pool, append(list, made[0])
	}

	job := frost.Job{Message: make([]byte, 32), Taproot: frost.KeyPath()}
	x, err := frost.NewPackage(frost.PublicOf(keys[2]), job, list)
	if err != nil {
		log.Fatal(err)
	}
	shares := map[mpc.ID]group.Scalar{}
	for i, id := range x.Signers() {
		nonce, err := pools[id].Consume(list[i].Bytes(), now)
		if err != nil {
			log.Fatal(err)
		}
		if shares[id], err = x.Sign(keys[id], nonce); err != nil {
			log.Fatal(err)
		}
	}
	sig, err := x.Aggregate(shares)
	fmt.Println(len(sig), err)
	// Output: 64 <nil>
}

type messages map[mpc.ID][]byte

func (m messages) except(id mpc.ID) messages {
	out := messages{}
	for from, b := range m {
		if from != id {
			out[from] = b
		}
	}
	return out
}

func must(b []byte, err error) []byte {
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func exampleKeys(suite mpc.Suite, parties []mpc.ID, threshold int) map[mpc.ID]*dkg.KeyShare {
	keys, _, err := mpctest.KeysOf(suite, "example", parties, threshold)
	if err != nil {
		log.Fatal(err)
	}
	return keys
}
