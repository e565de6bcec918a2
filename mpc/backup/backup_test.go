package backup_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/backup"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

var cluster = [32]byte{0xc1}

func recoveryKey(t testing.TB, label string) *backup.Key {
	t.Helper()
	k, err := backup.NewKey(mpctest.Reader("recovery %s", label))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func recipients(keys ...*backup.Key) []backup.Recipient {
	var out []backup.Recipient
	for _, k := range keys {
		out = append(out, k.Recipient())
	}
	return out
}

func subject(s *dkg.KeyShare) backup.Subject {
	return backup.Subject{Cluster: cluster, KeyID: s.KeyID, Party: s.ID}
}

// fixture is a key, three recovery keys and party 2's backup to the first two.
type fixture struct {
	shares map[mpc.ID]*dkg.KeyShare
	cert   *dkg.Certificate
	keys   []*backup.Key
	sealed []byte
}

func newFixture(t testing.TB, suite mpc.Suite) *fixture {
	t.Helper()
	shares, cert, err := mpctest.KeysOf(suite, "backup", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{shares, cert, []*backup.Key{recoveryKey(t, "a"), recoveryKey(t, "b"), recoveryKey(t, "c")}, nil}
	f.sealed, err = backup.Seal(cluster, shares[2], cert, mpctest.Verify("identity"), recipients(f.keys[0], f.keys[1]), mpctest.Reader("seal"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) open(b []byte, k *backup.Key) (*dkg.KeyShare, *dkg.Certificate, error) {
	return backup.Open(b, k, subject(f.shares[2]), mpctest.Verify("identity"))
}

// Either recovery key gives the share back; it is dormant; after a refresh it is
// as good as any.
func TestBackupAndRestore(t *testing.T) {
	for _, suite := range mpc.Suites() {
		f := newFixture(t, suite)
		before := f.shares[2].Encode()
		for _, k := range f.keys[:2] {
			share, cert, err := f.open(f.sealed, k)
			if err != nil {
				t.Fatal(err)
			}
			was := f.shares[2]
			if share.Share().Equal(was.Share()) != 1 || share.ChainCode() != was.ChainCode() || share.Epoch != was.Epoch || share.ID != 2 || cert.Digest() != f.cert.Digest() {
				t.Error("what is restored is not what was backed up")
			}
			if share.Active() || !share.Dormant() || !share.Certified() {
				t.Error("a restored share may sign")
			}
			plan := &mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: cert, Shares: map[mpc.ID]*dkg.KeyShare{1: f.shares[1], 2: share, 3: f.shares[3]}}
			next, after, err := mpctest.Redistribute("after restore", plan)
			if err != nil || after.PublicKey().Equal(cert.PublicKey()) != 1 || !next[2].Active() {
				t.Errorf("refresh after a restore: %v", err)
			}
			// A restored share can be backed up again.
			if _, err := backup.Seal(cluster, share, cert, mpctest.Verify("identity"), recipients(k), mpctest.Reader("again")); err != nil {
				t.Error(err)
			}
		}
		if !bytes.Equal(before, f.shares[2].Encode()) {
			t.Error("the share that was backed up has changed")
		}
		h, err := backup.Inspect(f.sealed)
		if err != nil || h.Subject != subject(f.shares[2]) || h.Epoch != 1 || h.Certificate != f.cert.Digest() || len(h.Recipients) != 2 {
			t.Errorf("header %+v, %v", h, err)
		}
		secret := f.shares[2].Share().Encode()
		chain := f.shares[2].ChainCode()
		if bytes.Contains(f.sealed, secret) || bytes.Contains(f.sealed, chain[:]) {
			t.Error("a secret stands in clear")
		}
	}
}

func TestForeignBackups(t *testing.T) {
	f := newFixture(t, mpc.DKLS23Secp256k1)
	want := subject(f.shares[2])
	for name, c := range map[string]struct {
		edit func(*backup.Subject)
		key  *backup.Key
		err  error
		text string
	}{
		"another cluster":      {func(s *backup.Subject) { s.Cluster[0]++ }, f.keys[0], backup.ErrForeign, "cluster"},
		"another key":          {func(s *backup.Subject) { s.KeyID[0]++ }, f.keys[0], backup.ErrForeign, "key"},
		"another party":        {func(s *backup.Subject) { s.Party = 3 }, f.keys[0], backup.ErrForeign, "party 2, want 3"},
		"another recovery key": {func(*backup.Subject) {}, f.keys[2], backup.ErrRecoveryKey, "recovery key"},
	} {
		w := want
		c.edit(&w)
		share, _, err := backup.Open(f.sealed, c.key, w, mpctest.Verify("identity"))
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) || share != nil {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
	if _, _, err := f.open(f.sealed, nil); err == nil {
		t.Error("no recovery key: accepted")
	}
	if _, _, err := backup.Open(f.sealed, f.keys[0], want, nil); err == nil {
		t.Error("a certificate that nobody verifies is accepted")
	}
	if share, _, err := backup.Open(f.sealed, f.keys[0], want, mpctest.Verify("session")); err == nil || share != nil {
		t.Error("a certificate with other identities' signatures is accepted")
	}
	destroyed := recoveryKey(t, "a")
	destroyed.Destroy()
	if _, _, err := f.open(f.sealed, destroyed); err == nil {
		t.Error("a wiped recovery key opens")
	}
}

// Every byte counts, for each recovery key.
func TestCorruptBackups(t *testing.T) {
	f := newFixture(t, mpc.DKLS23Secp256k1)
	for _, k := range f.keys[:2] {
		for at := range f.sealed {
			share, _, err := f.open(mpctest.Flip(f.sealed, at), k)
			if err == nil || share != nil {
				t.Fatalf("backup with byte %d changed opens", at)
			}
			if !errors.Is(err, backup.ErrCorrupt) && !errors.Is(err, backup.ErrForeign) && !errors.Is(err, backup.ErrRecoveryKey) {
				t.Errorf("byte %d: %v says nothing of what is wrong", at, err)
			}
		}
	}
	for n := range f.sealed {
		if _, _, err := f.open(f.sealed[:n], f.keys[0]); !errors.Is(err, backup.ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := f.open(append(slices.Clone(f.sealed), 0), f.keys[0]); !errors.Is(err, backup.ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	if _, _, err := f.open(append(slices.Clone(f.sealed), make([]byte, 5<<20)...), f.keys[0]); !errors.Is(err, backup.ErrCorrupt) {
		t.Errorf("5 MiB more: %v", err)
	}
}

// A writer who knows the format and the recovery keys' public halves, as anybody
// may, but no share, can make a backup open; what it holds is checked.
func TestForgedBackups(t *testing.T) {
	f := newFixture(t, mpc.DKLS23Secp256k1)
	other, otherCert, err := mpctest.KeysOf(mpc.DKLS23Secp256k1, "another key", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	chain := f.shares[2].ChainCode()
	share := f.shares[2].Share().Encode()
	forge := func(edit func(*backup.Forgery)) error {
		g := &backup.Forgery{Subject: subject(f.shares[2]), Epoch: 1, Digest: f.cert.Digest(), Certificate: f.cert.Encode(), Share: share, Chain: chain[:]}
		edit(g)
		_, _, err := f.open(g.Seal(t, f.keys[0].Recipient()), f.keys[0])
		return err
	}
	if err := forge(func(*backup.Forgery) {}); err != nil {
		t.Fatal(err)
	}
	unsigned, err := dkg.DecodeCertificate(f.cert.Encode())
	if err != nil {
		t.Fatal(err)
	}
	bare := len(unsigned.Encode()) - 3*(2+4+64) - 4
	for name, c := range map[string]struct {
		edit func(*backup.Forgery)
		want string
	}{
		"another share":       {func(g *backup.Forgery) { g.Share = f.shares[3].Share().Encode() }, "public share"},
		"share not reduced":   {func(g *backup.Forgery) { g.Share = bytes.Repeat([]byte{0xff}, 32) }, "share"},
		"another chain code":  {func(g *backup.Forgery) { g.Chain = make([]byte, 32) }, "chain code"},
		"no signatures":       {func(g *backup.Forgery) { g.Certificate = append(slices.Clone(g.Certificate[:bare]), 0, 0, 0, 0) }, "signature"},
		"another epoch":       {func(g *backup.Forgery) { g.Epoch = 2 }, "epoch"},
		"another digest":      {func(g *backup.Forgery) { g.Digest[0]++ }, "certificate"},
		"another certificate": {func(g *backup.Forgery) { g.Certificate = otherCert.Encode() }, "certificate"},
		"another key's": {func(g *backup.Forgery) {
			g.Certificate, g.Digest, g.Share = otherCert.Encode(), otherCert.Digest(), other[2].Share().Encode()
		}, "certificate"},
		"a byte more":     {func(g *backup.Forgery) { g.Chain = make([]byte, 33) }, "decode"},
		"two file keys":   {func(g *backup.Forgery) { g.OtherCheck = true }, "all recovery keys"},
		"small ephemeral": {func(g *backup.Forgery) { g.SmallEphemeral = true }, "corrupt"},
	} {
		if err := forge(c.edit); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	f := newFixture(t, mpc.DKLS23Secp256k1)
	_, otherCert, err := mpctest.KeysOf(mpc.DKLS23Secp256k1, "another key", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	d, err := mpctest.NewDKG("pending", mpctest.IDs(3), 2)
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
	verify := mpctest.Verify("identity")
	a, b := f.keys[0].Recipient(), f.keys[1].Recipient()
	rand := func() *bytes.Reader { return bytes.NewReader(make([]byte, 1000)) }
	seal := func(s *dkg.KeyShare, c *dkg.Certificate, to ...backup.Recipient) error {
		_, err := backup.Seal(cluster, s, c, verify, to, rand())
		return err
	}
	if err := seal(f.shares[1], f.cert, b, a); err != nil {
		t.Fatal(err)
	}
	many := make([]backup.Recipient, 17)
	for i := range many {
		many[i] = recoveryKey(t, fmt.Sprint(i)).Recipient()
	}
	for name, err := range map[string]error{
		"no recovery key":        seal(f.shares[1], f.cert),
		"a recovery key twice":   seal(f.shares[1], f.cert, a, b, a),
		"seventeen":              seal(f.shares[1], f.cert, many...),
		"a key of small order":   seal(f.shares[1], f.cert, backup.Recipient{}),
		"another certificate":    seal(f.shares[1], otherCert, a),
		"no share":               seal(nil, f.cert, a),
		"no certificate":         seal(f.shares[1], nil, a),
		"pending, no signatures": seal(pending.Share, pending.Certificate, a),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := backup.Seal(cluster, f.shares[1], f.cert, mpctest.Verify("session"), []backup.Recipient{a}, rand()); err == nil {
		t.Error("a certificate that could not be restored is backed up")
	}
	if _, err := backup.Seal(cluster, f.shares[1], f.cert, verify, []backup.Recipient{a}, nil); err == nil {
		t.Error("no randomness: accepted")
	}
	if _, err := backup.Seal(cluster, f.shares[1], f.cert, verify, []backup.Recipient{a}, bytes.NewReader(make([]byte, 87))); err == nil {
		t.Error("a short read is accepted")
	}
	// A pending share is refused even with signatures beside it.
	if err := mpctest.Activate(pending.Certificate, nil); err != nil {
		t.Fatal(err)
	}
	if err := seal(pending.Share, pending.Certificate, a); err == nil || !strings.Contains(err.Error(), "pending") {
		t.Errorf("a pending share: %v", err)
	}
}

// Two backups of one share have nothing in common but what is in clear.
func TestBackupsAreFresh(t *testing.T) {
	f := newFixture(t, mpc.DKLS23Secp256k1)
	again, err := backup.Seal(cluster, f.shares[2], f.cert, mpctest.Verify("identity"), recipients(f.keys[0], f.keys[1]), mpctest.Reader("seal again"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again[len(again)-200:], f.sealed[len(f.sealed)-200:]) || bytes.Equal(again, f.sealed) {
		t.Error("two backups are equal")
	}
	// The order of the recovery keys does not matter: the encoding is one.
	swapped, err := backup.Seal(cluster, f.shares[2], f.cert, mpctest.Verify("identity"), recipients(f.keys[1], f.keys[0]), mpctest.Reader("seal"))
	if err != nil || !bytes.Equal(swapped, f.sealed) {
		t.Errorf("recovery keys in another order give another backup: %v", err)
	}
}

// A recovery key is RFC 7748's (its first vector), and is not printed.
func TestRecoveryKey(t *testing.T) {
	b, err := hex.DecodeString("77076d0a7318a57d3c16c17251b26645c9b94b2ea6ac2bdb0e3b5e3b0c5b9d2a")
	if err != nil {
		t.Fatal(err)
	}
	k, err := backup.ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if r := k.Recipient(); !bytes.Equal(r[:], want.PublicKey().Bytes()) {
		t.Errorf("public half %x", r)
	}
	if !bytes.Equal(k.Bytes(), b) {
		t.Error("the key does not survive its bytes")
	}
	holder := struct{ k backup.Key }{*k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q", "%t"} {
		for _, v := range []any{k, *k, holder, &holder, []backup.Key{*k}, map[string]*backup.Key{"k": k}} {
			s := fmt.Sprintf(verb, v)
			if strings.Contains(s, hex.EncodeToString(b)) || strings.Contains(s, strings.Trim(fmt.Sprint(b), "[]")) || strings.Contains(s, string(b)) {
				t.Errorf("%s of %T prints the key: %s", verb, v, s)
			}
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := backup.ParseKey(make([]byte, n)); err == nil {
			t.Errorf("a recovery key of %d bytes is accepted", n)
		}
	}
	if _, err := backup.NewKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a short read is accepted")
	}
}

func FuzzDecodeBackup(f *testing.F) {
	x := newFixture(f, mpc.DKLS23Secp256k1)
	f.Add(x.sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := backup.Reencode(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
		if _, _, err := x.open(b, x.keys[0]); err == nil && !bytes.Equal(b, x.sealed) {
			t.Error("other bytes open")
		}
	})
}

// FuzzDecodeBody is about what a writer with the recovery key's public half can
// bring in.
func FuzzDecodeBody(f *testing.F) {
	x := newFixture(f, mpc.DKLS23Secp256k1)
	chain := x.shares[2].ChainCode()
	g := backup.Forgery{Subject: subject(x.shares[2]), Epoch: 1, Digest: x.cert.Digest(), Certificate: x.cert.Encode(), Share: x.shares[2].Share().Encode(), Chain: chain[:]}
	f.Add(g.Body())
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := backup.ReencodeBody(b, g); err == nil && !bytes.Equal(again, b) {
			t.Errorf("decodes, but encodes to other bytes:\n%x\n%x", b, again)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := backup.ParseKey(b)
		if err == nil && !bytes.Equal(k.Bytes(), b) {
			t.Errorf("%x gives %x", b, k.Bytes())
		}
	})
}
