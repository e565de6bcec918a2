package client

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// External signs outside of this process: a smart card, a passkey, a key service.
type External struct {
	Principal string
	// Keys are the public keys that it may sign with, as a roster lists them. Each
	// signature is checked under them before it is used.
	Keys []string
	// Sign signs 32 bytes: a statement's digest, which is a passkey's challenge. It
	// returns the signature's bytes as docs/spec/wire.md has them (p256: r ‖ s, with
	// either s).
	Sign func(digest [32]byte) (sig []byte, err error)
	// Close may be nil.
	Close func()
}

// NewExternalSigner signs by what is not in a file.
func NewExternalSigner(x External) (*Signer, error) {
	if err := wire.CheckName(x.Principal); err != nil {
		return nil, err
	}
	s := &Signer{principal: x.Principal, external: &x}
	for _, text := range x.Keys {
		k, err := signature.ParseText(text)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 || x.Sign == nil {
		return nil, errors.New("an external signer needs a key and somebody who signs")
	}
	return s, nil
}

// outside has it signed, and finds the key under which that is good.
func (s *Signer) outside(digest [32]byte, good func(signature.PublicKey, signature.Signature) error) (signature.PublicKey, signature.Signature, error) {
	fail := func(err error) (signature.PublicKey, signature.Signature, error) {
		return signature.PublicKey{}, signature.Signature{}, fmt.Errorf("couldn't sign as %s: %w", s.principal, err)
	}
	raw, err := s.external.Sign(digest)
	if err != nil {
		return fail(err)
	}
	for _, k := range s.keys {
		sig := signature.Signature{Algorithm: k.Algorithm, Bytes: raw}
		if k.Algorithm == signature.P256 {
			if sig, err = signature.NormalizeP256(raw); err != nil {
				continue
			}
		}
		if err = good(k, sig); err == nil {
			return k, sig, nil
		}
	}
	return fail(err)
}

// signDevice signs a device's challenge, which is no statement's digest.
func (s *Signer) signDevice(digest [32]byte) (signature.Signature, error) {
	if s.key != nil {
		return s.key.Approve(digest)
	}
	if !s.P256() {
		return signature.Signature{}, fmt.Errorf("%s's key is %v: devices take approvals by p256 keys only", s.principal, s.keys[0].Algorithm)
	}
	_, sig, err := s.outside(digest, func(k signature.PublicKey, sig signature.Signature) error {
		return signature.VerifyDigest(k, digest, sig)
	})
	return sig, err
}
