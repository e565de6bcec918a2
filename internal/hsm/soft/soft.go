package soft

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"path/filepath"
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
	seal   *ecdh.PrivateKey
	closed atomic.Bool
}

var (
	_ hsm.HSM       = (*Device)(nil)
	_ hsm.Exchanger = (*Device)(nil)
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
	key, err := readKey(keyFile(dir, sealName))
	if err != nil {
		return nil, err
	}
	if d.seal, err = key.ECDH(); err != nil {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the seal key: %w", err)
	}
	return d, nil
}

// Info says that nothing is protected here.
func (d *Device) Info() hsm.Info {
	return hsm.Info{
		Vendor:   "Coffer",
		Model:    "software HSM, development only",
		Firmware: "1",
		Serial:   fmt.Sprintf("%x", hsm.SealKeyID(d.seal.PublicKey())),
		Label:    filepath.Base(d.dir),
		Suites:   []string{hsm.SignP256, hsm.SuiteHPKE.String()},
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
	if err := role.Check(); err != nil {
		return signature.PublicKey{}, err
	}
	return d.public[role], nil
}

// Sign signs a statement.
func (d *Device) Sign(ctx context.Context, role hsm.Role, st signature.Statement) (signature.Signature, error) {
	if err := d.ready(ctx); err != nil {
		return signature.Signature{}, err
	}
	if err := role.Check(); err != nil {
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

// SealKey returns the public half of the seal key.
func (d *Device) SealKey(ctx context.Context) (*ecdh.PublicKey, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	return d.seal.PublicKey(), nil
}

// Exchange does one Diffie-Hellman with the seal key.
func (d *Device) Exchange(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	shared, err := d.seal.ECDH(peer)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: %w", err)
	}
	return shared, nil
}

// Seal seals to the seal key.
func (d *Device) Seal(ctx context.Context, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	return hsm.SealTo(d.seal.PublicKey(), epoch, plaintext, aad)
}

// Unseal opens a blob.
func (d *Device) Unseal(ctx context.Context, blob, aad []byte) ([]byte, error) {
	return hsm.OpenWith(ctx, d, blob, aad)
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
