package lifecycle_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// A region of a message and what a change of it must lead to.
type region struct {
	name  string
	size  int
	class mpc.Class
}

var headerRegions = []region{
	{"version", 1, mpc.Attributed},
	{"protocol", 1, mpc.Benign},
	{"round", 1, mpc.Benign},
	{"session", 32, mpc.Benign},
	{"epoch", 8, mpc.Benign},
	{"from", 2, mpc.Attributed},
	{"to", 2, mpc.Benign},
}

// layout is every field of every message of dealer 3 to me.
func layout(plan *mpctest.LifePlan, me mpc.ID) [4][]region {
	c := plan.Certificate
	point := c.PublicKey().Curve().PointSize()
	n, threshold := len(plan.Parties), plan.Threshold
	seeds := c.Suite.ZeroShares()
	stays := plan.Kind == lifecycle.Refresh // dealer 3 is a new party too
	if stays {
		n, threshold = len(c.Parties), c.Threshold-1
	}
	add := func(to []region, more ...region) []region { return append(slices.Clone(to), more...) }
	echo := add(headerRegions, region{"echo", 32, mpc.Benign})
	r2 := add(echo,
		region{"count of the vector", 4, mpc.Attributed}, region{"vector", threshold * point, mpc.Attributed},
		region{"salt", 32, mpc.Attributed},
		region{"length of the signature", 4, mpc.Attributed}, region{"signature", 64, mpc.Attributed})
	r3 := add(echo,
		region{"share", 32, mpc.Attributed}, region{"chain code", 32, mpc.Attributed},
		region{"length of the signature", 4, mpc.Attributed}, region{"signature", 64, mpc.Attributed})
	if seeds && stays {
		r2 = add(r2, region{"count of seeds", 4, mpc.Attributed}, region{"seed commitments", 32 * (n - 1), mpc.Benign}) // h₂ differs
		r3 = add(r3, region{"seed", 32, mpc.Attributed}, region{"seed salt", 32, mpc.Attributed})
	}
	return [4][]region{
		add(headerRegions, region{"context", 32, mpc.Benign}, region{"job", 32, mpc.Benign}, region{"nonce", 32, mpc.Benign}),
		add(echo, region{"commitment", 32, mpc.Benign}), // h₁ differs
		r2, r3,
	}
}

// places are where a field is attacked.
func places(at, size int) []int {
	if race {
		return []int{at + size - 1}
	}
	return slices.Compact([]int{at, at + size/2, at + size - 1})
}

// receive runs the session honestly but for the message of round r from a dealer,
// which change alters for me alone or, if it is a broadcast, for all but its
// author. It returns me's error.
func receive(t testing.TB, plan *mpctest.LifePlan, me, from mpc.ID, round int, change func([]byte) []byte) error {
	t.Helper()
	l, err := mpctest.NewLife("receive", plan)
	if err != nil {
		t.Fatal(err)
	}
	for r := range 4 {
		for _, id := range l.Participants {
			b, private, err := l.Step(r, id)
			if err != nil && id == me {
				return err
			}
			if r < 3 {
				if l.Broadcast[r] == nil {
					l.Broadcast[r] = make(map[mpc.ID][]byte)
				}
				l.Broadcast[r][id] = b
				continue
			}
			if l.Private == nil {
				l.Private = make(map[mpc.ID]map[mpc.ID][]byte)
			}
			l.Private[id] = private
		}
		switch {
		case r != round:
		case r < 3:
			l.Broadcast[r][from] = change(l.Broadcast[r][from])
		default:
			l.Private[from][me] = change(l.Private[from][me])
		}
	}
	_, err = l.Finish(me)
	return err
}

var steps = []string{"lifecycle round 1", "lifecycle round 2", "lifecycle round 3", "lifecycle finish"}

// late is 1 for what only the echo of the round tells from what was said.
func late(field string) int {
	if field == "nonce" || field == "commitment" || field == "seed commitments" {
		return 1
	}
	return 0
}

