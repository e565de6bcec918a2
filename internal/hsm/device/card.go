package device

import (
	"context"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// Card is a person's P-256 key on a token that is open (pkcs11.Card). Close ends the
// login.
type Card interface {
	Public() signature.PublicKey
	SignDigest(digest [32]byte) (signature.Signature, error)
	Close() error
}

// OpenCard opens the card that has the key. ask asks for the card's PIN when the URI
// names no file with it; it is tried once.
func OpenCard(ctx context.Context, u pkcs11uri.URI, public signature.PublicKey, ask func(label string) (secret.Bytes, error)) (Card, error) {
	return openCard(ctx, u, &public, ask)
}

// MakeCard opens a card, and makes the key that the URI's object names where the card
// does not have it.
func MakeCard(ctx context.Context, u pkcs11uri.URI, ask func(label string) (secret.Bytes, error)) (Card, error) {
	return openCard(ctx, u, nil, ask)
}
