package pkcs11

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// asked answers with a PIN and counts how often it was asked.
type asked struct {
	pin   string
	times int
}

func (a *asked) ask(string) (secret.Bytes, error) {
	a.times++
	return secret.New([]byte(a.pin)), nil
}

func personsCard(t *testing.T) (softhsm.Token, pkcs11uri.URI, *asked) {
	t.Helper()
	if _, _, err := softhsm.FindModule(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	tok, err := softhsm.InitToken(t.Context(), t.TempDir(), "card", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softhsm.EnvConf, tok.Conf)
	pin, err := os.ReadFile(tok.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	return tok, pkcs11uri.URI{Token: tok.Label, Module: tok.Module, Object: "coffer-bob"}, &asked{pin: string(pin[:len(pin)-1])}
}

func TestCard(t *testing.T) {
	tok, u, who := personsCard(t)
	c, err := MakeCard(t.Context(), u, who.ask)
	if err != nil {
		t.Fatal(err)
	}
	public := c.Public()
	for i := range byte(8) {
		digest := [32]byte{i}
		sig, err := c.SignDigest(digest)
		if err != nil || signature.VerifyDigest(public, digest, sig) != nil {
			t.Fatalf("%v, %v", sig, err)
		}
	}
	if who.times != 1 {
		t.Errorf("the PIN was asked %d times for nine signatures", who.times)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SignDigest([32]byte{}); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a closed card: %v", err)
	}
	other := public
	other.Key = public.Key[:64] + string(public.Key[64]^1)
	if _, err := OpenCard(t.Context(), u, other, who.ask); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("another key: %v", err)
	}
	elsewhere := u
	elsewhere.Object = "coffer-carol"
	if _, err := OpenCard(t.Context(), elsewhere, public, who.ask); !errors.Is(err, hsm.ErrNotProvisioned) {
		t.Errorf("no such key: %v", err)
	}
	wrong := &asked{pin: "00000000"}
	if _, err := OpenCard(t.Context(), u, public, wrong.ask); !errors.Is(err, hsm.ErrPIN) || wrong.times != 1 {
		t.Errorf("a wrong PIN, asked %d times: %v", wrong.times, err)
	}
	for _, bad := range []string{"", "1\n2"} {
		if _, err := OpenCard(t.Context(), u, public, (&asked{pin: bad}).ask); !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("PIN %q: %v", bad, err)
		}
	}

	// A wrong PIN in a file is not given twice, since that would lock the card.
	u.PIN = filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(u.PIN, []byte("00000000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := OpenCard(t.Context(), u, public, who.ask); !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("a wrong PIN file: %v", err)
		}
	}
	if _, err := os.Stat(u.PIN + ".refused"); err != nil {
		t.Error(err)
	}
	u.PIN = tok.PINFile
	if c, err = OpenCard(t.Context(), u, public, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SignDigest([32]byte{9}); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestCardAsksAtEachUse: the key of a PIV card's slot for signatures.
func TestCardAsksAtEachUse(t *testing.T) {
	_, u, who := personsCard(t)
	c, err := openCard(t.Context(), u, p11.CKF_RW_SESSION, who.ask, func(c *Card) error {
		if err := generate(c.mod, c.h, u.Object, plan{kind: kindEC, auth: true}); err != nil {
			return err
		}
		return c.find()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.always {
		t.Fatal("the token forgot CKA_ALWAYS_AUTHENTICATE")
	}
	for range 2 {
		if _, err := c.SignDigest([32]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if who.times != 1 {
		t.Errorf("the person was asked %d times", who.times)
	}
}

// TestCardRefusesLooseKey: one that the token would give away.
func TestCardRefusesLooseKey(t *testing.T) {
	_, u, who := personsCard(t)
	_, err := openCard(t.Context(), u, p11.CKF_RW_SESSION, who.ask, func(c *Card) error {
		public, private := templates(u.Object, plan{kind: kindEC}, plain)
		for _, a := range private {
			if a.Type == p11.CKA_EXTRACTABLE {
				a.Value = []byte{1}
			}
		}
		if _, _, err := c.mod.ctx.GenerateKeyPair(c.h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)}, public, private); err != nil {
			t.Fatal(err)
		}
		return c.find()
	})
	if !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("an extractable key: %v", err)
	}
}
