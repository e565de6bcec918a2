package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// ApproverKey is the P-256 key of a person who approves in devices.
type ApproverKey struct{ private *ecdsa.PrivateKey }

// Approver makes the key of a person from the seed.
func Approver(seed uint64, name string) *ApproverKey {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar(derive(seed, "approver/"+name, 0)))
	if err != nil {
		panic(err) // one seed in four billion
	}
	return &ApproverKey{k}
}

func scalar(b [32]byte) []byte { return b[:] }

// Public is the key as the roster and the devices name it.
func (k *ApproverKey) Public() signature.PublicKey {
	b, err := k.private.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return signature.PublicKey{Algorithm: signature.P256, Key: string(b)}
}

// Approve signs what a device asks for before it uses its approval key.
func (k *ApproverKey) Approve(digest [32]byte) hsm.Approval {
	der, err := k.private.Sign(nil, digest[:], hashOpts)
	if err != nil {
		panic(err)
	}
	sig, err := fromDER(der)
	if err != nil {
		panic(err)
	}
	return hsm.Approval{Key: k.Public(), Signature: sig}
}

// approvers are the people whom a device obeys.
type approvers struct {
	keys []signature.PublicKey
	need int
	area []byte
}

// SetApprovers gives the device a key that signs with the signatures of need of
// these people only, and not otherwise, whoever asks.
func (d *Device) SetApprovers(need int, keys ...signature.PublicKey) error {
	raw := sha256.Sum256(append(d.seal[:], byte(hsm.RoleApproval)))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:])
	if err != nil {
		return fmt.Errorf("couldn't make device key: %w", err)
	}
	d.keys[hsm.RoleApproval] = k
	// The area is what a TPM would say of such a key, so that people's clients know what
	// to sign.
	attributes, policy, err := attest.ApprovalArea(Approver(0, "authority").Public())
	if err != nil {
		return err
	}
	area := attest.Area{Attributes: attributes, Policy: policy[:], Key: d.Public(hsm.RoleApproval)}
	d.approvers = &approvers{keys, need, area.Encode()}
	return nil
}

func (d *Device) signApproved(st signature.Statement, given hsm.Approvals) (signature.Signature, error) {
	if d.approvers == nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrUnsupported, "", "no approval key")
	}
	d.Approvals++
	digest, err := attest.ApprovalDigest(d.approvers.area, st)
	if err != nil {
		return signature.Signature{}, err
	}
	_, err = given.Approve(context.Background(), hsm.Challenge{
		Kind: hsm.ChallengePolicy, Use: "the approval key", Statement: &st,
		Digest: digest, Keys: d.approvers.keys, Need: d.approvers.need,
	})
	if err != nil {
		return signature.Signature{}, err
	}
	return d.Sign(hsm.RoleApproval, st)
}
