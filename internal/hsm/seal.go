package hsm

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"math/big"
	"slices"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
)

// Sealer is a device's part in sealing: what only it can do. SealWith and OpenWith
// do the rest in the process of the caller, so that neither the device nor its helper
// sees what is sealed. Every HSM of this module is one.
type Sealer interface {
	// SealKey returns what may be known of a seal key. An epoch that is erased, or
	// not yet made, is ErrInput.
	SealKey(ctx context.Context, class Class, epoch uint64) (SealKey, error)
	// Wrap wraps a 32-byte data key, where that takes the device (not Suite.Public).
	// bind is bound to it.
	Wrap(ctx context.Context, class Class, epoch uint64, key, bind []byte) ([]byte, error)
	// Unwrap returns the 32 bytes that enc is the wrapping of: for HPKE, where enc is
	// a point, the x-coordinate of its product with the private half. The caller
	// wipes them. For a cold key ap answers the device.
	Unwrap(ctx context.Context, class Class, epoch uint64, enc, bind []byte, ap Approver) ([]byte, error)
}

func checkSizes(plaintext, aad int) error {
	if plaintext > MaxPlaintext {
		return Errorf(ErrInput, "", "plaintext of %d bytes, at most %d", plaintext, MaxPlaintext)
	}
	if aad > MaxAAD {
		return Errorf(ErrInput, "", "additional data of %d bytes, at most %d", aad, MaxAAD)
	}
	return nil
}

// CheckSealKey refuses a class or an epoch that no device has.
func CheckSealKey(class Class, epoch uint64) error {
	if epoch == 0 {
		return Errorf(ErrInput, "", "seal epoch 0, the first is 1")
	}
	return class.Check()
}

// SealWith seals with a seal key of a device. Where the suite is public it asks the
// device for the public half only, so a blob is no evidence of who made it.
func SealWith(ctx context.Context, d Sealer, class Class, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	if err := checkSizes(len(plaintext), len(aad)); err != nil {
		return nil, err
	}
	if err := CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	key, err := d.SealKey(ctx, class, epoch)
	if err != nil {
		return nil, err
	}
	if key.Suite == SuiteHPKE {
		return SealTo(key, plaintext, aad)
	}
	data := make([]byte, keySize)
	defer secret.Wipe(data)
	rand.Read(data)
	b := Blob{Suite: key.Suite, Class: class, Epoch: epoch, KeyID: key.ID()}
	if key.Suite.rsa() {
		b.Enc, err = wrapRSA(key, data)
	} else {
		b.Enc, err = d.Wrap(ctx, class, epoch, data, b.header())
	}
	if err != nil {
		return nil, err
	}
	if err := b.Suite.checkEnc(len(b.Enc)); err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't seal: %w", err)
	}
	if b.Ciphertext, err = b.data(data, func(g cipher.AEAD, nonce, bound []byte) ([]byte, error) {
		return g.Seal(nil, nonce, plaintext, bound), nil
	}, aad); err != nil {
		return nil, err
	}
	return b.Encode(), nil
}

// data runs AES-256-GCM under a data key. A data key seals once, so its nonce is zero.
func (b Blob) data(key []byte, f func(g cipher.AEAD, nonce, bound []byte) ([]byte, error), aad []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't use the data key: %w", err)
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't use the data key: %w", err)
	}
	bound := wire.NewWriter(blobVersion).Var(b.header()).Var(b.Enc).Var(aad).Bytes()
	return f(g, make([]byte, g.NonceSize()), bound)
}

// SealTo seals to an HPKE seal key. It needs no device.
func SealTo(key SealKey, plaintext, aad []byte) ([]byte, error) {
	if err := checkSizes(len(plaintext), len(aad)); err != nil {
		return nil, err
	}
	b := Blob{Suite: SuiteHPKE, Class: key.Class, Epoch: key.Epoch, KeyID: key.ID()}
	point, err := key.point()
	if err != nil {
		return nil, err
	}
	pub, err := hpke.NewDHKEMPublicKey(point)
	if err != nil {
		return nil, Errorf(ErrInput, "", "couldn't use the seal key: %w", err)
	}
	enc, s, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), b.header())
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't encapsulate to the seal key: %w", err)
	}
	b.Enc = enc
	if b.Ciphertext, err = s.Seal(aad, plaintext); err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't seal %d bytes: %w", len(plaintext), err)
	}
	return b.Encode(), nil
}

func (k SealKey) point() (*ecdh.PublicKey, error) {
	p, err := ecdh.P256().NewPublicKey(k.Public)
	if k.Suite != SuiteHPKE || err != nil {
		return nil, Errorf(ErrInput, "", "couldn't use the seal key: %d bytes in suite %v are not a point on P-256", len(k.Public), k.Suite)
	}
	return p, nil
}

// Check refuses a key that no device has: what came from a device or its helper is
// checked before it is sealed to.
func (k SealKey) Check() error {
	if err := CheckSealKey(k.Class, k.Epoch); err != nil {
		return err
	}
	switch {
	case k.Suite == SuiteHPKE:
		_, err := k.point()
		return err
	case k.Suite.rsa():
		_, err := k.rsa()
		return err
	case k.Suite != SuiteGCM && k.Suite != SuiteCBCHMAC:
		return Errorf(ErrInput, "", "seal key of unknown suite %d", uint16(k.Suite))
	case len(k.Public) != nameSize:
		return Errorf(ErrInput, "", "seal key's name of %d bytes, want %d", len(k.Public), nameSize)
	}
	return nil
}

