package lifecycle_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

func (k key) repair(lost mpc.ID, helpers ...mpc.ID) *mpctest.RepairPlan {
	return &mpctest.RepairPlan{Certificate: k.cert, Shares: k.shares, Lost: lost, Helpers: helpers}
}

// startRepair runs rounds 0 … r honestly.
func startRepair(t testing.TB, plan *mpctest.RepairPlan, r int) *mpctest.Repair {
	t.Helper()
	p, err := mpctest.NewRepair("repair", plan)
	if err != nil {
		t.Fatal(err)
	}
	for k := range r + 1 {
		if err := p.Round(k); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// The share is the one that was lost; it is dormant; after a refresh it is as good
// as any.
func TestRepairBringsTheShareBack(t *testing.T) {
	for _, suite := range mpc.Suites() {
		for _, c := range []struct {
			parties   []mpc.ID
			threshold int
			lost      mpc.ID
			helpers   []mpc.ID
		}{
			{ids(1, 2, 3), 2, 1, ids(2, 3)},
			{ids(1, 2, 3), 2, 3, ids(1, 2)},
			{ids(1, 2, 3, 4), 2, 2, ids(1, 3, 4)}, // more than t
			{ids(3, 500, 4000, 40000, 65535), 3, 4000, ids(3, 500, 65535)},
		} {
			if race && c.threshold != 2 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d of %v by %v", suite, c.lost, c.parties, c.helpers), func(t *testing.T) {
				old := newKey(t, suite, "repair", c.parties, c.threshold)
				p := startRepair(t, old.repair(c.lost, c.helpers...), 3)
				got, err := p.Finish()
				if err != nil {
					t.Fatal(err)
				}
				was := old.shares[c.lost]
				if got.Share().Equal(was.Share()) != 1 || got.ChainCode() != was.ChainCode() || got.CertificateHash != was.CertificateHash || got.Epoch != was.Epoch || got.KeyID != was.KeyID {
					t.Error("the repaired share is another than the lost one")
				}
				if got.Active() || !got.Dormant() || !got.Certified() {
					t.Error("a repaired share may sign")
				}
				plan := old.refresh()
				plan.Shares = mix(old, key{shares: map[mpc.ID]*dkg.KeyShare{c.lost: got}}, slices.DeleteFunc(slices.Clone(c.parties), func(id mpc.ID) bool { return id == c.lost }))
				run(t, "after repair", plan).check(t, old)
			})
		}
	}
}

func convictRepair(t *testing.T, err error, cert *dkg.Certificate, id mpc.ID) {
	t.Helper()
	mpctest.WantAbort(t, err, mpc.Attributed, id)
	evidence := dkg.Evidence(err)
	if len(evidence) != 1 {
		t.Fatalf("%d pieces of evidence in %v, want 1", len(evidence), err)
	}
	verify := mpctest.Verify("session")
	if got, err := lifecycle.VerifyRepairEvidence(evidence[0], cert, verify); err != nil || got != id {
		t.Errorf("evidence convicts %d, %v, want %d", got, err, id)
	}
	for at := 0; at < len(evidence[0]); at += stride {
		if got, err := lifecycle.VerifyRepairEvidence(mpctest.Flip(evidence[0], at), cert, verify); err == nil {
			t.Errorf("evidence with byte %d changed convicts %d", at, got)
		}
	}
	for _, bad := range [][]byte{nil, evidence[0][:40], append(slices.Clone(evidence[0]), 0)} {
		if _, err := lifecycle.VerifyRepairEvidence(bad, cert, verify); err == nil {
			t.Errorf("%d bytes convict somebody", len(bad))
		}
	}
	if _, err := lifecycle.VerifyRepairEvidence(evidence[0], nil, verify); err == nil {
		t.Error("evidence without a certificate convicts somebody")
	}
	if _, err := lifecycle.VerifyRepairEvidence(evidence[0], cert, nil); err == nil {
		t.Error("evidence that nobody verifies convicts somebody")
	}
}

