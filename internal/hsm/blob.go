package hsm

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// Suite names how a blob is sealed. Numbers are never reused.
type Suite uint16

const (
	// SuiteHPKE is HPKE base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and
	// AES-256-GCM. The device does the one Diffie-Hellman.
	SuiteHPKE Suite = 1
	// The others seal with AES-256-GCM under a data key that is used once and that
	// the device wraps: under AES-256-GCM,
	SuiteGCM Suite = 2
	// under AES-256-CBC and HMAC-SHA256,
	SuiteCBCHMAC Suite = 3
	// under RSA-OAEP with SHA-256 for hash and mask,
	SuiteOAEP256 Suite = 4
	// or with SHA-1, which is all that some devices do. OAEP needs no collision
	// resistance of it.
	SuiteOAEP1 Suite = 5
)

func (s Suite) String() string {
	switch s {
	case SuiteHPKE:
		return "seal:hpke-p256-sha256-aes256gcm"
	case SuiteGCM:
		return "seal:aes-gcm"
	case SuiteCBCHMAC:
		return "seal:aes-cbc-hmac"
	case SuiteOAEP256:
		return "seal:rsa-oaep-sha256"
	case SuiteOAEP1:
		return "seal:rsa-oaep-sha1"
	}
	return fmt.Sprintf("seal:suite-%d", uint16(s))
}

// Named is the suite as it stands in Info.Suites: for cold keys with their class.
func (s Suite) Named(c Class) string {
	if c == ClassState {
		return s.String()
	}
	return c.String() + "-" + s.String()
}

// Public says whether sealing takes the seal key's public half only. Else the device
// is asked for every blob.
func (s Suite) Public() bool { return s == SuiteHPKE || s.rsa() }

func (s Suite) rsa() bool { return s == SuiteOAEP256 || s == SuiteOAEP1 }

// MaxPlaintext and MaxAAD bound what one blob seals and is bound to. MaxEnc bounds
// Blob.Enc.
const (
	MaxPlaintext = 1 << 20
	MaxAAD       = 64 << 10
	MaxEnc       = 512
)

const (
	blobVersion = 2
	pointSize   = 65 // uncompressed SEC1 point on P-256
	tagSize     = 16 // AES-GCM
	keySize     = 32 // of a data key, and of a shared secret
	gcmEncSize  = 12 + keySize + tagSize
	cbcEncSize  = 16 + keySize + 32
	nameSize    = 16 // of a symmetric seal key, in the place of a public half
	sealDomain  = "coffer/hsm-seal/v2"
	keyDomain   = "coffer/hsm-seal-key/v2"
)

// checkEnc refuses an encapsulation that no device makes in this suite.
func (s Suite) checkEnc(n int) error {
	switch {
	case s == SuiteHPKE && n == pointSize, s == SuiteGCM && n == gcmEncSize, s == SuiteCBCHMAC && n == cbcEncSize,
		s.rsa() && (n == 256 || n == 384 || n == 512):
		return nil
	case s < SuiteHPKE || s > SuiteOAEP1:
		return fmt.Errorf("suite %d, want 1 (HPKE) to 5 (RSA-OAEP)", uint16(s))
	}
	return fmt.Errorf("encapsulated key of %d bytes is not of suite %v", n, s)
}

// Blob is a sealed blob taken apart. All of it is public and, but for the
// ciphertext, readable without the device.
type Blob struct {
	Suite      Suite
	Class      Class
	Epoch      uint64
	KeyID      [16]byte // of the seal key that opens it
	Enc        []byte   // the encapsulated key of HPKE, or the wrapped data key
	Ciphertext []byte
}

// Encode is the canonical encoding.
func (b Blob) Encode() []byte {
	return wire.NewWriter(blobVersion).Uint16(uint16(b.Suite)).Uint8(uint8(b.Class)).Uint64(b.Epoch).
		Fixed(b.KeyID[:]).Var(b.Enc).Var(b.Ciphertext).Bytes()
}

// DecodeBlob is the inverse of Encode. It checks the form, not the seal.
func DecodeBlob(p []byte) (Blob, error) {
	var b Blob
	r := wire.NewReader(p, blobVersion)
	b.Suite = Suite(r.Uint16("suite"))
	b.Class = Class(r.Uint8("class"))
	b.Epoch = r.Uint64("epoch")
	r.Into("key id", b.KeyID[:])
	b.Enc = r.Var("encapsulated key", MaxEnc)
	b.Ciphertext = r.Var("ciphertext", MaxPlaintext+tagSize)
	if r.Err() == nil {
		if err := b.check(); err != nil {
			r.Fail(err)
		}
	}
	if err := r.Done(); err != nil {
		return Blob{}, fmt.Errorf("couldn't decode sealed blob: %w", err)
	}
	return b, nil
}

func (b Blob) check() error {
	if err := b.Suite.checkEnc(len(b.Enc)); err != nil {
		return err
	}
	if err := b.Class.Check(); err != nil {
		return err
	}
	if b.Epoch == 0 {
		return fmt.Errorf("epoch 0, the first is 1")
	}
	if len(b.Ciphertext) < tagSize {
		return fmt.Errorf("ciphertext of %d bytes, at least %d", len(b.Ciphertext), tagSize)
	}
	return nil
}

// header is what names the blob's key. All of it is bound, so that a relabelled
// epoch, class, key or suite does not open.
func (b Blob) header() []byte {
	return wire.NewWriter(blobVersion).String(sealDomain).
		Uint16(uint16(b.Suite)).Uint8(uint8(b.Class)).Uint64(b.Epoch).Fixed(b.KeyID[:]).Bytes()
}

// MaxBind bounds what Wrap and Unwrap are given to bind: a header.
const MaxBind = 128

// SealKey is what may be known of a seal key.
type SealKey struct {
	Suite Suite
	Class Class
	Epoch uint64
	// Public is the public half: an uncompressed point for HPKE, the modulus for
	// RSA-OAEP (the exponent is 65537). A symmetric key has a name of 16 bytes, chosen
	// at random when it was made.
	Public []byte
}

// ID names the seal key in blobs.
func (k SealKey) ID() [16]byte {
	w := wire.NewWriter(blobVersion).Uint16(uint16(k.Suite)).Uint8(uint8(k.Class)).Uint64(k.Epoch).Var(k.Public)
	h := wire.Hash(keyDomain, w.Bytes())
	return [16]byte(h[:16])
}
