package pkcs11

import (
	"bytes"
	"context"
	"errors"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// AskPIN asks the person for the PIN of the card of that label.
type AskPIN func(label string) (secret.Bytes, error)

// Card is a person's key on a token: one P-256 key that signs, named by the URI's
// object. Nothing is repeated: a card that fails or goes away in the middle is an
// error, and the person starts again. It is used by one goroutine.
type Card struct {
	mod    *module
	uri    pkcs11uri.URI
	label  string // the token's
	h      p11.SessionHandle
	open   bool
	key    p11.ObjectHandle
	public signature.PublicKey
	pin    secret.Bytes // for keys that ask at each use; gone with Close
	always bool         // CKA_ALWAYS_AUTHENTICATE
}

// OpenCard logs in, with the PIN's one try, and finds the key, which must be public:
// a signature of another would be worth nothing.
func OpenCard(ctx context.Context, u pkcs11uri.URI, public signature.PublicKey, ask AskPIN) (*Card, error) {
	return openCard(ctx, u, 0, ask, func(c *Card) error {
		if err := c.find(); err != nil {
			return err
		}
		if c.public != public {
			return hsm.Errorf(hsm.ErrConfig, "insert the card that the key file was made with, or make a new key file and put its key into the roster",
				"card %q holds another key %q than the key file names: %v, want %v", c.label, u.Object, c.public, public)
		}
		return nil
	})
}

// MakeCard is OpenCard for a key that is not known yet. One that is not on the token is
// made there, never to leave it. It signs once, and the token is asked for the key and
// must refuse.
func MakeCard(ctx context.Context, u pkcs11uri.URI, ask AskPIN) (*Card, error) {
	return openCard(ctx, u, p11.CKF_RW_SESSION, ask, func(c *Card) error {
		err := c.find()
		if errors.Is(err, hsm.ErrNotProvisioned) {
			if err = generate(c.mod, c.h, u.Object, plan{kind: kindEC}); err == nil {
				err = c.find()
			}
		}
		if err != nil {
			return err
		}
		if leaks(c.mod, c.h, []key{{use: c.key}}) {
			return hsm.Errorf(hsm.ErrDevice, "use another card", "card %q gives the private key %q to whoever has its PIN", c.label, u.Object)
		}
		_, err = c.sign(signature.Statement{Domain: "coffer/hsm-self-test/v1", Body: []byte("card")}.Digest())
		return err
	})
}

func openCard(ctx context.Context, u pkcs11uri.URI, flags uint, ask AskPIN, then func(*Card) error) (*Card, error) {
	switch {
	case ctx.Err() != nil:
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't open the card: %w", ctx.Err())
	case u.Module == "":
		return nil, hsm.Errorf(hsm.ErrConfig, "add ?module-path=/path/to/library.so to the URI", "the URI names no PKCS#11 module")
	case u.Token == "" && u.Serial == "" && u.Slot == nil:
		return nil, hsm.Errorf(hsm.ErrConfig, "add token=LABEL or serial=NUMBER to the URI", "the URI names no token")
	case u.Object == "":
		return nil, hsm.Errorf(hsm.ErrConfig, "add object=LABEL to the URI", "the URI names no key")
	}
	m, err := load(u.Module, u.Init)
	if err != nil {
		return nil, err
	}
	c := &Card{mod: m, uri: u}
	m.mu.RLock()
	err = c.logIn(flags, ask)
	if err == nil {
		err = then(c)
	}
	m.mu.RUnlock()
	if err != nil {
		return nil, errors.Join(failed("use the card "+name(u), err), c.Close())
	}
	return c, nil
}

// logIn gives the PIN its one try. A PIN of a file that was refused before isn't tried.
func (c *Card) logIn(flags uint, ask AskPIN) error {
	t, err := findToken(c.mod, c.uri)
	if err != nil {
		return err
	}
	c.label = clean(t.info.Label)
	if err := mayCount(t); err != nil {
		return err
	}
	if c.h, err = c.mod.ctx.OpenSession(t.slot, p11.CKF_SERIAL_SESSION|flags); err != nil {
		return err
	}
	c.open = true
	try := func(pin string) error { return c.mod.ctx.Login(c.h, p11.CKU_USER, pin) }
	now := func() uint {
		info, _ := c.mod.ctx.GetTokenInfo(t.slot) // on an error the flags say nothing
		return info.Flags
	}
	if c.uri.PIN != "" {
		p, err := readPIN(c.uri.PIN)
		if err != nil {
			return err
		}
		defer p.destroy()
		if err := p.login(t, try, now); err != nil {
			return err
		}
		c.pin = secret.New(bytes.Clone(p.value.Reveal()))
		return nil
	}
	if c.pin, err = ask(c.label); err != nil {
		return err
	}
	if !onePIN(c.pin.Reveal()) {
		return hsm.Errorf(hsm.ErrPIN, "", "the PIN of card %q is one line that isn't empty", c.label)
	}
	return c.pinError(try(string(c.pin.Reveal())), now)
}

// pinError says what the token's answer to the PIN means.
func (c *Card) pinError(err error, flags func() uint) error {
	switch code := rv(err); {
	case err == nil, code == p11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case code == p11.CKR_PIN_LOCKED:
		return hsm.Errorf(hsm.ErrLocked, "have it unblocked with the card's PUK, or its security officer's PIN", "card %q is locked: %w", c.label, err)
	case code == p11.CKR_USER_PIN_NOT_INITIALIZED:
		return hsm.Errorf(hsm.ErrConfig, "set the user PIN with the vendor's tool", "card %q has no user PIN yet", c.label)
	case pinRefused(err):
		return hsm.Errorf(hsm.ErrPIN, "start again with the right PIN", "card %q refused the PIN, which was tried once (%s): %w", c.label, triesLeft(flags()), err)
	}
	return err
}

// find finds the one key of the label. Its public half has the same CKA_ID on cards
// that name halves differently.
func (c *Card) find() error {
	private, err := find(c.mod, c.h, p11.CKO_PRIVATE_KEY, c.uri.Object)
	switch {
	case err != nil:
		return err
	case len(private) > 1:
		return tooMany(c.uri.Object)
	case len(private) == 0:
		return hsm.Errorf(hsm.ErrNotProvisioned, "coffer user create NAME --pkcs11 URI makes one, for a new key file", "card %q holds no key %q", c.label, c.uri.Object)
	}
	c.key = private[0]
	if err := checkPrivate(c.mod, c.h, c.key, c.uri.Object); err != nil {
		return err
	}
	id, err := attribute(c.mod, c.h, c.key, p11.CKA_ID)
	if err != nil {
		return err
	}
	public, err := findAll(c.mod, c.h, 2, p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), p11.NewAttribute(p11.CKA_ID, id))
	switch {
	case err != nil:
		return err
	case len(public) != 1:
		return hsm.Errorf(hsm.ErrConfig, "a card that shows a certificate only needs its public key written beside it", "card %q shows %d public keys of the key %q, want one", c.label, len(public), c.uri.Object)
	}
	point, err := readPoint(c.mod, c.h, public[0], c.uri.Object)
	if err != nil {
		return err
	}
	if v, err := attribute(c.mod, c.h, c.key, p11.CKA_ALWAYS_AUTHENTICATE); err == nil && len(v) == 1 {
		c.always = v[0] != 0
	}
	c.public, err = signature.ParsePublicKey(signature.P256, point)
	return err
}

