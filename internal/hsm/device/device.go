// Package device opens HSMs by URI:
//
//	soft:DIR
//	pkcs11:token=LABEL;object=NAME?module-path=/path/to/lib.so&pin-source=file:/path/to/pin
//	tpm:/dev/tpmrm0?dir=DIR, tpm:unix:SOCKET?dir=DIR
//
// It is the one package that knows the adapters; only the helper process (`coffer
// hsm`) and tools for the operator import it, so that a vault never loads a
// vendor's library. Without cgo there is no PKCS#11, and it says so.
package device

import (
	"context"
	"strings"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/secret"
)

// Device is an open HSM of any kind, fit to be served by package remote.
type Device interface {
	hsm.HSM
	hsm.Sealer
}

// Open opens a provisioned device.
func Open(ctx context.Context, uri string) (Device, error) {
	scheme, dir, err := split(uri)
	switch {
	case err != nil:
		return nil, err
	case scheme == "soft":
		d, err := soft.Open(ctx, dir)
		if err != nil {
			return nil, err
		}
		return d, nil
	case scheme == "tpm":
		d, err := tpm.Open(ctx, uri)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	return openPKCS11(ctx, uri)
}

// Provision makes the keys that are missing on a device. It may be repeated; it
// never replaces a key.
func Provision(ctx context.Context, uri string) error {
	scheme, dir, err := split(uri)
	switch {
	case err != nil:
		return err
	case scheme == "soft":
		return soft.Provision(ctx, dir)
	case scheme == "tpm":
		return tpm.Provision(ctx, uri)
	}
	return provisionPKCS11(ctx, uri)
}

// ChangePIN gives a PKCS#11 token another user PIN, and its PIN file. No helper may use
// the token at the time.
func ChangePIN(ctx context.Context, uri string, to secret.Bytes) error {
	scheme, _, err := split(uri)
	switch {
	case err != nil:
		return err
	case scheme != "pkcs11":
		return hsm.Errorf(hsm.ErrUnsupported, "", "%s devices have no PIN", scheme)
	}
	return changePIN(ctx, uri, to)
}

func split(uri string) (scheme, rest string, err error) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if ok && scheme == "soft" && rest == "" {
		return "", "", hsm.Errorf(hsm.ErrConfig, "", "HSM URI %q names no directory, want soft:DIR", uri)
	}
	if !ok || (scheme != "soft" && scheme != "pkcs11" && scheme != "tpm") {
		return "", "", hsm.Errorf(hsm.ErrConfig, "", "HSM URI %q: want soft:DIR or pkcs11:token=…?module-path=…&pin-source=file:… or tpm:/dev/tpmrm0?dir=DIR", uri)
	}
	return scheme, rest, nil
}
