package roast_test

import (
	"crypto/rand"
	"fmt"
	"log"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/roast"
)

// Three of five signers answer, the other two are down: nobody waits for them.
func Example() {
	keys, _, err := mpctest.KeysOf(mpc.FROSTEd25519, "roast example", mpctest.IDs(5), 3) // a run of mpc/dkg
	if err != nil {
		log.Fatal(err)
	}
	terms := roast.Terms{AttemptID: [16]byte{1}, RequestHash: [32]byte{42}, Job: frost.Job{Message: []byte("one coin to Alice")}}
	coordinator, err := roast.NewCoordinator(frost.PublicOf(keys[1]), terms)
	if err != nil {
		log.Fatal(err)
	}
	signers := map[mpc.ID]*roast.Signer{}
	var requests []*roast.Request
	deliver := func(from mpc.ID, message []byte, err error) {
		if err != nil {
			log.Fatal(err)
		}
		r, err := coordinator.Deliver(from, message)
		if err != nil {
			log.Fatal(err)
		}
		if r != nil {
			requests = append(requests, r)
		}
	}
	for _, id := range []mpc.ID{1, 3, 4} {
		if signers[id], err = roast.NewSigner(keys[id], keys[id].Purpose, terms, rand.Reader); err != nil {
			log.Fatal(err)
		}
		offer, err := signers[id].Offer()
		deliver(id, offer, err)
	}
	for i := 0; i < len(requests); i++ {
		for _, id := range requests[i].To {
			answer, err := signers[id].Answer(requests[i].Message)
			deliver(id, answer, err)
		}
	}
	fmt.Println(len(coordinator.Signature()), coordinator.Sessions())
	// Output: 64 1
}
