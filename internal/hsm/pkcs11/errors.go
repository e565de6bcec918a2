package pkcs11

import (
	"errors"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// rv returns the library's return value inside err, or CKR_OK.
func rv(err error) p11.Error {
	var e p11.Error
	if errors.As(err, &e) {
		return e
	}
	return p11.CKR_OK
}

// isKind says whether err is an Error of that kind.
func isKind(err error, k hsm.Kind) bool {
	var e *hsm.Error
	return errors.As(err, &e) && e.Kind == k
}

// absent says that the token or the library's connection to it is gone, rather
// than that one operation failed.
func absent(err error) bool {
	switch rv(err) {
	case p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_TOKEN_NOT_RECOGNIZED,
		p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_SLOT_ID_INVALID,
		p11.CKR_CRYPTOKI_NOT_INITIALIZED, p11.CKR_USER_NOT_LOGGED_IN,
		p11.CKR_OBJECT_HANDLE_INVALID, p11.CKR_KEY_HANDLE_INVALID:
		return true
	}
	return false
}

// full says that the token has no room.
func full(err error) bool {
	switch rv(err) {
	case p11.CKR_DEVICE_MEMORY, p11.CKR_HOST_MEMORY, ckrResourceExceeded:
		return true
	}
	return false
}

// ckrResourceExceeded is CKR_TOKEN_RESOURCE_EXCEEDED of PKCS#11 v3.
const ckrResourceExceeded p11.Error = 0x201

// failed turns an error of the library into one of the port. What already is one
// stays as it is.
func failed(doing string, err error) error {
	var e *hsm.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case absent(err):
		return hsm.Errorf(hsm.ErrUnavailable, "bring the token back; nothing was lost", "couldn't %s: the token is gone: %w", doing, err)
	}
	return hsm.Errorf(hsm.ErrDevice, "", "couldn't %s: the device answered: %w", doing, err)
}