// Every byte region of every message, attacked; a field without a case fails.
func TestEveryFieldOfEveryMessage(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		whole := start(t, "receive", plan, 3)
		for r, regions := range layout(plan, me) {
			at := 0
			for _, f := range regions {
				for _, i := range places(at, f.size) {
					err := receive(t, plan, me, 3, r, func(b []byte) []byte { return mpctest.Flip(b, i) })
					var culprits []mpc.ID
					if f.class == mpc.Attributed {
						culprits = ids(3)
					}
					t.Run(fmt.Sprintf("R%d/%s/%d", r, f.name, i), func(t *testing.T) {
						mpctest.WantAbort(t, err, f.class, culprits...)
						mpctest.WantStep(t, err, steps[r+late(f.name)])
						if dkg.Evidence(err) != nil {
							t.Error("a change on the way made evidence")
						}
					})
				}
				at += f.size
			}
			message := whole.Private[3][me]
			if r < 3 {
				message = whole.Broadcast[r][3]
			}
			if at != len(message) {
				t.Errorf("R%d has %d bytes, the cases cover %d: a field has no case", r, len(message), at)
			}
		}
	})
}

func TestPitfall37_LifeNoPanicOnMalformedMessages(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		for r, regions := range layout(plan, me) {
			size := 0
			for _, f := range regions {
				size += f.size
			}
			for n := 0; n < size; n += 29 * stride {
				for _, cut := range []int{n, size - 1 - n} {
					if err := receive(t, plan, me, 3, r, func(b []byte) []byte { return b[:cut] }); mpc.AsAbort(err) == nil {
						t.Errorf("R%d of %d bytes: %v", r, cut, err)
					}
				}
				if err := receive(t, plan, me, 3, r, func(b []byte) []byte { return mpctest.Put(b, n, []byte{0xff}) }); err != nil && mpc.AsAbort(err) == nil {
					t.Errorf("R%d with byte %d changed: %v", r, n, err)
				}
			}
			for _, more := range []int{1, 5 << 20} { // the second is above any message's bound
				err := receive(t, plan, me, 3, r, func(b []byte) []byte { return append(slices.Clone(b), make([]byte, more)...) })
				mpctest.WantAbort(t, err, mpc.Attributed, 3)
			}
		}
	})
}

func TestPitfall12_LifeInvalidPoints(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "points", mpctest.IDs(3), 2)
	for name, bad := range mpctest.BadPoints() {
		for _, plan := range []*mpctest.LifePlan{k.refresh(), k.reshare(ids(2, 3), ids(1, 4, 5), 2)} {
			points := 1
			if plan.Kind == lifecycle.Reshare {
				points = 2
			}
			for i := range points {
				err := receive(t, plan, 1, 3, 2, func(b []byte) []byte { return mpctest.Put(b, mpctest.OffEchoBody+4+33*i, bad) })
				t.Run(fmt.Sprintf("%s/%d/%s", plan.Kind, i, name), func(t *testing.T) { mpctest.WantAbort(t, err, mpc.Attributed, 3) })
			}
		}
	}
}

// An empty list, a missing signature, a missing part: none of it is optional.
func TestPitfall34_LifeProofsAreNotOptional(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "optional", mpctest.IDs(3), 2)
	body := mpctest.OffEchoBody
	refuse := func(name string, plan *mpctest.LifePlan, round int, change func([]byte) []byte) {
		err := receive(t, plan, 1, 3, round, change)
		t.Run(name, func(t *testing.T) { mpctest.WantAbort(t, err, mpc.Attributed, 3) })
	}
	cut := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { return append(slices.Clone(b[:from]), b[to:]...) }
	}
	refresh, reshare := k.refresh(), k.reshare(ids(2, 3), ids(1, 4, 5), 2)
	refuse("no commitment", refresh, 1, func(b []byte) []byte { return b[:body] })
	refuse("nothing opened", refresh, 2, func(b []byte) []byte { return b[:body] })
	refuse("no vector", refresh, 2, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(slices.Clone(b[:body]), 0), b[body+4+33:]...)
	})
	sig := body + 4 + 33 + 32
	refuse("no signature on the vector", refresh, 2, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(slices.Clone(b[:sig]), 0), b[sig+68:]...)
	})
	refuse("no seed commitments", refresh, 2, func(b []byte) []byte {
		return binary.BigEndian.AppendUint32(slices.Clone(b[:sig+68]), 0)
	})
	refuse("one seed commitment", refresh, 2, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(slices.Clone(b[:sig+68]), 1), b[sig+72:sig+104]...)
	})
	refuse("no list of seed commitments", refresh, 2, func(b []byte) []byte { return b[:sig+68] })
	refuse("no share", reshare, 3, func(b []byte) []byte { return b[:body] })
	refuse("no signature on the share", reshare, 3, func(b []byte) []byte {
		return binary.BigEndian.AppendUint32(slices.Clone(b[:body+64]), 0)
	})
	refuse("no chain code", reshare, 3, cut(body+32, body+64))
	refuse("no seed", refresh, 3, func(b []byte) []byte { return b[:body+64+68] })
}