func TestEveryLieInARepairIsEvidence(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		k := newKey(t, suite, "repair", mpctest.IDs(4), 3)
		other := newKey(t, suite, "another key", mpctest.IDs(4), 3)
		plan := k.repair(2, 1, 3, 4)

		t.Run(string(suite)+"/parts of another share", func(t *testing.T) {
			p := startRepair(t, plan, 0)
			p.Sessions[3].ReplaceShare(other.shares[3])
			if err := p.Round(1); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids(1, 2, 4) {
				_, _, err := p.Step(2, id)
				convictRepair(t, err, k.cert, 3)
			}
		})
		t.Run(string(suite)+"/another part", func(t *testing.T) {
			p := startRepair(t, plan, 1)
			p.Sessions[3].ReplacePart(4)
			if err := p.Round(2); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Step(3, 1); err != nil {
				t.Fatal(err)
			}
			_, _, err := p.Step(3, 4)
			convictRepair(t, err, k.cert, 3)
		})
		t.Run(string(suite)+"/another sum", func(t *testing.T) {
			p := startRepair(t, plan, 2)
			p.Sessions[3].ReplacePart(3) // its own, which it adds to those it got
			if err := p.Round(3); err != nil {
				t.Fatal(err)
			}
			_, err := p.Finish()
			convictRepair(t, err, k.cert, 3)
		})
		t.Run(string(suite)+"/another chain code", func(t *testing.T) {
			p := startRepair(t, plan, 2)
			p.Sessions[3].ReplaceShare(other.shares[3]) // read for its chain code only
			if err := p.Round(3); err != nil {
				t.Fatal(err)
			}
			_, err := p.Finish()
			convictRepair(t, err, k.cert, 3)
		})
	}
}

// layoutRepair is every field of what helper 3 sends.
func layoutRepair(k key, helpers int) [4][]region {
	point := k.cert.PublicKey().Curve().PointSize()
	add := func(to []region, more ...region) []region { return append(slices.Clone(to), more...) }
	echo := add(headerRegions, region{"echo", 32, mpc.Benign})
	sig := []region{{"length of the signature", 4, mpc.Attributed}, {"signature", 64, mpc.Attributed}}
	return [4][]region{
		add(headerRegions, region{"context", 32, mpc.Benign}, region{"job", 32, mpc.Benign}, region{"nonce", 32, mpc.Benign}),
		add(add(echo, region{"count of parts", 4, mpc.Attributed}, region{"parts", helpers * point, mpc.Attributed}), sig...),
		add(add(echo, region{"part", 32, mpc.Attributed}), sig...),
		add(add(headerRegions, region{"sum", 32, mpc.Attributed}, region{"chain code", 32, mpc.Attributed}), sig...),
	}
}

// receiveRepair alters one message of helper 3 and returns the error of who looks:
// helper 1, in the last round the party that lost its share.
func receiveRepair(t testing.TB, plan *mpctest.RepairPlan, round int, change func([]byte) []byte) error {
	t.Helper()
	p, err := mpctest.NewRepair("repair", plan)
	if err != nil {
		t.Fatal(err)
	}
	me := mpc.ID(1)
	if round == 3 {
		me = plan.Lost
	}
	for r := range 4 {
		next, private := make(map[mpc.ID][]byte), make(map[mpc.ID]map[mpc.ID][]byte)
		for _, id := range p.Participants {
			b, m, err := p.Step(r, id)
			if err != nil && id == me {
				return err
			}
			next[id], private[id] = b, m
		}
		switch {
		case r < 2:
			p.Broadcast[r] = next
			if r == round {
				next[3] = change(next[3])
			}
		default:
			p.Private[r-2] = private
			if r == round {
				private[3][me] = change(private[3][me])
			}
		}
	}
	_, err = p.Finish()
	return err
}

