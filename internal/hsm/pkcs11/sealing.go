package pkcs11

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"hash"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

const (
	dataKeySize = 32
	gcmNonce    = 12
	cbcIV       = 16
	macSize     = 32
)

// errRefused is what a device says of a wrapped key that is not one. It may also be
// broken: who gets it tries whether the key still works.
var errRefused = errors.New("the token refuses the wrapped key")

// deriveForm is one of the ways in which devices want an ECDH asked for.
type deriveForm struct {
	octetString bool // the peer's point as a DER octet string, not bare
	length      bool // CKA_VALUE_LEN given, not left to the device
}

var deriveForms = []deriveForm{{false, true}, {true, true}, {false, false}, {true, false}}

// exchange derives the shared secret as a session object, reads it and removes it.
func (f deriveForm) exchange(m *module, h p11.SessionHandle, k key, peer *ecdh.PublicKey) ([]byte, error) {
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
	o, err := m.ctx.DeriveKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE, params)}, k.use, template)
	if err != nil {
		return nil, err
	}
	value, err := attribute(m, h, o, p11.CKA_VALUE)
	if derr := m.ctx.DestroyObject(h, o); err == nil {
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

// wrap wraps a data key under a symmetric one.
func wrap(m *module, h p11.SessionHandle, k key, data, bind []byte) ([]byte, error) {
	iv := make([]byte, cbcIV)
	rand.Read(iv)
	if k.kind == kindGCM {
		iv = iv[:gcmNonce]
		params := p11.NewGCMParams(iv, bind, 128)
		defer params.Free()
		if err := m.ctx.EncryptInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_GCM, params)}, k.use); err != nil {
			return nil, err
		}
		c, err := m.ctx.Encrypt(h, data)
		if err != nil {
			return nil, err
		}
		if used := params.IV(); len(used) == gcmNonce { // some devices choose their own
			iv = used
		}
		return append(bytes.Clone(iv), c...), nil
	}
	if err := m.ctx.EncryptInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_CBC, iv)}, k.use); err != nil {
		return nil, err
	}
	c, err := m.ctx.Encrypt(h, data)
	if err != nil {
		return nil, err
	}
	body := append(iv, c...)
	tag, err := mac(m, h, k, bind, body)
	return append(body, tag...), err
}

// mac is HMAC-SHA256 inside the token.
func mac(m *module, h p11.SessionHandle, k key, bind, body []byte) ([]byte, error) {
	if err := m.ctx.SignInit(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_SHA256_HMAC, nil)}, k.mac); err != nil {
		return nil, err
	}
	tag, err := m.ctx.Sign(h, append(bytes.Clone(bind), body...))
	if err == nil && len(tag) != macSize {
		err = hsm.Errorf(hsm.ErrDevice, "", "the token returned a MAC of %d bytes, want %d", len(tag), macSize)
	}
	return tag, err
}

// contextLogin gives the token the PIN for one use, between Init and the operation.
// Nil: the key is used as it is.
type contextLogin func(h p11.SessionHandle) error

// unwrap is the reverse of wrap, or of an encryption to the public half.
func unwrap(m *module, h p11.SessionHandle, form deriveForm, k key, enc, bind []byte, login contextLogin) ([]byte, error) {
	switch k.suite {
	case hsm.SuiteHPKE:
		peer, err := ecdh.P256().NewPublicKey(enc)
		if err != nil {
			return nil, hsm.Errorf(hsm.ErrInput, "", "couldn't do the exchange: not a point on P-256: %w", err)
		}
		return form.exchange(m, h, k, peer)
	case hsm.SuiteGCM:
		if len(enc) <= gcmNonce {
			return nil, errRefused
		}
		params := p11.NewGCMParams(enc[:gcmNonce], bind, 128)
		defer params.Free()
		return decrypt(m, h, k, p11.NewMechanism(p11.CKM_AES_GCM, params), enc[gcmNonce:], login)
	case hsm.SuiteCBCHMAC:
		if len(enc) != cbcIV+dataKeySize+macSize {
			return nil, hsm.Errorf(hsm.ErrUnseal, "", "wrapped key of %d bytes, want %d", len(enc), cbcIV+dataKeySize+macSize)
		}
		body, tag := enc[:cbcIV+dataKeySize], enc[cbcIV+dataKeySize:]
		want, err := mac(m, h, k, bind, body)
		if err != nil {
			return nil, err
		}
		if !hmac.Equal(want, tag) {
			return nil, hsm.Errorf(hsm.ErrUnseal, "", "the wrapped key was altered, or was bound to something else")
		}
		return decrypt(m, h, k, p11.NewMechanism(p11.CKM_AES_CBC, body[:cbcIV]), body[cbcIV:], login)
	}
	if err := checkRSA(k, enc); err != nil {
		return nil, err
	}
	return decrypt(m, h, k, oaep(k.suite), enc, login)
}

