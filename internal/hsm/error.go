package hsm

import (
	"errors"
	"fmt"
)

// Kind sorts errors by what the caller can do about them. It travels between
// processes, so numbers are never reused. Match with errors.Is(err, hsm.ErrPIN).
type Kind uint8

const (
	// ErrUnavailable: the device, its token or its helper is not there. It may
	// come back, and nothing was lost.
	ErrUnavailable Kind = 1
	// ErrPIN: the token refused the PIN. The PIN is not tried again.
	ErrPIN Kind = 2
	// ErrLocked: the token accepts no PIN any more.
	ErrLocked Kind = 3
	// ErrNotProvisioned: the device is there, its keys are not.
	ErrNotProvisioned Kind = 4
	// ErrUnseal: the blob does not open here, or not with this aad.
	ErrUnseal Kind = 5
	// ErrInput: the call itself is wrong.
	ErrInput Kind = 6
	// ErrDevice: the device failed, or answered what it must not.
	ErrDevice Kind = 7
	// ErrConfig: the URI, the PIN file, the module or the token is not usable
	// as configured.
	ErrConfig Kind = 8
)

func (k Kind) Error() string {
	switch k {
	case ErrUnavailable:
		return "device unavailable"
	case ErrPIN:
		return "PIN refused"
	case ErrLocked:
		return "token locked"
	case ErrNotProvisioned:
		return "device not provisioned"
	case ErrUnseal:
		return "blob does not open"
	case ErrInput:
		return "bad argument"
	case ErrDevice:
		return "device failed"
	case ErrConfig:
		return "bad HSM configuration"
	}
	return fmt.Sprintf("HSM error %d", uint8(k))
}

// Error is an error of this package and its adapters.
type Error struct {
	Kind   Kind
	Detail string // what is wrong, which value, what would be right
	Help   string // what to do next, or empty
	cause  error
}

// Errorf makes an Error. The format is fmt.Errorf's: a wrapped error stays
// reachable for errors.Is.
func Errorf(k Kind, help, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Detail: err.Error(), Help: help, cause: errors.Unwrap(err)}
}

func (e *Error) Error() string { return e.Detail }

// Hint is what the command line prints after "hint:".
func (e *Error) Hint() string { return e.Help }

// Unwrap lets errors.Is find the Kind and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}
