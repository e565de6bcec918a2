package hsm

import (
	"context"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/signature"
)

// HSM is a device that is open and holds its keys. Its methods may be called
// concurrently. Errors wrap one of the Kinds of this package.
type HSM interface {
	// Info says what the device is. It does not talk to it.
	Info() Info
	// Public returns the verification key of a role, or ErrUnsupported where the
	// device has no key for it.
	Public(ctx context.Context, role Role) (signature.PublicKey, error)
	// Sign signs the statement's digest, which is computed on this side of the
	// port: there is no way to have a digest signed. ap answers what the device asks
	// for before it uses the key; nil: nobody is at hand.
	Sign(ctx context.Context, role Role, st signature.Statement, ap Approver) (signature.Signature, error)
	// Seal returns a blob that only this device opens, with the seal key of this
	// class and epoch, and only with the same aad. A device that is no Ratchet has
	// epoch 1.
	Seal(ctx context.Context, class Class, epoch uint64, plaintext, aad []byte) ([]byte, error)
	// Unseal opens a blob. The caller owns the plaintext and wipes it.
	Unseal(ctx context.Context, blob, aad []byte, ap Approver) ([]byte, error)
	// Close ends the use of the device. Later calls fail with ErrUnavailable.
	Close() error
}

// Ratchet is a device whose seal keys go by epochs, of which the first is 1. A
// device behind a helper has the methods of all optional interfaces; those that the
// device has not answer ErrUnsupported.
type Ratchet interface {
	// SealEpoch returns the newest epoch.
	SealEpoch(ctx context.Context) (uint64, error)
	// Advance makes the seal keys of the next epoch, one of each class, and returns
	// it. The older ones still open.
	Advance(ctx context.Context) (uint64, error)
	// Erase destroys the seal keys of the epochs below this one, which is at most the
	// newest. What is gone already is no error.
	Erase(ctx context.Context, below uint64) error
}

// Counter is a device with a counter that never goes back.
type Counter interface {
	Counter(ctx context.Context) (uint64, error)
	// Increment adds one and returns the new value.
	Increment(ctx context.Context) (uint64, error)
}

// Attester is a device that gives evidence of what it is. nonce is the verifier's;
// bind is what the prover ties to it.
type Attester interface {
	Attest(ctx context.Context, nonce, bind [32]byte) (Evidence, error)
}

// Class says which seal key is meant. Numbers are never reused.
type Class uint8

const (
	// ClassState opens for the running vault.
	ClassState Class = 1
	// ClassCold is the key for whose every use the device asks for authorisation, as
	// far as Info.PerUse says that it does.
	ClassCold Class = 2
)

// Classes are all classes, each of which a provisioned device has a key for.
func Classes() []Class { return []Class{ClassState, ClassCold} }

func (c Class) String() string {
	switch c {
	case ClassState:
		return "state"
	case ClassCold:
		return "cold"
	}
	return fmt.Sprintf("class-%d", uint8(c))
}

// Check refuses a number that is no class.
func (c Class) Check() error {
	if c != ClassState && c != ClassCold {
		return Errorf(ErrInput, "", "unknown class %d of seal keys, want 1 (state) or 2 (cold)", uint8(c))
	}
	return nil
}

// Role says which of the device's signing keys is meant. Numbers are never
// reused.
type Role uint8

const (
	// RoleIdentity is the party's name: it signs what introduces other keys.
	RoleIdentity Role = 1
	// RoleDecision signs log checkpoints, and thereby the decisions under them.
	RoleDecision Role = 2
	// RoleApproval signs only with the signatures of people who approve. Few devices
	// have it: the others answer ErrUnsupported.
	RoleApproval Role = 3
)

// Roles are the roles that every provisioned device has a key for.
func Roles() []Role { return []Role{RoleIdentity, RoleDecision} }

func (r Role) String() string {
	switch r {
	case RoleIdentity:
		return "identity"
	case RoleDecision:
		return "decision"
	case RoleApproval:
		return "approval"
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

// Check refuses a number that is no role.
func (r Role) Check() error {
	if r < RoleIdentity || r > RoleApproval {
		return Errorf(ErrInput, "", "unknown role %d, want 1 (identity), 2 (decision) or 3 (approval)", uint8(r))
	}
	return nil
}

// CheckPlain is Check for devices that have no approval key.
func (r Role) CheckPlain() error {
	if r == RoleApproval {
		return Errorf(ErrUnsupported, "use a TPM for keys that people approve", "this device has no key for role %v", r)
	}
	return r.Check()
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
	PerUse   Grade    // who keeps a cold key from being used unasked
	Suites   []string // what was negotiated, such as "sign:p256" or "ratchet"
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("%s %s %s serial %s label %q (boundary %v, rollback %v, per use %v; %s)",
		i.Vendor, i.Model, i.Firmware, i.Serial, i.Label, i.Boundary, i.Rollback, i.PerUse, strings.Join(i.Suites, ", "))
}

// What stands in Info.Suites beside the sealing suites: the signing algorithm, and
// the optional interfaces.
const (
	SignP256    = "sign:p256"
	SignRSA3072 = "sign:rsa3072"
	HasRatchet  = "ratchet"
	HasCounter  = "counter"
	HasAttest   = "attest"
	HasPerUse   = "per-use"
)

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
