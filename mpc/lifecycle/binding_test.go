package lifecycle

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// distinct fails when two of the named hashes are equal.
func distinct(t *testing.T, what string, hashes map[string][32]byte) {
	t.Helper()
	seen := make(map[[32]byte]string)
	for name, h := range hashes {
		if other, ok := seen[h]; ok {
			t.Errorf("%s: %s and %s give the same", what, name, other)
		}
		seen[h] = name
	}
}

func scalar(n uint64) group.Scalar { return group.Secp256k1().NewScalar().SetUint64(n) }

func point(n uint64) group.Point { return group.Secp256k1().NewPoint().ScalarBaseMult(scalar(n)) }

// certificate is that of parties 1 … 3 with f(x) = a + b·x, in an epoch.
func certificate(t testing.TB, a, b uint64) *dkg.Certificate {
	t.Helper()
	c, err := dkg.Certify(dkg.Parts{
		Suite: mpc.DKLS23Secp256k1, Purpose: "test", Origin: dkg.Generated, Epoch: dkg.FirstEpoch,
		Threshold: 2, Parties: []mpc.ID{1, 2, 3}, Feldman: sharing.Commitment{point(a), point(b)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every item of every hash is taken by itself, whatever a frozen vector says:
// without one of them a commitment, a signature or a seed could be carried to
// another place.
func TestPitfall24_LifeEveryItemIsBound(t *testing.T) {
	sid := func(n byte) [32]byte { return [32]byte{n} }
	open := func(s byte, id mpc.ID, salt byte, v ...uint64) [32]byte {
		o := &opening{salt: [32]byte{salt}}
		for _, x := range v {
			o.vector = append(o.vector, point(x))
		}
		return o.commitment(sid(s), id)
	}
	distinct(t, "commitment", map[string][32]byte{
		"nothing": open(1, 2, 3, 4, 5), "session": open(9, 2, 3, 4, 5), "author": open(1, 9, 3, 4, 5), "salt": open(1, 2, 9, 4, 5),
		"first": open(1, 2, 3, 9, 5), "last": open(1, 2, 3, 4, 9), "longer": open(1, 2, 3, 4, 5, 9), "shorter": open(1, 2, 3, 4),
	})
	for name, digest := range map[string]func(sid, job [32]byte, id mpc.ID, v []group.Point) [32]byte{
		"vector": func(sid, job [32]byte, id mpc.ID, v []group.Point) [32]byte { return vectorDigest(sid, job, id, v) },
		"parts":  partsDigest,
	} {
		v := func(n ...uint64) (out []group.Point) {
			for _, x := range n {
				out = append(out, point(x))
			}
			return out
		}
		distinct(t, "digest of "+name, map[string][32]byte{
			"nothing": digest(sid(1), sid(2), 3, v(4, 5)), "session": digest(sid(9), sid(2), 3, v(4, 5)), "job": digest(sid(1), sid(9), 3, v(4, 5)),
			"author": digest(sid(1), sid(2), 9, v(4, 5)), "first": digest(sid(1), sid(2), 3, v(9, 5)), "last": digest(sid(1), sid(2), 3, v(4, 9)),
			"shorter": digest(sid(1), sid(2), 3, v(4)),
		})
	}
	share := func(s, j byte, from, to mpc.ID, x uint64, chain, vector byte) [32]byte {
		st := &statement{sid(s), sid(j), from, to, scalar(x), sid(chain), sid(vector)}
		return st.digest()
	}
	distinct(t, "digest of a share", map[string][32]byte{
		"nothing": share(1, 2, 3, 4, 5, 6, 7), "session": share(9, 2, 3, 4, 5, 6, 7), "job": share(1, 9, 3, 4, 5, 6, 7), "from": share(1, 2, 9, 4, 5, 6, 7),
		"to": share(1, 2, 3, 9, 5, 6, 7), "direction": share(1, 2, 4, 3, 5, 6, 7), "share": share(1, 2, 3, 4, 9, 6, 7), "chain code": share(1, 2, 3, 4, 5, 9, 7), "vector": share(1, 2, 3, 4, 5, 6, 9),
	})
	part := func(s, j byte, from, to mpc.ID, x uint64, v uint64) [32]byte {
		return partDigest(sid(s), sid(j), from, to, scalar(x), []group.Point{point(v)})
	}
	distinct(t, "digest of a part", map[string][32]byte{
		"nothing": part(1, 2, 3, 4, 5, 6), "session": part(9, 2, 3, 4, 5, 6), "job": part(1, 9, 3, 4, 5, 6), "from": part(1, 2, 9, 4, 5, 6),
		"to": part(1, 2, 3, 9, 5, 6), "part": part(1, 2, 3, 4, 9, 6), "commitments": part(1, 2, 3, 4, 5, 9),
	})
	sum := func(s, j byte, from mpc.ID, x uint64, chain, echo byte) [32]byte {
		st := &sumStatement{sid(s), sid(j), from, scalar(x), sid(chain), sid(echo)}
		return st.digest()
	}
	distinct(t, "digest of a sum", map[string][32]byte{
		"nothing": sum(1, 2, 3, 4, 5, 6), "session": sum(9, 2, 3, 4, 5, 6), "job": sum(1, 9, 3, 4, 5, 6), "from": sum(1, 2, 9, 4, 5, 6),
		"sum": sum(1, 2, 3, 9, 5, 6), "chain code": sum(1, 2, 3, 4, 9, 6), "echo": sum(1, 2, 3, 4, 5, 9),
	})
	half := func(a, b byte) *seedHalf { return &seedHalf{[32]byte{a}, [32]byte{b}} }
	distinct(t, "seed commitment", map[string][32]byte{
		"nothing": half(4, 5).commitment(sid(1), 2, 3), "session": half(4, 5).commitment(sid(9), 2, 3), "from": half(4, 5).commitment(sid(1), 9, 3),
		"to": half(4, 5).commitment(sid(1), 2, 9), "direction": half(4, 5).commitment(sid(1), 3, 2), "seed": half(9, 5).commitment(sid(1), 2, 3), "salt": half(4, 9).commitment(sid(1), 2, 3),
	})
	distinct(t, "zero-share seed", map[string][32]byte{
		"nothing": pairSeed(sid(1), 2, 3, half(4, 0), half(5, 0)), "session": pairSeed(sid(9), 2, 3, half(4, 0), half(5, 0)), "low": pairSeed(sid(1), 1, 3, half(4, 0), half(5, 0)),
		"high": pairSeed(sid(1), 2, 9, half(4, 0), half(5, 0)), "seed of low": pairSeed(sid(1), 2, 3, half(9, 0), half(5, 0)), "seed of high": pairSeed(sid(1), 2, 3, half(4, 0), half(9, 0)),
	})
	challenge := func(x, k uint64, digest byte) [32]byte {
		return [32]byte(proofChallenge(point(x), point(k), sid(digest)).Encode())
	}
	distinct(t, "challenge of a share's proof", map[string][32]byte{
		"nothing": challenge(1, 2, 3), "public share": challenge(9, 2, 3), "nonce": challenge(1, 9, 3), "digest": challenge(1, 2, 9),
	})
}

// The job names everything that the participants do.
func TestJobBindsEverything(t *testing.T) {
	c, other := certificate(t, 2, 3), certificate(t, 2, 4)
	distinct(t, "job", map[string][32]byte{
		"nothing":     (&job{Reshare, c, []mpc.ID{1, 2}, 2, []mpc.ID{2, 3, 4}}).hash(),
		"kind":        (&job{Refresh, c, []mpc.ID{1, 2}, 2, []mpc.ID{2, 3, 4}}).hash(),
		"certificate": (&job{Reshare, other, []mpc.ID{1, 2}, 2, []mpc.ID{2, 3, 4}}).hash(),
		"dealers":     (&job{Reshare, c, []mpc.ID{1, 3}, 2, []mpc.ID{2, 3, 4}}).hash(),
		"threshold":   (&job{Reshare, c, []mpc.ID{1, 2}, 3, []mpc.ID{2, 3, 4}}).hash(),
		"parties":     (&job{Reshare, c, []mpc.ID{1, 2}, 2, []mpc.ID{2, 3, 5}}).hash(),
		"borders":     (&job{Reshare, c, []mpc.ID{1}, 2, []mpc.ID{2, 2, 3, 4}}).hash(),
		"repair":      (&repairJob{c, 3, []mpc.ID{1, 2}}).hash(),
		"lost":        (&repairJob{c, 4, []mpc.ID{1, 2}}).hash(),
		"helpers":     (&repairJob{c, 3, []mpc.ID{1, 4}}).hash(),
		"repair of":   (&repairJob{other, 3, []mpc.ID{1, 2}}).hash(),
	})
}

// What honest dealers and single lies never reach: the last checks before a key.
func TestPitfall12_IdentityInTheNewVector(t *testing.T) {
	neg := func(n uint64) group.Point {
		return group.Secp256k1().NewPoint().Negate(point(n))
	}
	parties := []mpc.ID{1, 2, 3}
	for name, c := range map[string]struct {
		kind    Kind
		vectors []sharing.Commitment // as sent; the old one is 2 + 3x
		ok      bool
	}{
		"a refresh":                 {Refresh, []sharing.Commitment{{point(5)}, {point(6)}}, true},
		"a coefficient is O":        {Refresh, []sharing.Commitment{{neg(1)}, {neg(2)}}, false},
		"X of 1 is O":               {Refresh, []sharing.Commitment{{neg(2)}, {neg(3)}}, false}, // 2 − 2x
		"X of 2 is O":               {Refresh, []sharing.Commitment{{neg(1)}, {neg(3)}}, false}, // 2 − x
		"a reshare":                 {Reshare, []sharing.Commitment{{point(1), point(5)}, {point(1), point(6)}}, true},
		"another key":               {Reshare, []sharing.Commitment{{point(1), point(5)}, {point(2), point(6)}}, false},
		"no key":                    {Reshare, []sharing.Commitment{{point(1), point(5)}, {neg(1), point(6)}}, false},
		"a coefficient is O, too":   {Reshare, []sharing.Commitment{{point(1), point(5)}, {point(1), neg(5)}}, false},
		"a public share is O":       {Reshare, []sharing.Commitment{{point(1), neg(1)}, {point(1), neg(1)}}, false}, // 2 − 2x
		"vectors of unequal length": {Reshare, []sharing.Commitment{{point(1), point(5)}, {point(1)}}, false},
	} {
		j := &job{c.kind, certificate(t, 2, 3), parties[:2], 2, parties}
		full := make([]sharing.Commitment, len(c.vectors))
		for i, v := range c.vectors {
			full[i] = j.full(v)
		}
		if _, err := j.sum(full); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The epoch does not begin again at 0.
func TestLastEpoch(t *testing.T) {
	c := certificate(t, 2, 3)
	c.Epoch = math.MaxUint64
	j := &job{Refresh, c, c.Parties, 2, c.Parties}
	if err := j.check(); err == nil {
		t.Error("an epoch follows the last one")
	}
}

// A share that does not fit is never output, whatever the checks before let
// through; and a session that ends holds no secret.
func TestOutputIsCheckedOnceMore(t *testing.T) {
	old := certificate(t, 2, 3)
	for name, wrong := range map[string]uint64{"right": 0, "wrong": 1} {
		s := &Session{
			cfg:       Config{Kind: Reshare, Self: 1, Certificate: old, Dealers: []mpc.ID{2, 3}, Parties: []mpc.ID{1, 4}, Threshold: 2},
			job:       &job{Reshare, old, []mpc.ID{2, 3}, 2, []mpc.ID{1, 4}},
			receives:  true,
			seeded:    true,
			chainCode: new([32]byte),
			halves:    map[mpc.ID]*seedHalf{4: {seed: [32]byte{1}}},
			sum:       sharing.Commitment{point(2), point(7)}, // 2 + 7x, at 1: 9
		}
		deals := map[mpc.ID]*deal{2: {share: scalar(4)}, 3: {share: scalar(5 + wrong)}, 4: {}}
		out, err := s.output(deals)
		switch a := mpc.AsAbort(err); {
		case wrong == 0 && err != nil:
			t.Errorf("%s share: %v", name, err)
		case wrong != 0 && (a == nil || a.Class != mpc.Unattributed || out != nil):
			t.Errorf("%s share: got %v, want an unattributed abort", name, err)
		case wrong == 0 && out.Share.Active():
			t.Error("a share is active before anybody has signed")
		}
		s.Destroy()
		if *s.halves[4] != (seedHalf{}) {
			t.Error("Destroy left a seed")
		}
	}
}

// A signature that the own session key can't make ends the session, and blames
// nobody.
func TestOwnSignatureIsBounded(t *testing.T) {
	for _, n := range []int{0, 257} {
		_, err := sign("step", func([32]byte) []byte { return make([]byte, n) }, [32]byte{})
		var a *mpc.Abort
		if !errors.As(err, &a) || a.Class != mpc.Benign {
			t.Errorf("a signature of %d bytes: %v", n, err)
		}
	}
	if _, err := sign("step", func([32]byte) []byte { return make([]byte, 256) }, [32]byte{}); err != nil {
		t.Error(err)
	}
}

// Every participant agrees on who takes part, and the protocol numbers are apart.
func TestProtocolNumbers(t *testing.T) {
	all := []session.Protocol{session.DKG, session.DKLS23, session.Redistribution, session.Repair}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 {
		t.Error("two protocols have one number")
	}
	if got := union([]mpc.ID{2, 5, 9}, []mpc.ID{1, 2, 9, 10}); !slices.Equal(got, []mpc.ID{1, 2, 5, 9, 10}) {
		t.Errorf("union is %v", got)
	}
}