func TestEveryFieldOfARepair(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		if race && suite.ZeroShares() {
			continue
		}
		k := newKey(t, suite, "repair", mpctest.IDs(3), 2)
		plan := k.repair(2, 1, 3)
		whole := startRepair(t, plan, 3)
		for r, regions := range layoutRepair(k, 2) {
			at := 0
			for _, f := range regions {
				for _, i := range places(at, f.size) {
					err := receiveRepair(t, plan, r, func(b []byte) []byte { return mpctest.Flip(b, i) })
					var culprits []mpc.ID
					if f.class == mpc.Attributed {
						culprits = ids(3)
					}
					t.Run(fmt.Sprintf("%s/P%d/%s/%d", suite, r, f.name, i), func(t *testing.T) {
						mpctest.WantAbort(t, err, f.class, culprits...)
						mpctest.WantStep(t, err, []string{"repair round 1", "repair round 2", "repair round 3", "repair finish"}[r+late(f.name)])
						if dkg.Evidence(err) != nil {
							t.Error("a change on the way made evidence")
						}
					})
				}
				at += f.size
			}
			var message []byte
			switch {
			case r < 2:
				message = whole.Broadcast[r][3]
			case r == 2:
				message = whole.Private[0][3][1]
			default:
				message = whole.Private[1][3][2]
			}
			if at != len(message) {
				t.Errorf("P%d has %d bytes, the cases cover %d: a field has no case", r, len(message), at)
			}
			for n := 0; n < at; n += 31 * stride {
				for _, cut := range []int{n, at - 1 - n} {
					if err := receiveRepair(t, plan, r, func(b []byte) []byte { return b[:cut] }); mpc.AsAbort(err) == nil {
						t.Errorf("P%d of %d bytes: %v", r, cut, err)
					}
				}
			}
			err := receiveRepair(t, plan, r, func(b []byte) []byte { return append(slices.Clone(b), 0) })
			mpctest.WantAbort(t, err, mpc.Attributed, 3)
		}
	}
}

