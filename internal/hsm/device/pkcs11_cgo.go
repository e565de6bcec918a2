//go:build cgo

package device

import (
	"context"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

func openPKCS11(ctx context.Context, uri string) (Device, error) {
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "%w", err)
	}
	d, err := pkcs11.Open(ctx, u)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func provisionPKCS11(ctx context.Context, uri string) error {
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "%w", err)
	}
	return pkcs11.Provision(ctx, u)
}

func changePIN(ctx context.Context, uri string, to secret.Bytes) error {
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "%w", err)
	}
	return pkcs11.ChangePIN(ctx, u, to)
}

func openCard(ctx context.Context, u pkcs11uri.URI, public *signature.PublicKey, ask func(string) (secret.Bytes, error)) (Card, error) {
	var c *pkcs11.Card
	var err error
	if public == nil {
		c, err = pkcs11.MakeCard(ctx, u, ask)
	} else {
		c, err = pkcs11.OpenCard(ctx, u, *public, ask)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
