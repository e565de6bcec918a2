package dkls23_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log"
	"time"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Two signers fill their pools before there is anything to sign; when there is,
// they exchange two small messages each. A vault asks Pool.Want in the background,
// and when Pool.Pick has nothing it signs as in the first example.
func ExamplePool() {
	keys, setups := exampleKeys([]mpc.ID{1, 2, 3}), examplePair(1, 2)
	signers, now := []mpc.ID{1, 2}, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	key := keys[1]
	pools := map[mpc.ID]*dkls23.Pool{1: must(dkls23.NewPool(4)), 2: must(dkls23.NewPool(4))}

	// Offline: as many as are lacking, in one session.
	n := pools[1].Want(key.KeyID, key.Epoch, dkls23.Full, signers, now)
	sessions := make(map[mpc.ID]*dkls23.Presigning)
	for i, id := range signers {
		sessions[id] = must(dkls23.NewPresigning(dkls23.PresignConfig{
			Key:       keys[id],
			Signers:   signers,
			Setups:    map[mpc.ID]*pair.Setup{signers[1-i]: setups[id]},
			AttemptID: [16]byte{2},
			Purpose:   key.Purpose,
			Kind:      dkls23.Full,
			Count:     n,
			Expires:   now.Add(time.Hour),
		}, rand.Reader))
	}
	r0, r1, r2 := messages{}, messages{}, messages{}
	private1, private2 := map[mpc.ID]messages{}, map[mpc.ID]messages{}
	for id, s := range sessions {
		r0[id] = must(s.Round0(nil))
	}
	for id, s := range sessions {
		broadcast, private, err := s.Round1(r0.except(id), nil)
		if err != nil {
			log.Fatal(err)
		}
		r1[id], private1[id] = broadcast, private
	}
	for id, s := range sessions {
		broadcast, private, err := s.Round2(r1.except(id), to(id, private1), nil)
		if err != nil {
			log.Fatal(err)
		}
		r2[id], private2[id] = broadcast, private
	}
	for id, s := range sessions {
		presignatures := must(s.Round3(r2.except(id), to(id, private2)))
		if err := pools[id].Add(presignatures...); err != nil {
			log.Fatal(err)
		}
	}

	// Online: signer 1 proposes and names the presignature.
	message := sha256.Sum256([]byte("one coin to Bob"))
	name, ok := pools[1].Pick(key.KeyID, key.Epoch, dkls23.Full, signers, now)
	if !ok {
		log.Fatal("the pool is empty: run the whole protocol")
	}
	online, a := make(map[mpc.ID]*dkls23.Online), messages{}
	for _, id := range signers {
		online[id] = must(dkls23.Open(must(pools[id].Take(name, now)), dkls23.OnlineConfig{
			Key:         keys[id],
			Signers:     signers,
			RequestHash: sha256.Sum256([]byte("request 8")),
			MessageHash: message,
		}, now, rand.Reader))
		broadcast, _, err := online[id].Round0(nil)
		if err != nil {
			log.Fatal(err)
		}
		a[id] = broadcast
	}
	var shares []*dkls23.OnlineShare
	for _, id := range signers {
		if _, err := online[id].Round1(a.except(id), nil); err != nil { // two signers: no echo
			log.Fatal(err)
		}
		shares = append(shares, must(online[id].Round2(nil)))
	}
	sig := must(online[1].Combine(shares))
	fmt.Println("verifies:", ecdsa.Verify([33]byte(key.PublicKey.Encode()), message, sig) == nil)
	fmt.Println("lacking:", pools[1].Want(key.KeyID, key.Epoch, dkls23.Full, signers, now))
	// Output:
	// verifies: true
	// lacking: 1
}
