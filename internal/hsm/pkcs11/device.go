package pkcs11

import (
	"context"
	"crypto/ecdh"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// Device is a token that is open and logged in.
type Device struct {
	uri    pkcs11uri.URI
	object string
	mod    *module
	pin    *pin

	// Set by Open and read-only after it.
	token  token
	points map[string]string // public points by key name
	public map[hsm.Role]signature.PublicKey
	seal   *ecdh.PublicKey
	derive deriveForm
	info   hsm.Info

	slots  chan struct{} // one for each call under way
	closed atomic.Bool

	mu   sync.Mutex // guards idle
	idle []*session
}

var (
	_ hsm.HSM    = (*Device)(nil)
	_ hsm.Sealer = (*Device)(nil)
)

// connect reads the PIN and loads the module. The caller calls Close.
func connect(ctx context.Context, u pkcs11uri.URI) (*Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't open the token: %w", err)
	}
	if u.Module == "" {
		return nil, hsm.Errorf(hsm.ErrConfig, "add ?module-path=/path/to/library.so to the URI", "the URI names no PKCS#11 module")
	}
	if u.Token == "" && u.Serial == "" && u.Slot == nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "add token=LABEL or serial=NUMBER to the URI", "the URI names no token")
	}
	p, err := readPIN(u.PIN)
	if err != nil {
		return nil, err
	}
	m, err := load(u.Module)
	if err != nil {
		p.destroy()
		return nil, err
	}
	d := &Device{uri: u, object: u.Object, mod: m, pin: p, slots: make(chan struct{}, maxSessions)}
	if d.object == "" {
		d.object = defaultObject
	}
	return d, nil
}

// Open opens a provisioned token, and lets each of its keys prove that it works.
func Open(ctx context.Context, u pkcs11uri.URI) (*Device, error) {
	d, err := connect(ctx, u)
	if err != nil {
		return nil, err
	}
	if err := d.do(ctx, "open the token", d.learn); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.closeIdle() // learn had the token refuse things
	return d, nil
}

// Provision makes the keys that are missing on a token. It never replaces a key;
// after a crash it makes the rest.
func Provision(ctx context.Context, u pkcs11uri.URI) error {
	d, err := connect(ctx, u)
	if err != nil {
		return err
	}
	fill := func() (uint64, error) {
		d.mod.mu.RLock()
		defer d.mod.mu.RUnlock()
		h, _, err := d.logIn(p11.CKF_RW_SESSION)
		if err != nil {
			return d.mod.gen, err
		}
		for _, name := range keyNames() {
			if err = ctx.Err(); err != nil {
				break
			}
			if err = ensureKey(d.mod, h, d.object, name); err != nil {
				break
			}
		}
		return d.mod.gen, errors.Join(err, d.mod.ctx.CloseSession(h))
	}
	gen, err := fill()
	if err != nil && worthRestart(err) { // such as a token that came after the library was started
		if err = d.mod.restart(gen); err == nil {
			_, err = fill()
		}
	}
	return errors.Join(failed("provision the token", err), d.Close())
}

// learn fills in what Open is to know, and tries every key.
func (d *Device) learn(s *session) error {
	points, public := make(map[string]string), make(map[hsm.Role]signature.PublicKey)
	for name, k := range s.keys {
		points[name] = string(k.point)
	}
	for _, role := range hsm.Roles() {
		key, err := signature.ParsePublicKey(signature.P256, s.keys[role.String()].point)
		if err != nil {
			return err
		}
		public[role] = key
		st := signature.Statement{Domain: "coffer/hsm-self-test/v1", Body: []byte(role.String())}
		sig, err := d.signIn(s, role, st)
		if err != nil {
			return fmt.Errorf("%v key: %w", role, err)
		}
		if err := signature.Verify(key, st, sig); err != nil {
			return hsm.Errorf(hsm.ErrDevice, "", "the token's %v key signs wrongly: %w", role, err)
		}
	}
	seal, err := ecdh.P256().NewPublicKey(s.keys[sealKey].point)
	if err != nil {
		return err
	}
	form, err := negotiate(d.mod, s, seal)
	if err != nil {
		return err
	}
	d.points, d.public, d.seal, d.derive = points, public, seal, form
	d.info = hsm.Info{
		Vendor:   clean(d.token.info.ManufacturerID),
		Model:    clean(d.token.info.Model),
		Firmware: fmt.Sprintf("%d.%d", d.token.info.FirmwareVersion.Major, d.token.info.FirmwareVersion.Minor),
		Serial:   clean(d.token.info.SerialNumber),
		Label:    clean(d.token.info.Label),
		Boundary: d.boundary(s),
		Suites:   []string{hsm.SignP256, hsm.SuiteHPKE.String()},
	}
	return nil
}

// boundary grades what holds the keys: none if the token gives one of them away,
// else hardware if the slot calls itself that, else software.
func (d *Device) boundary(s *session) hsm.Grade {
	switch {
	case leaks(d.mod, s):
		return hsm.GradeNone
	case d.token.hardware:
		return hsm.GradeHardware
	}
	return hsm.GradeSoftware
}

// Info says what the token said of itself when it was opened.
func (d *Device) Info() hsm.Info { return d.info }

func (d *Device) ready(ctx context.Context) error {
	if d.closed.Load() {
		return hsm.Errorf(hsm.ErrUnavailable, "", "token %q is closed", d.info.Label)
	}
	if err := ctx.Err(); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "", "token %q: %w", d.info.Label, err)
	}
	return nil
}

