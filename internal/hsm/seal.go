package hsm

import (
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
)

// Suite names how a blob is sealed. Numbers are never reused.
type Suite uint16

// SuiteHPKE is HPKE base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and
// AES-256-GCM.
const SuiteHPKE Suite = 1

func (s Suite) String() string {
	if s == SuiteHPKE {
		return "seal:hpke-p256-sha256-aes256gcm"
	}
	return fmt.Sprintf("seal:suite-%d", uint16(s))
}

// MaxPlaintext and MaxAAD bound what one blob seals and is bound to.
const (
	MaxPlaintext = 1 << 20
	MaxAAD       = 64 << 10
)

const (
	blobVersion = 1
	pointSize   = 65 // uncompressed SEC1 point on P-256
	tagSize     = 16 // AES-GCM
	sealDomain  = "coffer/hsm-seal/v1"
	keyDomain   = "coffer/hsm-seal-key/v1"
)

// Blob is a sealed blob taken apart. All of it is public and, but for the
// ciphertext, readable without the device.
type Blob struct {
	Suite      Suite
	Epoch      uint64
	KeyID      [16]byte        // of the seal key that opens it
	Enc        [pointSize]byte // the encapsulated key of HPKE
	Ciphertext []byte
}

// Encode is the canonical encoding.
func (b Blob) Encode() []byte {
	return wire.NewWriter(blobVersion).Uint16(uint16(b.Suite)).Uint64(b.Epoch).
		Fixed(b.KeyID[:]).Fixed(b.Enc[:]).Var(b.Ciphertext).Bytes()
}

// DecodeBlob is the inverse of Encode. It checks the form, not the seal.
func DecodeBlob(p []byte) (Blob, error) {
	var b Blob
	r := wire.NewReader(p, blobVersion)
	b.Suite = Suite(r.Uint16("suite"))
	b.Epoch = r.Uint64("epoch")
	r.Into("key id", b.KeyID[:])
	r.Into("encapsulated key", b.Enc[:])
	b.Ciphertext = r.Var("ciphertext", MaxPlaintext+tagSize)
	if err := r.Done(); err != nil {
		return Blob{}, fmt.Errorf("couldn't decode sealed blob: %w", err)
	}
	if b.Suite != SuiteHPKE {
		return Blob{}, fmt.Errorf("couldn't decode sealed blob: suite %d, want %d (HPKE)", uint16(b.Suite), uint16(SuiteHPKE))
	}
	if len(b.Ciphertext) < tagSize {
		return Blob{}, fmt.Errorf("couldn't decode sealed blob: ciphertext of %d bytes, at least %d", len(b.Ciphertext), tagSize)
	}
	return b, nil
}

// info binds the blob's header to the key schedule, so that a relabelled epoch,
// key or suite does not open.
func (b Blob) info() []byte {
	return wire.NewWriter(blobVersion).String(sealDomain).
		Uint16(uint16(b.Suite)).Uint64(b.Epoch).Fixed(b.KeyID[:]).Bytes()
}

// SealKeyID names a seal key in blobs.
func SealKeyID(k *ecdh.PublicKey) [16]byte {
	h := wire.Hash(keyDomain, k.Bytes())
	return [16]byte(h[:16])
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

// SealTo seals to a seal key. It needs no device: anybody can seal, so a blob is
// no evidence of who made it.
func SealTo(key *ecdh.PublicKey, epoch uint64, plaintext, aad []byte) ([]byte, error) {
	if err := checkSizes(len(plaintext), len(aad)); err != nil {
		return nil, err
	}
	b := Blob{Suite: SuiteHPKE, Epoch: epoch, KeyID: SealKeyID(key)}
	pub, err := hpke.NewDHKEMPublicKey(key)
	if err != nil {
		return nil, Errorf(ErrInput, "", "couldn't use the seal key: %w", err)
	}
	enc, s, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), b.info())
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't encapsulate to the seal key: %w", err)
	}
	if copy(b.Enc[:], enc) != len(enc) {
		return nil, Errorf(ErrInput, "", "encapsulated key of %d bytes, want %d", len(enc), pointSize)
	}
	if b.Ciphertext, err = s.Seal(aad, plaintext); err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't seal %d bytes: %w", len(plaintext), err)
	}
	return b.Encode(), nil
}

// OpenWith opens a blob with the device that holds its seal key.
func OpenWith(ctx context.Context, x Exchanger, blob, aad []byte) ([]byte, error) {
	if err := checkSizes(0, len(aad)); err != nil {
		return nil, err
	}
	b, err := DecodeBlob(blob)
	if err != nil {
		return nil, Errorf(ErrUnseal, "", "%w", err)
	}
	key, err := x.SealKey(ctx)
	if err != nil {
		return nil, err
	}
	if id := SealKeyID(key); id != b.KeyID {
		return nil, Errorf(ErrUnseal, "use the token that this state was sealed with",
			"sealed to key %x, this device holds %x", b.KeyID, id)
	}
	if _, err := ecdh.P256().NewPublicKey(b.Enc[:]); err != nil {
		return nil, Errorf(ErrUnseal, "", "encapsulated key is not a point on P-256: %w", err)
	}
	ex := &exchange{ctx: ctx, x: x, key: key}
	priv, err := hpke.NewDHKEMPrivateKey(ex)
	if err != nil {
		return nil, Errorf(ErrDevice, "", "couldn't use the device's seal key: %w", err)
	}
	rcpt, err := hpke.NewRecipient(b.Enc[:], priv, hpke.HKDFSHA256(), hpke.AES256GCM(), b.info())
	secret.Wipe(ex.shared)
	switch {
	case ex.err != nil: // the device's own error says more than HPKE's
		return nil, ex.err
	case err != nil:
		return nil, Errorf(ErrUnseal, "", "couldn't decapsulate: %w", err)
	}
	plaintext, err := rcpt.Open(aad, b.Ciphertext)
	if err != nil {
		return nil, Errorf(ErrUnseal, "", "blob of %d bytes was altered, or was sealed with other additional data", len(blob))
	}
	return plaintext, nil
}

// exchange is one Diffie-Hellman at the device, in the shape that crypto/hpke
// takes. It lives for one OpenWith, which is why it may hold the context.
type exchange struct {
	ctx    context.Context
	x      Exchanger
	key    *ecdh.PublicKey
	shared []byte
	err    error
}

func (e *exchange) PublicKey() *ecdh.PublicKey { return e.key }
func (e *exchange) Curve() ecdh.Curve          { return ecdh.P256() }

func (e *exchange) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	e.shared, e.err = e.x.Exchange(e.ctx, peer)
	if e.err == nil && len(e.shared) != 32 {
		e.err = Errorf(ErrDevice, "", "device returned a shared secret of %d bytes, want 32", len(e.shared))
	}
	return e.shared, e.err
}
