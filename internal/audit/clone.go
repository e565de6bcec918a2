package audit

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Clone says that one passkey is in two devices: two of its signatures that no single
// authenticator can have made (docs/spec/passkey.md). It proves itself, but for the
// times of statements that do not hold one.
type Clone struct {
	Principal     string
	Key           signature.PublicKey
	First, Second signature.Use // the order in which the vault saw them
}

const cloneVersion = 1

// Encode is the canonical encoding.
func (c *Clone) Encode() []byte {
	w := wire.NewWriter(cloneVersion).String(c.Principal)
	signature.WriteKey(w, c.Key)
	signature.WriteUse(w, &c.First)
	signature.WriteUse(w, &c.Second)
	return w.Bytes()
}

// DecodeClone is the inverse of Encode.
func DecodeClone(b []byte) (*Clone, error) {
	r := wire.NewReader(b, cloneVersion)
	c := &Clone{Principal: r.Name("principal"), Key: signature.ReadKey(r, "key"), First: signature.ReadUse(r, "first"), Second: signature.ReadUse(r, "second")}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode clone: %w", err)
	}
	return c, nil
}

// Verify checks that both signatures are the passkey's, and that they contradict each
// other.
func (c *Clone) Verify() error {
	for i, u := range []*signature.Use{&c.First, &c.Second} {
		if err := signature.VerifyAssertion(c.Key, u.Digest, u.Signature); err != nil {
			return fmt.Errorf("signature %d of the cloned passkey: %w", i+1, err)
		}
	}
	if !c.First.Contradicts(&c.Second) {
		return errors.New("the two signatures do not contradict each other: one authenticator can have made both")
	}
	return nil
}
