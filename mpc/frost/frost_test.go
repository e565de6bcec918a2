package frost_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/schnorr"
)

var suites = []mpc.Suite{mpc.FROSTEd25519, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR}

type cluster struct {
	once sync.Once
	keys map[mpc.ID]*dkg.KeyShare
	err  error
}

var clusters sync.Map // label → *cluster

// keysOf is a key made once; tests must not destroy it.
func keysOf(t testing.TB, suite mpc.Suite, label string, parties []mpc.ID, threshold int) map[mpc.ID]*dkg.KeyShare {
	t.Helper()
	name := fmt.Sprintf("%s/%s/%v/%d", label, suite, parties, threshold)
	v, _ := clusters.LoadOrStore(name, new(cluster))
	c := v.(*cluster)
	c.once.Do(func() { c.keys, _, c.err = mpctest.KeysOf(suite, name, parties, threshold) })
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c.keys
}

func keys(t testing.TB, suite mpc.Suite, n, threshold int) map[mpc.ID]*dkg.KeyShare {
	return keysOf(t, suite, "frost", mpctest.IDs(n), threshold)
}

func start(t testing.TB, label string, keys map[mpc.ID]*dkg.KeyShare, terms frost.Terms, edit func(*frost.Config)) *mpctest.Frost {
	t.Helper()
	f, err := mpctest.NewFrost(label, keys, terms, edit)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// until runs the rounds before the shares are combined.
func until(t testing.TB, f *mpctest.Frost) {
	t.Helper()
	for r := range f.Broadcast {
		if err := f.Round(r); err != nil {
			t.Fatal(err)
		}
	}
}

func curveOf(t testing.TB, s mpc.Suite) group.Curve {
	t.Helper()
	c, err := group.OfSuite(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func scalar(t testing.TB, s mpc.Suite, label string) group.Scalar {
	t.Helper()
	k := curveOf(t, s).NewScalar()
	if err := k.SetRandom(mpctest.Reader("%s", label)); err != nil {
		t.Fatal(err)
	}
	return k
}

// judge verifies with the scheme's own verifier, under the key that we say.
func judge(t testing.TB, pub *frost.Public, j frost.Job, sig []byte) {
	t.Helper()
	key, err := pub.VerificationKey(j)
	if err != nil {
		t.Fatal(err)
	}
	switch pub.Suite {
	case mpc.FROSTEd25519:
		if !ed25519.Verify(key, j.Message, sig) {
			t.Error("crypto/ed25519 refuses the signature")
		}
	case mpc.FROSTSecp256k1TR:
		if err := schnorr.VerifyBIP340(key, j.Message, sig); err != nil {
			t.Error(err)
		}
	default:
		if err := pub.Verify(j, sig); err != nil {
			t.Error(err)
		}
	}
}

// Every suite, set of signers, tweak and number of exchanges.
func TestSign(t *testing.T) {
	for _, suite := range suites {
		for _, c := range []struct {
			n, t    int
			signers []mpc.ID
		}{
			{2, 2, []mpc.ID{1, 2}}, {3, 2, []mpc.ID{1, 2}}, {3, 2, []mpc.ID{1, 3}}, {3, 2, []mpc.ID{2, 3}},
			{3, 2, []mpc.ID{1, 2, 3}}, {5, 3, []mpc.ID{1, 3, 5}}, {5, 3, []mpc.ID{1, 2, 4, 5}},
		} {
			for _, exchanges := range []int{0, 2} {
				name := fmt.Sprintf("%s/%d-of-%d %v/%d", suite, c.t, c.n, c.signers, exchanges)
				t.Run(name, func(t *testing.T) {
					terms := mpctest.FrostTerms(c.signers)
					terms.Exchanges = exchanges
					terms.Jobs[0].Tweak, terms.Jobs[0].Path = scalar(t, suite, name), []byte{1, 2}
					f := start(t, name, keys(t, suite, c.n, c.t), terms, nil)
					out, err := f.Run()
					if err != nil {
						t.Fatal(err)
					}
					judge(t, f.Public(), terms.Jobs[0], out[0])
				})
			}
		}
	}
}

// Identifiers are any numbers of 16 bits.
func TestSignWithLargeIdentifiers(t *testing.T) {
	for _, suite := range suites {
		ids := []mpc.ID{7, 300, 65535}
		terms := mpctest.FrostTerms(ids[1:])
		f := start(t, "large", keysOf(t, suite, "large", ids, 2), terms, nil)
		out, err := f.Run()
		if err != nil {
			t.Fatal(err)
		}
		judge(t, f.Public(), terms.Jobs[0], out[0])
	}
}

// A session is deterministic in its randomness, and a verdict over the whole of
// a message: no message, the empty one and a long one are signed as they are.
func TestMessages(t *testing.T) {
	for _, suite := range suites {
		for _, m := range [][]byte{nil, {0}, bytes.Repeat([]byte("m"), 10_000)} {
			terms := mpctest.FrostTerms([]mpc.ID{1, 2})
			terms.Jobs[0].Message = m
			f := start(t, "messages", keys(t, suite, 3, 2), terms, nil)
			out, err := f.Run()
			if err != nil {
				t.Fatal(err)
			}
			judge(t, f.Public(), terms.Jobs[0], out[0])
			if err := f.Public().Verify(frost.Job{Message: append(m, 1)}, out[0]); err == nil {
				t.Error("verifies for a longer message")
			}
		}
	}
}

func TestBatch(t *testing.T) {
	for _, suite := range suites {
		terms := mpctest.FrostTerms([]mpc.ID{1, 3})
		terms.Jobs = nil
		for k := range 5 {
			j := frost.Job{Message: fmt.Appendf(nil, "message %d", k)}
			if k > 0 {
				j.Tweak = scalar(t, suite, fmt.Sprint(k))
			}
			if suite == mpc.FROSTSecp256k1TR && k > 1 {
				j.Taproot = []frost.Taproot{frost.KeyPath(), frost.MerkleRoot([32]byte{1}), {}}[k-2]
			}
			terms.Jobs = append(terms.Jobs, j)
		}
		f := start(t, "batch", keys(t, suite, 3, 2), terms, nil)
		out, err := f.Run()
		if err != nil {
			t.Fatal(err)
		}
		for k, j := range terms.Jobs {
			judge(t, f.Public(), j, out[k])
		}
	}
}

// What the caller gets wrong is an error that says what, and no session.
func TestConfig(t *testing.T) {
	ed, tr := keys(t, mpc.FROSTEd25519, 3, 2), keys(t, mpc.FROSTSecp256k1TR, 3, 2)
	nonce, err := frost.NewNonce(ed[1], nil, mpctest.Reader("config"))
	if err != nil {
		t.Fatal(err)
	}
	pending, _, err := pendingKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want string
		edit func(*frost.Config)
	}{
		"no key":            {"no key share", func(c *frost.Config) { c.Key = nil }},
		"pending":           {"pending", func(c *frost.Config) { c.Key = pending }},
		"purpose":           {"but the key is for", func(c *frost.Config) { c.Purpose = "else" }},
		"no jobs":           {"0 jobs", func(c *frost.Config) { c.Jobs = nil }},
		"many jobs":         {"257 jobs", func(c *frost.Config) { c.Jobs = make([]frost.Job, 257) }},
		"exchanges":         {"9 exchanges", func(c *frost.Config) { c.Exchanges = 9 }},
		"negative":          {"-1 exchanges", func(c *frost.Config) { c.Exchanges = -1 }},
		"one signer":        {"1 signers", func(c *frost.Config) { c.Signers = []mpc.ID{1} }},
		"not a signer":      {"is not one of the signers", func(c *frost.Config) { c.Signers = []mpc.ID{2, 3} }},
		"stranger":          {"signer 4", func(c *frost.Config) { c.Signers = []mpc.ID{1, 4} }},
		"unsorted":          {"ascending", func(c *frost.Config) { c.Signers = []mpc.ID{2, 1} }},
		"twice":             {"ascending", func(c *frost.Config) { c.Signers = []mpc.ID{1, 1} }},
		"zero":              {"participant id 0", func(c *frost.Config) { c.Signers = []mpc.ID{0, 1} }},
		"four":              {"4 signers", func(c *frost.Config) { c.Signers = []mpc.ID{1, 2, 3, 4} }},
		"long message":      {"message of", func(c *frost.Config) { c.Jobs[0].Message = make([]byte, frost.MaxMessage+1) }},
		"long path":         {"path of", func(c *frost.Config) { c.Jobs[0].Path = make([]byte, frost.MaxPath+1) }},
		"tweak of secp":     {"tweak is a scalar of secp256k1", func(c *frost.Config) { c.Jobs[0].Tweak = scalar(t, mpc.FROSTSecp256k1, "x") }},
		"taproot of ed":     {"no Taproot outputs", func(c *frost.Config) { c.Jobs[0].Taproot = frost.KeyPath() }},
		"nonces for jobs":   {"1 nonces for 2 jobs", func(c *frost.Config) { c.Jobs = append(c.Jobs, c.Jobs[0]); c.Nonces = []*frost.Nonce{nonce} }},
		"one nonce twice":   {"another job", func(c *frost.Config) { c.Jobs = append(c.Jobs, c.Jobs[0]); c.Nonces = []*frost.Nonce{nonce, nonce} }},
		"no nonce":          {"consumed", func(c *frost.Config) { c.Nonces = []*frost.Nonce{nil} }},
		"another's nonce":   {"nonce is of participant", func(c *frost.Config) { c.Key = ed[2]; c.Nonces = []*frost.Nonce{nonce} }},
		"another key nonce": {"nonce is of key", func(c *frost.Config) { c.Key = tr[1]; c.Nonces = []*frost.Nonce{nonce} }},
		"tweak to identity": {"identity", func(c *frost.Config) {
			c.Key, c.Jobs[0].Tweak = dealt(t, mpc.FROSTEd25519, 5)[1], minus(t, mpc.FROSTEd25519, 5)
		}},
	} {
		cfg := frost.Config{Terms: mpctest.FrostTerms([]mpc.ID{1, 2}), Key: ed[1], Purpose: ed[1].Purpose}
		c.edit(&cfg)
		if cfg.Key != nil && cfg.Purpose != "else" {
			cfg.Purpose = cfg.Key.Purpose
		}
		if _, err := frost.New(cfg, mpctest.Reader("x")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	if _, err := frost.New(frost.Config{Terms: mpctest.FrostTerms([]mpc.ID{1, 2}), Key: ed[1], Purpose: ed[1].Purpose}, nil); err == nil {
		t.Error("no randomness: accepted")
	}
}

// pendingKey is a share that nobody has certified.
func pendingKey() (*dkg.KeyShare, *dkg.Certificate, error) {
	d, err := mpctest.NewDKGOf(mpc.FROSTEd25519, "pending", mpctest.IDs(2), 2)
	if err != nil {
		return nil, nil, err
	}
	for r := range 4 {
		if err := d.Round(r); err != nil {
			return nil, nil, err
		}
	}
	out, err := d.Finish(1)
	if err != nil {
		return nil, nil, err
	}
	return out.Share, out.Certificate, nil
}

// Rounds are called once and in order, and an abort is the last word.
func TestOrderOfRounds(t *testing.T) {
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	f := start(t, "order", keys(t, mpc.FROSTEd25519, 3, 2), terms, nil)
	s := f.Sessions[1]
	fails := func(what string, err error) {
		t.Helper()
		if err == nil || mpc.AsAbort(err) != nil {
			t.Errorf("%s: %v, want an error and no abort", what, err)
		}
	}
	_, err := s.Share(nil)
	fails("share first", err)
	_, err = s.Combine(nil)
	fails("combine first", err)
	_, err = s.Exchange(nil, nil)
	fails("an exchange, with none agreed", err)
	_, err = s.Round0(make([]byte, frost.MaxAttachment+1))
	fails("long attachment", err)
	if err := f.Round(0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Round0(nil)
	fails("round 0 again", err)
	if err := f.Round(1); err != nil {
		t.Fatal(err)
	}
	_, err = s.Share(f.Inbox(0, 1))
	fails("share again", err)
	if s.SID() == [32]byte{} || s.SID() != f.Sessions[2].SID() {
		t.Error("the sids differ")
	}
	_, err = s.Combine(nil)
	mpctest.WantAbort(t, err, mpc.Benign)
	_, again := s.Combine(f.Inbox(1, 1))
	if again != err {
		t.Errorf("after an abort: %v, want the abort", again)
	}
	f.Sessions[2].Destroy()
	_, err = f.Sessions[2].Combine(f.Inbox(1, 2))
	fails("a destroyed session", err)
}

// Exchanges are bound by the echo, and come in their order.
func TestExchanges(t *testing.T) {
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	terms.Exchanges = 2
	f := start(t, "exchanges", keys(t, mpc.FROSTSecp256k1TR, 3, 2), terms, nil)
	if _, err := f.Sessions[1].Exchange(nil, nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("before round 0: %v, want an error", err)
	}
	until(t, f)
	for r := range 3 {
		b, err := frost.Attachment(f.Broadcast[r][2], r)
		if err != nil || string(b) != fmt.Sprintf("attachment %d of 2", r) {
			t.Errorf("attachment %d is %q, %v", r, b, err)
		}
		if _, err := frost.Attachment(f.Broadcast[r][2], r+1); err == nil {
			t.Errorf("attachment of round %d read from round %d", r+1, r)
		}
	}
	if out, err := f.Combine(); err != nil || len(out) != 1 {
		t.Error(err)
	}
}

// Signers that agreed on other terms part without blame, and without a share.
func TestTermsDiffer(t *testing.T) {
	for name, edit := range map[string]func(*frost.Config){
		"attempt": func(c *frost.Config) { c.AttemptID[15]++ },
		"request": func(c *frost.Config) { c.RequestHash[0]++ },
		"message": func(c *frost.Config) { c.Jobs = []frost.Job{{Message: []byte("massage")}} },
		"tweak": func(c *frost.Config) {
			c.Jobs = []frost.Job{{Message: []byte("message"), Tweak: scalar(t, c.Key.Suite, "t")}}
		},
		"path":    func(c *frost.Config) { c.Jobs = []frost.Job{{Message: []byte("message"), Path: []byte{1}}} },
		"taproot": func(c *frost.Config) { c.Jobs = []frost.Job{{Message: []byte("message"), Taproot: frost.KeyPath()}} },
		"root": func(c *frost.Config) {
			c.Jobs = []frost.Job{{Message: []byte("message"), Taproot: frost.MerkleRoot([32]byte{1})}}
		},
		"jobs":      func(c *frost.Config) { c.Jobs = append(slices.Clone(c.Jobs), c.Jobs[0]) },
		"exchanges": func(c *frost.Config) { c.Exchanges = 1 },
		"signers":   func(c *frost.Config) { c.Signers = []mpc.ID{1, 2, 3} },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, "differ", keys(t, mpc.FROSTSecp256k1TR, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), func(c *frost.Config) {
				if c.Key.ID == 2 {
					edit(c)
				}
			})
			if err := f.Round(0); err != nil {
				t.Fatal(err)
			}
			_, err := f.Sessions[1].Share(f.Inbox(0, 1))
			mpctest.WantAbort(t, err, mpc.Benign)
			if f.Sessions[1].Nonces() != 0 {
				t.Error("nonces are left after an abort")
			}
		})
	}
}

// Whatever the verb, no nonce is shown and nothing encodes.
func TestSecretsAreNotShown(t *testing.T) {
	k := keys(t, mpc.FROSTEd25519, 3, 2)[1]
	n, err := frost.NewNonce(k, nil, mpctest.Reader("shown"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := frost.NewNoncePool(k, nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, "shown", keys(t, mpc.FROSTEd25519, 3, 2), mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
	if err := f.Round(0); err != nil {
		t.Fatal(err)
	}
	s := f.Sessions[1]
	for _, v := range []any{
		n, *n, []frost.Nonce{*n}, map[int]frost.Nonce{1: *n}, struct{ n frost.Nonce }{*n}, struct{ n *frost.Nonce }{n},
		p, *p, struct{ p frost.NoncePool }{*p}, s, *s, struct{ s *frost.Session }{s},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
			out := fmt.Sprintf(verb, v)
			for _, secret := range n.Secrets() {
				if strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", secret)) || strings.Contains(out, strings.Trim(fmt.Sprint(secret), "[]")) {
					t.Errorf("%s of %T shows a nonce", verb, v)
				}
			}
		}
	}
	for _, v := range []any{*n, *p} {
		type marshaler interface {
			MarshalText() ([]byte, error)
			MarshalJSON() ([]byte, error)
			MarshalBinary() ([]byte, error)
			GobEncode() ([]byte, error)
			String() string
			GoString() string
		}
		m := v.(marshaler)
		for i, f := range []func() ([]byte, error){m.MarshalText, m.MarshalJSON, m.MarshalBinary, m.GobEncode} {
			if b, err := f(); err == nil || b != nil {
				t.Errorf("%T: encoder %d gives %x", v, i, b)
			}
		}
		if m.String() != m.GoString() || !strings.HasPrefix(m.String(), "[nonce") {
			t.Errorf("%T prints as %q", v, m.String())
		}
	}
}

// A certificate says of its key what a share says.
func TestPublicOfCertificate(t *testing.T) {
	k, cert, err := mpctest.KeysOf(mpc.FROSTSecp256k1TR, "certificate", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	a, err := terms.Hash(frost.PublicOf(k[1]))
	if err != nil {
		t.Fatal(err)
	}
	b, err := terms.Hash(frost.PublicOfCertificate(cert))
	if err != nil || a != b {
		t.Errorf("the terms of one key hash to %x and %x: %v", a, b, err)
	}
	f := start(t, "certificate", k, terms, nil)
	until(t, f)
	f.Broadcast[1][2] = mpctest.Flip(f.Broadcast[1][2], len(f.Broadcast[1][2])-9)
	_, err = frost.Combine(frost.PublicOfCertificate(cert), terms, f.Broadcast[0], f.Broadcast[1])
	mpctest.WantAbort(t, err, mpc.Attributed, 2)
}

// What the caller changes after New is not signed.
func TestTermsAreCopied(t *testing.T) {
	suite := mpc.FROSTSecp256k1
	tweak := scalar(t, suite, "copied")
	job := frost.Job{Message: []byte("message"), Tweak: tweak, Path: []byte{1}}
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	terms.Jobs = []frost.Job{job}
	f := start(t, "copied", keys(t, suite, 3, 2), terms, nil)
	want := frost.Job{Message: slices.Clone(job.Message), Tweak: scalar(t, suite, "copied"), Path: []byte{1}}
	job.Message[0], job.Path[0] = 'M', 9
	tweak.SetUint64(1)
	terms.Signers[0], terms.Jobs[0].Message = 3, []byte("else")
	f.Signers = []mpc.ID{1, 2}
	for r := range f.Broadcast {
		if err := f.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	out, err := f.Sessions[1].Combine(f.Inbox(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := frost.PublicOf(keys(t, suite, 3, 2)[1]).Verify(want, out[0]); err != nil {
		t.Error(err)
	}
}