// Public returns the verification key of a role.
func (d *Device) Public(ctx context.Context, role hsm.Role) (signature.PublicKey, error) {
	if err := d.ready(ctx); err != nil {
		return signature.PublicKey{}, err
	}
	if err := role.CheckPlain(); err != nil {
		return signature.PublicKey{}, err
	}
	return d.public[role], nil
}

// Sign signs a statement.
func (d *Device) Sign(ctx context.Context, role hsm.Role, st signature.Statement, _ hsm.Approver) (signature.Signature, error) {
	if err := role.CheckPlain(); err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	var sig signature.Signature
	err := d.do(ctx, "sign", func(s *session) (err error) {
		sig, err = d.signIn(s, role, st)
		return err
	})
	return sig, err
}

func (d *Device) signIn(s *session, role hsm.Role, st signature.Statement) (signature.Signature, error) {
	digest := st.Digest()
	if err := d.mod.ctx.SignInit(s.h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, s.keys[role.String()].private); err != nil {
		return signature.Signature{}, err
	}
	raw, err := d.mod.ctx.Sign(s.h, digest[:])
	if err != nil {
		return signature.Signature{}, err
	}
	sig, err := signature.NormalizeP256(raw)
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the token's signature: %w", err)
	}
	return sig, nil
}

// SealKey returns the public half of the seal key.
func (d *Device) SealKey(ctx context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if err := d.ready(ctx); err != nil {
		return hsm.SealKey{}, err
	}
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return hsm.SealKey{}, err
	}
	switch {
	case class != hsm.ClassState:
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrUnsupported, "", "token %q has no %v seal key", d.info.Label, class)
	case epoch != 1:
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrInput, "", "token %q has no seal key of epoch %d", d.info.Label, epoch)
	}
	return hsm.SealKey{Suite: hsm.SuiteHPKE, Class: class, Epoch: epoch, Public: d.seal.Bytes()}, nil
}

// Wrap is not for HPKE.
func (d *Device) Wrap(context.Context, hsm.Class, uint64, []byte, []byte) ([]byte, error) {
	return nil, hsm.Errorf(hsm.ErrUnsupported, "", "token %q wraps no keys: seal to its public key", d.info.Label)
}

// Unwrap does one Diffie-Hellman inside the token.
func (d *Device) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, _ []byte, _ hsm.Approver) ([]byte, error) {
	if _, err := d.SealKey(ctx, class, epoch); err != nil {
		return nil, err
	}
	peer, err := ecdh.P256().NewPublicKey(enc)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: not a point on P-256: %w", err)
	}
	var shared []byte
	err = d.do(ctx, "do the exchange", func(s *session) (err error) {
		shared, err = d.derive.exchange(d.mod, s, peer)
		return err
	})
	return shared, err
}

// Seal seals to the seal key, without the token.
func (d *Device) Seal(ctx context.Context, class hsm.Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	return hsm.SealWith(ctx, d, class, epoch, plaintext, aad)
}

// Unseal opens a blob with one exchange inside the token.
func (d *Device) Unseal(ctx context.Context, blob, aad []byte, ap hsm.Approver) ([]byte, error) {
	return hsm.OpenWith(ctx, d, blob, aad, ap)
}

// Close waits for the calls under way and ends the sessions.
func (d *Device) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	for range maxSessions {
		d.slots <- struct{}{}
	}
	defer func() {
		for range maxSessions {
			<-d.slots
		}
	}()
	d.closeIdle()
	d.pin.destroy()
	return d.mod.release()
}

// closeIdle ends the sessions that no call uses.
func (d *Device) closeIdle() {
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.idle {
		if s.gen == d.mod.gen {
			// A session that does not close is gone with its token.
			_ = d.mod.ctx.CloseSession(s.h)
		}
	}
	d.idle = nil
}

// deriveForm is one of the ways in which devices want an ECDH asked for.
type deriveForm struct {
	octetString bool // the peer's point as a DER octet string, not bare
	length      bool // CKA_VALUE_LEN given, not left to the device
}

var deriveForms = []deriveForm{{false, true}, {true, true}, {false, false}, {true, false}}

// exchange derives the shared secret as a session object, reads it and removes it.
func (f deriveForm) exchange(m *module, s *session, peer *ecdh.PublicKey) ([]byte, error) {
	point := peer.Bytes()
	if f.octetString {
		var err error
		if point, err = asn1.Marshal(point); err != nil {
			return nil, err
		}
	}
	template := []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
		p11.NewAttribute(p11.CKA_TOKEN, false),
		p11.NewAttribute(p11.CKA_SENSITIVE, false),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
	}
	if f.length {
		template = append(template, p11.NewAttribute(p11.CKA_VALUE_LEN, 32))
	}
	params := p11.NewECDH1DeriveParams(p11.CKD_NULL, nil, point)
	o, err := m.ctx.DeriveKey(s.h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE, params)}, s.keys[sealKey].private, template)
	if err != nil {
		return nil, err
	}
	value, err := attribute(m, s.h, o, p11.CKA_VALUE)
	if derr := m.ctx.DestroyObject(s.h, o); err == nil {
		err = derr
	}
	if err != nil {
		secret.Wipe(value)
		return nil, err
	}
	defer secret.Wipe(value)
	return pad(value)
}

// pad gives a shared secret the zero bytes back that some devices drop in front.
func pad(value []byte) ([]byte, error) {
	if len(value) == 0 || len(value) > 32 {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "the token returned a shared secret of %d bytes, want 32", len(value))
	}
	shared := make([]byte, 32)
	copy(shared[32-len(value):], value)
	return shared, nil
}
