package hsm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Approver answers a device that asks before it uses a key: with a PIN, with the
// signatures of people, later with those of a vendor's quorum. A device asks once a
// use; an answer that it refuses is not tried again.
type Approver interface {
	Approve(ctx context.Context, c Challenge) (Answer, error)
}

// ChallengeKind says what a device wants. Numbers are never reused.
type ChallengeKind uint8

const (
	// ChallengePIN wants the PIN, for one use of one key.
	ChallengePIN ChallengeKind = 1
	// ChallengePolicy wants signatures over Challenge.Digest.
	ChallengePolicy ChallengeKind = 2
)

// Challenge is what a device asks.
type Challenge struct {
	Kind ChallengeKind
	// Use says to people what will be done with which key.
	Use string
	// Statement is what will be signed, nil when a blob is opened.
	Statement *signature.Statement

	// Digest is what approvers sign: SHA-256(nonceTPM ‖ expiration ‖ cpHashA ‖ policyRef).
	Digest [32]byte
	// Preimage is those bytes, for who must see what he signs; nil where he is shown the
	// Statement.
	Preimage []byte
	Keys     []signature.PublicKey // the approvers
	Need     int                   // how many of them
}

// Answer is an approver's. The one who asked destroys the PIN.
type Answer struct {
	PIN       secret.Bytes
	Approvals []Approval
}

// Approval is one person's signature over a challenge's digest itself, not over a
// Statement.
type Approval struct {
	Key       signature.PublicKey
	Signature signature.Signature
}

const approvalVersion = 1

// MaxApprovals bounds what one request carries, MaxApproval the encoding of one.
const (
	MaxApprovals = 16
	MaxApproval  = 1024
)

// Encode is the canonical encoding.
func (a Approval) Encode() []byte {
	w := wire.NewWriter(approvalVersion)
	signature.WriteKey(w, a.Key)
	signature.WriteSignature(w, a.Signature)
	return w.Bytes()
}

// DecodeApproval is the inverse of Encode. It checks the form, and that key and
// signature are of one algorithm, not that the signature verifies.
func DecodeApproval(b []byte) (Approval, error) {
	r := wire.NewReader(b, approvalVersion)
	a := Approval{Key: signature.ReadKey(r, "key"), Signature: signature.ReadSignature(r, "signature")}
	if err := r.Done(); err != nil {
		return Approval{}, fmt.Errorf("couldn't decode approval: %w", err)
	}
	if a.Key.Algorithm != a.Signature.Algorithm {
		return Approval{}, fmt.Errorf("couldn't decode approval: key is %v, signature is %v", a.Key.Algorithm, a.Signature.Algorithm)
	}
	return a, nil
}

// Approvals are signatures that people made beforehand, as an Approver. It is the
// one that a helper's client takes: a PIN is given at the helper.
type Approvals []Approval

// Approve answers a policy challenge with those of the approvals that are by its
// keys and verify over its digest.
func (a Approvals) Approve(_ context.Context, c Challenge) (Answer, error) {
	if c.Kind != ChallengePolicy {
		return Answer{}, Errorf(ErrApproval, "", "the device asks for a PIN (%s); approvals do not answer that", c.Use)
	}
	var answer Answer
	seen := make(map[signature.PublicKey]bool)
	for _, one := range a {
		for _, key := range c.Keys {
			if key == one.Key && !seen[key] && signature.VerifyDigest(key, c.Digest, one.Signature) == nil {
				seen[key] = true
				answer.Approvals = append(answer.Approvals, one)
			}
		}
	}
	if len(answer.Approvals) < c.Need {
		return Answer{}, Errorf(ErrApproval, "have more approvers sign",
			"%s: %d of the approvals are good for it, want %d of %d approvers; those of %s are missing",
			c.Use, len(answer.Approvals), c.Need, len(c.Keys), missing(c.Keys, seen))
	}
	return answer, nil
}

// missing names the keys that did not approve.
func missing(keys []signature.PublicKey, seen map[signature.PublicKey]bool) string {
	var names []string
	for _, k := range keys {
		if !seen[k] {
			names = append(names, k.Fingerprint())
		}
	}
	return strings.Join(names, ", ")
}

// Ask has ap answer c. Without an approver, and for an error that is not of this
// package, it is ErrApproval.
func Ask(ctx context.Context, ap Approver, c Challenge) (Answer, error) {
	if ap == nil {
		return Answer{}, Errorf(ErrApproval, "authorise it at the device's helper", "%s: the device asks for authorisation, and nobody is there to give it", c.Use)
	}
	answer, err := ap.Approve(ctx, c)
	var e *Error
	if err != nil && !errors.As(err, &e) {
		err = Errorf(ErrApproval, "", "%s: %w", c.Use, err)
	}
	if err != nil {
		answer.PIN.Destroy()
		return Answer{}, err
	}
	return answer, nil
}

// EvidenceKind says who made evidence, and how. Numbers are never reused.
type EvidenceKind = uint8

// EvidenceTPM is a TPM 2.0 (docs/spec/attestation.md).
const EvidenceTPM EvidenceKind = 1

// MaxEvidence bounds Evidence.Bytes.
const MaxEvidence = 32 << 10

// Evidence is what a device says of itself under a key that its vendor vouches for.
// Package attest verifies it.
type Evidence struct {
	Kind  EvidenceKind
	Bytes []byte // canonical for the kind
}

const evidenceVersion = 1

// Encode is the canonical encoding.
func (e Evidence) Encode() []byte {
	return wire.NewWriter(evidenceVersion).Uint8(e.Kind).Var(e.Bytes).Bytes()
}

// DecodeEvidence is the inverse of Encode. It checks the form only.
func DecodeEvidence(b []byte) (Evidence, error) {
	r := wire.NewReader(b, evidenceVersion)
	e := Evidence{Kind: r.Uint8("kind"), Bytes: r.Var("evidence", MaxEvidence)}
	if r.Err() == nil && e.Kind != EvidenceTPM {
		r.Failf("kind %d, want 1 (TPM 2.0)", e.Kind)
	}
	if err := r.Done(); err != nil {
		return Evidence{}, fmt.Errorf("couldn't decode evidence: %w", err)
	}
	return e, nil
}
