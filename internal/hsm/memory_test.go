package hsm_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"

	"github.com/cofferhq/coffer/internal/hsm"
)

// memory is a seal key of one suite in memory, made of the standard library.
type memory struct {
	key  hsm.SealKey
	ecdh *ecdh.PrivateKey
	rsa  *rsa.PrivateKey
	aes  []byte
	mac  []byte

	// spoil, if set, is what becomes of the key that Unwrap returns.
	spoil func([]byte) ([]byte, error)
}

func newMemory(suite hsm.Suite) (*memory, error) {
	d := &memory{key: hsm.SealKey{Suite: suite, Class: hsm.ClassState, Epoch: 1}, aes: make([]byte, 32), mac: make([]byte, 32)}
	rand.Read(d.aes)
	rand.Read(d.mac)
	var err error
	if d.ecdh, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	if d.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	d.name()
	return d, nil
}

// name fills in what the seal key is known by.
func (d *memory) name() {
	switch d.key.Suite {
	case hsm.SuiteHPKE:
		d.key.Public = d.ecdh.PublicKey().Bytes()
	case hsm.SuiteOAEP256, hsm.SuiteOAEP1:
		d.key.Public = d.rsa.N.Bytes()
	default:
		d.key.Public = bytes.Repeat([]byte{7}, 16)
	}
}

func (d *memory) SealKey(_ context.Context, class hsm.Class, epoch uint64) (hsm.SealKey, error) {
	if class != d.key.Class || epoch != d.key.Epoch {
		return hsm.SealKey{}, hsm.Errorf(hsm.ErrInput, "", "no %v seal key of epoch %d", class, epoch)
	}
	return d.key, nil
}

func (d *memory) Wrap(_ context.Context, _ hsm.Class, _ uint64, key, bind []byte) ([]byte, error) {
	block, err := aes.NewCipher(d.aes)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, 16)
	rand.Read(iv)
	if d.key.Suite == hsm.SuiteGCM {
		g, err := cipher.NewGCM(block)
		return g.Seal(iv[:12:12], iv[:12], key, bind), err
	}
	c := bytes.Clone(key)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(c, c)
	body := append(iv, c...)
	return append(body, d.tag(bind, body)...), nil
}

func (d *memory) tag(bind, body []byte) []byte {
	m := hmac.New(sha256.New, d.mac)
	m.Write(bind)
	m.Write(body)
	return m.Sum(nil)
}

func (d *memory) Unwrap(_ context.Context, _ hsm.Class, _ uint64, enc, bind []byte, _ hsm.Approver) ([]byte, error) {
	key, err := d.unwrap(enc, bind)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrUnseal, "", "%w", err)
	}
	if d.spoil != nil {
		return d.spoil(key)
	}
	return key, nil
}

func (d *memory) unwrap(enc, bind []byte) ([]byte, error) {
	block, err := aes.NewCipher(d.aes)
	if err != nil {
		return nil, err
	}
	switch d.key.Suite {
	case hsm.SuiteHPKE:
		peer, err := ecdh.P256().NewPublicKey(enc)
		if err != nil {
			return nil, err
		}
		return d.ecdh.ECDH(peer)
	case hsm.SuiteGCM:
		g, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		return g.Open(nil, enc[:12], enc[12:], bind)
	case hsm.SuiteCBCHMAC:
		if !hmac.Equal(enc[48:], d.tag(bind, enc[:48])) {
			return nil, errors.New("the MAC is another")
		}
		key := bytes.Clone(enc[16:48])
		cipher.NewCBCDecrypter(block, enc[:16]).CryptBlocks(key, key)
		return key, nil
	}
	hash := crypto.SHA256.New()
	if d.key.Suite == hsm.SuiteOAEP1 {
		hash = sha1.New()
	}
	return rsa.DecryptOAEP(hash, nil, d.rsa, enc, nil)
}
