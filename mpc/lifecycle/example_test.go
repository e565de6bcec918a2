package lifecycle_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"maps"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/backup"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// A 2-of-3 key goes to 3-of-5 without party 1; its public key stays. All
// participants live in one process here, and the maps are the network: a real
// caller authenticates every message, encrypts R3, and lets mpc/handover decide
// when the old epoch ends.
func Example() {
	old, certificate, err := mpctest.Keys("example", []mpc.ID{1, 2, 3}, 2)
	if err != nil {
		log.Fatal(err)
	}
	dealers, parties := []mpc.ID{2, 3}, []mpc.ID{2, 3, 4, 5, 6} // 1 leaves, 4, 5 and 6 are new
	everybody := parties

	identity, session := exampleKeys(everybody)
	sessions := make(map[mpc.ID]*lifecycle.Session)
	for _, id := range everybody {
		s, err := lifecycle.New(lifecycle.Config{
			Kind:              lifecycle.Reshare,
			Self:              id,
			Certificate:       certificate,
			VerifyCertificate: mpctest.Verify("identity"), // by the identities of the old parties
			Share:             old[id],                    // nil for the newcomers
			Dealers:           dealers,
			Parties:           parties,
			Threshold:         3,
			Identities:        publicHalves(identity),
			AttemptID:         [16]byte{1},
			Sign:              func(digest [32]byte) []byte { return ed25519.Sign(session[id], digest[:]) },
			Verify:            verifier(session),
		}, rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		sessions[id] = s
	}

	r0, r1, r2, r3 := messages{}, messages{}, messages{}, map[mpc.ID]messages{}
	for id, s := range sessions {
		r0[id] = must(s.Round0())
	}
	for id, s := range sessions {
		r1[id] = must(s.Round1(r0.except(id)))
	}
	for id, s := range sessions {
		r2[id] = must(s.Round2(r1.except(id)))
	}
	for id, s := range sessions {
		r3[id] = must(s.Round3(r2.except(id)))
	}
	shares := make(map[mpc.ID]*dkg.KeyShare)
	var next *dkg.Certificate
	for id, s := range sessions {
		out := must(s.Finish(to(id, r3)))
		shares[id], next = out.Share, out.Certificate
	}

	// Pending until the identities of all five have signed.
	digest := next.Digest()
	for _, id := range parties {
		if err := next.AddSignature(id, ed25519.Sign(identity[id], digest[:])); err != nil {
			log.Fatal(err)
		}
	}
	for _, k := range shares {
		if err := k.Activate(next, verifier(identity)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("epoch", next.Epoch, next.Origin, "threshold", next.Threshold, "of", len(next.Parties))
	fmt.Println("same public key:", next.PublicKey().Equal(certificate.PublicKey()) == 1)
	// Output:
	// epoch 2 reshared threshold 3 of 5
	// same public key: true
}

// A party backs its share up to a recovery key, loses it, and restores it. It is
// dormant until the next refresh.
func Example_backup() {
	shares, certificate, err := mpctest.Keys("example", []mpc.ID{1, 2, 3}, 2)
	if err != nil {
		log.Fatal(err)
	}
	verify := mpctest.Verify("identity")
	cluster := [32]byte{1}
	recovery := must(backup.NewKey(rand.Reader)) // offline, of this party only
	sealed := must(backup.Seal(cluster, shares[2], certificate, verify, []backup.Recipient{recovery.Recipient()}, rand.Reader))

	want := backup.Subject{Cluster: cluster, KeyID: certificate.KeyID(), Party: 2}
	restored, _, err := backup.Open(sealed, recovery, want, verify)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("active:", restored.Active(), "dormant:", restored.Dormant())
	shares[2] = restored
	plan := &mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: certificate, Shares: shares}
	refreshed, _, err := mpctest.Redistribute("example", plan)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("after the refresh:", refreshed[2].Active(), refreshed[2].Dormant())
	// Output:
	// active: false dormant: true
	// after the refresh: true false
}

func exampleKeys(parties []mpc.ID) (identity, session map[mpc.ID]ed25519.PrivateKey) {
	identity, session = make(map[mpc.ID]ed25519.PrivateKey), make(map[mpc.ID]ed25519.PrivateKey)
	for _, id := range parties {
		_, identity[id], _ = ed25519.GenerateKey(rand.Reader)
		_, session[id], _ = ed25519.GenerateKey(rand.Reader)
	}
	return identity, session
}

func publicHalves(keys map[mpc.ID]ed25519.PrivateKey) map[mpc.ID][]byte {
	out := make(map[mpc.ID][]byte)
	for id, k := range keys {
		out[id] = k.Public().(ed25519.PublicKey)
	}
	return out
}

func verifier(keys map[mpc.ID]ed25519.PrivateKey) func(mpc.ID, [32]byte, []byte) bool {
	public := publicHalves(keys)
	return func(id mpc.ID, digest [32]byte, sig []byte) bool {
		return public[id] != nil && ed25519.Verify(public[id], digest[:], sig)
	}
}

// messages are by author, or by recipient.
type messages map[mpc.ID][]byte

func (m messages) except(id mpc.ID) map[mpc.ID][]byte {
	out := maps.Clone(m)
	delete(out, id)
	return out
}

// to is what the others sent to id.
func to(id mpc.ID, all map[mpc.ID]messages) map[mpc.ID][]byte {
	out := make(map[mpc.ID][]byte)
	for _, from := range slices.Sorted(maps.Keys(all)) {
		if from != id {
			out[from] = all[from][id]
		}
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
