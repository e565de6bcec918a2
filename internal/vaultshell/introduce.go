package vaultshell

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// attesting is a device that may give evidence of what it is.
type attesting interface {
	hsm.HSM
	hsm.Attester
}

// introduced is what a vault's card says of its device beyond the keys that sign it.
type introduced struct {
	approval       signature.PublicKey
	area, evidence []byte
}

// introduce asks the device for its approval key and its evidence of what it is. A
// device that has neither gives nothing.
func introduce(ctx context.Context, device attesting, identity, decision signature.PublicKey) (in introduced, err error) {
	in.approval, err = device.Public(ctx, hsm.RoleApproval)
	if errors.Is(err, hsm.ErrUnsupported) {
		in.approval, err = signature.PublicKey{}, nil
	}
	if err != nil {
		return in, fmt.Errorf("couldn't read the device's approval key: %w", err)
	}
	has := in.approval != signature.PublicKey{}
	e, err := device.Attest(ctx, governance.CardNonce(identity, decision), [32]byte{})
	switch {
	case errors.Is(err, hsm.ErrUnsupported) && !has:
		return in, nil
	case err != nil:
		return in, fmt.Errorf("couldn't have the device say what it is: %w", err)
	}
	if has {
		if in.area, err = attest.ApprovalKey(e.Kind, e.Bytes); err != nil {
			return in, fmt.Errorf("couldn't read the approval key in the device's evidence: %w", err)
		}
		if k, err := attest.ReadApprovalKey(in.area); err != nil || k != in.approval {
			return in, errors.Join(errors.New("the device's evidence is of another approval key than the device signs with"), err)
		}
	}
	want := attest.Want{Nonce: governance.CardNonce(identity, decision), Identity: identity, Decision: decision, Approval: in.area}
	if _, err := attest.Verify(e.Kind, e.Bytes, want); err != nil {
		return in, fmt.Errorf("the device's evidence of what it is: %w", err)
	}
	in.evidence = e.Encode()
	return in, nil
}
