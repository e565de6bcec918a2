package frost_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/schnorr"
)

// field is a part of a message, and what a changed byte of it must lead to.
type field struct {
	name  string
	len   int
	class mpc.Class // at signer 1
	any   bool      // the class depends on the value: benign, or attributed to the author
}

func header(rest ...field) []field {
	return append([]field{
		{"version", 1, mpc.Attributed, false},
		{"protocol", 1, mpc.Benign, false},
		{"round", 1, mpc.Benign, false},
		{"session", 32, mpc.Benign, false},
		{"epoch", 8, mpc.Benign, false},
		{"from", 2, mpc.Attributed, false},
		{"to", 2, mpc.Benign, false},
	}, rest...)
}

// The messages of signer 2 to signer 1, in a session of two jobs with one
// exchange, field by field, to the last byte.
func layouts(size int) [][]field {
	// A byte of a point changed gives no point (attributed) or another one: then B
	// differs between the two, and the echoes do (benign).
	points := field{"commitment", size, mpc.Benign, true}
	return [][]field{
		header(field{"job", 32, mpc.Benign, false}, field{"length", 4, mpc.Attributed, false},
			points, points, points, points,
			field{"length of the attachment", 4, mpc.Attributed, false}, field{"attachment", 17, mpc.Benign, false}),
		header(field{"echo", 32, mpc.Benign, false},
			field{"length of the attachment", 4, mpc.Attributed, false}, field{"attachment", 17, mpc.Benign, false}),
		header(field{"echo", 32, mpc.Benign, false}, field{"length", 4, mpc.Attributed, false},
			field{"R", size, mpc.Attributed, false}, field{"z", 32, mpc.Attributed, false},
			field{"R", size, mpc.Attributed, false}, field{"z", 32, mpc.Attributed, false}),
	}
}

// Every field of every message, every byte of it changed: signer 1 ends with an
// abort of the class that the field asks for, blames nobody but the author, and
// nothing is released. A message that has a byte without a field fails.
func TestEveryFieldOfEveryMessage(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		terms.Jobs = append(terms.Jobs, frost.Job{Message: []byte("second")})
		terms.Exchanges = 1
		for round, fields := range layouts(curveOf(t, suite).PointSize()) {
			at := 0
			for i, l := range fields {
				offsets := []int{at, at + l.len/2, at + l.len - 1}
				at += l.len
				for _, off := range slices.Compact(offsets) {
					f := start(t, "fields", k, terms, nil)
					err := mutated(t, f, round, func(b []byte) []byte { return mpctest.Flip(b, off) })
					what := fmt.Sprintf("%s, round %d, field %d (%s), byte %d", suite, round, i, l.name, off)
					check(t, what, l, err)
				}
			}
			f := start(t, "fields", k, terms, nil)
			until(t, f)
			if n := len(f.Broadcast[round][2]); n != at {
				t.Errorf("%s: round %d has %d bytes, the fields are %d", suite, round, n, at)
			}
			for cut := 0; cut < at; cut += 23 {
				f := start(t, "fields", k, terms, nil)
				err := mutated(t, f, round, func(b []byte) []byte { return b[:cut] })
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
			}
			f = start(t, "fields", k, terms, nil)
			err := mutated(t, f, round, func(b []byte) []byte { return append(slices.Clone(b), 0) })
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
	}
}

func check(t *testing.T, what string, l field, err error) {
	t.Helper()
	a := mpc.AsAbort(err)
	if a == nil {
		t.Errorf("%s: %v, want an abort", what, err)
		return
	}
	benign := a.Class == mpc.Benign && len(a.Culprits) == 0
	attributed := a.Class == mpc.Attributed && slices.Equal(a.Culprits, []mpc.ID{2})
	if (!benign && !attributed) || (!l.any && a.Class != l.class) {
		t.Errorf("%s: %v, want %s", what, err, l.class)
	}
}

// mutated runs a session in which a message from 2 to 1 is changed on the way,
// and returns the abort of signer 1; all rounds are run, and Combine.
func mutated(t *testing.T, f *mpctest.Frost, round int, change func([]byte) []byte) error {
	t.Helper()
	for r := range f.Broadcast {
		err := f.Round(r)
		if f.Errors[1] != nil {
			if f.Sessions[1].Nonces() != 0 {
				t.Error("nonces are left after an abort")
			}
			return f.Errors[1]
		}
		if err != nil {
			t.Fatalf("signer 2 noticed, and not 1: %v", err)
		}
		if r == round {
			f.Seen[r][1] = map[mpc.ID][]byte{2: change(f.Broadcast[r][2])}
		}
	}
	out, err := f.Sessions[1].Combine(f.Inbox(f.Last(), 1))
	if out != nil {
		t.Error("a signature was released")
	}
	return err
}

