package dkg_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// second are the parts of epoch 2 of a key: a 2-of-2 sharing of it among parties 1
// and 9, made by somebody who knows it, which a test may.
func second(t *testing.T, l *layout) (dkg.Parts, *sharing.Polynomial) {
	t.Helper()
	keys, cert, err := mpctest.KeysOf(l.suite, "epoch 1", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	secret := l.curve().NewScalar()
	for _, id := range []mpc.ID{1, 2} {
		w, err := sharing.Lagrange(l.curve(), []mpc.ID{1, 2}, id)
		if err != nil {
			t.Fatal(err)
		}
		secret.Add(secret, w.Mul(w, keys[id].Share()))
	}
	p, err := sharing.NewPolynomialWith(l.curve(), mpctest.Reader("epoch 2"), secret, 2)
	if err != nil {
		t.Fatal(err)
	}
	parts := dkg.Parts{
		Suite: l.suite, Purpose: mpctest.Purpose, SID: [32]byte{7}, Origin: dkg.Reshared, Previous: cert, Epoch: 2, KeyID: cert.KeyID(),
		Self: 1, Threshold: 2, Parties: []mpc.ID{1, 9}, Feldman: p.Commit(), RosterHash: [32]byte{8}, ChainCode: keys[1].ChainCode(),
		Echo: [32]byte{9}, Share: p.Eval(1),
	}
	if l.suite.ZeroShares() {
		parts.ZeroSeeds = map[mpc.ID][32]byte{9: {10}}
	}
	return parts, p
}

// A later epoch keeps the key and its id, and names the certificate before it.
func TestAssembleALaterEpoch(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		parts, _ := second(t, l)
		k, cert, err := dkg.Assemble(parts)
		if err != nil {
			t.Fatal(err)
		}
		before := parts.Previous
		if k.Active() || k.Epoch != 2 || k.KeyID != before.KeyID() || cert.KeyID() != before.KeyID() || k.PublicKey.Equal(before.PublicKey()) != 1 ||
			cert.Previous != before.Digest() || cert.Origin != dkg.Reshared || k.CertificateHash != cert.Digest() || k.FeldmanHash != parts.Feldman.Hash() {
			t.Error("the epoch is of another key, or does not follow the one before")
		}
		again, err := dkg.DecodeCertificate(cert.Encode())
		if err != nil || again.Digest() != cert.Digest() || again.KeyID() != cert.KeyID() || !bytes.Equal(again.Encode(), cert.Encode()) {
			t.Errorf("certificate does not survive its encoding: %v", err)
		}
		b := k.Encode()
		if again, err := dkg.DecodeKeyShare(b); err != nil || !bytes.Equal(again.Encode(), b) {
			t.Errorf("share does not survive its encoding: %v", err)
		}
		// It is a copy.
		parts.Share.Destroy()
		parts.Feldman[0].Add(parts.Feldman[0], parts.Feldman[0])
		if k.Share().IsZero() == 1 || k.PublicKey.Equal(before.PublicKey()) != 1 || cert.PublicKey().Equal(before.PublicKey()) != 1 {
			t.Error("the share shares memory with what it was made from")
		}
	})
}