// A part that a participant's role does not have is refused as well.
func TestNobodySaysMoreThanItsRole(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "roles", mpctest.IDs(3), 2)
	plan := k.reshare(ids(2, 3), ids(2, 4, 5), 2)
	l := start(t, "roles", plan, 3)
	newcomer := func(change func([]byte) []byte, r int) error { return receive(t, plan, 5, 4, r, change) }
	mpctest.WantAbort(t, newcomer(func(b []byte) []byte { return append(slices.Clone(b), make([]byte, 32)...) }, 1), mpc.Attributed, 4)
	dealt := l.Private[3][5][mpctest.OffEchoBody:]
	mpctest.WantAbort(t, newcomer(func(b []byte) []byte {
		return append(slices.Clone(b[:mpctest.OffEchoBody]), append(slices.Clone(dealt), b[mpctest.OffEchoBody:]...)...)
	}, 3), mpc.Attributed, 4)
	// To one that leaves, a dealer sends nothing but the echo.
	if len(l.Private[2][3]) != mpctest.OffEchoBody || len(l.Private[4][3]) != mpctest.OffEchoBody {
		t.Errorf("a party that leaves is sent %d and %d bytes", len(l.Private[2][3]), len(l.Private[4][3]))
	}
	out, err := l.Finish(3)
	if err != nil || out.Share != nil {
		t.Errorf("a party that leaves gets %v, %v", out, err)
	}
}