// The same for who combines from outside, who has R0 and the shares.
func TestCombineFieldByField(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		f := start(t, "combine", k, terms, nil)
		until(t, f)
		for _, r := range []int{0, 1} {
			for at := 0; at < len(f.Broadcast[r][2]); at += 1 + at/60 { // every byte of the header
				in := []map[mpc.ID][]byte{
					{1: f.Broadcast[0][1], 2: f.Broadcast[0][2]},
					{1: f.Broadcast[1][1], 2: f.Broadcast[1][2]},
				}
				in[r][2] = mpctest.Flip(in[r][2], at)
				out, err := frost.Combine(f.Public(), terms, in[0], in[1])
				if r == 0 && at >= len(in[0][2])-len("attachment 0 of 2") {
					// Whoever combines asks nothing about attachments: the signers did.
					if err != nil {
						t.Errorf("%s, attachment byte %d: %v", suite, at, err)
					}
					continue
				}
				a := mpc.AsAbort(err)
				if out != nil || a == nil || a.Class == mpc.Unattributed || (a.Class == mpc.Attributed && !slices.Equal(a.Culprits, []mpc.ID{2})) {
					t.Errorf("%s, round %d, byte %d: %x, %v", suite, r, at, out, err)
				}
				if r == 0 {
					continue
				}
				// Without the commitments nobody is named for a wrong R or z.
				out, err = frost.Combine(f.Public(), terms, nil, in[1])
				if a := mpc.AsAbort(err); out != nil || a == nil || (a.Class == mpc.Attributed && at > mpctest.OffEchoBody+4) {
					t.Errorf("%s, byte %d, without commitments: %x, %v", suite, at, out, err)
				}
			}
		}
		for name, in := range map[string]map[mpc.ID][]byte{
			"one missing": {1: f.Broadcast[1][1]},
			"a stranger":  {1: f.Broadcast[1][1], 3: f.Broadcast[1][2]},
			"one more":    {1: f.Broadcast[1][1], 2: f.Broadcast[1][2], 3: f.Broadcast[1][2]},
			"nothing":     nil,
		} {
			if _, err := frost.Combine(f.Public(), terms, f.Broadcast[0], in); mpc.AsAbort(err) == nil || mpc.AsAbort(err).Class != mpc.Benign {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := frost.Combine(f.Public(), terms, nil, in); mpc.AsAbort(err) == nil || mpc.AsAbort(err).Class != mpc.Benign {
				t.Errorf("%s, without commitments: %v", name, err)
			}
		}
	}
}

// All liars are named, and nobody else: wrong z, wrong R, in one job of many.
func TestEveryLiarIsNamed(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 5, 3)
		terms := mpctest.FrostTerms([]mpc.ID{1, 2, 4, 5})
		terms.Jobs = append(terms.Jobs, frost.Job{Message: []byte("second")}, frost.Job{Message: []byte("third")})
		f := start(t, "liars", k, terms, nil)
		until(t, f)
		last := f.Last()
		end := len(f.Broadcast[last][1])
		size := curveOf(t, suite).PointSize()
		other := f.Broadcast[last][5][end-32-size : end-32] // a good R, of the same job
		f.Broadcast[last][2] = mpctest.Put(f.Broadcast[last][2], end-32, f.Broadcast[last][1][end-32:])
		wrong := slices.Clone(f.Broadcast[last][4][end-64-size-size-32 : end-64-size-32]) // R of another job
		if bytes.Equal(wrong, other) {
			t.Fatal("R repeats")
		}
		f.Broadcast[last][4] = mpctest.Put(f.Broadcast[last][4], end-32-size, wrong)
		_, err := f.Combine()
		mpctest.WantAbort(t, err, mpc.Attributed, 2, 4)
		_, err = f.Sessions[1].Combine(f.Inbox(last, 1))
		mpctest.WantAbort(t, err, mpc.Attributed, 2, 4)
		mpctest.WantStep(t, err, "frost combine")
	}
}