func TestAssembleChecksItsParts(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		c := l.curve()
		cases := map[string]func(*dkg.Parts, *sharing.Polynomial){
			"suite unknown":    func(p *dkg.Parts, _ *sharing.Polynomial) { p.Suite = "x" },
			"suite of another": func(p *dkg.Parts, _ *sharing.Polynomial) { p.Suite = mpc.Suites()[(indexOf(l.suite)+1)%4] },
			"no purpose":       func(p *dkg.Parts, _ *sharing.Polynomial) { p.Purpose = "" },
			"another purpose":  func(p *dkg.Parts, _ *sharing.Polynomial) { p.Purpose = "other" },
			"origin 0":         func(p *dkg.Parts, _ *sharing.Polynomial) { p.Origin = 0 },
			"origin 6":         func(p *dkg.Parts, _ *sharing.Polynomial) { p.Origin = 6 },
			"generated":        func(p *dkg.Parts, _ *sharing.Polynomial) { p.Origin = dkg.Generated },
			"imported at epoch 2": func(p *dkg.Parts, _ *sharing.Polynomial) {
				p.Origin, p.Previous, p.KeyID = dkg.Imported, nil, [32]byte{}
			},
			"nothing before":     func(p *dkg.Parts, _ *sharing.Polynomial) { p.Previous = nil },
			"nothing before, id": func(p *dkg.Parts, _ *sharing.Polynomial) { p.Previous, p.KeyID = nil, [32]byte{} },
			"epoch again":        func(p *dkg.Parts, _ *sharing.Polynomial) { p.Epoch = 1 },
			"epoch 0":            func(p *dkg.Parts, _ *sharing.Polynomial) { p.Epoch = 0 },
			"another key id":     func(p *dkg.Parts, _ *sharing.Polynomial) { p.KeyID[0]++ },
			"no party":           func(p *dkg.Parts, _ *sharing.Polynomial) { p.Self = 2 },
			"party 0":            func(p *dkg.Parts, _ *sharing.Polynomial) { p.Parties = []mpc.ID{0, 1} },
			"parties descend":    func(p *dkg.Parts, _ *sharing.Polynomial) { p.Parties = []mpc.ID{9, 1} },
			"threshold 1":        func(p *dkg.Parts, q *sharing.Polynomial) { p.Threshold = 1; ofDegree(t, p, q, 1) },
			"threshold 3":        func(p *dkg.Parts, q *sharing.Polynomial) { p.Threshold = 3; ofDegree(t, p, q, 3) },
			"short vector":       func(p *dkg.Parts, q *sharing.Polynomial) { ofDegree(t, p, q, 1) },
			"long vector":        func(p *dkg.Parts, q *sharing.Polynomial) { ofDegree(t, p, q, 3) },
			"identity in it":     func(p *dkg.Parts, q *sharing.Polynomial) { p.Feldman[1], p.Share = c.NewPoint(), q.Constant() },
			"epoch 2 after 2": func(p *dkg.Parts, _ *sharing.Polynomial) {
				_, before, err := dkg.Assemble(*p)
				if err != nil {
					t.Fatal(err)
				}
				p.Previous = before
			},
			"another public key": func(p *dkg.Parts, q *sharing.Polynomial) {
				p.Feldman[0].Add(p.Feldman[0], c.Generator())
				p.Share.Add(p.Share, c.NewScalar().SetUint64(1)) // fits
			},
			"no share":      func(p *dkg.Parts, _ *sharing.Polynomial) { p.Share = nil },
			"another share": func(p *dkg.Parts, q *sharing.Polynomial) { p.Share = q.Eval(9) },
			"public share is the identity": func(p *dkg.Parts, q *sharing.Polynomial) { // f(x) = a·(1 − x/9)
				a, slope := q.Constant(), c.NewScalar()
				slope.Negate(slope.Mul(a, c.NewScalar().Invert(c.NewScalar().SetUint64(9))))
				p.Feldman[1] = c.NewPoint().ScalarBaseMult(slope)
				p.Share = a.Add(a, slope)
			},
		}
		if l.suite.ZeroShares() {
			cases["no seed"] = func(p *dkg.Parts, _ *sharing.Polynomial) { p.ZeroSeeds = nil }
			cases["a stranger's seed"] = func(p *dkg.Parts, _ *sharing.Polynomial) { p.ZeroSeeds = map[mpc.ID][32]byte{2: {1}} }
			cases["own seed"] = func(p *dkg.Parts, _ *sharing.Polynomial) { p.ZeroSeeds = map[mpc.ID][32]byte{1: {1}, 9: {2}} }
		} else {
			cases["a seed"] = func(p *dkg.Parts, _ *sharing.Polynomial) { p.ZeroSeeds = map[mpc.ID][32]byte{9: {1}} }
		}
		// What the certificate's own checks would refuse too, in other words.
		says := map[string]string{"another key id": "after a certificate of key", "another purpose": "a key keeps both", "another public key": "a key keeps it"}
		for name, edit := range cases {
			parts, p := second(t, l)
			edit(&parts, p)
			if k, cert, err := dkg.Assemble(parts); err == nil || k != nil || cert != nil {
				t.Errorf("%s: assembled", name)
			} else if say := says[name]; !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v, want %q in it", name, err, say)
			}
		}
	})
}

