package hsm

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/signature"
)

// HSM is a device that is open and holds its keys. Its methods may be called
// concurrently. Errors wrap one of the Kinds of this package.
type HSM interface {
	// Info says what the device is. It does not talk to it.
	Info() Info
	// Public returns the verification key of a role.
	Public(ctx context.Context, role Role) (signature.PublicKey, error)
	// Sign signs the statement's digest, which is computed on this side of the
	// port: there is no way to have a digest signed.
	Sign(ctx context.Context, role Role, st signature.Statement) (signature.Signature, error)
	// Seal returns a blob that only this device opens, and only with the same
	// aad. The epoch is written into the blob and bound to it.
	Seal(ctx context.Context, epoch uint64, plaintext, aad []byte) ([]byte, error)
	// Unseal opens a blob. The caller owns the plaintext and wipes it.
	Unseal(ctx context.Context, blob, aad []byte) ([]byte, error)
	// Close ends the use of the device. Later calls fail with ErrUnavailable.
	Close() error
}

// Exchanger is a device whose seal key is an elliptic-curve key that does
// Diffie-Hellman inside. Every HSM of this module is one; Seal and Unseal are
// made of it by SealTo and OpenWith.
type Exchanger interface {
	// SealKey returns the public half of the seal key.
	SealKey(ctx context.Context) (*ecdh.PublicKey, error)
	// Exchange returns the 32-byte x-coordinate of the product of the private
	// half and peer. The caller wipes it.
	Exchange(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error)
}

// Role says which of the device's signing keys is meant. Numbers are never
// reused.
type Role uint8

const (
	// RoleIdentity is the party's name: it signs what introduces other keys.
	RoleIdentity Role = 1
	// RoleDecision signs log checkpoints, and thereby the decisions under them.
	RoleDecision Role = 2
)

// Roles are all roles, each of which a provisioned device has a key for.
func Roles() []Role { return []Role{RoleIdentity, RoleDecision} }

func (r Role) String() string {
	switch r {
	case RoleIdentity:
		return "identity"
	case RoleDecision:
		return "decision"
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

// Check refuses a number that is no role.
func (r Role) Check() error {
	if r != RoleIdentity && r != RoleDecision {
		return Errorf(ErrInput, "", "unknown role %d, want 1 (identity) or 2 (decision)", uint8(r))
	}
	return nil
}

// Grade says how well a property is kept. The zero value claims nothing.
type Grade uint8

const (
	// GradeNone: not kept.
	GradeNone Grade = 0
	// GradeSoftware: kept by software on a general computer.
	GradeSoftware Grade = 1
	// GradeHardware: kept by a device of its own, by its own word.
	GradeHardware Grade = 2
)

func (g Grade) String() string {
	switch g {
	case GradeNone:
		return "none"
	case GradeSoftware:
		return "software"
	case GradeHardware:
		return "hardware"
	}
	return fmt.Sprintf("grade-%d", uint8(g))
}

// Info describes a device. The strings are the device's own words.
type Info struct {
	Vendor, Model, Firmware, Serial, Label string

	Boundary Grade    // who keeps the keys from leaving
	Rollback Grade    // who keeps an old state from coming back
	PerUse   Grade    // who asks before the single use of a key
	Suites   []string // algorithms in use, such as "sign:p256"
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("%s %s %s serial %s label %q (boundary %v, rollback %v; %s)",
		i.Vendor, i.Model, i.Firmware, i.Serial, i.Label, i.Boundary, i.Rollback, strings.Join(i.Suites, ", "))
}

// SignP256 is the name of the signing algorithm in Info.Suites.
const SignP256 = "sign:p256"

// MaxStatement bounds a statement's body. What is longer is hashed first.
const MaxStatement = 256 << 10

// CheckStatement refuses what cannot be hashed with its domain.
func CheckStatement(st signature.Statement) error {
	if len(st.Domain) == 0 || len(st.Domain) > 255 {
		return Errorf(ErrInput, "", "statement domain of %d bytes, want 1 to 255", len(st.Domain))
	}
	for i := range len(st.Domain) {
		if c := st.Domain[i]; c <= ' ' || c > '~' {
			return Errorf(ErrInput, "", "statement domain %q: byte %d is not printable ASCII", st.Domain, i)
		}
	}
	if len(st.Body) > MaxStatement {
		return Errorf(ErrInput, "", "statement of %d bytes, at most %d", len(st.Body), MaxStatement)
	}
	return nil
}