func TestPitfall33_LifeWrongSets(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "sets", mpctest.IDs(4), 3)
	for name, c := range map[string]struct {
		plan *mpctest.LifePlan
		want string
	}{
		"a dealer too few":         {k.reshare(ids(1, 2), ids(1, 2, 5), 2), "exactly the old threshold"},
		"a dealer too many":        {k.reshare(ids(1, 2, 3, 4), ids(1, 2, 5), 2), "exactly the old threshold"},
		"no dealer":                {k.reshare(nil, ids(1, 2, 5), 2), "dealers"},
		"a dealer twice":           {k.reshare(ids(1, 2, 2), ids(1, 2, 5), 2), "follows"},
		"dealers descending":       {k.reshare(ids(3, 2, 1), ids(1, 2, 5), 2), "follows"},
		"dealer 0":                 {k.reshare(ids(0, 1, 2), ids(1, 2, 5), 2), "0"},
		"unknown dealer":           {k.reshare(ids(1, 2, 9), ids(1, 2, 5), 2), "not one of the old parties"},
		"no new party":             {k.reshare(ids(1, 2, 3), nil, 2), "new parties"},
		"new party 0":              {k.reshare(ids(1, 2, 3), ids(0, 1, 2), 2), "0"},
		"a new party twice":        {k.reshare(ids(1, 2, 3), ids(1, 5, 5), 2), "follows"},
		"seventeen new parties":    {k.reshare(ids(1, 2, 3), mpctest.IDs(17), 2), "17"},
		"threshold 1":              {k.reshare(ids(1, 2, 3), ids(1, 2, 5), 1), "threshold"},
		"threshold above parties":  {k.reshare(ids(1, 2, 3), ids(1, 2, 5), 4), "threshold"},
		"refresh by a quorum":      {&mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: k.cert, Shares: k.shares, Dealers: ids(1, 2, 3), Parties: mpctest.IDs(4), Threshold: 3}, "all old parties"},
		"refresh for others":       {&mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: k.cert, Shares: k.shares, Dealers: mpctest.IDs(4), Parties: ids(1, 2, 3, 5), Threshold: 3}, "all old parties"},
		"refresh to a threshold":   {&mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: k.cert, Shares: k.shares, Dealers: mpctest.IDs(4), Parties: mpctest.IDs(4), Threshold: 2}, "all old parties"},
		"neither":                  {&mpctest.LifePlan{Kind: 3, Certificate: k.cert, Shares: k.shares, Dealers: ids(1, 2, 3), Parties: ids(1, 2, 5), Threshold: 2}, "kind"},
		"neither dealer nor party": {k.reshare(ids(2, 3, 4), ids(5, 6), 2), "neither"},
	} {
		cfg := c.plan.Config(1)
		if _, err := lifecycle.New(cfg, mpctest.Reader("sets")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	for _, from := range []mpc.ID{0, 1, 4, 9} {
		plan := k.refresh()
		err := receive(t, plan, 1, 3, 0, func(b []byte) []byte { return mpctest.From(b, from, 0) })
		mpctest.WantAbort(t, err, mpc.Attributed, 3)
	}
}

// What a configuration lacks is refused before anything is said.
func TestConfigurations(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "configurations", mpctest.IDs(3), 2)
	other := newKey(t, mpc.DKLS23Secp256k1, "another key", mpctest.IDs(3), 2)
	next := run(t, "configurations", k.refresh())
	d, err := mpctest.NewDKG("configurations", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	for r := range 4 {
		if err := d.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	pending, err := d.Finish(1)
	if err != nil {
		t.Fatal(err)
	}
	incomplete, err := dkg.DecodeCertificate(pending.Certificate.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(*lifecycle.Config)
		want string
	}{
		"no certificate":         {func(c *lifecycle.Config) { c.Certificate = nil }, "no certificate"},
		"nobody verifies":        {func(c *lifecycle.Config) { c.VerifyCertificate = nil }, "verifier"},
		"unsigned certificate":   {func(c *lifecycle.Config) { c.Certificate, c.Share = incomplete, pending.Share }, "lacks the signature"},
		"pending share":          {func(c *lifecycle.Config) { c.Share = pending.Share }, "certificate"},
		"other identities":       {func(c *lifecycle.Config) { c.VerifyCertificate = mpctest.Verify("session") }, "does not verify"},
		"no share":               {func(c *lifecycle.Config) { c.Share = nil }, "no share"},
		"another's share":        {func(c *lifecycle.Config) { c.Share = k.shares[2] }, "of participant 2"},
		"share of another key":   {func(c *lifecycle.Config) { c.Share = other.shares[1] }, "is of certificate"},
		"share of another epoch": {func(c *lifecycle.Config) { c.Share = next.shares[1] }, "share of epoch 2"},
		"no session key":         {func(c *lifecycle.Config) { c.Sign = nil }, "session key"},
		"nobody checks":          {func(c *lifecycle.Config) { c.Verify = nil }, "session key"},
		"an identity missing":    {func(c *lifecycle.Config) { delete(c.Identities, 3) }, "identity"},
		"an identity more":       {func(c *lifecycle.Config) { c.Identities[9] = []byte{1} }, "identity"},
		"a stranger":             {func(c *lifecycle.Config) { c.Self = 9 }, "neither"},
	} {
		cfg := k.refresh().Config(1)
		c.edit(&cfg)
		if _, err := lifecycle.New(cfg, mpctest.Reader("configurations")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	if _, err := lifecycle.New(k.refresh().Config(1), nil); err == nil {
		t.Error("no randomness: accepted")
	}
	// A pending share with its own certificate, which lacks signatures only on disk.
	cfg := k.refresh().Config(1)
	cfg.Certificate, cfg.Share = pending.Certificate, pending.Share
	if err := mpctest.Activate(pending.Certificate, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := lifecycle.New(cfg, mpctest.Reader("x")); err == nil || !strings.Contains(err.Error(), "pending") {
		t.Errorf("a pending share: %v", err)
	}
}

// Participants that differ in anything, or start from different epochs, part
// without blame, before any cryptography.
func TestPitfall04_LifeMixOfEpochsIsBenign(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "epochs", mpctest.IDs(3), 2)
	next := run(t, "epochs", k.refresh())
	again := run(t, "epochs once more", k.refresh()) // another epoch 2
	reshare := func(k key) *mpctest.LifePlan { return k.reshare(ids(1, 2), ids(2, 3, 4), 2) }
	for name, c := range map[string]struct{ mine, theirs *mpctest.LifePlan }{
		"the next epoch":                   {k.refresh(), next.refresh()},
		"the epoch before":                 {next.refresh(), k.refresh()},
		"another of the same":              {next.refresh(), again.refresh()},
		"the next epoch, reshare":          {reshare(k), reshare(next)},
		"refresh and reshare":              {k.refresh(), k.reshare(ids(1, 2), ids(1, 2, 3), 2)},
		"other dealers":                    {k.reshare(ids(1, 2), mpctest.IDs(3), 2), k.reshare(ids(2, 3), mpctest.IDs(3), 2)},
		"another threshold":                {k.reshare(ids(1, 2), mpctest.IDs(3), 2), k.reshare(ids(1, 2), mpctest.IDs(3), 3)},
		"a new party that should leave":    {k.reshare(ids(1, 2), ids(1, 2, 3), 2), k.reshare(ids(1, 2), ids(1, 3), 2)},
		"a newcomer from before the epoch": {reshare(next), reshare(k)},
	} {
		l, err := mpctest.NewLife("epochs", c.mine)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mpctest.NewLife("epochs", c.theirs)
		if err != nil {
			t.Fatal(err)
		}
		l.Sessions[2] = m.Sessions[2]
		if err := l.Round(0); err != nil {
			t.Fatal(err)
		}
		for _, id := range l.Participants {
			_, _, err := l.Step(1, id)
			t.Run(name, func(t *testing.T) {
				mpctest.WantAbort(t, err, mpc.Benign)
				mpctest.WantStep(t, err, "lifecycle round 1")
			})
		}
	}
}

// Participants who know different keys of each other part as well.
func TestOtherIdentitiesAreBenign(t *testing.T) {
	plan := newKey(t, mpc.DKLS23Secp256k1, "identities", mpctest.IDs(3), 2).reshare(ids(1, 2), ids(2, 3, 4), 2)
	l, err := mpctest.NewLife("identities", plan)
	if err != nil {
		t.Fatal(err)
	}
	cfg := plan.Config(2)
	cfg.Identities[1] = []byte("the leaver's, whom no certificate names")
	if l.Sessions[2], err = lifecycle.New(cfg, mpctest.Reader("identities")); err != nil {
		t.Fatal(err)
	}
	if err := l.Round(0); err != nil {
		t.Fatal(err)
	}
	for _, id := range l.Participants {
		_, _, err := l.Step(1, id)
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

func TestPitfall04_LifeReplayIsBenign(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		old := start(t, "an older run", plan, 3)
		for r := 1; r < 4; r++ {
			err := receive(t, plan, me, 3, r, func([]byte) []byte {
				if r < 3 {
					return old.Broadcast[r][3]
				}
				return old.Private[3][me]
			})
			mpctest.WantAbort(t, err, mpc.Benign)
		}
		// What is for somebody else.
		l := start(t, "receive", plan, 3)
		err := receive(t, plan, me, 3, 3, func([]byte) []byte { return l.Private[3][2] })
		mpctest.WantAbort(t, err, mpc.Benign)
	})
}

func TestPitfall03_LifeSplitViewBlamesNobody(t *testing.T) {
	eachPlan(t, func(t *testing.T, plan *mpctest.LifePlan, me mpc.ID) {
		for r := range 3 {
			// Dealer 3 shows me another broadcast of round r than the others.
			l := start(t, "split", plan, r)
			body := mpctest.OffEchoBody
			if r == 0 {
				body += 32 // the nonce
			}
			split := mpctest.Flip(l.Broadcast[r][3], body)
			if r == 2 { // a change that decodes: another salt
				split = mpctest.Flip(l.Broadcast[r][3], len(l.Broadcast[r][3])-1)
				if plan.Kind == lifecycle.Reshare || !plan.Certificate.Suite.ZeroShares() {
					continue // the only free bytes are seed commitments
				}
			}
			next, private := make(map[mpc.ID][]byte), make(map[mpc.ID]map[mpc.ID][]byte)
			right := l.Broadcast[r][3]
			for _, id := range l.Participants {
				l.Broadcast[r][3] = right
				if id == me {
					l.Broadcast[r][3] = split
				}
				b, p, err := l.Step(r+1, id)
				if err != nil {
					t.Fatal(err)
				}
				next[id], private[id] = b, p
			}
			for _, id := range l.Participants {
				var err error
				if r == 2 {
					l.Private = private
					_, err = l.Finish(id)
				} else {
					l.Broadcast[r+1] = next
					_, _, err = l.Step(r+2, id)
				}
				if id != 3 { // the liar itself sees differences as well
					mpctest.WantAbort(t, err, mpc.Benign)
				}
			}
		}
	})
}

// A newcomer that never answers: the round says whom it waits for, and all that
// was is what it was.
func TestSilentNewcomer(t *testing.T) {
	k := newKey(t, mpc.DKLS23Secp256k1, "silent", mpctest.IDs(3), 2)
	before := k.shares[2].Encode()
	for r := range 4 {
		l := start(t, "silent", k.reshare(ids(1, 2), ids(2, 4, 5), 2), r)
		var err error
		if r < 3 {
			delete(l.Broadcast[r], 4)
			_, _, err = l.Step(r+1, 2)
		} else {
			delete(l.Private, 4)
			_, err = l.Finish(2)
		}
		mpctest.WantAbort(t, err, mpc.Benign)
		mpctest.WantStep(t, err, steps[r])
		if !strings.Contains(fmt.Sprint(err), "participant 4") {
			t.Errorf("%v does not name participant 4", err)
		}
		if !l.Sessions[2].Wiped() {
			t.Error("secrets are left after an abort")
		}
	}
	// The caller's timeout.
	l := start(t, "silent", k.reshare(ids(1, 2), ids(2, 4, 5), 2), 2)
	l.Sessions[2].Destroy()
	if _, _, err := l.Step(3, 2); err == nil || !l.Sessions[2].Wiped() {
		t.Errorf("a destroyed session goes on: %v", err)
	}
	if !bytes.Equal(before, k.shares[2].Encode()) || !k.shares[2].Active() {
		t.Error("the old share was changed")
	}
}

// The rounds are called once, in order; after an abort all say the same.
func TestRoundsInOrder(t *testing.T) {
	k := newKey(t, mpc.FROSTEd25519, "order", mpctest.IDs(2), 2)
	l := start(t, "order", k.refresh(), 1)
	if _, err := l.Sessions[1].Round3(nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 3 after round 1: %v", err)
	}
	if _, err := l.Sessions[1].Round0(); err == nil {
		t.Error("round 0 twice")
	}
	_, first := l.Sessions[1].Round2(nil)
	_, second := l.Sessions[1].Round2(mpctest.Except(l.Broadcast[1], 1))
	if first == nil || first != second {
		t.Errorf("after %v: %v", first, second)
	}
	if s := fmt.Sprintf("%v %+v %s", l.Sessions[1], *l.Sessions[1], l.Sessions[1]); strings.Count(s, "lifecycle.Session(1 of [1 2])") != 3 {
		t.Errorf("a session prints as %s", s)
	}
}