// checkRSA refuses what no encryption gives, before a device has to.
func checkRSA(k key, enc []byte) error {
	c, n := new(big.Int).SetBytes(enc), new(big.Int).SetBytes(k.public)
	one := big.NewInt(1)
	if len(enc) != len(k.public) || c.Cmp(one) <= 0 || c.Cmp(n.Sub(n, one)) >= 0 {
		return hsm.Errorf(hsm.ErrUnseal, "", "wrapped key of %d bytes is no ciphertext of this RSA key of %d", len(enc), len(k.public))
	}
	return nil
}

func oaep(s hsm.Suite) *p11.Mechanism {
	hash, mgf := uint(p11.CKM_SHA256), uint(p11.CKG_MGF1_SHA256)
	if s == hsm.SuiteOAEP1 {
		hash, mgf = p11.CKM_SHA_1, p11.CKG_MGF1_SHA1
	}
	return p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP, p11.NewOAEPParams(hash, mgf, p11.CKZ_DATA_SPECIFIED, nil))
}

func decrypt(m *module, h p11.SessionHandle, k key, mech *p11.Mechanism, c []byte, login contextLogin) ([]byte, error) {
	if err := m.ctx.DecryptInit(h, []*p11.Mechanism{mech}, k.use); err != nil {
		return nil, err
	}
	if login != nil {
		if err := login(h); err != nil {
			return nil, err
		}
	}
	data, err := m.ctx.Decrypt(h, c)
	if err != nil {
		return nil, err
	}
	if len(data) != dataKeySize {
		secret.Wipe(data)
		return nil, errRefused
	}
	return data, nil
}

// encryptRSA is what a caller does with an RSA seal key.
func encryptRSA(k key, data []byte) ([]byte, error) {
	var h hash.Hash = sha256.New()
	if k.suite == hsm.SuiteOAEP1 {
		h = sha1.New()
	}
	return rsa.EncryptOAEP(h, rand.Reader, &rsa.PublicKey{N: new(big.Int).SetBytes(k.public), E: 65537}, data, nil)
}

// challenge is a wrapped key whose inside is known.
type challenge struct {
	enc, bind, want []byte
}

func newChallenge(m *module, h p11.SessionHandle, k key) (challenge, error) {
	c := challenge{bind: []byte("coffer/hsm-self-test/v1"), want: make([]byte, dataKeySize)}
	rand.Read(c.want)
	var err error
	switch k.suite {
	case hsm.SuiteHPKE:
		var e *ecdh.PrivateKey
		var seal *ecdh.PublicKey
		if e, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
			return c, err
		}
		if seal, err = ecdh.P256().NewPublicKey(k.public); err != nil {
			return c, err
		}
		c.enc = e.PublicKey().Bytes()
		c.want, err = e.ECDH(seal)
	case hsm.SuiteGCM, hsm.SuiteCBCHMAC:
		c.enc, err = wrap(m, h, k, c.want, c.bind)
	default:
		c.enc, err = encryptRSA(k, c.want)
	}
	return c, err
}

// solve has the token unwrap a challenge.
func (c challenge) solve(m *module, h p11.SessionHandle, form deriveForm, k key, login contextLogin) error {
	got, err := unwrap(m, h, form, k, c.enc, c.bind, login)
	defer secret.Wipe(got)
	if err == nil && !bytes.Equal(got, c.want) {
		err = hsm.Errorf(hsm.ErrDevice, "", "the token's seal key gives wrong results")
	}
	return err
}

// works says whether a seal key opens what was sealed to it and, where the token binds
// something to it, not what was bound to something else. The session is of no use after.
func works(m *module, h p11.SessionHandle, form deriveForm, k key, login contextLogin) error {
	c, err := newChallenge(m, h, k)
	if err != nil {
		return err
	}
	defer secret.Wipe(c.want)
	if err := c.solve(m, h, form, k, login); err != nil || k.suite.Public() {
		return err
	}
	c.bind = append(c.bind, 'x')
	if c.solve(m, h, form, k, login) == nil {
		return hsm.Errorf(hsm.ErrDevice, "", "the token's seal key opens what is bound to something else")
	}
	return nil
}
