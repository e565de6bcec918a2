package dkg

import (
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// distinct fails when two of the named hashes are equal.
func distinct[H comparable](t *testing.T, what string, hashes map[string]H) {
	t.Helper()
	seen := make(map[H]string)
	for name, h := range hashes {
		if other, ok := seen[h]; ok {
			t.Errorf("%s: %s and %s give the same", what, name, other)
		}
		seen[h] = name
	}
}

// Every item of every hash of the key generation is taken by itself, whatever a
// frozen vector says: without one of them a commitment, a proof or a signature
// could be carried to another place.
func TestPitfall24_EveryItemIsBound(t *testing.T) {
	point := func(n uint64) group.Point {
		return secp.NewPoint().ScalarBaseMult(secp.NewScalar().SetUint64(n))
	}
	type in struct {
		sid [32]byte
		id  mpc.ID
		o   opening
	}
	base := func() *in {
		v := sharing.Commitment{point(2), point(3)}
		return &in{[32]byte{1}, 4, opening{vector: v, proofNonce: point(5), chain: [32]byte{6}, salt: [32]byte{7}}}
	}
	set := func(x *in, v ...group.Point) { x.o.vector = v }
	commitments, challenges := map[string][32]byte{}, map[string][32]byte{}
	for name, change := range map[string]func(*in){
		"nothing":            func(*in) {},
		"session":            func(x *in) { x.sid[31]++ },
		"author":             func(x *in) { x.id++ },
		"A_0":                func(x *in) { set(x, point(9), point(3)) },
		"last A":             func(x *in) { set(x, point(2), point(9)) },
		"longer vector":      func(x *in) { set(x, point(2), point(3), point(9)) },
		"shorter vector":     func(x *in) { set(x, point(2)) },
		"nonce of the proof": func(x *in) { x.o.proofNonce = point(9) },
		"chain-code share":   func(x *in) { x.o.chain[31]++ },
		"salt":               func(x *in) { x.o.salt[31]++ },
	} {
		x := base()
		change(x)
		x.o.encode()
		commitments[name] = x.o.commitment(x.sid, x.id)
		if name != "chain-code share" && name != "salt" {
			challenges[name] = [32]byte(x.o.challenge(x.sid, x.id).Encode())
		}
	}
	distinct(t, "commitment", commitments)
	distinct(t, "challenge", challenges)

	seed := func(sid byte, from, to mpc.ID, value, salt byte) [32]byte {
		return (&seedHalf{seed: [32]byte{value}, salt: [32]byte{salt}}).commitment([32]byte{sid}, from, to)
	}
	distinct(t, "seed commitment", map[string][32]byte{
		"nothing": seed(1, 2, 3, 4, 5), "session": seed(9, 2, 3, 4, 5), "from": seed(1, 9, 3, 4, 5), "to": seed(1, 2, 9, 4, 5),
		"direction": seed(1, 3, 2, 4, 5), "seed": seed(1, 2, 3, 9, 5), "salt": seed(1, 2, 3, 4, 9),
	})

	zero := func(sid byte, self, peer mpc.ID, own, theirs byte) [32]byte {
		return pairSeed([32]byte{sid}, self, peer, &seedHalf{seed: [32]byte{own}}, &seedHalf{seed: [32]byte{theirs}})
	}
	distinct(t, "zero-share seed", map[string][32]byte{
		"nothing": zero(1, 2, 3, 4, 5), "session": zero(9, 2, 3, 4, 5), "low": zero(1, 1, 3, 4, 5), "high": zero(1, 2, 9, 4, 5),
		"seed of low": zero(1, 2, 3, 9, 5), "seed of high": zero(1, 2, 3, 4, 9), "seeds swapped": zero(1, 2, 3, 5, 4),
	})
	if zero(1, 2, 3, 4, 5) != zero(1, 3, 2, 5, 4) {
		t.Error("the two sides of a pair hold different zero-share seeds")
	}

	digest := func(sid byte, from, to mpc.ID, share uint64, vector byte) [32]byte {
		return shareDigest([32]byte{sid}, from, to, secp.NewScalar().SetUint64(share), [32]byte{vector})
	}
	distinct(t, "digest of a share", map[string][32]byte{
		"nothing": digest(1, 2, 3, 4, 5), "session": digest(9, 2, 3, 4, 5), "from": digest(1, 9, 3, 4, 5), "to": digest(1, 2, 9, 4, 5),
		"direction": digest(1, 3, 2, 4, 5), "share": digest(1, 2, 3, 9, 5), "vector": digest(1, 2, 3, 4, 9),
	})
	distinct(t, "commitment to the chain code", map[string][32]byte{
		"nothing": ChainCommitment([32]byte{1}, [32]byte{2}), "session": ChainCommitment([32]byte{9}, [32]byte{2}), "code": ChainCommitment([32]byte{1}, [32]byte{9}),
	})
}

// The digest that all parties sign covers every field of the certificate.
func TestCertificateDigestCoversEveryField(t *testing.T) {
	digests := map[string][32]byte{}
	for name, change := range map[string]func(*Certificate){
		"nothing":          func(*Certificate) {},
		"suite":            func(c *Certificate) { c.Suite = mpc.FROSTSecp256k1 },
		"origin":           func(c *Certificate) { c.Origin++ },
		"key id":           func(c *Certificate) { c.keyID[31]++ },
		"previous":         func(c *Certificate) { c.Previous[31]++ },
		"purpose":          func(c *Certificate) { c.Purpose = "another" },
		"session":          func(c *Certificate) { c.SID[31]++ },
		"epoch":            func(c *Certificate) { c.Epoch++ },
		"threshold":        func(c *Certificate) { c.Threshold++ },
		"party":            func(c *Certificate) { c.Parties[1] = 9; c.PublicShares[9] = c.PublicShares[2] },
		"public share":     func(c *Certificate) { c.PublicShares[2] = c.PublicShares[1] },
		"public key":       func(c *Certificate) { c.Feldman[0] = c.Feldman[1] },
		"last coefficient": func(c *Certificate) { c.Feldman[1] = c.Feldman[0] },
		"roster":           func(c *Certificate) { c.RosterHash[31]++ },
		"chain commitment": func(c *Certificate) { c.ChainCommitment[31]++ },
		"echo":             func(c *Certificate) { c.Echo[31]++ },
	} {
		c := &Certificate{Suite: mpc.DKLS23Secp256k1, Purpose: "test", Threshold: 2, Parties: []mpc.ID{1, 2}, PublicShares: map[mpc.ID]group.Point{}}
		for n := range uint64(2) {
			p := secp.NewPoint().ScalarBaseMult(secp.NewScalar().SetUint64(n + 2))
			c.PublicShares[mpc.ID(n+1)] = p
			c.Feldman = append(c.Feldman, p)
		}
		change(c)
		digests[name] = c.Digest()
	}
	distinct(t, "digest", digests)
	if len(digests) != 16 {
		t.Fatal(fmt.Sprint(len(digests), " cases, want 16"))
	}
}
