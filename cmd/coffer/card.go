package main

import (
	"context"
	"fmt"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/hsm/device"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/secret"
)

// load reads a key's file. A card that it names is opened when it is to sign, after
// the person has seen what.
func (s *session) load(path string) (*client.Signer, error) {
	k, card, err := keyfile.Open(path)
	if err != nil {
		return nil, err
	}
	if card == nil {
		k.Destroy()
		return client.LoadSigner(path)
	}
	var open device.Card
	return client.NewExternalSigner(client.External{
		Principal: card.Principal,
		Keys:      []string{card.Public.String()},
		Sign: func(digest [32]byte) ([]byte, error) {
			if open == nil {
				var err error
				if open, err = device.OpenCard(s.cmd.Context(), card.URI, card.Public, s.askCardPIN); err != nil {
					return nil, err
				}
			}
			sig, err := open.SignDigest(digest)
			return sig.Bytes, err
		},
		Close: func() {
			if open != nil {
				_ = open.Close() // it signed; the card is asked nothing more
			}
		},
	})
}

func (s *session) askCardPIN(label string) (secret.Bytes, error) {
	return askPIN(s.cmd, fmt.Sprintf("PIN of card %q: ", label))
}

// createCard finds or makes a key on a card, and writes the file that names it.
func createCard(ctx context.Context, s *session, name, uri string) error {
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return &usageError{fmt.Errorf("--pkcs11: %w", err)}
	}
	if u.Object == "" {
		u.Object = "coffer-" + name
	}
	path, err := s.keyPath(name, ".key")
	if err != nil {
		return err
	}
	c, err := device.MakeCard(ctx, u, s.askCardPIN)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the key is there
	f := keyfile.Card{Principal: name, Public: c.Public(), URI: u}
	if err := f.Write(path); err != nil {
		return err
	}
	return s.created(name, path, c.Public().String())
}
