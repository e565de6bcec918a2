package lifecycle_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

func importConfig(suite mpc.Suite, parties []mpc.ID, threshold int) lifecycle.ImportConfig {
	return lifecycle.ImportConfig{Suite: suite, Purpose: mpctest.Purpose, Parties: parties, Threshold: threshold, Identities: mpctest.Identities(parties)}
}

// imported splits a key of the suite and lets all parties accept and certify it.
func imported(t testing.TB, suite mpc.Suite, parties []mpc.ID, threshold int) (group.Scalar, key) {
	t.Helper()
	curve, err := group.OfSuite(suite)
	if err != nil {
		t.Fatal(err)
	}
	x := curve.NewScalar()
	if err := x.SetRandom(mpctest.Reader("a key from elsewhere")); err != nil {
		t.Fatal(err)
	}
	cfg := importConfig(suite, parties, threshold)
	packets, cert, err := lifecycle.Import(cfg, x, [32]byte{7}, mpctest.Reader("import"))
	if err != nil {
		t.Fatal(err)
	}
	k := key{make(map[mpc.ID]*dkg.KeyShare), cert}
	for _, id := range parties {
		out, err := lifecycle.AcceptImport(cfg, id, packets[id])
		if err != nil {
			t.Fatal(err)
		}
		if out.Certificate.Digest() != cert.Digest() {
			t.Error("parties see different certificates")
		}
		if out.Share.Active() || out.Share.Certified() {
			t.Error("a share is certified before anybody has signed")
		}
		k.shares[id] = out.Share
	}
	if err := mpctest.Activate(cert, k.shares); err != nil {
		t.Fatal(err)
	}
	return x, k
}

func TestImport(t *testing.T) {
	for _, suite := range mpc.Suites() {
		x, k := imported(t, suite, ids(2, 300, 65535), 2)
		if !isKey(x, k.cert) || k.cert.Origin != dkg.Imported {
			t.Fatalf("%s: the certificate is not of the imported key", suite)
		}
		for _, set := range subsets(k.cert.Parties, 2) {
			if secret(t, k.shares, set).Equal(x) != 1 {
				t.Errorf("%s: shares of %v do not make the key", suite, set)
			}
		}
		for _, s := range k.shares {
			if s.Active() || !s.Dormant() || s.ChainCode() != [32]byte{7} {
				t.Errorf("%s: an imported share may sign", suite)
			}
		}
		next := run(t, "import", k.refresh())
		next.check(t, k)
		if next.cert.Previous != k.cert.Digest() {
			t.Error("the provenance is lost")
		}
		run(t, "import", k.reshare(ids(2, 300), ids(1, 2, 3, 4), 3)).check(t, k)
	}
}

