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
	// ErrUnsupported: this device does not do that.
	ErrUnsupported Kind = 9
	// ErrApproval: the device wants authorisation for the use of a key, and it was
	// not given, or not by enough people. A PIN that was given and refused is ErrPIN.
	ErrApproval Kind = 10
	// ErrFull: the device has no room for another key.
	ErrFull Kind = 11
)

// lastKind is the highest number in use.
const lastKind = ErrFull

// Check refuses a number that is no kind.
func (k Kind) Check() error {
	if k == 0 || k > lastKind {
		return fmt.Errorf("error kind %d, want 1 to %d", uint8(k), uint8(lastKind))
	}
	return nil
}

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
	case ErrUnsupported:
		return "not supported by this device"
	case ErrApproval:
		return "authorisation missing"
	case ErrFull:
		return "device full"
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

// kindOf returns the Kind of an Error inside err, or zero.
func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}