// ofDegree puts a sharing of the same key with that many coefficients.
func ofDegree(t *testing.T, p *dkg.Parts, q *sharing.Polynomial, coefficients int) {
	t.Helper()
	f, err := sharing.NewPolynomialWith(p.Share.Curve(), mpctest.Reader("another degree"), q.Constant(), coefficients)
	if err != nil {
		t.Fatal(err)
	}
	p.Feldman, p.Share = f.Commit(), f.Eval(p.Self)
}

func indexOf(suite mpc.Suite) int {
	for i, s := range mpc.Suites() {
		if s == suite {
			return i
		}
	}
	return -1
}

// Certificates whose origin says something else than their epoch, id and
// predecessor, each canonical in form.
func TestOriginsMustBeConsistent(t *testing.T) {
	l := layoutOf(mpc.FROSTEd25519)
	first := mustKeysOf(t, l.suite).Encode()
	parts, _ := second(t, l)
	_, cert, err := dkg.Assemble(parts)
	if err != nil {
		t.Fatal(err)
	}
	later := cert.Encode()
	origin := 1 + 4 + len(l.suite) + 4 + len(mpctest.Purpose)
	keyID, previous, epoch := origin+1, origin+33, origin+1+3*32
	for name, b := range map[string][]byte{
		"origin 0":                  mpctest.Put(first, origin, []byte{0}),
		"origin 6":                  mpctest.Put(later, origin, []byte{6}),
		"generated with a key id":   mpctest.Put(first, keyID, []byte{1}),
		"generated with a past":     mpctest.Put(first, previous, []byte{1}),
		"generated at epoch 2":      mpctest.Put(first, epoch, []byte{0, 0, 0, 0, 0, 0, 0, 2}),
		"generated at epoch 0":      mpctest.Put(first, epoch, make([]byte, 8)),
		"first, but refreshed":      mpctest.Put(first, origin, []byte{byte(dkg.Refreshed)}),
		"later, but generated":      mpctest.Put(later, origin, []byte{byte(dkg.Generated)}),
		"reshared, without key id":  mpctest.Put(later, keyID, make([]byte, 32)),
		"reshared, without a past":  mpctest.Put(later, previous, make([]byte, 32)),
		"reshared, at epoch 1":      mpctest.Put(later, epoch, []byte{0, 0, 0, 0, 0, 0, 0, 1}),
		"reshared, at epoch 0":      mpctest.Put(later, epoch, make([]byte, 8)),
		"a key that was imported 2": mpctest.Put(later, origin, []byte{byte(dkg.Imported)}),
	} {
		if _, err := dkg.DecodeCertificate(b); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	for _, o := range []dkg.Origin{dkg.Refreshed, dkg.Repaired} {
		if c, err := dkg.DecodeCertificate(mpctest.Put(later, origin, []byte{byte(o)})); err != nil || c.Origin != o || c.KeyID() != cert.KeyID() || c.Digest() == cert.Digest() {
			t.Errorf("%s: %v", o, err)
		}
	}
	if c, err := dkg.DecodeCertificate(mpctest.Put(first, origin, []byte{byte(dkg.Imported)})); err != nil || c.Origin.String() != "imported" {
		t.Errorf("imported: %v", err)
	}
}
