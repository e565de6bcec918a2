package backup

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/secret"
)

// Recipient is a recovery key's public half, an X25519 key.
type Recipient [32]byte

// Key is a recovery key. It refuses to be printed; Destroy wipes it.
type Key struct {
	scalar    secret.Bytes
	recipient Recipient
}

// NewKey draws a recovery key.
func NewKey(rand io.Reader) (*Key, error) {
	b := make([]byte, 32)
	defer clear(b)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("backup: couldn't read randomness: %w", err)
	}
	return ParseKey(b)
}

// ParseKey takes the 32 bytes of a recovery key (RFC 7748), which the caller
// wipes.
func ParseKey(b []byte) (*Key, error) {
	k, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("backup: a recovery key of %d bytes, want 32: %w", len(b), err)
	}
	return &Key{secret.New(slices.Clone(b)), Recipient(k.PublicKey().Bytes())}, nil
}

// Bytes returns a copy of the recovery key, which the caller wipes.
func (k *Key) Bytes() []byte { return slices.Clone(k.scalar.Reveal()) }

// Recipient returns the public half.
func (k *Key) Recipient() Recipient { return k.recipient }

// Destroy wipes the key.
func (k *Key) Destroy() { k.scalar.Destroy() }

// Format writes the public half only, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "backup.Key(%x)", k.recipient[:]) }

// Labels of HKDF. Each key has one use.
const (
	labelWrap  = "coffer/mpc/backup/wrap/v1"
	labelCheck = "coffer/mpc/backup/check/v1"
	labelBody  = "coffer/mpc/backup/body/v1"
)

func derive(ikm, salt []byte, label string) ([]byte, error) {
	return hkdf.Key(sha256.New, ikm, salt, label, chacha20poly1305.KeySize)
}

// wrapKey encrypts the file key for one recipient. It is used once: the
// ephemeral key is fresh.
func wrapKey(shared []byte, ephemeral, recipient [32]byte) ([]byte, error) {
	return derive(shared, slices.Concat(ephemeral[:], recipient[:]), labelWrap)
}

// seal draws file key, ephemeral key and nonce, in this order, and encrypts plain.
func (h *header) seal(plain []byte, rand io.Reader) error {
	var file, scalar [32]byte
	defer clear(file[:])
	defer clear(scalar[:])
	for _, b := range [][]byte{file[:], scalar[:], h.nonce[:]} {
		if _, err := io.ReadFull(rand, b); err != nil {
			return fmt.Errorf("couldn't read randomness: %w", err)
		}
	}
	check, err := derive(file[:], nil, labelCheck)
	if err != nil {
		return err
	}
	h.check = [32]byte(check)
	return h.encrypt(file[:], scalar[:], plain)
}

// encrypt wraps the file key for every recipient and encrypts plain with it.
func (h *header) encrypt(file, scalar, plain []byte) error {
	ephemeral, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return err
	}
	h.ephemeral = [32]byte(ephemeral.PublicKey().Bytes())
	associated := h.clear().Bytes()
	h.wrapped = make([][48]byte, len(h.Recipients))
	for i, to := range h.Recipients {
		shared, err := x25519(ephemeral, to)
		if err != nil {
			return fmt.Errorf("recovery key %x: %w", to[:], err)
		}
		key, err := wrapKey(shared, h.ephemeral, to)
		clear(shared)
		if err != nil {
			return err
		}
		aead, err := chacha20poly1305.New(key)
		clear(key)
		if err != nil {
			return err
		}
		aead.Seal(h.wrapped[i][:0], make([]byte, chacha20poly1305.NonceSize), file, associated)
	}
	key, err := derive(file, nil, labelBody)
	if err != nil {
		return err
	}
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return err
	}
	h.body = aead.Seal(nil, h.nonce[:], plain, h.associated().Bytes())
	return nil
}

// open is the inverse of seal.
func (h *header) open(k *Key) ([]byte, error) {
	if k == nil || k.scalar.Len() == 0 {
		return nil, errors.New("backup: no recovery key")
	}
	i := slices.Index(h.Recipients, k.recipient)
	if i < 0 {
		return nil, fmt.Errorf("%w, %x: it is to %x", ErrRecoveryKey, k.recipient[:], h.Recipients)
	}
	scalar, err := ecdh.X25519().NewPrivateKey(k.scalar.Reveal())
	if err != nil {
		return nil, err
	}
	shared, err := x25519(scalar, h.ephemeral)
	if err != nil {
		return nil, fmt.Errorf("%w: ephemeral key: %w", ErrCorrupt, err)
	}
	defer clear(shared)
	key, err := wrapKey(shared, h.ephemeral, k.recipient)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	file, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), h.wrapped[i][:], h.clear().Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: the key wrapped for recovery key %x does not open", ErrCorrupt, k.recipient[:])
	}
	defer clear(file)
	return h.openBody(file)
}

// openBody demands the one file key that the header commits to: a ciphertext may
// open under two.
func (h *header) openBody(file []byte) ([]byte, error) {
	check, err := derive(file, nil, labelCheck)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(check, h.check[:]) != 1 {
		return nil, fmt.Errorf("%w: the wrapped key is not the one that all recovery keys open", ErrCorrupt)
	}
	key, err := derive(file, nil, labelBody)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, h.nonce[:], h.body, h.associated().Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: its body does not open", ErrCorrupt)
	}
	return plain, nil
}
