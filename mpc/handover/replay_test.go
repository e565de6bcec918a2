package handover

import (
	"crypto/sha256"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

// A PREPARED is a signature on a certificate and names no plan: everybody can show
// that of an earlier attempt, or of an earlier epoch, as one of this plan. That
// blames nobody, keeps nobody's vote out and frightens nobody off.

// elsewhere is what a party signed of another attempt, put into this plan.
func elsewhere(p *Plan, id mpc.ID) *Bundle {
	other := *p
	other.Attempt[0]++
	digest := sha256.Sum256(testBody(&other))
	return &Bundle{Plan: *p, Votes: []Vote{{Kind: Prepared, From: id, Certificate: digest, Signature: testSign(Prepared, id, digest)}}}
}

func TestPreparedOfAnotherAttemptFramesNobody(t *testing.T) {
	m, p := waiting(t)
	m.Deliver(2, votes(p, Prepared, 2))
	if out := m.Deliver(9, elsewhere(p, 2)); len(out.Blame) != 0 || out.Save {
		t.Errorf("a PREPARED of another attempt: %+v", out)
	}
	if out := m.Deliver(9, elsewhere(p, 3)); len(out.Blame) != 0 || out.Save {
		t.Errorf("a PREPARED of another attempt: %+v", out)
	}
	if out := m.Deliver(3, votes(p, Prepared, 3)); len(out.Blame) != 0 || !mine(m, p, Ready) {
		t.Errorf("the true PREPARED after it: %+v", out)
	}
}

// It comes before this party knows the certificate.
func TestPreparedOfAnotherAttemptTakesNoPlace(t *testing.T) {
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{1, 2, 3}, NewThreshold: 2}
	m, err := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, true); err != nil {
		t.Fatal(err)
	}
	m.Deliver(9, elsewhere(p, 1))
	m.Deliver(9, elsewhere(p, 2))
	out, err := m.Sealed(p.ID(), testBody(p), testProof(p.ID(), 1))
	if err != nil {
		t.Fatalf("its own signature on another certificate keeps this party from voting: %v", err)
	}
	sign(t, m, out)
	if out := m.Deliver(2, votes(p, Prepared, 2, 3)); len(out.Blame) != 0 || !mine(m, p, Ready) {
		t.Errorf("READY is not given: %+v", out)
	}
}

// One who leaves takes the certificate that all n′ are READY for, not the one of
// another attempt that all n′ once signed.
func TestLeaverTakesTheCertificateOfThePlan(t *testing.T) {
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{2, 3}, NewThreshold: 2}
	v := testVerifier()
	// As with real certificates: that of another attempt at the epoch fits the plan.
	other := *p
	other.Attempt[0]++
	exact := v.Certificate
	v.Certificate = func(q *Plan, body []byte) ([32]byte, error) {
		if string(body) == string(testBody(&other)) {
			return sha256.Sum256(body), nil
		}
		return exact(q, body)
	}
	m, err := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, true); err != nil {
		t.Fatal(err)
	}
	replay := &Bundle{Plan: *p, Body: testBody(&other)}
	for _, id := range p.New {
		replay.Votes = append(replay.Votes, elsewhere(p, id).Votes...)
	}
	m.Deliver(9, replay)
	all := votes(p, Prepared, 2, 3)
	all.Votes = append(all.Votes, votes(p, Ready, 2, 3).Votes...)
	if m.Deliver(2, all); !mine(m, p, Closed) {
		t.Error("a leaver that was shown another attempt's certificate does not close")
	}
}

// A party that deals for one plan does not close for another of the same epoch,
// though all of that one are READY.
func TestBoundPartyDoesNotClose(t *testing.T) {
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{2, 3}, NewThreshold: 2}
	q := *p
	q.Dealers, q.Attempt = []mpc.ID{2, 3}, [16]byte{1}
	m, err := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, true); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(&q, false); err != nil {
		t.Fatal(err)
	}
	all := votes(&q, Prepared, 2, 3)
	all.Votes = append(all.Votes, votes(&q, Ready, 2, 3).Votes...)
	if m.Deliver(2, all); mine(m, &q, Closed) || !m.MaySign(1) {
		t.Error("closed for a plan while it deals for another")
	}
	// An ABORT of the one that it deals for sets it free.
	m.Deliver(2, votes(p, Abort, 3))
	if m.Deliver(2, votes(&q, Closed, 2)); !mine(m, &q, Closed) {
		t.Error("did not close though it is bound to nothing")
	}
}

// Votes of those who have none count for nothing.
func TestStrangersHaveNoVote(t *testing.T) {
	m, p := waiting(t)
	sign(t, m, m.Deliver(2, votes(p, Prepared, 2, 3)))
	sign(t, m, m.Deliver(2, votes(p, Ready, 2, 3)))
	for _, k := range []Kind{Prepared, Ready, Closed, Abort, Active} {
		if out := m.Deliver(9, votes(p, k, 9)); out.Save || len(out.Blame)+len(out.Sign) != 0 {
			t.Errorf("%s of a stranger: %+v", k, out)
		}
	}
	// CLOSED is for the old parties, the others for the new.
	q := *p
	q.Old, q.New, q.Dealers = []mpc.ID{1, 2, 3}, []mpc.ID{3, 4}, []mpc.ID{1, 2}
	m, err := New(1, testKey, &Epoch{1, [32]byte{1}, []mpc.ID{1, 2, 3}, 2}, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(&q, true); err != nil {
		t.Fatal(err)
	}
	if out := m.Deliver(2, votes(&q, Abort, 2)); out.Save {
		t.Errorf("ABORT of a party that leaves: %+v", out)
	}
	if out := m.Deliver(4, votes(&q, Closed, 4)); out.Save {
		t.Errorf("CLOSED of a newcomer: %+v", out)
	}
}

// Who has no part in a plan does not join it, also if it never held a share; and
// what it gave up before its share was sealed it does not seal.
func TestNoPartAndNoSecondThought(t *testing.T) {
	p := &Plan{Key: testKey, From: 1, Previous: [32]byte{1}, Old: []mpc.ID{1, 2, 3}, OldThreshold: 2, Dealers: []mpc.ID{1, 2}, New: []mpc.ID{3, 4}, NewThreshold: 2}
	m, err := New(5, testKey, nil, testVerifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, false); err == nil {
		t.Error("a stranger joined")
	}
	if m, err = New(4, testKey, nil, testVerifier()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Join(p, false); err != nil {
		t.Fatal(err)
	}
	out, err := m.GiveUp(p.ID())
	if err != nil {
		t.Fatal(err)
	}
	sign(t, m, out)
	if _, err := m.Sealed(p.ID(), testBody(p), testProof(p.ID(), 4)); err == nil {
		t.Error("PREPARED after ABORT")
	}
}