// Two lies that cancel out make a good signature, and nobody is accused.
func TestLiesThatCancelOut(t *testing.T) {
	k := keys(t, mpc.FROSTSecp256k1, 3, 2)
	nonces, list := commitments(t, k, []mpc.ID{1, 2}, "cancel")
	x := pack(t, k[1], frost.Job{Message: []byte("m")}, list)
	shares := make(map[mpc.ID]group.Scalar)
	for _, id := range []mpc.ID{1, 2} {
		z, err := x.Sign(k[id], nonces[id])
		if err != nil {
			t.Fatal(err)
		}
		shares[id] = z
	}
	one := group.Secp256k1().NewScalar().SetUint64(1)
	shares[1].Add(shares[1], one)
	shares[2].Sub(shares[2], one)
	if _, err := x.Aggregate(shares); err != nil {
		t.Error(err)
	}
	if err := x.VerifyShare(1, shares[1]); !errors.Is(err, frost.ErrShare) {
		t.Errorf("a share + 1: %v", err)
	}
	for name, s := range map[string]map[mpc.ID]group.Scalar{
		"one":       {1: shares[1]},
		"stranger":  {1: shares[1], 3: shares[2]},
		"nil":       {1: shares[1], 2: nil},
		"of ed":     {1: shares[1], 2: group.Ed25519().NewScalar()},
		"and three": {1: shares[1], 2: shares[2], 3: shares[2]},
	} {
		if _, err := x.Aggregate(s); err == nil || mpc.AsAbort(err) != nil {
			t.Errorf("%s: %v, want an error and no abort", name, err)
		}
	}
	if x.VerifyShare(3, shares[1]) == nil || x.VerifyShare(1, nil) == nil || x.VerifyShare(1, group.Ed25519().NewScalar()) == nil {
		t.Error("a share of nobody, nothing, or another curve: accepted")
	}
}