func (k SealKey) rsa() (*rsa.PublicKey, error) {
	n := new(big.Int).SetBytes(k.Public)
	if bits := len(k.Public) * 8; n.BitLen() != bits || !slices.Contains([]int{2048, 3072, 4096}, bits) || n.Bit(0) == 0 {
		return nil, Errorf(ErrInput, "", "RSA seal key with a modulus of %d bytes and %d bits, want 2048, 3072 or 4096 bits and odd", len(k.Public), n.BitLen())
	}
	return &rsa.PublicKey{N: n, E: 65537}, nil
}

func wrapRSA(k SealKey, data []byte) ([]byte, error) {
	pub, err := k.rsa()
	if err != nil {
		return nil, err
	}
	var h hash.Hash = sha256.New()
	if k.Suite == SuiteOAEP1 {
		h = sha1.New()
	}
	enc, err := rsa.EncryptOAEP(h, rand.Reader, pub, data, nil)
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't wrap to the seal key: %w", err)
	}
	return enc, nil
}

// OpenWith opens a blob with the device that holds its seal key.
func OpenWith(ctx context.Context, d Sealer, blob, aad []byte, ap Approver) ([]byte, error) {
	if err := checkSizes(0, len(aad)); err != nil {
		return nil, err
	}
	b, err := DecodeBlob(blob)
	if err != nil {
		return nil, Errorf(ErrUnseal, "", "%w", err)
	}
	key, err := d.SealKey(ctx, b.Class, b.Epoch)
	if err != nil {
		return nil, b.unopened(err)
	}
	if id := key.ID(); id != b.KeyID || key.Suite != b.Suite {
		return nil, Errorf(ErrUnseal, "use the token that this state was sealed with",
			"sealed to key %x, this device holds %x", b.KeyID, id)
	}
	if b.Suite == SuiteHPKE {
		return b.openHPKE(ctx, d, key, aad, ap)
	}
	data, err := d.Unwrap(ctx, b.Class, b.Epoch, b.Enc, b.header(), ap)
	if err != nil {
		return nil, b.unopened(err)
	}
	defer secret.Wipe(data)
	if len(data) != keySize {
		return nil, Errorf(ErrDevice, "", "device returned a data key of %d bytes, want %d", len(data), keySize)
	}
	return b.data(data, func(g cipher.AEAD, nonce, bound []byte) ([]byte, error) {
		plaintext, err := g.Open(nil, nonce, b.Ciphertext, bound)
		if err != nil {
			return nil, errAltered(len(b.Ciphertext))
		}
		return plaintext, nil
	}, aad)
}

// unopened says of a device's error what it means for the blob: a seal key that is not
// there, or is of no use for it.
func (b Blob) unopened(err error) error {
	if k := kindOf(err); k != ErrInput && k != ErrUnsupported {
		return err
	}
	return Errorf(ErrUnseal, "if the state is an old copy, that is why it does not open: seal keys are erased when a key was refreshed",
		"sealed in epoch %d: %w", b.Epoch, err)
}

func errAltered(n int) error {
	return Errorf(ErrUnseal, "", "blob with %d bytes of ciphertext was altered, or was sealed with other additional data", n)
}

func (b Blob) openHPKE(ctx context.Context, d Sealer, key SealKey, aad []byte, ap Approver) ([]byte, error) {
	if _, err := ecdh.P256().NewPublicKey(b.Enc); err != nil {
		return nil, Errorf(ErrUnseal, "", "encapsulated key is not a point on P-256: %w", err)
	}
	point, err := key.point()
	if err != nil {
		return nil, err
	}
	ex := &exchange{ctx: ctx, d: d, blob: b, point: point, ap: ap}
	priv, err := hpke.NewDHKEMPrivateKey(ex)
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't use the device's seal key: %w", err)
	}
	rcpt, err := hpke.NewRecipient(b.Enc, priv, hpke.HKDFSHA256(), hpke.AES256GCM(), b.header())
	secret.Wipe(ex.shared)
	switch {
	case ex.err != nil: // the device's own error says more than HPKE's
		return nil, b.unopened(ex.err)
	case err != nil:
		return nil, Errorf(ErrUnseal, "", "couldn't decapsulate: %w", err)
	}
	plaintext, err := rcpt.Open(aad, b.Ciphertext)
	if err != nil {
		return nil, errAltered(len(b.Ciphertext))
	}
	return plaintext, nil
}

// exchange is one Diffie-Hellman at the device, in the shape that crypto/hpke
// takes. It lives for one OpenWith, which is why it may hold the context.
type exchange struct {
	ctx    context.Context
	d      Sealer
	blob   Blob
	point  *ecdh.PublicKey
	ap     Approver
	shared []byte
	err    error
}

func (e *exchange) PublicKey() *ecdh.PublicKey { return e.point }
func (e *exchange) Curve() ecdh.Curve          { return ecdh.P256() }

func (e *exchange) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	e.shared, e.err = e.d.Unwrap(e.ctx, e.blob.Class, e.blob.Epoch, peer.Bytes(), e.blob.header(), e.ap)
	if e.err == nil && len(e.shared) != keySize {
		e.err = Errorf(ErrDevice, "", "device returned a shared secret of %d bytes, want %d", len(e.shared), keySize)
	}
	return e.shared, e.err
}
