package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
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
	public map[hsm.Role]signature.PublicKey
	derive deriveForm
	perUse bool // the token asks for the PIN at each use of a cold key
	info   hsm.Info

	slots   chan struct{} // one for each call under way
	closed  atomic.Bool
	changes sync.Mutex // lets one change of epoch run at a time

	mu      sync.Mutex // guards what follows
	idle    []*session
	known   map[string]key // keys by name, with handles of no use; nil before Open is done
	epoch   uint64         // the newest that is known
	below   uint64         // epochs below were erased; sessions may still know their handles
	refused map[[32]byte]bool
}

var (
	_ hsm.HSM     = (*Device)(nil)
	_ hsm.Sealer  = (*Device)(nil)
	_ hsm.Ratchet = (*Device)(nil)
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
	m, err := load(u.Module, u.Init)
	if err != nil {
		p.destroy()
		return nil, err
	}
	d := &Device{uri: u, object: u.Object, mod: m, pin: p, slots: make(chan struct{}, maxSessions), refused: make(map[[32]byte]bool)}
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

// learn fills in what Open is to know, and tries every key.
func (d *Device) learn(s *session) error {
	known, public := make(map[string]key), make(map[hsm.Role]signature.PublicKey)
	for _, role := range hsm.Roles() {
		k := s.keys[role.String()]
		if err := d.trySession(0, func(h p11.SessionHandle) error { return signsWell(d.mod, h, k, role.String()) }); err != nil {
			return err
		}
		var err error
		if public[role], err = k.verification(); err != nil {
			return err
		}
		known[role.String()] = k
	}
	epoch, err := newestEpoch(d.mod, s.h, d.object)
	if err != nil {
		return err
	}
	if epoch == 0 {
		return hsm.Errorf(hsm.ErrNotProvisioned, "provision the token", "the token holds no key %q", label(d.object, sealName(hsm.ClassState, 1)))
	}
	for _, class := range hsm.Classes() {
		name := sealName(class, epoch)
		if known[name], err = findKey(d.mod, s.h, label(d.object, name)); err != nil {
			return err
		}
	}
	state, cold := known[sealName(hsm.ClassState, epoch)], known[sealName(hsm.ClassCold, epoch)]
	if state.kind == kindEC {
		if d.derive, err = d.negotiateForm(state); err != nil {
			return err
		}
	} else if err := d.trySession(0, func(h p11.SessionHandle) error { return works(d.mod, h, d.derive, state, nil) }); err != nil {
		return fmt.Errorf("state seal key: %w", err)
	}
	if d.perUse, err = d.observe(cold); err != nil {
		return fmt.Errorf("cold seal key: %w", err)
	}
	d.public = public
	d.describe(s, known, state, cold)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.epoch = known, epoch
	return nil
}

// describe grades the token by what was seen.
func (d *Device) describe(s *session, known map[string]key, state, cold key) {
	var keys []key
	for _, k := range known {
		keys = append(keys, k)
	}
	kept := hsm.GradeSoftware
	if d.token.hardware && !emulated(d.token.info) {
		kept = hsm.GradeHardware
	}
	d.info = hsm.Info{
		Vendor:   clean(d.token.info.ManufacturerID),
		Model:    clean(d.token.info.Model),
		Firmware: fmt.Sprintf("%d.%d", d.token.info.FirmwareVersion.Major, d.token.info.FirmwareVersion.Minor),
		Serial:   clean(d.token.info.SerialNumber),
		Label:    clean(d.token.info.Label),
		Boundary: kept,
		Suites:   []string{hsm.SignP256, state.suite.Named(hsm.ClassState), cold.suite.Named(hsm.ClassCold), hsm.HasRatchet},
	}
	if known[hsm.RoleIdentity.String()].kind == kindRSA {
		d.info.Suites[0] = hsm.SignRSA3072
	}
	if d.perUse {
		d.info.PerUse = kept
		d.info.Suites = append(d.info.Suites, hsm.HasPerUse)
	}
	// A session that writes: in another one nothing could be changed anyway.
	_ = d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) error {
		if leaks(d.mod, h, keys) {
			d.info.Boundary = hsm.GradeNone
		}
		if d.perUse && unasked(d.mod, h, cold) {
			d.info.PerUse = hsm.GradeNone
		}
		return nil
	})
	if d.info.Boundary == hsm.GradeNone { // what asks, asks in vain
		d.info.PerUse = hsm.GradeNone
	}
}

// emulated knows devices that call themselves hardware and are not.
func emulated(i p11.TokenInfo) bool {
	return strings.HasPrefix(clean(i.Model), "SW ") && strings.HasSuffix(clean(i.Model), "TPM") // swtpm behind tpm2-pkcs11
}

// verification is the key under which what it signs verifies.
func (k key) verification() (signature.PublicKey, error) {
	if k.kind == kindRSA {
		return signature.ParsePublicKey(signature.RSA3072, k.public)
	}
	return signature.ParsePublicKey(signature.P256, k.public)
}

// signsWell has a key sign, and checks it.
func signsWell(m *module, h p11.SessionHandle, k key, what string) error {
	public, err := k.verification()
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "the token's %s key: %w", what, err)
	}
	st := signature.Statement{Domain: "coffer/hsm-self-test/v1", Body: []byte(what)}
	sig, err := sign(m, h, k, st)
	if err != nil {
		return fmt.Errorf("%s key: %w", what, err)
	}
	if err := signature.Verify(public, st, sig); err != nil {
		return hsm.Errorf(hsm.ErrDevice, "", "the token's %s key signs wrongly: %w", what, err)
	}
	return nil
}

// digestInfo is what stands before a SHA-256 digest in PKCS#1 v1.5.
var digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

func sign(m *module, h p11.SessionHandle, k key, st signature.Statement) (signature.Signature, error) {
	digest := st.Digest()
	mechanism, input := uint(p11.CKM_ECDSA), digest[:]
	if k.kind == kindRSA {
		mechanism, input = p11.CKM_RSA_PKCS, append(append([]byte(nil), digestInfo...), digest[:]...)
	}
	if err := m.ctx.SignInit(h, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, k.use); err != nil {
		return signature.Signature{}, err
	}
	raw, err := m.ctx.Sign(h, input)
	if err != nil {
		return signature.Signature{}, err
	}
	if k.kind == kindRSA {
		return signature.Signature{Algorithm: signature.RSA3072, Bytes: raw}, nil
	}
	sig, err := signature.NormalizeP256(raw)
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the token's signature: %w", err)
	}
	return sig, nil
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

// Sign signs a statement. It asks nobody.
func (d *Device) Sign(ctx context.Context, role hsm.Role, st signature.Statement, _ hsm.Approver) (signature.Signature, error) {
	if err := role.CheckPlain(); err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	var sig signature.Signature
	err := d.do(ctx, "sign", func(s *session) error {
		k, err := d.key(s, role.String())
		if err == nil {
			sig, err = sign(d.mod, s.h, k, st)
		}
		return err
	})
	if err == nil && sig.Algorithm == signature.RSA3072 && len(sig.Bytes) != len(d.public[role].Key) {
		err = hsm.Errorf(hsm.ErrDevice, "", "the token returned a signature of %d bytes, want %d", len(sig.Bytes), len(d.public[role].Key))
	}
	return sig, err
}

// Seal seals to the seal key, where that can be done without the token.
func (d *Device) Seal(ctx context.Context, class hsm.Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	return hsm.SealWith(ctx, d, class, epoch, plaintext, aad)
}

// Unseal opens a blob, of which the token unwraps the key.
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
