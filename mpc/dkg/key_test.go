package dkg_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

func TestCertificateIsCompleteWithAllSignatures(t *testing.T) {
	d := start(t, 3)
	out, err := d.Finish(1)
	if err != nil {
		t.Fatal(err)
	}
	cert, digest := out.Certificate, out.Certificate.Digest()
	verify := mpctest.Verify("identity")
	sign := func(id mpc.ID) []byte { return mpctest.SignDigest("identity", id, digest) }
	for _, id := range []mpc.ID{3, 1} {
		if err := out.Share.Activate(cert, verify); err == nil || out.Share.Active() {
			t.Errorf("a key with %d signatures less is active", id)
		}
		if err := cert.AddSignature(id, sign(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cert.AddSignature(1, sign(1)); err == nil {
		t.Error("a second signature of party 1 is taken")
	}
	if err := cert.AddSignature(4, sign(4)); err == nil {
		t.Error("a stranger's signature is taken")
	}
	if err := cert.AddSignature(2, nil); err == nil {
		t.Error("an empty signature is taken")
	}
	wrong, err := dkg.DecodeCertificate(cert.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.AddSignature(2, sign(1)); err != nil {
		t.Fatal(err)
	}
	if err := out.Share.Activate(wrong, verify); err == nil {
		t.Error("party 1's signature counts for party 2")
	}
	if err := cert.AddSignature(2, sign(2)); err != nil {
		t.Fatal(err)
	}
	if err := out.Share.Activate(cert, nil); err == nil {
		t.Error("a certificate that nobody verifies is accepted")
	}
	if err := out.Share.Activate(mustKeys(t), verify); err == nil {
		t.Error("another key's certificate activates the share")
	}
	if err := out.Share.Activate(cert, verify); err != nil || !out.Share.Active() {
		t.Errorf("complete certificate: %v", err)
	}
	again, err := dkg.DecodeCertificate(cert.Encode())
	if err != nil || again.Digest() != digest || again.Complete(verify) != nil || !bytes.Equal(again.Encode(), cert.Encode()) {
		t.Errorf("certificate does not survive its encoding: %v", err)
	}
}

func TestKeyShareEncoding(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		keys, _, err := mpctest.KeysOf(l.suite, "encoding", mpctest.IDs(3), 2)
		if err != nil {
			t.Fatal(err)
		}
		b := keys[2].Encode()
		k, err := dkg.DecodeKeyShare(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.Encode(), b) || !k.Active() || k.Suite != l.suite || k.Curve() != l.curve() {
			t.Error("share does not survive its encoding")
		}
		// A share of another party, a flipped public key, a truncated file.
		at := bytes.LastIndex(b, keys[2].Share().Encode())
		for name, bad := range map[string][]byte{
			"share":         mpctest.Put(b, at, keys[1].Share().Encode()),
			"share + q":     mpctest.Put(b, at, bytes.Repeat([]byte{0xff}, 32)),
			"truncated":     b[:len(b)-1],
			"longer":        append(slices.Clone(b), 0),
			"suite":         mpctest.Flip(b, 6),
			"public key":    mpctest.Put(b, bytes.Index(b, keyBytes(keys[2])), keys[2].PublicShares[1].Encode()),
			"another curve": otherSuite(b, l.suite),
		} {
			if _, err := dkg.DecodeKeyShare(bad); err == nil {
				t.Errorf("%s: decodes", name)
			}
		}
		k.Destroy()
		if k.Share().IsZero() != 1 || k.ChainCode() != [32]byte{} || k.Active() {
			t.Error("secrets are left after Destroy")
		}
		if l.suite.ZeroShares() && seed(t, k, 1) != [32]byte{} {
			t.Error("seeds are left after Destroy")
		}
	})
}

// otherSuite puts the name of a suite on another curve, and of another length,
// into an encoding that begins with version and suite.
func otherSuite(b []byte, suite mpc.Suite) []byte {
	other := mpc.FROSTEd25519
	if suite == other {
		other = mpc.FROSTSecp256k1
	}
	out := binary.BigEndian.AppendUint32(slices.Clone(b[:1]), uint32(len(other)))
	return append(append(out, other...), b[1+4+len(suite):]...)
}

func keyBytes(k *dkg.KeyShare) []byte {
	return k.PublicKey.Encode()
}

// seed is the zero-share seed with a peer.
func seed(t *testing.T, k *dkg.KeyShare, peer mpc.ID) [32]byte {
	t.Helper()
	s, err := k.ZeroSeed(peer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// No verb and no encoder shows a share.
func TestKeyShareIsUnprintable(t *testing.T) {
	keys, _, err := mpctest.Keys("print", mpctest.IDs(2), 2)
	if err != nil {
		t.Fatal(err)
	}
	k := keys[1]
	share, chain, zero := [32]byte(k.Share().Encode()), k.ChainCode(), seed(t, k, 2)
	limbs := fmt.Sprintf("%d", binary.BigEndian.Uint64(share[:8]))
	hidden := struct{ k *dkg.KeyShare }{k}
	inside := struct{ k dkg.KeyShare }{*k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
		for _, v := range []any{k, *k, []*dkg.KeyShare{k}, map[int]dkg.KeyShare{1: *k}, hidden, inside, &inside} {
			out := fmt.Sprintf(verb, v)
			for _, secret := range [][32]byte{share, chain, zero} {
				if strings.Contains(out, limbs) || strings.Contains(out, fmt.Sprintf("%x", secret[:8])) || strings.Contains(out, fmt.Sprint(secret[:8])[1:20]) {
					t.Errorf("%s of %T shows a secret: %s", verb, v, out)
				}
			}
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a share is encoded as JSON")
	}
	for _, f := range []func() ([]byte, error){k.MarshalText, k.MarshalBinary, k.GobEncode} {
		if _, err := f(); err == nil {
			t.Error("a share is encoded")
		}
	}
}

func TestSessionIsUsedOnce(t *testing.T) {
	d := start(t, 0)
	if _, err := d.Sessions[1].Round2(nil); err == nil || mpc.AsAbort(err) != nil {
		t.Errorf("round 2 before 1: %v, want a plain error", err)
	}
	_, first := d.Sessions[1].Round1(nil)
	mpctest.WantAbort(t, first, mpc.Benign)
	if _, err := d.Sessions[1].Round2(nil); !errors.Is(err, first) {
		t.Errorf("after the abort: %v, want the same", err)
	}
	d = start(t, 3)
	if _, err := d.Finish(1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Finish(1); err == nil {
		t.Error("a session finishes twice")
	}
}

func TestRandomnessFails(t *testing.T) {
	for _, n := range []int64{0, 31, 32, 100, 180, 220, 250, 300} {
		d := start(t, 0)
		s, err := dkg.New(mpctest.DKGConfig(1, mpctest.IDs(3), 2), io.LimitReader(mpctest.Reader("pitfall/1"), n))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Round0()
		if err == nil {
			_, err = s.Round1(mpctest.Except(d.Broadcast[0], 1))
		}
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

// Parties that do not agree on what they make part before anything is drawn.
func TestDifferentInputsAreBenign(t *testing.T) {
	for name, edit := range map[string]func(*dkg.Config){
		"suite":      func(c *dkg.Config) { c.Suite = mpc.FROSTSecp256k1 },
		"curve":      func(c *dkg.Config) { c.Suite = mpc.FROSTEd25519 },
		"purpose":    func(c *dkg.Config) { c.Purpose = "schnorr" },
		"threshold":  func(c *dkg.Config) { c.Threshold = 3 },
		"attempt":    func(c *dkg.Config) { c.AttemptID[3] ^= 1 },
		"identities": func(c *dkg.Config) { c.Identities[3] = []byte("another key") },
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, 0)
			cfg := mpctest.DKGConfig(2, mpctest.IDs(3), 2)
			edit(&cfg)
			other, err := dkg.New(cfg, mpctest.Reader("pitfall/2"))
			if err != nil {
				t.Fatal(err)
			}
			d.Sessions[2] = other
			if d.Broadcast[0][2], err = other.Round0(); err != nil {
				t.Fatal(err)
			}
			for _, id := range d.Parties {
				out, err := d.Sessions[id].Round1(mpctest.Except(d.Broadcast[0], id))
				mpctest.WantAbort(t, err, mpc.Benign)
				if out != nil {
					t.Errorf("party %d goes on", id)
				}
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, edit := range map[string]func(*dkg.Config){
		"no suite":           func(c *dkg.Config) { c.Suite = "" },
		"unknown suite":      func(c *dkg.Config) { c.Suite = "DKLS23-SECP256K1-B" },
		"no purpose":         func(c *dkg.Config) { c.Purpose = "" },
		"long purpose":       func(c *dkg.Config) { c.Purpose = strings.Repeat("x", 65) },
		"no Sign":            func(c *dkg.Config) { c.Sign = nil },
		"no Verify":          func(c *dkg.Config) { c.Verify = nil },
		"identity missing":   func(c *dkg.Config) { delete(c.Identities, 2) },
		"identity of nobody": func(c *dkg.Config) { delete(c.Identities, 2); c.Identities[9] = []byte("x") },
		"identity empty":     func(c *dkg.Config) { c.Identities[2] = nil },
		"identity long":      func(c *dkg.Config) { c.Identities[2] = make([]byte, 1025) },
		"one more identity":  func(c *dkg.Config) { c.Identities[9] = []byte("x") },
	} {
		cfg := mpctest.DKGConfig(1, mpctest.IDs(3), 2)
		edit(&cfg)
		if _, err := dkg.New(cfg, mpctest.Reader("config")); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := dkg.New(mpctest.DKGConfig(1, mpctest.IDs(3), 2), nil); err == nil {
		t.Error("no randomness: accepted")
	}
	cfg := mpctest.DKGConfig(2, mpctest.IDs(3), 2)
	cfg.Sign = func([32]byte) []byte { return nil }
	d := start(t, 0)
	s, err := dkg.New(cfg, mpctest.Reader("pitfall/2"))
	if err != nil {
		t.Fatal(err)
	}
	d.Sessions[2] = s
	if d.Broadcast[0][2], err = s.Round0(); err != nil {
		t.Fatal(err)
	}
	for r := 1; r < 3; r++ {
		if err := d.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Round(3); err == nil {
		t.Error("a session key that does not sign goes unnoticed")
	} else {
		mpctest.WantAbort(t, err, mpc.Benign)
	}
}

// Certificates that say what no key generation says, each canonical in form.
func TestCertificateMustBeConsistent(t *testing.T) {
	for name, edit := range map[string]func(*dkg.Certificate){
		"public share off the vector": func(c *dkg.Certificate) { c.PublicShares[2] = c.PublicShares[3] },
		"threshold above the vector":  func(c *dkg.Certificate) { c.Threshold = 3 },
		"threshold 1":                 func(c *dkg.Certificate) { c.Threshold = 1; flat(c) },
		"threshold above n": func(c *dkg.Certificate) {
			c.Threshold = 4
			c.Feldman = append(c.Feldman, c.Feldman[0], c.Feldman[1])
			on(c)
		},
		"party 0":         func(c *dkg.Certificate) { c.Parties[0] = 0; on(c) },
		"party twice":     func(c *dkg.Certificate) { c.Parties[1] = 1; on(c) },
		"parties descend": func(c *dkg.Certificate) { c.Parties[0], c.Parties[1] = 2, 1 },
		"no purpose":      func(c *dkg.Certificate) { c.Purpose = "" },
	} {
		k := mustKeys(t)
		c := &dkg.Certificate{ // without the signatures
			Suite: k.Suite, Origin: k.Origin, Purpose: k.Purpose, SID: k.SID, Epoch: k.Epoch, Threshold: k.Threshold, Parties: k.Parties,
			PublicShares: k.PublicShares, Feldman: k.Feldman, RosterHash: k.RosterHash, ChainCommitment: k.ChainCommitment, Echo: k.Echo,
		}
		edit(c)
		if _, err := dkg.DecodeCertificate(c.Encode()); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	// Signatures out of order, or twice.
	c := mustKeys(t)
	unsigned := *c
	b := c.Encode()
	sig := 2 + 4 + 64
	first := len(b) - 3*sig
	swapped := slices.Concat(b[:first], b[first+sig:first+2*sig], b[first:first+sig], b[first+2*sig:])
	twice := slices.Concat(b[:first], b[first:first+sig], b[first:first+sig], b[first+2*sig:])
	for name, bad := range map[string][]byte{"swapped": swapped, "twice": twice} {
		if _, err := dkg.DecodeCertificate(bad); err == nil {
			t.Errorf("signatures %s: decodes", name)
		}
	}
	// A missing signature stays missing, whatever the verifier says.
	partial := slices.Concat(b[:first-4], []byte{0, 0, 0, 2}, b[first:first+2*sig])
	p, err := dkg.DecodeCertificate(partial)
	if err != nil {
		t.Fatal(err)
	}
	if p.Complete(func(mpc.ID, [32]byte, []byte) bool { return true }) == nil {
		t.Error("two signatures of three complete a certificate")
	}
	if p.Digest() != unsigned.Digest() {
		t.Error("signatures change the digest")
	}
}

// on recomputes the public shares from the vector.
func on(c *dkg.Certificate) {
	for _, id := range c.Parties {
		c.PublicShares[id] = c.Feldman.Eval(id)
	}
}

// flat makes a vector of one point.
func flat(c *dkg.Certificate) {
	c.Feldman = c.Feldman[:1]
	on(c)
}

// Key shares that do not add up, each of the right length.
func TestKeyShareMustBeConsistent(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		keys, _, err := mpctest.KeysOf(l.suite, "consistent", mpctest.IDs(3), 2)
		if err != nil {
			t.Fatal(err)
		}
		b := keys[2].Encode()
		offState := 1 + 4 + len(l.suite) + 4 + len(mpctest.Purpose)
		offID := offState + 1 + 32 + 8
		publicShare := func(id mpc.ID) int { return bytes.Index(b, keys[2].PublicShares[id].Encode()) }
		key := keyBytes(keys[2])
		cases := map[string][]byte{
			"state 0":       mpctest.Put(b, offState, []byte{0}),
			"state 200":     mpctest.Put(b, offState, []byte{200}),
			"another party": mpctest.Put(b, offID, []byte{0, 3}),
			"stranger":      mpctest.Put(b, offID, []byte{0, 9}),
			"threshold 1":   mpctest.Put(b, offID+2, []byte{0, 1}),
			"threshold 4":   mpctest.Put(b, offID+2, []byte{0, 4}),
			"X of a peer":   mpctest.Put(b, publicShare(1), key),
			"X of the last": mpctest.Put(b, publicShare(3), key),
			"no purpose":    slices.Concat(b[:offState-4-len(mpctest.Purpose)], make([]byte, 4), b[offState:]),
		}
		if l.suite.ZeroShares() {
			cases["count of seeds"] = mpctest.Put(b, len(b)-2*32-4, []byte{0, 0, 0, 1})
			cases["stranger, seeds"] = append(mpctest.Put(b, offID, []byte{0, 9}), make([]byte, 32)...)
		} else {
			cases["seeds of nobody"] = append(slices.Clone(b), 0, 0, 0, 0)
		}
		for name, bad := range cases {
			if _, err := dkg.DecodeKeyShare(bad); err == nil {
				t.Errorf("%s: decodes", name)
			}
		}
	})
}

func TestSessionIsUnprintable(t *testing.T) {
	d := start(t, 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if out := fmt.Sprintf(verb, d.Sessions[1]); out != "dkg.Session(1 of [1 2 3])" {
			t.Errorf("%s shows %s", verb, out)
		}
	}
}
