package vaultshell

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/vault"
)

// coldTimeout ends the wait for the operator of a cold key: the helper gives him two
// minutes.
const coldTimeout = 150 * time.Second

// timeoutOf is how long one operation of the device may take.
func timeoutOf(cmd *vault.DeviceCommand) time.Duration {
	if cmd.Kind == vault.DeviceUnseal && cmd.Class == hsm.ClassCold {
		return coldTimeout
	}
	return deviceTimeout
}

// deviceOf is the one that a command is for.
func (s *shell) deviceOf(cmd *vault.DeviceCommand) hsm.HSM {
	if cmd.Next {
		return s.next
	}
	return s.device
}

// perform runs one operation of the vault's.
func (s *shell) perform(ctx context.Context, cmd *vault.DeviceCommand) vault.DeviceResult {
	res := vault.DeviceResult{ID: cmd.ID}
	var err error
	dev := s.deviceOf(cmd)
	switch cmd.Kind {
	case vault.DeviceSign:
		var ap hsm.Approver
		if cmd.Role == hsm.RoleApproval {
			ap = cmd.Approvals
		}
		res.Signature, err = dev.Sign(ctx, cmd.Role, cmd.Statement, ap)
	case vault.DeviceSeal:
		res.Data, err = dev.Seal(ctx, cmd.Class, cmd.Epoch, cmd.Data, cmd.AAD)
	case vault.DeviceUnseal:
		res.Data, err = dev.Unseal(ctx, cmd.Data, cmd.AAD, nil)
	case vault.DeviceEpoch, vault.DeviceAdvance, vault.DeviceErase:
		res.Epoch, err = s.ratchet(ctx, cmd)
	case vault.DeviceAttest:
		res.Data, err = s.attest(ctx, cmd)
	case vault.DeviceCounter, vault.DeviceIncrement:
		res.Counter, err = s.counter(ctx, cmd)
	default:
		err = fmt.Errorf("unknown device operation %d", cmd.Kind)
	}
	if err != nil {
		res.Err = err.Error()
		var kind hsm.Kind
		if errors.As(err, &kind) {
			res.Kind = kind
		}
	}
	return res
}

func (s *shell) ratchet(ctx context.Context, cmd *vault.DeviceCommand) (uint64, error) {
	r, ok := s.deviceOf(cmd).(hsm.Ratchet)
	if !ok {
		return 0, hsm.Errorf(hsm.ErrUnsupported, "", "this device has no seal epochs")
	}
	switch cmd.Kind {
	case vault.DeviceEpoch:
		return r.SealEpoch(ctx)
	case vault.DeviceAdvance:
		return r.Advance(ctx)
	}
	return 0, r.Erase(ctx, cmd.Epoch)
}

// counter reads the device's counter, or has it count.
func (s *shell) counter(ctx context.Context, cmd *vault.DeviceCommand) (uint64, error) {
	c, ok := s.deviceOf(cmd).(hsm.Counter)
	switch {
	case !ok:
		return 0, hsm.Errorf(hsm.ErrUnsupported, "", "this device has no counter")
	case cmd.Kind == vault.DeviceIncrement:
		return c.Increment(ctx)
	}
	return c.Counter(ctx)
}

func (s *shell) attest(ctx context.Context, cmd *vault.DeviceCommand) ([]byte, error) {
	a, ok := s.device.(hsm.Attester)
	if !ok {
		return nil, hsm.Errorf(hsm.ErrUnsupported, "", "this device gives no evidence of what it is")
	}
	e, err := a.Attest(ctx, cmd.Nonce, cmd.Bind)
	if err != nil {
		return nil, err
	}
	return e.Encode(), nil
}