func TestRepairOfAnotherEpochIsBenign(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "repair", mpctest.IDs(3), 2)
	next := run(t, "repair", k.refresh())
	p, err := mpctest.NewRepair("repair", k.repair(2, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	q, err := mpctest.NewRepair("repair", next.repair(2, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	p.Sessions[3] = q.Sessions[3]
	if err := p.Round(0); err != nil {
		t.Fatal(err)
	}
	for _, id := range p.Participants {
		_, _, err := p.Step(1, id)
		mpctest.WantAbort(t, err, mpc.Benign)
	}
	// A message of another run.
	for r := range 4 {
		old := startRepair(t, next.repair(2, 1, 3), 3)
		err := receiveRepair(t, k.repair(2, 1, 3), r, func([]byte) []byte {
			return [][]byte{old.Broadcast[0][3], old.Broadcast[1][3], old.Private[0][3][1], old.Private[1][3][2]}[r]
		})
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

func TestRepairConfigurations(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "repair", mpctest.IDs(4), 3)
	other := newKey(t, mpc.DKLS23Secp256k1, "another key", mpctest.IDs(4), 3)
	before := k.shares[1].Encode()
	for name, c := range map[string]struct {
		edit func(*lifecycle.RepairConfig)
		want string
	}{
		"a helper too few":     {func(c *lifecycle.RepairConfig) { c.Helpers = ids(1, 3) }, "at least the threshold"},
		"a helper twice":       {func(c *lifecycle.RepairConfig) { c.Helpers = ids(1, 3, 3) }, "follows"},
		"helper 0":             {func(c *lifecycle.RepairConfig) { c.Helpers = ids(0, 1, 3) }, "0"},
		"a stranger helps":     {func(c *lifecycle.RepairConfig) { c.Helpers = ids(1, 3, 9) }, "participant 9 is not one"},
		"the lost one helps":   {func(c *lifecycle.RepairConfig) { c.Helpers = ids(1, 2, 3) }, "is among the helpers"},
		"a stranger lost":      {func(c *lifecycle.RepairConfig) { c.Lost = 9 }, "participant 9 is not one"},
		"participant 0 lost":   {func(c *lifecycle.RepairConfig) { c.Lost = 0 }, "participant 0 is not one"},
		"an onlooker":          {func(c *lifecycle.RepairConfig) { c.Self = 9 }, "neither"},
		"no share":             {func(c *lifecycle.RepairConfig) { c.Share = nil }, "no share"},
		"another's share":      {func(c *lifecycle.RepairConfig) { c.Share = k.shares[3] }, "of participant 3"},
		"share of another key": {func(c *lifecycle.RepairConfig) { c.Share = other.shares[1] }, "share is of certificate"},
		"no certificate":       {func(c *lifecycle.RepairConfig) { c.Certificate = nil }, "no certificate"},
		"nobody verifies":      {func(c *lifecycle.RepairConfig) { c.VerifyCertificate = nil }, "verifier"},
		"other identities":     {func(c *lifecycle.RepairConfig) { c.VerifyCertificate = mpctest.Verify("session") }, "does not verify"},
		"no session key":       {func(c *lifecycle.RepairConfig) { c.Sign = nil }, "session key"},
		"nobody checks":        {func(c *lifecycle.RepairConfig) { c.Verify = nil }, "session key"},
		"an identity missing":  {func(c *lifecycle.RepairConfig) { delete(c.Identities, 2) }, "identity"},
	} {
		cfg := k.repair(2, 1, 3, 4).Config(1)
		c.edit(&cfg)
		if _, err := lifecycle.NewRepair(cfg, mpctest.Reader("repair")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	if _, err := lifecycle.NewRepair(k.repair(2, 1, 3, 4).Config(1), nil); err == nil {
		t.Error("no randomness: accepted")
	}
	p := startRepair(t, k.repair(2, 1, 3, 4), 3)
	if _, err := p.Finish(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, k.shares[1].Encode()) {
		t.Error("a helper's share has changed")
	}
	for _, id := range ids(1, 3, 4) {
		for _, d := range p.Sessions[id].Parts() {
			if d.IsZero() != 1 {
				t.Error("a helper keeps its parts")
			}
		}
	}
	if _, err := p.Finish(); err == nil {
		t.Error("a repair ends twice")
	}
	if s := fmt.Sprintf("%v %+v", p.Sessions[1], *p.Sessions[1]); strings.Count(s, "lifecycle.Repair(1 of [1 2 3 4])") != 2 {
		t.Errorf("a repair prints as %s", s)
	}
}

// No helper says anything that another's share follows from: what t−1 helpers see
// of the third is masked by the part that it keeps.
func TestRepairPartsAreMasked(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "repair", mpctest.IDs(4), 3)
	p := startRepair(t, k.repair(2, 1, 3, 4), 1)
	again, err := mpctest.NewRepair("repair, other randomness", k.repair(2, 1, 3, 4))
	if err != nil {
		t.Fatal(err)
	}
	for r := range 2 {
		if err := again.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	a, b := p.Sessions[1].Parts(), again.Sessions[1].Parts()
	for _, id := range ids(1, 3, 4) {
		if a[id].Equal(b[id]) == 1 || a[id].IsZero() == 1 {
			t.Errorf("the part for %d is the same in two runs", id)
		}
		for _, other := range ids(1, 3, 4) {
			if other != id && a[id].Equal(a[other]) == 1 {
				t.Errorf("parts for %d and %d are equal", id, other)
			}
		}
	}
}

func TestHonestHelpersCannotBeFramed(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "repair", mpctest.IDs(3), 2)
	p := startRepair(t, k.repair(2, 1, 3), 3)
	for i, e := range lifecycle.FrameRepair(p.Sessions[2], p.Sessions[1], 3, p.Private[0][3][1], p.Private[1][3][2]) {
		if id, err := lifecycle.VerifyRepairEvidence(e, k.cert, mpctest.Verify("session")); err == nil || !strings.Contains(err.Error(), "is right") {
			t.Errorf("evidence %d: what is right convicts %d, %v", i+1, id, err)
		}
		for at := 0; at < len(e); at += stride {
			if id, err := lifecycle.VerifyRepairEvidence(mpctest.Flip(e, at), k.cert, mpctest.Verify("session")); err == nil {
				t.Errorf("evidence %d with byte %d changed convicts %d", i+1, at, id)
			}
		}
	}
}
