package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
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
	d.approvers = &approvers{keys, need, []byte("sim " + d.Public(hsm.RoleApproval).Fingerprint())}
	return nil
}

// ApprovalDigest is what people sign for one signature of the approval key that the
// area describes.
func ApprovalDigest(area []byte, st signature.Statement) [32]byte {
	d := st.Digest()
	return wire.Hash("sim/approval/v1", area, d[:])
}

func (d *Device) signApproved(st signature.Statement, given hsm.Approvals) (signature.Signature, error) {
	if d.approvers == nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrUnsupported, "", "no approval key")
	}
	d.Approvals++
	_, err := given.Approve(context.Background(), hsm.Challenge{
		Kind: hsm.ChallengePolicy, Use: "the approval key", Statement: &st,
		Digest: ApprovalDigest(d.approvers.area, st), Keys: d.approvers.keys, Need: d.approvers.need,
	})
	if err != nil {
		return signature.Signature{}, err
	}
	return d.Sign(hsm.RoleApproval, st)
}
