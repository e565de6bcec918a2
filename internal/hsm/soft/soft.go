package soft

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// Device is an open software HSM.
type Device struct {
	dir    string
	sign   map[hsm.Role]*ecdsa.PrivateKey
	public map[hsm.Role]signature.PublicKey
	serial string
	closed atomic.Bool

	mu   sync.Mutex // guards seal, and lets one change of epoch run at a time
	seal map[sealName]*ecdh.PrivateKey
}

var (
	_ hsm.HSM     = (*Device)(nil)
	_ hsm.Sealer  = (*Device)(nil)
	_ hsm.Ratchet = (*Device)(nil)
)

// Open reads the keys that Provision made.
func Open(ctx context.Context, dir string) (*Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't open the software HSM %s: %w", dir, err)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	d := &Device{
		dir:    dir,
		sign:   make(map[hsm.Role]*ecdsa.PrivateKey),
		public: make(map[hsm.Role]signature.PublicKey),
		seal:   make(map[sealName]*ecdh.PrivateKey),
	}
	for _, role := range hsm.Roles() {
		key, err := readKey(keyFile(dir, role.String()))
		if err != nil {
			return nil, err
		}
		raw, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, hsm.Errorf(hsm.ErrDevice, "", "couldn't encode the %v key: %w", role, err)
		}
		if d.public[role], err = signature.ParsePublicKey(signature.P256, raw); err != nil {
			return nil, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the %v key: %w", role, err)
		}
		d.sign[role] = key
	}
	d.serial = d.public[hsm.RoleIdentity].Fingerprint()
	epoch, err := newest(dir)
	if err != nil {
		return nil, err
	}
	if epoch == 0 {
		return nil, hsm.Errorf(hsm.ErrNotProvisioned, "provision the device", "key file %s is not there", keyFile(dir, sealName{hsm.ClassState, 1}.String()))
	}
	for _, class := range hsm.Classes() {
		if _, err := d.sealKey(class, epoch); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Info says that nothing is protected here.
func (d *Device) Info() hsm.Info {
	return hsm.Info{
		Vendor:   "Coffer",
		Model:    "software HSM, development only",
		Firmware: "2",
		Serial:   d.serial,
		Label:    filepath.Base(d.dir),
		Suites:   []string{hsm.SignP256, hsm.SuiteHPKE.Named(hsm.ClassState), hsm.SuiteHPKE.Named(hsm.ClassCold), hsm.HasRatchet},
	}
}

func (d *Device) ready(ctx context.Context) error {
	if d.closed.Load() {
		return hsm.Errorf(hsm.ErrUnavailable, "", "software HSM %s is closed", d.dir)
	}
	if err := ctx.Err(); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "", "software HSM %s: %w", d.dir, err)
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
	if err := d.ready(ctx); err != nil {
		return signature.Signature{}, err
	}
	if err := role.CheckPlain(); err != nil {
		return signature.Signature{}, err
	}
	if err := hsm.CheckStatement(st); err != nil {
		return signature.Signature{}, err
	}
	digest := st.Digest()
	// The reader is crypto/rand because crypto/ecdsa ignores any other.
	r, s, err := ecdsa.Sign(rand.Reader, d.sign[role], digest[:])
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't sign: %w", err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return signature.NormalizeP256(raw[:])
}

// SealKey returns the public half of a seal key.
func (d *Device) SealKey(ctx context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if err := d.ready(ctx); err != nil {
		return hsm.SealKey{}, err
	}
	key, err := d.sealKey(class, epoch)
	if err != nil {
		return hsm.SealKey{}, err
	}
	return hsm.SealKey{Suite: hsm.SuiteHPKE, Class: class, Epoch: epoch, Public: key.PublicKey().Bytes()}, nil
}

// Wrap is not for HPKE.
func (d *Device) Wrap(context.Context, hsm.Class, uint64, []byte, []byte) ([]byte, error) {
	return nil, hsm.Errorf(hsm.ErrUnsupported, "", "a software HSM wraps no keys: seal to its public key")
}

// Unwrap does one Diffie-Hellman with a seal key. A cold key asks nobody: Info says so.
func (d *Device) Unwrap(ctx context.Context, class hsm.Class, epoch uint64, enc, _ []byte, _ hsm.Approver) ([]byte, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	key, err := d.sealKey(class, epoch)
	if err != nil {
		return nil, err
	}
	peer, err := ecdh.P256().NewPublicKey(enc)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: not a point on P-256: %w", err)
	}
	shared, err := key.ECDH(peer)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: %w", err)
	}
	return shared, nil
}

// Seal seals to a seal key.
func (d *Device) Seal(ctx context.Context, class hsm.Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	return hsm.SealWith(ctx, d, class, epoch, plaintext, aad)
}

// Unseal opens a blob.
func (d *Device) Unseal(ctx context.Context, blob, aad []byte, ap hsm.Approver) ([]byte, error) {
	return hsm.OpenWith(ctx, d, blob, aad, ap)
}

// Close ends the use of the device.
func (d *Device) Close() error {
	d.closed.Store(true)
	return nil
}

// generate makes one key and returns its file contents.
func generate() (secret.Bytes, error) {
	// As in Sign: crypto/ecdsa draws from crypto/rand whatever it is given.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return secret.Bytes{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't generate a key: %w", err)
	}
	return encodeKey(key)
}

// String names the file.
func (n sealName) String() string {
	name := "seal"
	if n.class == hsm.ClassCold {
		name = "cold"
	}
	if n.epoch == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, n.epoch)
}
