package frost_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/schnorr"
)

// commitments draws a nonce of each signer and returns the list B.
func commitments(t testing.TB, keys map[mpc.ID]*dkg.KeyShare, signers []mpc.ID, label string) (map[mpc.ID]*frost.Nonce, []*frost.Commitment) {
	t.Helper()
	nonces := make(map[mpc.ID]*frost.Nonce)
	var list []*frost.Commitment
	for _, id := range signers {
		n, err := frost.NewNonce(keys[id], nil, mpctest.Reader("%s/%d", label, id))
		if err != nil {
			t.Fatal(err)
		}
		nonces[id] = n
		list = append(list, n.Commitment())
	}
	return nonces, list
}

func pack(t testing.TB, key *dkg.KeyShare, job frost.Job, list []*frost.Commitment) *frost.Package {
	t.Helper()
	x, err := frost.NewPackage(frost.PublicOf(key), job, list)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A nonce answers once. It is consumed before the share exists, so that a kill
// between the two loses a signature and no key; nothing of it can be stored, so
// that no snapshot brings it back.
func TestPitfall42_NonceReuseAfterCrashOrRollback(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	two := []mpc.ID{1, 2}
	job := frost.Job{Message: []byte("m")}

	t.Run("signs once", func(t *testing.T) {
		nonces, list := commitments(t, k, two, "42")
		x := pack(t, k[1], job, list)
		kept := *nonces[1] // a copy of all bytes that the API gives
		if _, err := x.Sign(k[1], nonces[1]); err != nil {
			t.Fatal(err)
		}
		for name, n := range map[string]*frost.Nonce{"the nonce": nonces[1], "the copy": &kept} {
			if _, err := x.Sign(k[1], n); !errors.Is(err, frost.ErrConsumed) {
				t.Errorf("%s, again: %v, want ErrConsumed", name, err)
			}
			other := pack(t, k[1], frost.Job{Message: []byte("n")}, list)
			if _, err := other.Sign(k[1], n); !errors.Is(err, frost.ErrConsumed) {
				t.Errorf("%s, for another message: %v, want ErrConsumed", name, err)
			}
		}
	})
	t.Run("consumed by a refusal, too", func(t *testing.T) {
		nonces, list := commitments(t, k, two, "42")
		x := pack(t, k[1], job, list)
		if _, err := x.Sign(k[2], nonces[1]); err == nil {
			t.Error("another's nonce: accepted")
		}
		if _, err := x.Sign(k[1], nonces[1]); !errors.Is(err, frost.ErrConsumed) {
			t.Errorf("%v, want ErrConsumed", err)
		}
	})
	t.Run("killed between consume and send", func(t *testing.T) {
		p, err := frost.NewNoncePool(k[1], nil, 2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		made, err := p.Refill(2, 0, mpctest.Reader("42"))
		if err != nil || len(made) != 2 {
			t.Fatal(err)
		}
		if _, err := p.Consume(made[0].Bytes(), 0); err != nil {
			t.Fatal(err)
		}
		// Here the process dies, or the send fails: the pool does not have it.
		if _, err := p.Consume(made[0].Bytes(), 0); !errors.Is(err, frost.ErrNoNonce) {
			t.Errorf("%v, want ErrNoNonce", err)
		}
		// A restart has an empty pool, whatever was published.
		q, err := frost.NewNoncePool(k[1], nil, 2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Consume(made[1].Bytes(), 0); !errors.Is(err, frost.ErrNoNonce) {
			t.Errorf("%v, want ErrNoNonce", err)
		}
	})
	t.Run("nothing to restore", func(t *testing.T) {
		// No field of the types is exported, and no encoder gives bytes
		// (TestSecretsAreNotShown): there is no snapshot of a nonce to keep.
		for _, v := range []any{frost.Nonce{}, frost.NoncePool{}, frost.Session{}} {
			for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
				if f.IsExported() {
					t.Errorf("%T has the exported field %s", v, f.Name)
				}
			}
		}
	})
	t.Run("a session takes the pool's nonce for itself", func(t *testing.T) {
		p, err := frost.NewNoncePool(k[1], two, 1, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Refill(1, 0, mpctest.Reader("42")); err != nil {
			t.Fatal(err)
		}
		n, err := p.Take(0)
		if err != nil {
			t.Fatal(err)
		}
		config := frost.Config{Terms: mpctest.FrostTerms(two), Key: k[1], Purpose: k[1].Purpose, Nonces: []*frost.Nonce{n}}
		a, err := frost.New(config, mpctest.Reader("a"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := frost.New(config, mpctest.Reader("b"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Round0(nil); err != nil {
			t.Fatal(err)
		}
		_, err = b.Round0(nil)
		mpctest.WantAbort(t, err, mpc.Benign)
		if !errors.Is(err, frost.ErrConsumed) || n.Live() {
			t.Errorf("two sessions with one nonce: %v", err)
		}
		if _, err := frost.New(config, mpctest.Reader("c")); !errors.Is(err, frost.ErrConsumed) {
			t.Errorf("a third session: %v", err)
		}
	})
	t.Run("a session signs once", func(t *testing.T) {
		f := start(t, "42", k, mpctest.FrostTerms(two), nil)
		until(t, f)
		if f.Sessions[1].Nonces() != 0 {
			t.Error("the session keeps a nonce after its share")
		}
	})
	t.Run("bad randomness", func(t *testing.T) {
		// The same random bytes for two keys, or two shares, give other nonces.
		a, err := frost.NewNonce(k[1], nil, zeros{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := frost.NewNonce(k[2], nil, zeros{})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a.Commitment().Bytes(), b.Commitment().Bytes()) {
			t.Error("nonces repeat when only the randomness does")
		}
		if _, err := frost.NewNonce(k[1], nil, strings.NewReader("short")); err == nil {
			t.Error("a reader that ends: accepted")
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Nonces are bound to key, epoch, participant and set, and expire by the owner's
// clock, which may jump.
func TestNoncePool(t *testing.T) {
	k := keys(t, mpc.FROSTSecp256k1, 3, 2)
	p, err := frost.NewNoncePool(k[1], []mpc.ID{1, 2}, 3, 100)
	if err != nil {
		t.Fatal(err)
	}
	r := mpctest.Reader("pool")
	if made, err := p.Refill(10, 1000, r); err != nil || len(made) != 3 || p.Len(1000) != 3 {
		t.Errorf("refill made %d, holds %d: %v", len(made), p.Len(1000), err)
	}
	if made, err := p.Refill(1, 1000, r); err != nil || len(made) != 0 {
		t.Errorf("refill of a full pool made %d: %v", len(made), err)
	}
	n, err := p.Take(1050)
	if err != nil {
		t.Fatal(err)
	}
	if made, _ := p.Refill(5, 1050, r); len(made) != 1 {
		t.Errorf("refill made %d, want 1", len(made))
	}
	if got := p.Len(1099); got != 3 {
		t.Errorf("%d nonces at 1099, want 3", got)
	}
	if got := p.Len(1100); got != 1 {
		t.Errorf("%d nonces at 1100, want 1", got)
	}
	if got := p.Len(0); got != 1 {
		t.Errorf("%d nonces when the clock goes back, want 1", got)
	}
	if made, _ := p.Refill(1, 0, r); len(made) != 1 || p.Len(1199) != 1 {
		t.Errorf("%d nonces at 1199: one that was made while the clock had gone back, at 1100, lives until 1200", p.Len(1199))
	}
	if _, err := p.Take(9999); !errors.Is(err, frost.ErrNoNonce) {
		t.Errorf("an empty pool: %v", err)
	}
	if !n.Live() {
		t.Error("a nonce that was taken died with the pool's")
	}
	// Made for {1, 2}.
	if _, err := frost.New(frost.Config{Terms: mpctest.FrostTerms([]mpc.ID{1, 3}), Key: k[1], Purpose: k[1].Purpose, Nonces: []*frost.Nonce{n}}, r); err == nil || !strings.Contains(err.Error(), "nonce is for the signers") {
		t.Errorf("another set: %v", err)
	}
	// Another epoch of the same key.
	secret := scalar(t, mpc.FROSTSecp256k1, "epochs")
	first := deal(t, mpc.FROSTSecp256k1, secret, 1)
	old, err := frost.NewNonce(first[1], nil, r)
	if err != nil {
		t.Fatal(err)
	}
	if old.Bound(first[1], nil) != nil || old.BoundAt(first[1], 2) == nil {
		t.Error("a nonce is not bound to its epoch")
	}
	if _, err := p.Refill(2, 9999, r); err != nil {
		t.Fatal(err)
	}
	p.Destroy()
	if p.Len(9999) != 0 {
		t.Error("nonces are left in a destroyed pool")
	}
	for name, f := range map[string]func() error{
		"no key":       func() error { _, err := frost.NewNoncePool(nil, nil, 1, 1); return err },
		"no room":      func() error { _, err := frost.NewNoncePool(k[1], nil, 0, 1); return err },
		"much room":    func() error { _, err := frost.NewNoncePool(k[1], nil, frost.MaxPool+1, 1); return err },
		"no life":      func() error { _, err := frost.NewNoncePool(k[1], nil, 1, 0); return err },
		"without self": func() error { _, err := frost.NewNoncePool(k[1], []mpc.ID{2, 3}, 1, 1); return err },
		"a set of one": func() error { _, err := frost.NewNoncePool(k[1], []mpc.ID{1}, 1, 1); return err },
		"no rand":      func() error { _, err := frost.NewNonce(k[1], nil, nil); return err },
		"nonce of nil": func() error { _, err := frost.NewNonce(nil, nil, r); return err },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A coordinator that puts another commitment of mine into B gets no share.
func TestPitfall43_OwnCommitmentCompared(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		for name, alter := range map[string]func(own, spare *frost.Commitment) []byte{
			"another nonce's": func(_, spare *frost.Commitment) []byte { return spare.Bytes() },
			"D of another": func(own, spare *frost.Commitment) []byte {
				b := own.Bytes()
				return append(slices.Clone(spare.Bytes()[:len(b)/2]), b[len(b)/2:]...)
			},
			"E of another": func(own, spare *frost.Commitment) []byte {
				b := own.Bytes()
				return append(b[:len(b)/2:len(b)/2], spare.Bytes()[len(b)/2:]...)
			},
			"D and E swapped": func(own, _ *frost.Commitment) []byte {
				b := own.Bytes()
				return append(slices.Clone(b[len(b)/2:]), b[:len(b)/2]...)
			},
		} {
			nonces, list := commitments(t, k, []mpc.ID{1, 2}, "43")
			_, spare := commitments(t, k, []mpc.ID{1, 2}, "43 spare")
			c, err := frost.DecodeCommitment(suite, 1, alter(list[0], spare[0]))
			if err != nil {
				t.Fatal(err)
			}
			x := pack(t, k[1], frost.Job{Message: []byte("m")}, []*frost.Commitment{c, list[1]})
			if _, err := x.Sign(k[1], nonces[1]); err == nil || !strings.Contains(err.Error(), "another commitment of participant 1") {
				t.Errorf("%s, %s: %v", suite, name, err)
			}
		}
	}
}

func TestPitfall44_ListOfCommitments(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		_, l := commitments(t, k, mpctest.IDs(3), "44")
		as := func(id mpc.ID) *frost.Commitment {
			c, err := frost.DecodeCommitment(suite, id, l[0].Bytes())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		other := mpc.FROSTEd25519
		if suite == other {
			other = mpc.FROSTSecp256k1
		}
		_, foreign := commitments(t, keys(t, other, 3, 2), []mpc.ID{2}, "44")
		for name, c := range map[string]struct {
			want string
			list []*frost.Commitment
		}{
			"none":          {"0 participants", nil},
			"too few":       {"1 signers", l[:1]},
			"duplicate":     {"ascending", []*frost.Commitment{l[0], l[0]}},
			"unsorted":      {"ascending", []*frost.Commitment{l[1], l[0]}},
			"zero":          {"participant id 0", []*frost.Commitment{as(0), l[1]}},
			"non-member":    {"signer 4", []*frost.Commitment{l[0], as(4)}},
			"too many":      {"4 signers", []*frost.Commitment{l[0], l[1], l[2], as(4)}},
			"far too many":  {"participants", slices.Repeat([]*frost.Commitment{l[0]}, 17)},
			"missing":       {"is missing", []*frost.Commitment{l[0], nil}},
			"another curve": {"is on", []*frost.Commitment{l[0], foreign[0]}},
		} {
			if _, err := frost.NewPackage(frost.PublicOf(k[1]), frost.Job{}, c.list); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v, want an error about %q", suite, name, err, c.want)
			}
		}
		nonces, list := commitments(t, k, []mpc.ID{2, 3}, "44")
		x := pack(t, k[1], frost.Job{}, list)
		one, err := frost.NewNonce(k[1], nil, mpctest.Reader("44"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Sign(k[1], one); err == nil || !strings.Contains(err.Error(), "not one of the signers") {
			t.Errorf("%s: a list without oneself: %v", suite, err)
		}
		if !nonces[2].Live() {
			t.Error("a list consumes a nonce")
		}
	}
}

// torsion are the eight points of small order of edwards25519, in their canonical
// encoding.
var torsion = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// badPoints are encodings that no commitment may have, by what is wrong.
func badPoints(t testing.TB, suite mpc.Suite, good []byte) map[string][]byte {
	if suite != mpc.FROSTEd25519 {
		return mpctest.BadPoints()
	}
	out := map[string][]byte{}
	for i, s := range torsion {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("small order %d", i)] = b
		if i > 0 { // the first is the identity
			out[fmt.Sprintf("mixed order %d", i)] = mixed(t, good, b)
		}
	}
	for name, s := range map[string]string{
		"y = p":                "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y = p + 1":            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"identity, sign set":   "0100000000000000000000000000000000000000000000000000000000000080",
		"all ones":             strings.Repeat("ff", 32),
		"off the curve":        "0200000000000000000000000000000000000000000000000000000000000000",
		"y = −1, sign of zero": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

// Every point of a commitment, in a list and on the wire: small and mixed order,
// the identity, off the curve. The signer is blamed and gets no share.
func TestPitfall45_PointsOutsideTheGroup(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		_, list := commitments(t, k, []mpc.ID{2}, "45")
		good := list[0].Bytes()
		size := len(good) / 2
		bad := badPoints(t, suite, good[:size])
		if len(bad) < 8 {
			t.Fatal("too few bad points")
		}
		for name, b := range bad {
			for at, c := range map[string][]byte{
				"D": append(slices.Clone(b), good[size:]...),
				"E": append(slices.Clone(good[:size]), b...),
			} {
				if _, err := frost.DecodeCommitment(suite, 2, c); err == nil {
					t.Errorf("%s: %s is %s: accepted", suite, at, name)
				}
				f := start(t, "45", k, mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
				if err := f.Round(0); err != nil {
					t.Fatal(err)
				}
				f.Broadcast[0][2] = mpctest.Put(f.Broadcast[0][2], offCommitments, c)
				_, err := f.Sessions[1].Share(f.Inbox(0, 1))
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
				mpctest.WantStep(t, err, "frost commitments")
			}
		}
	}
}

// A point, a scalar and a list have one encoding each.
func TestPitfall46_NonCanonicalEncodings(t *testing.T) {
	order := map[mpc.Suite]string{
		mpc.FROSTEd25519:     "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
		mpc.FROSTSecp256k1:   "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
		mpc.FROSTSecp256k1TR: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
	}
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		q, err := hex.DecodeString(order[suite])
		if err != nil {
			t.Fatal(err)
		}
		for name, z := range map[string][]byte{"z = ℓ": q, "z = 2²⁵⁶ − 1": bytes.Repeat([]byte{0xff}, 32)} {
			f := start(t, "46", k, mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
			until(t, f)
			f.Broadcast[1][2] = mpctest.Put(f.Broadcast[1][2], len(f.Broadcast[1][2])-32, z)
			_, err := f.Sessions[1].Combine(f.Inbox(1, 1))
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
			_, err = f.Combine()
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
			if err == nil || !strings.Contains(err.Error(), "signature share of job 0") {
				t.Errorf("%s, %s: %v", suite, name, err)
			}
		}
		// z + ℓ is the same share mod ℓ: it must not verify in another encoding.
		_, list := commitments(t, k, []mpc.ID{1}, "46")
		for _, b := range [][]byte{nil, list[0].Bytes()[1:], append(list[0].Bytes(), 0)} {
			if _, err := frost.DecodeCommitment(suite, 1, b); err == nil {
				t.Errorf("%s: a commitment of %d bytes: accepted", suite, len(b))
			}
		}
	}
	if _, err := frost.DecodeCommitment(mpc.DKLS23Secp256k1, 1, nil); err == nil {
		t.Error("a commitment of DKLs23: accepted")
	}
}

// All eight parities of P (the key with its tweak), Q (with the Taproot tweak) and
// R: every share verifies on its own, a wrong one does not, and the signature is
// good.
func TestPitfall47_ParityInShareVerification(t *testing.T) {
	k := keys(t, mpc.FROSTSecp256k1TR, 3, 2)
	pub := frost.PublicOf(k[1])
	one := group.Secp256k1().NewScalar().SetUint64(1)
	seen := map[[3]bool]bool{}
	for i := 0; len(seen) < 8 && i < 400; i++ {
		job := frost.Job{Message: fmt.Appendf(nil, "message %d", i), Tweak: scalar(t, mpc.FROSTSecp256k1TR, fmt.Sprint(i)), Taproot: frost.KeyPath()}
		nonces, list := commitments(t, k, []mpc.ID{1, 3}, fmt.Sprintf("47/%d", i))
		x := pack(t, k[1], job, list)
		p, q, r := x.Parities(pub, job)
		if seen[[3]bool{p, q, r}] {
			continue
		}
		seen[[3]bool{p, q, r}] = true
		shares := make(map[mpc.ID]group.Scalar)
		for _, id := range []mpc.ID{1, 3} {
			z, err := x.Sign(k[id], nonces[id])
			if err != nil {
				t.Fatal(err)
			}
			if err := x.VerifyShare(id, z); err != nil {
				t.Errorf("parities %v %v %v: share of %d: %v", p, q, r, id, err)
			}
			minus := group.Secp256k1().NewScalar().Negate(z)
			if err := x.VerifyShare(id, minus); !errors.Is(err, frost.ErrShare) {
				t.Errorf("parities %v %v %v: −z of %d: %v", p, q, r, id, err)
			}
			shares[id] = z
		}
		sig, err := x.Aggregate(shares)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, pub, job, sig)
		shares[3].Add(shares[3], one)
		_, err = x.Aggregate(shares)
		mpctest.WantAbort(t, err, mpc.Attributed, 3)
	}
	if len(seen) != 8 {
		t.Errorf("only %d of 8 parities were met", len(seen))
	}
}

// walletVectors is what is used of bip341-wallet-test-vectors.json.
type walletVectors struct {
	ScriptPubKey []struct {
		Given struct {
			InternalPubkey string
		}
		Intermediary struct {
			MerkleRoot    *string
			Tweak         string
			TweakedPubkey string
		}
	}
	KeyPathSpending []struct {
		InputSpending []struct {
			Given struct {
				InternalPrivkey string
				MerkleRoot      *string
				HashType        int
			}
			Intermediary struct {
				SigHash        string
				TweakedPrivkey string
				InternalPubkey string
			}
			Expected struct{ Witness []string }
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func taprootOf(t testing.TB, root *string) frost.Taproot {
	if root == nil {
		return frost.KeyPath()
	}
	return frost.MerkleRoot([32]byte(unhex(t, *root)))
}

// Every participant applies the tweaks, once, and the aggregator nothing: the
// sums over BIP-341's own keys give its tweaked keys, and signatures under them.
func TestPitfall48_TweakOnceAndByAll(t *testing.T) {
	raw, err := os.ReadFile("testdata/bip341.json")
	if err != nil {
		t.Fatal(err)
	}
	var v walletVectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	suite := mpc.FROSTSecp256k1TR
	keyPath := 0
	for _, c := range v.ScriptPubKey {
		p := group.Secp256k1().NewPoint()
		if err := p.Decode(unhex(t, "02"+c.Given.InternalPubkey)); err != nil {
			t.Fatal(err)
		}
		pub := &frost.Public{
			Suite: suite, Threshold: 2, Parties: mpctest.IDs(2), Purpose: "bip341", PublicKey: p,
			PublicShares: map[mpc.ID]group.Point{1: p, 2: p},
		}
		// One that has the root null in its intermediary commits to nothing.
		key, err := pub.VerificationKey(frost.Job{Taproot: taprootOf(t, c.Intermediary.MerkleRoot)})
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(key); got != c.Intermediary.TweakedPubkey {
			t.Errorf("internal key %s: tweaked key %s, want %s", c.Given.InternalPubkey, got, c.Intermediary.TweakedPubkey)
		}
		// −P has the same x, and gives the same output key.
		pub.PublicKey = group.Secp256k1().NewPoint().Negate(p)
		again, err := pub.VerificationKey(frost.Job{Taproot: taprootOf(t, c.Intermediary.MerkleRoot)})
		if err != nil || !bytes.Equal(key, again) {
			t.Errorf("internal key with odd y: %x, %v, want %x", again, err, key)
		}
	}
	for _, spending := range v.KeyPathSpending {
		for _, c := range spending.InputSpending {
			keyPath++
			secret := group.Secp256k1().NewScalar()
			if err := secret.Decode(unhex(t, c.Given.InternalPrivkey)); err != nil {
				t.Fatal(err)
			}
			k := deal(t, suite, secret, 1)
			job := frost.Job{Message: unhex(t, c.Intermediary.SigHash), Taproot: taprootOf(t, c.Given.MerkleRoot)}
			// Σ λᵢ·x′ᵢ is BIP-341's tweaked private key, up to the sign that makes y even.
			sum := frost.ChildSecret(frost.PublicOf(k[1]), job, map[mpc.ID]group.Scalar{1: k[1].Share(), 3: k[3].Share()})
			want := group.Secp256k1().NewScalar()
			if err := want.Decode(unhex(t, c.Intermediary.TweakedPrivkey)); err != nil {
				t.Fatal(err)
			}
			if sum.Equal(want) != 1 && sum.Equal(group.Secp256k1().NewScalar().Negate(want)) != 1 {
				t.Errorf("the tweaked shares add up to another key than %s", c.Intermediary.TweakedPrivkey)
			}
			terms := mpctest.FrostTerms([]mpc.ID{1, 3})
			terms.Jobs = []frost.Job{job}
			f := start(t, "48", k, terms, nil)
			out, err := f.Run()
			if err != nil {
				t.Fatal(err)
			}
			key, err := f.Public().VerificationKey(job)
			if err != nil {
				t.Fatal(err)
			}
			// The signature that BIP-341 lists verifies under our key, and ours does.
			witness := unhex(t, c.Expected.Witness[0])[:64]
			if err := errors.Join(schnorr.VerifyBIP340(key, job.Message, witness), schnorr.VerifyBIP340(key, job.Message, out[0])); err != nil {
				t.Error(err)
			}
		}
	}
	if keyPath < 5 || len(v.ScriptPubKey) < 5 {
		t.Errorf("%d key paths, %d outputs: the file is not whole", keyPath, len(v.ScriptPubKey))
	}
	// One signer that tweaks twice, or not at all, is found.
	k := keys(t, suite, 3, 2)
	job := frost.Job{Message: []byte("m"), Tweak: scalar(t, suite, "48"), Taproot: frost.KeyPath()}
	for name, wrong := range map[string]frost.Job{
		"no tweak":         {Message: job.Message, Taproot: job.Taproot},
		"no taproot tweak": {Message: job.Message, Tweak: job.Tweak},
		"twice":            {Message: job.Message, Taproot: job.Taproot, Tweak: group.Secp256k1().NewScalar().Add(job.Tweak, job.Tweak)},
	} {
		nonces, list := commitments(t, k, []mpc.ID{1, 2}, "48")
		x := pack(t, k[1], job, list)
		z1, err := x.Sign(k[1], nonces[1])
		if err != nil {
			t.Fatal(err)
		}
		share := k[2].Share()
		z2, err := x.SignAs(2, share, wrong, nonces[2])
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.Aggregate(map[mpc.ID]group.Scalar{1: z1, 2: z2})
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		if t.Failed() {
			t.Errorf("%s", name)
		}
	}
}

// A share of another session, epoch, key or attempt does not count, and its
// author is not blamed for the network's crossing it.
func TestPitfall49_ShareOfAnotherSession(t *testing.T) {
	for _, suite := range suites {
		secret := scalar(t, suite, "49")
		k := deal(t, suite, secret, 1)
		two := mpctest.FrostTerms([]mpc.ID{1, 2})
		f := start(t, "49", k, two, nil)
		until(t, f)
		terms := two
		terms.AttemptID = [16]byte{9}
		for _, other := range map[string]*mpctest.Frost{
			"nonces":  start(t, "49 again", k, two, nil),
			"attempt": start(t, "49 attempt", k, terms, nil),
			"key":     start(t, "49", keys(t, suite, 3, 2), two, nil),
		} {
			until(t, other)
			shares := map[mpc.ID][]byte{1: f.Broadcast[1][1], 2: other.Broadcast[1][2]}
			_, err := frost.Combine(f.Public(), two, f.Broadcast[0], shares)
			mpctest.WantAbort(t, err, mpc.Benign)
			// The share alone, in a message of this session: that is a lie.
			last := len(f.Broadcast[1][2])
			shares[2] = mpctest.Put(f.Broadcast[1][2], last-32, other.Broadcast[1][2][last-32:])
			_, err = frost.Combine(f.Public(), two, f.Broadcast[0], shares)
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
		// Another epoch.
		late := slices.Clone(f.Broadcast[1][2])
		late[mpctest.OffEpoch+7]++
		_, err := frost.Combine(f.Public(), two, f.Broadcast[0], map[mpc.ID][]byte{1: f.Broadcast[1][1], 2: late})
		mpctest.WantAbort(t, err, mpc.Benign)
		_, err = f.Sessions[1].Combine(map[mpc.ID][]byte{2: late})
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

// Whoever alters B on the way gets nobody blamed: the sid and the echo differ
// before a share is judged.
func TestPitfall50_TamperedListBlamesNobody(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		three := []mpc.ID{1, 2, 3}
		_, spare := commitments(t, k, three, "50 spare")
		for name, change := range map[string]func([]byte) []byte{
			"commitment": func(b []byte) []byte { return mpctest.Put(b, offCommitments, spare[1].Bytes()) },
			"attachment": func(b []byte) []byte { return mpctest.Flip(b, len(b)-1) },
		} {
			t.Run(fmt.Sprintf("%s/%s", suite, name), func(t *testing.T) {
				f := start(t, "50", k, mpctest.FrostTerms(three), nil)
				if err := f.Round(0); err != nil {
					t.Fatal(err)
				}
				// Signer 3 is shown another R0 of signer 2: its share is wrong, and it is honest.
				f.Seen[0][3] = map[mpc.ID][]byte{2: change(f.Broadcast[0][2])}
				if err := f.Round(1); err != nil {
					t.Fatal(err)
				}
				for _, id := range three {
					_, err := f.Sessions[id].Combine(f.Inbox(1, id))
					mpctest.WantAbort(t, err, mpc.Benign)
				}
				_, err := f.Combine()
				mpctest.WantAbort(t, err, mpc.Benign)
				// A combiner that was shown the altered one blames nobody either.
				r0 := map[mpc.ID][]byte{1: f.Broadcast[0][1], 2: change(f.Broadcast[0][2]), 3: f.Broadcast[0][3]}
				_, err = frost.Combine(f.Public(), f.Configs[1].Terms, r0, f.Broadcast[1])
				mpctest.WantAbort(t, err, mpc.Benign)
				_, err = frost.Combine(f.Public(), f.Configs[1].Terms, nil, f.Broadcast[1])
				mpctest.WantAbort(t, err, mpc.Benign)
			})
		}
		// The combiner alone is lied to about R0, all shares agree: still nobody.
		f := start(t, "50", k, mpctest.FrostTerms(three), nil)
		until(t, f)
		r0 := map[mpc.ID][]byte{1: f.Broadcast[0][1], 2: mpctest.Put(f.Broadcast[0][2], offCommitments, spare[1].Bytes()), 3: f.Broadcast[0][3]}
		_, err := frost.Combine(f.Public(), f.Configs[1].Terms, r0, f.Broadcast[1])
		mpctest.WantAbort(t, err, mpc.Benign)
		// The coordinator frames signer 2 by a package of its own: the share was made for
		// another one, which its name shows.
		_, list := commitments(t, k, []mpc.ID{1, 2}, "50")
		honest := pack(t, k[1], frost.Job{Message: []byte("m")}, list)
		framed := pack(t, k[1], frost.Job{Message: []byte("m")}, []*frost.Commitment{spare[0], list[1]})
		if honest.ID() == framed.ID() {
			t.Error("two lists have one name")
		}
	}
}

// A key serves the scheme and the purpose it was made for.
func TestPitfall51_KeyOfAnotherScheme(t *testing.T) {
	ecdsa := keys(t, mpc.DKLS23Secp256k1, 2, 2)[1]
	config := frost.Config{Terms: mpctest.FrostTerms([]mpc.ID{1, 2}), Key: ecdsa, Purpose: ecdsa.Purpose}
	r := mpctest.Reader("51")
	errs := map[string]error{}
	_, errs["session"] = frost.New(config, r)
	_, errs["nonce"] = frost.NewNonce(ecdsa, nil, r)
	_, errs["pool"] = frost.NewNoncePool(ecdsa, nil, 1, 1)
	_, errs["package"] = frost.NewPackage(frost.PublicOf(ecdsa), frost.Job{}, nil)
	_, errs["combine"] = frost.Combine(frost.PublicOf(ecdsa), config.Terms, nil, nil)
	_, errs["key"] = frost.PublicOf(ecdsa).VerificationKey(frost.Job{})
	_, errs["share"] = frost.DecodeShare(mpc.DKLS23Secp256k1, nil)
	errs["verify"] = frost.PublicOf(ecdsa).Verify(frost.Job{}, nil)
	for name, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "a key serves one scheme only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The two Schnorr suites of secp256k1 do not serve each other, either.
	plain, tr := keys(t, mpc.FROSTSecp256k1, 2, 2), keys(t, mpc.FROSTSecp256k1TR, 2, 2)
	nonces, list := commitments(t, tr, []mpc.ID{1, 2}, "51")
	x := pack(t, tr[1], frost.Job{Message: []byte("m")}, list)
	if _, err := x.Sign(plain[1], nonces[1]); err == nil || !strings.Contains(err.Error(), "of suite") {
		t.Errorf("a key of the plain suite: %v", err)
	}
	other, err := frost.NewNonce(plain[1], nil, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Sign(tr[1], other); err == nil || !strings.Contains(err.Error(), "nonce is of key") {
		t.Errorf("a nonce of the plain suite: %v", err)
	}
	// One secret in two suites: contexts and challenges differ, so do the shares.
	secret := scalar(t, mpc.FROSTSecp256k1, "51")
	a, b := deal(t, mpc.FROSTSecp256k1, secret, 1), deal(t, mpc.FROSTSecp256k1TR, secret, 1)
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	ha, err := terms.Hash(frost.PublicOf(a[1]))
	if err != nil {
		t.Fatal(err)
	}
	hb, err := terms.Hash(frost.PublicOf(b[1]))
	if err != nil {
		t.Fatal(err)
	}
	if ha == hb {
		t.Error("the suite does not stand in the context")
	}
	config = frost.Config{Terms: terms, Key: tr[1], Purpose: "ecdsa 2"}
	if _, err := frost.New(config, r); err == nil || !strings.Contains(err.Error(), "but the key is for") {
		t.Errorf("another purpose: %v", err)
	}
}

// Every signature of a batch has nonces of its own.
func TestPitfall26_BatchNoncesAreIndependent(t *testing.T) {
	for _, suite := range suites {
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		for len(terms.Jobs) < 8 {
			terms.Jobs = append(terms.Jobs, terms.Jobs[0]) // even for one message
		}
		f := start(t, "26", keys(t, suite, 3, 2), terms, nil)
		until(t, f)
		size := curveOf(t, suite).PointSize()
		seen := map[string]bool{}
		for _, id := range f.Signers {
			b := f.Broadcast[0][id][offCommitments:]
			for k := range 16 {
				seen[string(b[k*size:(k+1)*size])] = true
			}
			share, err := frost.DecodeShare(suite, f.Broadcast[1][id])
			if err != nil {
				t.Fatal(err)
			}
			for k := range share.Z {
				seen[string(share.Z[k])] = true
				if id == 1 {
					seen[string(share.R[k])] = true
				}
			}
		}
		if want := 2*16 + 2*8 + 8; len(seen) != want {
			t.Errorf("%s: %d different points and shares, want %d", suite, len(seen), want)
		}
	}
}

var _ io.Reader = zeros{}

// A package is signed with the share that it is about.
func TestPackageWantsItsKey(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	pending, _, err := pendingKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want string
		key  *dkg.KeyShare
		edit func(*frost.Public)
	}{
		"none":    {"no key share", nil, nil},
		"pending": {"pending", pending, nil},
		"key":     {"is of key", k[1], func(p *frost.Public) { p.KeyID[0]++ }},
		"epoch":   {"is of epoch", k[1], func(p *frost.Public) { p.Epoch++ }},
		"public":  {"another public key", k[1], func(p *frost.Public) { p.PublicKey = p.PublicShares[1] }},
	} {
		nonces, list := commitments(t, k, []mpc.ID{1, 2}, "key")
		pub := *frost.PublicOf(k[1])
		if c.edit != nil {
			c.edit(&pub)
		}
		x, err := frost.NewPackage(&pub, frost.Job{}, list)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Sign(c.key, nonces[1]); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
		if nonces[1].Live() {
			t.Errorf("%s: the nonce is left", name)
		}
	}
}

// Who sent points outside the group is named by who combines, even where all
// shares are wrong because of it: points are looked at before shares.
func TestCombineBlamesBadPoints(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	f := start(t, "bad points", k, terms, nil)
	until(t, f)
	r0, shares := map[mpc.ID][]byte{}, map[mpc.ID][]byte{}
	for _, id := range terms.Signers {
		r0[id] = f.Broadcast[0][id]
	}
	r0[2] = mpctest.Put(r0[2], offCommitments, make([]byte, 32))
	sid := frost.SIDOf(frost.PublicOf(k[1]), terms, r0) // signers that would not look
	for _, id := range terms.Signers {
		b := mpctest.Put(f.Broadcast[1][id], mpctest.OffSession, sid[:])
		shares[id] = mpctest.Flip(b, len(b)-20-int(id))
	}
	_, err := frost.Combine(f.Public(), terms, r0, shares)
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
	if err == nil || !strings.Contains(err.Error(), "hiding nonce commitment") {
		t.Errorf("%v, want a word about the commitment", err)
	}
}

// One share too many, or too few, for the jobs of the session.
func TestShareOfAnotherLength(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)
	for _, jobs := range []int{1, 3} {
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		terms.Jobs = append(terms.Jobs, terms.Jobs[0])
		f := start(t, "length", k, terms, nil)
		until(t, f)
		x, err := frost.DecodeShare(mpc.FROSTEd25519, f.Broadcast[1][2])
		if err != nil {
			t.Fatal(err)
		}
		x.R, x.Z = append(x.R, x.R[0])[:jobs], append(x.Z, x.Z[0])[:jobs]
		_, err = f.Sessions[1].Combine(map[mpc.ID][]byte{2: x.Encode()})
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
	}
}

// Commitments to one job too many.
func TestCommitmentsOfAnotherLength(t *testing.T) {
	for _, suite := range suites {
		f := start(t, "long", keys(t, suite, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
		if err := f.Round(0); err != nil {
			t.Fatal(err)
		}
		b := f.Broadcast[0][2]
		n := 2 * curveOf(t, suite).PointSize()
		long := slices.Concat(b[:offCommitments-1], []byte{byte(2 * n)}, b[offCommitments:offCommitments+n], b[offCommitments:])
		_, err := f.Sessions[1].Share(map[mpc.ID][]byte{2: long})
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
	}
}
