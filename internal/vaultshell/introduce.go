package vaultshell

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/vault"
)

// attesting is a device that may give evidence of what it is.
type attesting interface {
	hsm.HSM
	hsm.Attester
}

// introduce takes what the vault's card says of its device beyond the keys that sign
// it: the approval key, and the device's evidence of what it is. A device that has
// neither leaves the card as it is.
func introduce(ctx context.Context, device attesting, vc *vault.Config) error {
	approval, err := device.Public(ctx, hsm.RoleApproval)
	if errors.Is(err, hsm.ErrUnsupported) {
		approval, err = signature.PublicKey{}, nil
	}
	if err != nil {
		return fmt.Errorf("couldn't read the device's approval key: %w", err)
	}
	e, err := device.Attest(ctx, governance.CardNonce(vc.Identity, vc.Decision), [32]byte{})
	switch {
	case errors.Is(err, hsm.ErrUnsupported) && approval == (signature.PublicKey{}):
		return nil
	case err != nil:
		return fmt.Errorf("couldn't have the device say what it is: %w", err)
	}
	want := attest.Want{Nonce: governance.CardNonce(vc.Identity, vc.Decision), Identity: vc.Identity, Decision: vc.Decision}
	if approval != (signature.PublicKey{}) {
		if want.Approval, err = attest.ApprovalKey(e.Kind, e.Bytes); err != nil {
			return fmt.Errorf("couldn't read the approval key in the device's evidence: %w", err)
		}
	}
	if _, err := attest.Verify(e.Kind, e.Bytes, want); err != nil {
		return fmt.Errorf("the device's evidence of what it is: %w", err)
	}
	vc.Evidence, vc.Approval, vc.ApprovalArea = e.Encode(), approval, want.Approval
	return nil
}
