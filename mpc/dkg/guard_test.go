package dkg

import (
	"crypto/sha3"
	"io"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// What honest runs and single lies never reach: the last checks before a key.

func random(seed string) io.Reader {
	h := sha3.NewSHAKE256()
	h.Write([]byte(seed))
	return h
}

var secp = group.Secp256k1()

// openings is a session of parties 1 and 2 whose polynomials have these
// coefficients.
func openings(own, theirs [2]group.Scalar) *Session {
	s := &Session{curve: secp, cfg: Config{Suite: mpc.DKLS23Secp256k1, Self: 1, Parties: []mpc.ID{1, 2}, Threshold: 2}, chainCode: new([32]byte)}
	open := func(a [2]group.Scalar) *opening {
		v := sharing.Commitment{secp.NewPoint().ScalarBaseMult(a[0]), secp.NewPoint().ScalarBaseMult(a[1])}
		o := &opening{vector: v, proofNonce: secp.Generator()}
		o.encode()
		return o
	}
	s.own = open(own)
	s.opened = map[mpc.ID]*opening{2: open(theirs)}
	return s
}

// A sum polynomial that vanishes at 0 or at a party is no key.
func TestPitfall12_IdentityInTheSum(t *testing.T) {
	n := func(v int64) group.Scalar {
		s := secp.NewScalar().SetUint64(uint64(max(v, -v)))
		if v < 0 {
			s.Negate(s)
		}
		return s
	}
	for name, c := range map[string]struct {
		own, theirs [2]group.Scalar
		ok          bool
	}{
		"a key":                        {[2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(5), n(6)}, true},
		"public key is O":              {[2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(-3), n(6)}, false},
		"last coefficient is O":        {[2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(5), n(-4)}, false},
		"public share of 1 is O":       {[2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(5), n(-12)}, false}, // 8 − 8x
		"public share of 2 (8 − 4x) O": {[2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(5), n(-8)}, false},
	} {
		s := openings(c.own, c.theirs)
		if err := s.combine(); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A share that does not fit the public share is never output, whatever the
// checks before let through.
func TestOutputIsCheckedOnceMore(t *testing.T) {
	for name, wrong := range map[string]uint64{"right": 0, "wrong": 1} {
		own, err := sharing.NewPolynomial(secp, random("own"), 2)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := sharing.NewPolynomial(secp, random("theirs"), 2)
		if err != nil {
			t.Fatal(err)
		}
		s := &Session{
			curve: secp, cfg: Config{Suite: mpc.DKLS23Secp256k1, Self: 1, Parties: []mpc.ID{1, 2}, Threshold: 2, Purpose: "test"}, peers: []mpc.ID{2}, chainCode: new([32]byte),
			polynomial: own, halves: map[mpc.ID]*seedHalf{2: {}},
			own:    &opening{vector: own.Commit()},
			opened: map[mpc.ID]*opening{2: {vector: theirs.Commit()}},
		}
		if err := s.combine(); err != nil {
			t.Fatal(err)
		}
		d := &deal{share: theirs.Eval(1)}
		d.share.Add(d.share, secp.NewScalar().SetUint64(wrong))
		out, err := s.output(map[mpc.ID]*deal{2: d})
		switch a := mpc.AsAbort(err); {
		case wrong == 0 && err != nil:
			t.Errorf("%s share: %v", name, err)
		case wrong != 0 && (a == nil || a.Class != mpc.Unattributed || out != nil):
			t.Errorf("%s share: got %v, want an unattributed abort", name, err)
		}
	}
}

// A pending share is pending again after a restart, and a wiped session holds no
// polynomial.
func TestPendingSurvivesTheDiskAndSecretsDoNot(t *testing.T) {
	own, err := sharing.NewPolynomial(secp, random("own"), 2)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := sharing.NewPolynomial(secp, random("theirs"), 2)
	if err != nil {
		t.Fatal(err)
	}
	s := &Session{
		curve: secp, cfg: Config{Suite: mpc.DKLS23Secp256k1, Self: 1, Parties: []mpc.ID{1, 2}, Threshold: 2, Purpose: "test"}, peers: []mpc.ID{2}, chainCode: new([32]byte),
		polynomial: own, halves: map[mpc.ID]*seedHalf{2: {seed: [32]byte{1}}},
		own:    &opening{vector: own.Commit(), chain: [32]byte{2}},
		opened: map[mpc.ID]*opening{2: {vector: theirs.Commit(), chain: [32]byte{3}}},
	}
	if err := s.combine(); err != nil {
		t.Fatal(err)
	}
	out, err := s.output(map[mpc.ID]*deal{2: {share: theirs.Eval(1)}})
	if err != nil {
		t.Fatal(err)
	}
	if out.Share.Active() {
		t.Error("a share is active before anybody has signed its certificate")
	}
	k, err := DecodeKeyShare(out.Share.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if k.Active() {
		t.Error("a pending share is active after a restart")
	}
	s.Destroy()
	if own.Constant().IsZero() != 1 || own.Eval(7).IsZero() != 1 {
		t.Error("Destroy left the polynomial")
	}
	if *s.halves[2] != (seedHalf{}) || *s.chainCode != [32]byte{} || s.own.chain != [32]byte{} || s.opened[2].chain != [32]byte{} {
		t.Error("Destroy left seeds or chain-code shares")
	}
}

// Evidence about participant 0 convicts nobody, even where its signature
// verifies.
func TestPitfall33_EvidenceNamesParticipants(t *testing.T) {
	vector := sharing.Commitment{secp.Generator(), secp.Generator()}.Encode()
	d := &deal{share: secp.NewScalar().SetUint64(1), sig: []byte{1}} // 1·G is not G + to·G unless to = 0
	yes := func(mpc.ID, [32]byte, []byte) bool { return true }
	if id, err := VerifyEvidence(encodeEvidence(mpc.DKLS23Secp256k1, [32]byte{}, 1, 2, d, vector), yes); err != nil || id != 1 {
		t.Fatalf("wrong share of 1 to 2: %d, %v", id, err)
	}
	d.share.SetUint64(9)
	for _, ids := range [][2]mpc.ID{{0, 1}, {1, 0}, {0, 0}} {
		if id, err := VerifyEvidence(encodeEvidence(mpc.DKLS23Secp256k1, [32]byte{}, ids[0], ids[1], d, vector), yes); err == nil {
			t.Errorf("evidence from %d to %d convicts %d", ids[0], ids[1], id)
		}
	}
}

// The chain code is of the session and of every party's share.
func TestChainCodeTakesEveryShare(t *testing.T) {
	n := func(v uint64) group.Scalar { return secp.NewScalar().SetUint64(v) }
	codes := map[string][32]byte{}
	for name, change := range map[string]func(*Session){
		"nothing":   func(*Session) {},
		"session":   func(s *Session) { s.sid[31]++ },
		"own share": func(s *Session) { s.own.chain[31]++ },
		"peer's":    func(s *Session) { s.opened[2].chain[31]++ },
		"swapped":   func(s *Session) { s.own.chain, s.opened[2].chain = s.opened[2].chain, s.own.chain },
	} {
		s := openings([2]group.Scalar{n(3), n(4)}, [2]group.Scalar{n(5), n(6)})
		s.own.chain, s.opened[2].chain = [32]byte{1}, [32]byte{2}
		change(s)
		if err := s.combine(); err != nil {
			t.Fatal(err)
		}
		codes[name] = *s.chainCode
	}
	distinct(t, "chain code", codes)
}