func TestImportRefuses(t *testing.T) {
	cfg := importConfig(mpc.DKLS23Secp256k1, mpctest.IDs(3), 2)
	one := group.Secp256k1().NewScalar().SetUint64(1)
	rand := mpctest.Reader("import")
	if _, _, err := lifecycle.Import(cfg, group.Secp256k1().NewScalar(), [32]byte{}, rand); err == nil || !strings.Contains(err.Error(), "secret key is 0") {
		t.Errorf("the key 0: %v", err)
	}
	for name, f := range map[string]func(c lifecycle.ImportConfig) error{
		"the key 0": func(c lifecycle.ImportConfig) error {
			_, _, err := lifecycle.Import(c, group.Secp256k1().NewScalar(), [32]byte{}, rand)
			return err
		},
		"no key": func(c lifecycle.ImportConfig) error {
			_, _, err := lifecycle.Import(c, nil, [32]byte{}, rand)
			return err
		},
		"another curve": func(c lifecycle.ImportConfig) error {
			_, _, err := lifecycle.Import(c, group.Ed25519().NewScalar().SetUint64(1), [32]byte{}, rand)
			return err
		},
		"no randomness": func(c lifecycle.ImportConfig) error {
			_, _, err := lifecycle.Import(c, one, [32]byte{}, nil)
			return err
		},
		"threshold 1": func(c lifecycle.ImportConfig) error {
			c.Threshold = 1
			_, _, err := lifecycle.Import(c, one, [32]byte{}, rand)
			return err
		},
		"party 0": func(c lifecycle.ImportConfig) error {
			c.Parties = ids(0, 1, 2)
			_, _, err := lifecycle.Import(c, one, [32]byte{}, rand)
			return err
		},
		"no purpose": func(c lifecycle.ImportConfig) error {
			c.Purpose = ""
			_, _, err := lifecycle.Import(c, one, [32]byte{}, rand)
			return err
		},
		"unknown suite": func(c lifecycle.ImportConfig) error {
			c.Suite = "x"
			_, _, err := lifecycle.Import(c, one, [32]byte{}, rand)
			return err
		},
		"an identity missing": func(c lifecycle.ImportConfig) error {
			c.Identities = mpctest.Identities(ids(1, 2))
			_, _, err := lifecycle.Import(c, one, [32]byte{}, rand)
			return err
		},
	} {
		if f(cfg) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A party accepts exactly the packet of its import.
func TestImportPacketIsChecked(t *testing.T) {
	cfg := importConfig(mpc.DKLS23Secp256k1, mpctest.IDs(3), 2)
	x := group.Secp256k1().NewScalar().SetUint64(12345)
	packets, cert, err := lifecycle.Import(cfg, x, [32]byte{7}, mpctest.Reader("import"))
	if err != nil {
		t.Fatal(err)
	}
	packet := packets[2]
	if _, err := lifecycle.AcceptImport(cfg, 2, packet); err != nil {
		t.Fatal(err)
	}
	for at := range packet {
		if _, err := lifecycle.AcceptImport(cfg, 2, mpctest.Flip(packet, at)); err == nil {
			t.Errorf("packet with byte %d changed is accepted", at)
		}
	}
	for n := range packet {
		if _, err := lifecycle.AcceptImport(cfg, 2, packet[:n]); err == nil {
			t.Errorf("packet of %d bytes is accepted", n)
		}
	}
	if _, err := lifecycle.AcceptImport(cfg, 2, append(slices.Clone(packet), 0)); err == nil {
		t.Error("a byte more is accepted")
	}
	for name, c := range map[string]struct {
		edit func(*lifecycle.ImportConfig)
		self mpc.ID
		want string
	}{
		"another's":         {func(*lifecycle.ImportConfig) {}, 1, "participant 2"},
		"another suite":     {func(c *lifecycle.ImportConfig) { c.Suite = mpc.FROSTSecp256k1 }, 2, "suite"},
		"another curve":     {func(c *lifecycle.ImportConfig) { c.Suite = mpc.FROSTEd25519 }, 2, ""},
		"another purpose":   {func(c *lifecycle.ImportConfig) { c.Purpose = "another" }, 2, "certificate"},
		"another threshold": {func(c *lifecycle.ImportConfig) { c.Threshold = 3 }, 2, "3 of"},
		"other parties": {func(c *lifecycle.ImportConfig) {
			c.Parties = ids(1, 2, 4)
			c.Identities = mpctest.Identities(c.Parties)
		}, 2, "[1 2 4]"},
		"other identities": {func(c *lifecycle.ImportConfig) { c.Identities[3] = []byte{1} }, 2, "certificate"},
		"no threshold":     {func(c *lifecycle.ImportConfig) { c.Threshold = 0 }, 2, "threshold"},
	} {
		cfg := importConfig(mpc.DKLS23Secp256k1, mpctest.IDs(3), 2)
		c.edit(&cfg)
		if _, err := lifecycle.AcceptImport(cfg, c.self, packet); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	// A certificate of another origin, or already signed by somebody.
	generated := newKey(t, mpc.DKLS23Secp256k1, "import", mpctest.IDs(3), 2)
	if _, err := lifecycle.AcceptImport(cfg, 2, pack(generated.cert, generated.shares[2])); err == nil || !strings.Contains(err.Error(), "not that of this import") {
		t.Errorf("a generated key is imported: %v", err)
	}
	out, err := lifecycle.AcceptImport(cfg, 2, packet)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.AddSignature(1, mpctest.SignDigest("identity", 1, cert.Digest())); err != nil {
		t.Fatal(err)
	}
	if _, err := lifecycle.AcceptImport(cfg, 2, pack(cert, out.Share)); err == nil {
		t.Error("a certificate with a signature is accepted")
	}
}

// pack is an import's packet of any certificate.
func pack(c *dkg.Certificate, s *dkg.KeyShare) []byte {
	encoded, chain := c.Encode(), s.ChainCode()
	b := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(encoded)))
	b = binary.BigEndian.AppendUint16(append(b, encoded...), uint16(s.ID))
	return append(append(b, s.Share().Encode()...), chain[:]...)
}