// Public is the key's public half.
func (c *Card) Public() signature.PublicKey { return c.public }

// SignDigest signs a statement's digest, or a device's challenge, and looks whether the
// signature is good.
func (c *Card) SignDigest(digest [32]byte) (signature.Signature, error) {
	if !c.open {
		return signature.Signature{}, hsm.Errorf(hsm.ErrUnavailable, "", "the card is closed")
	}
	c.mod.mu.RLock()
	defer c.mod.mu.RUnlock()
	sig, err := c.sign(digest)
	if err != nil {
		return signature.Signature{}, failed("sign with the card "+name(c.uri), err)
	}
	return sig, nil
}

func (c *Card) sign(digest [32]byte) (signature.Signature, error) {
	if err := c.mod.ctx.SignInit(c.h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, c.key); err != nil {
		return signature.Signature{}, err
	}
	if c.always {
		err := c.mod.ctx.Login(c.h, p11.CKU_CONTEXT_SPECIFIC, string(c.pin.Reveal()))
		if err := c.pinError(err, func() uint { return 0 }); err != nil {
			return signature.Signature{}, err
		}
	}
	raw, err := c.mod.ctx.Sign(c.h, digest[:])
	if err != nil {
		return signature.Signature{}, err
	}
	sig, err := signature.NormalizeP256(raw)
	if err == nil {
		err = signature.VerifyDigest(c.public, digest, sig)
	}
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "card %q signs wrongly: %w", c.label, err)
	}
	return sig, nil
}

// Close ends the session, and with it the login, and forgets the PIN.
func (c *Card) Close() error {
	if c.mod == nil {
		return nil
	}
	c.pin.Destroy()
	if c.open {
		// A session that doesn't close went with its card.
		_ = c.mod.ctx.Logout(c.h)
		_ = c.mod.ctx.CloseSession(c.h)
	}
	m := c.mod
	c.mod, c.open = nil, false
	return m.release()
}
