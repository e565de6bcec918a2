package dkls23_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/pair"
)

// Three parties make a key; two of them set up their pair and sign. Here all of
// them live in one process and the maps are the network; a real caller
// authenticates every message, encrypts D2, D3 and the private ones, and makes
// "final share authorised" durable before that share leaves.
func Example() {
	parties := []mpc.ID{1, 2, 3}
	keys := exampleKeys(parties)
	signers := parties[:2]
	setups := examplePair(1, 2)

	message := sha256.Sum256([]byte("one coin to Alice"))
	sessions := make(map[mpc.ID]*dkls23.Session)
	for i, id := range signers {
		peer := signers[1-i]
		s, err := dkls23.New(dkls23.Config{
			Key:         keys[id],
			Signers:     signers,
			Setups:      map[mpc.ID]*pair.Setup{peer: setups[id]},
			AttemptID:   [16]byte{1},
			RequestHash: sha256.Sum256([]byte("request 7")),
			MessageHash: message,
			Purpose:     "ecdsa",
		}, rand.Reader)
		if err != nil {
			log.Fatal(err)
		}
		sessions[id] = s
	}

	r0, r1, r2 := messages{}, messages{}, messages{}
	private1, private2 := map[mpc.ID]messages{}, map[mpc.ID]messages{}
	var shares []*dkls23.FinalShare
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
		shares = append(shares, must(s.Round3(r2.except(id), to(id, private2))))
	}

	// Anybody may combine: a final share is no secret once it may leave.
	sig := must(dkls23.Combine(group.Secp256k1Point(keys[1].PublicKey), signers, message, nil, shares))
	fmt.Println("verifies:", ecdsa.Verify([33]byte(keys[1].PublicKey.Encode()), message, sig) == nil)
	// Output: verifies: true
}

// exampleKeys runs the key generation. The session keys sign shares, so that a
// wrong one is evidence; the identity keys (in an HSM) sign the certificate.
func exampleKeys(parties []mpc.ID) map[mpc.ID]*dkg.KeyShare {
	private := make(map[mpc.ID]ed25519.PrivateKey)
	public := make(map[mpc.ID][]byte)
	for _, id := range parties {
		public[id], private[id], _ = ed25519.GenerateKey(rand.Reader)
	}
	verify := func(id mpc.ID, digest [32]byte, sig []byte) bool {
		return ed25519.Verify(public[id], digest[:], sig)
	}
	sessions := make(map[mpc.ID]*dkg.Session)
	for _, id := range parties {
		sessions[id] = must(dkg.New(dkg.Config{
			Suite:      mpc.DKLS23Secp256k1,
			Self:       id,
			Parties:    parties,
			Threshold:  2,
			Purpose:    "ecdsa",
			AttemptID:  [16]byte{1},
			Identities: public,
			Sign:       func(digest [32]byte) []byte { return ed25519.Sign(private[id], digest[:]) },
			Verify:     verify,
		}, rand.Reader))
	}
	d0, d1, d2, d3 := messages{}, messages{}, messages{}, map[mpc.ID]messages{}
	for id, s := range sessions {
		d0[id] = must(s.Round0())
	}
	for id, s := range sessions {
		d1[id] = must(s.Round1(d0.except(id)))
	}
	for id, s := range sessions {
		d2[id] = must(s.Round2(d1.except(id)))
	}
	for id, s := range sessions {
		d3[id] = must(s.Round3(d2.except(id)))
	}
	keys := make(map[mpc.ID]*dkg.KeyShare)
	var certificate *dkg.Certificate
	for id, s := range sessions {
		out := must(s.Finish(to(id, d3)))
		keys[id], certificate = out.Share, out.Certificate
	}
	// The shares are pending until all n parties have signed the certificate.
	digest := certificate.Digest()
	for _, id := range parties {
		if err := certificate.AddSignature(id, ed25519.Sign(private[id], digest[:])); err != nil {
			log.Fatal(err)
		}
	}
	for _, k := range keys {
		if err := k.Activate(certificate, verify); err != nil {
			log.Fatal(err)
		}
	}
	return keys
}

// examplePair runs the pair setup: both sides send five messages.
func examplePair(a, b mpc.ID) map[mpc.ID]*pair.Setup {
	nonce := map[mpc.ID][32]byte{a: {1}, b: {2}}
	sa, toB, err := pair.New(pair.Config{Self: a, Peer: b, SelfNonce: nonce[a], PeerNonce: nonce[b]}, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	sb, toA, err := pair.New(pair.Config{Self: b, Peer: a, SelfNonce: nonce[b], PeerNonce: nonce[a]}, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	for done := false; !done; {
		fromA, fromB := toB, toA
		if toB, _, err = sa.Deliver(fromB); err != nil {
			log.Fatal(err)
		}
		if toA, done, err = sb.Deliver(fromA); err != nil {
			log.Fatal(err)
		}
	}
	return map[mpc.ID]*pair.Setup{a: must(sa.Setup()), b: must(sb.Setup())}
}

// messages are by author, or by recipient.
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

// to is what the others sent to id.
func to(id mpc.ID, all map[mpc.ID]messages) messages {
	out := messages{}
	for from, m := range all {
		if from != id {
			out[from] = m[id]
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
