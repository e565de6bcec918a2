package lifecycle

import (
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/sharing"
)

func yes(mpc.ID, [32]byte, []byte) bool { return true }

// Evidence about somebody who did not deal, or who was not dealt to, convicts
// nobody, even where its signature verifies; nor does a share beside a vector that
// could not have been dealt by.
func TestEvidenceNamesDealersAndParties(t *testing.T) {
	c := certificate(t, 2, 3)
	j := &job{Reshare, c, []mpc.ID{1, 2}, 2, []mpc.ID{2, 4}}
	right, err := j.constant(2)
	if err != nil {
		t.Fatal(err)
	}
	evidence := func(from, to mpc.ID, vector sharing.Commitment) []byte {
		a := &accusation{job: j, from: from}
		return a.ofShare(&statement{from: from, to: to, share: scalar(1)}, &opening{vector: vector}, []byte{1})
	}
	vector := sharing.Commitment{right, point(5)}
	if id, err := VerifyEvidence(evidence(2, 4, vector), c, yes); err != nil || id != 2 {
		t.Fatalf("a wrong share of 2 to 4: %d, %v", id, err)
	}
	for name, e := range map[string][]byte{
		"no dealer":        evidence(3, 4, vector),
		"dealer 0":         evidence(0, 4, vector),
		"no new party":     evidence(2, 1, vector),
		"party 0":          evidence(2, 0, vector),
		"an empty vector":  evidence(2, 4, nil),
		"a short vector":   evidence(2, 4, vector[:1]),
		"a longer vector":  evidence(2, 4, append(vector[:2:2], point(6))),
		"no dealer at all": (&accusation{job: &job{Reshare, c, nil, 2, []mpc.ID{2, 4}}, from: 2}).ofVector(&opening{vector: vector, sig: []byte{1}}),
		"another vector's": (&accusation{job: j, from: 3}).ofVector(&opening{vector: vector, sig: []byte{1}}),
	} {
		if id, err := VerifyEvidence(e, c, yes); err == nil {
			t.Errorf("%s: convicts %d", name, id)
		}
	}
}

func TestRepairEvidenceNamesHelpers(t *testing.T) {
	c := certificate(t, 2, 3)
	evidence := func(lost, from, to mpc.ID, helpers ...mpc.ID) []byte {
		a := &repairAccusation{job: &repairJob{c, lost, helpers}, from: from}
		return a.ofPart(to, &committed{parts: []group.Point{point(1), point(2)}}, &part{scalar(9), []byte{1}})
	}
	if id, err := VerifyRepairEvidence(evidence(3, 1, 2, 1, 2), c, yes); err != nil || id != 1 {
		t.Fatalf("a wrong part of 1 to 2: %d, %v", id, err)
	}
	for name, e := range map[string][]byte{
		"no helper":         evidence(3, 3, 2, 1, 2),
		"helper 0":          evidence(3, 0, 2, 1, 2),
		"to no helper":      evidence(3, 1, 3, 1, 2),
		"too few helpers":   evidence(3, 1, 1, 1),
		"a stranger helps":  evidence(3, 1, 9, 1, 9),
		"the lost one also": evidence(2, 1, 2, 1, 2),
		"parts for others":  evidence(3, 1, 2, 1, 2, 3),
	} {
		if id, err := VerifyRepairEvidence(e, c, yes); err == nil {
			t.Errorf("%s: convicts %d", name, id)
		}
	}
}

// One part that is the whole weighted share adds up, and is still refused.
func TestRepairPartsHaveTheirNumber(t *testing.T) {
	j := &repairJob{certificate(t, 2, 3), 3, []mpc.ID{1, 2}}
	l, err := sharing.LagrangeAt(j.curve(), j.helpers, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	whole := j.curve().NewPoint().ScalarMult(l, j.cert.PublicShares[1])
	half := j.curve().NewPoint().Sub(whole, point(7))
	if err := j.checkParts(1, []group.Point{half, point(7)}); err != nil {
		t.Fatal(err)
	}
	for _, parts := range [][]group.Point{{whole}, {half, point(3), point(4)}, nil} {
		if j.checkParts(1, parts) == nil {
			t.Errorf("%d parts are accepted", len(parts))
		}
	}
}

// A message in which a signature has no bytes is not in form.
func TestShortestSignature(t *testing.T) {
	for n := range 3 {
		r := wire.NewReader(append([]byte{1, 0, 0, 0, byte(n)}, make([]byte, n)...), 1)
		readSignature(r, "signature")
		if err := r.Done(); (err == nil) != (n > 0) {
			t.Errorf("a signature of %d bytes: %v", n, err)
		}
	}
	r := wire.NewReader(append([]byte{1, 0, 0, 1, 1}, make([]byte, 257)...), 1)
	if readSignature(r, "signature"); r.Done() == nil {
		t.Error("a signature of 257 bytes is read")
	}
}
