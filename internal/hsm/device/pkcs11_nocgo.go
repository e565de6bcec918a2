//go:build !cgo

package device

import (
	"context"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

func noCgo(uri string) error {
	return hsm.Errorf(hsm.ErrConfig, "build with CGO_ENABLED=1 and a C compiler",
		"this program was built without cgo and loads no PKCS#11 module, so it can't open %s", uri)
}

func openPKCS11(_ context.Context, uri string) (Device, error) { return nil, noCgo(uri) }

func provisionPKCS11(_ context.Context, uri string) error { return noCgo(uri) }

func changePIN(_ context.Context, uri string, _ secret.Bytes) error { return noCgo(uri) }

func openCard(_ context.Context, u pkcs11uri.URI, _ *signature.PublicKey, _ func(string) (secret.Bytes, error)) (Card, error) {
	return nil, noCgo(u.String())
}
