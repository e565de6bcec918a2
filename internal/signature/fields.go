package signature

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// WriteKey appends k as a field of a larger encoding.
func WriteKey(w *wire.Writer, k PublicKey) { w.Var(k.Bytes()) }

// ReadKey reads what WriteKey wrote.
func ReadKey(r *wire.Reader, field string) PublicKey {
	b := r.Var(field, MaxKey)
	if r.Err() != nil {
		return PublicKey{}
	}
	k, err := DecodePublicKey(b)
	if err != nil {
		r.Fail(fmt.Errorf("%s: %w", field, err))
	}
	return k
}

// WriteSignature appends s as a field of a larger encoding.
func WriteSignature(w *wire.Writer, s Signature) { w.Var(s.Encode()) }

// ReadSignature reads what WriteSignature wrote.
func ReadSignature(r *wire.Reader, field string) Signature {
	b := r.Var(field, MaxSignature)
	if r.Err() != nil {
		return Signature{}
	}
	s, err := Decode(b)
	if err != nil {
		r.Fail(fmt.Errorf("%s: %w", field, err))
	}
	return s
}