// Messages at random, changed at random: an abort or a good signature, never a
// panic, and no honest signer is blamed.
func TestRandomChanges(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := start(t, "random", k, mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
		err := func() error {
			for r := range f.Broadcast {
				if err := f.Round(r); err != nil {
					return f.Errors[1]
				}
				b := slices.Clone(f.Broadcast[r][2])
				for range rng.IntN(4) {
					b[rng.IntN(len(b))] ^= byte(1 << rng.IntN(8))
				}
				f.Seen[r][1] = map[mpc.ID][]byte{2: b}
			}
			_, err := f.Sessions[1].Combine(f.Inbox(1, 1))
			return err
		}()
		if err == nil {
			continue
		}
		if a := mpc.AsAbort(err); a == nil || slices.Contains(a.Culprits, 1) {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// Who has no commitments combines all the same, and tells a message that is not in
// form from one of another session.
func TestCombineWithoutCommitments(t *testing.T) {
	for _, suite := range suites {
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		f := start(t, "without", keys(t, suite, 3, 2), terms, nil)
		until(t, f)
		out, err := frost.Combine(f.Public(), terms, nil, f.Broadcast[1])
		if err != nil {
			t.Fatal(err)
		}
		judge(t, f.Public(), terms.Jobs[0], out[0])
		short := map[mpc.ID][]byte{1: f.Broadcast[1][1][:50], 2: f.Broadcast[1][2]}
		_, err = frost.Combine(f.Public(), terms, nil, short)
		mpctest.WantAbort(t, err, mpc.Attributed, 1)
		wrong := map[mpc.ID][]byte{1: f.Broadcast[1][1], 2: mpctest.Flip(f.Broadcast[1][2], len(f.Broadcast[1][2])-9)}
		_, err = frost.Combine(f.Public(), terms, nil, wrong)
		mpctest.WantAbort(t, err, mpc.Unattributed)
	}
}

// A share says that it is one.
func TestDecodeShareHeader(t *testing.T) {
	f := start(t, "header", keys(t, mpc.FROSTEd25519, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
	until(t, f)
	good := f.Broadcast[1][1]
	if _, err := frost.DecodeShare(mpc.FROSTEd25519, good); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"protocol":   mpctest.Put(good, mpctest.OffProtocol, []byte{2}),
		"round 0":    mpctest.Put(good, mpctest.OffRound, []byte{0}),
		"round 10":   mpctest.Put(good, mpctest.OffRound, []byte{frost.MaxExchanges + 2}),
		"author":     mpctest.From(good, 0, 0),
		"recipient":  mpctest.From(good, 1, 2),
		"no shares":  append(good[:mpctest.OffEchoBody:mpctest.OffEchoBody], 0, 0, 0, 0),
		"half of it": append(append(good[:mpctest.OffEchoBody:mpctest.OffEchoBody], 0, 0, 0, 32), good[len(good)-32:]...),
	} {
		if _, err := frost.DecodeShare(mpc.FROSTEd25519, b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What is said of a key is checked before it is used.
func TestPublicIsChecked(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	_, list := commitments(t, k, []mpc.ID{1, 2}, "public")
	secp := group.Secp256k1()
	for name, edit := range map[string]func(*frost.Public){
		"no key":        func(p *frost.Public) { p.PublicKey = nil },
		"identity":      func(p *frost.Public) { p.PublicKey = group.Ed25519().NewPoint() },
		"another curve": func(p *frost.Public) { p.PublicKey = secp.Generator() },
		"no share":      func(p *frost.Public) { p.PublicShares = map[mpc.ID]group.Point{1: p.PublicShares[1]} },
		"share of another": func(p *frost.Public) {
			p.PublicShares = map[mpc.ID]group.Point{1: secp.Generator(), 2: secp.Generator(), 3: secp.Generator()}
		},
		"no parties":       func(p *frost.Public) { p.Parties = nil },
		"unsorted parties": func(p *frost.Public) { p.Parties = []mpc.ID{2, 1, 3} },
		"threshold 1":      func(p *frost.Public) { p.Threshold = 1 },
		"threshold 4":      func(p *frost.Public) { p.Threshold = 4 },
		"suite":            func(p *frost.Public) { p.Suite = mpc.FROSTSecp256k1 },
	} {
		pub := *frost.PublicOf(k[1])
		edit(&pub)
		errs := make(map[string]error)
		_, errs["package"] = frost.NewPackage(&pub, frost.Job{}, list)
		_, errs["combine"] = frost.Combine(&pub, mpctest.FrostTerms([]mpc.ID{1, 2}), nil, nil)
		_, errs["verification key"] = pub.VerificationKey(frost.Job{})
		errs["verify"] = pub.Verify(frost.Job{}, make([]byte, 64))
		for what, err := range errs {
			if err == nil || mpc.AsAbort(err) != nil || strings.Contains(err.Error(), "does not verify") {
				t.Errorf("%s, %s: %v, want an error about the key", name, what, err)
			}
		}
	}
	pub := frost.PublicOf(k[1])
	for _, n := range []int{0, 1, 33, 63, 65, 1000} {
		if err := pub.Verify(frost.Job{}, make([]byte, n)); !errors.Is(err, schnorr.ErrInvalid) {
			t.Errorf("a signature of %d bytes: %v", n, err)
		}
	}
	plain := frost.PublicOf(keys(t, mpc.FROSTSecp256k1, 3, 2)[1])
	for _, n := range []int{0, 1, 33, 64, 66} {
		if err := plain.Verify(frost.Job{}, make([]byte, n)); !errors.Is(err, schnorr.ErrInvalid) {
			t.Errorf("a signature of %d bytes: %v", n, err)
		}
	}
	bad := frost.Job{Taproot: frost.KeyPath()}
	if _, err := pub.VerificationKey(bad); err == nil {
		t.Error("a Taproot key of Ed25519")
	}
	if pub.Verify(bad, make([]byte, 64)) == nil {
		t.Error("a Taproot signature of Ed25519")
	}
}

// Destroy wipes what it consumes.
func TestDestroyWipes(t *testing.T) {
	n, err := frost.NewNonce(keys(t, mpc.FROSTEd25519, 3, 2)[1], nil, mpctest.Reader("wipe"))
	if err != nil {
		t.Fatal(err)
	}
	wiped := n.Watch()
	if wiped() {
		t.Fatal("a nonce of zeros")
	}
	n.Destroy()
	n.Destroy()
	if !wiped() || n.Live() {
		t.Error("the nonce is left")
	}
	f := start(t, "wipe", keys(t, mpc.FROSTEd25519, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
	if err := f.Round(0); err != nil {
		t.Fatal(err)
	}
	s1, s2 := f.Sessions[1].Watch(), f.Sessions[2].Watch()
	if _, err := f.Sessions[1].Exchange(f.Inbox(0, 1), nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("an exchange that was not agreed on: %v", err)
	}
	if err := f.Round(1); err != nil {
		t.Fatal(err)
	}
	if !s1() || !s2() {
		t.Error("the nonces outlive the share")
	}
}

// Errors on the way that no peer causes, and those that whoever combines meets.
func TestErrorsAreNotLost(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	f := start(t, "errors", k, terms, nil)
	until(t, f)
	cut := map[mpc.ID][]byte{1: f.Broadcast[0][1], 2: f.Broadcast[0][2][:100]}
	_, err := frost.Combine(f.Public(), terms, cut, f.Broadcast[1])
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
	if b, err := frost.Attachment(cut[2], 0); err == nil {
		t.Errorf("the attachment of half a message is %q", b)
	}
	_, list := commitments(t, k, []mpc.ID{1, 2}, "errors")
	if _, err := frost.NewPackage(f.Public(), frost.Job{Taproot: frost.KeyPath()}, list); err == nil {
		t.Error("a package with a Taproot output of Ed25519")
	}
	short := func() *bytes.Reader { return bytes.NewReader(make([]byte, 40)) } // d, and half of e
	if n, err := frost.NewNonce(k[1], nil, short()); err == nil {
		t.Errorf("a nonce %v of 40 bytes", n)
	}
	pool, err := frost.NewNoncePool(k[1], nil, 3, 10)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := pool.Refill(3, 0, bytes.NewReader(make([]byte, 100))); err == nil || len(made) != 1 || pool.Len(0) != 1 {
		t.Errorf("100 bytes make %d nonces, %v, want one and an error", len(made), err)
	}
	s, err := frost.New(frost.Config{Terms: terms, Key: k[1], Purpose: k[1].Purpose}, short())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Round0(nil)
	mpctest.WantAbort(t, err, mpc.Benign)
}
