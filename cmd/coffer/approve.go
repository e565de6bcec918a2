package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// deviceApproveCommand signs for the vaults' devices alone: for whoever approved
// before, or is an approver of a device and not asked by the policy.
func deviceApproveCommand() *cobra.Command {
	var sure bool
	var deviceKey string
	var wait time.Duration
	cmd := verb("device-approve REQUEST", "Let the vaults' devices sign for a request of a cold wallet", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		dec, k, err := s.decode(ctx, args[0])
		if err != nil {
			return err
		}
		defer k.Close()
		if !s.json {
			printDecoded(s.out(), dec)
		}
		if !sure {
			if err := s.confirm(fmt.Sprintf("Let the vaults' devices sign for this as %s?", k.Principal())); err != nil {
				return err
			}
		}
		if err := s.approveDevices(ctx, dec, k, deviceKey, true); err != nil {
			return err
		}
		r, err := s.api.Request(ctx, dec.ID)
		if err != nil {
			return err
		}
		return s.follow(ctx, r, wait)
	})
	cmd.Long = cmd.Short + ".\n\nThe signature is made here, with a P-256 key, for each vault whose device has an approval key; the device takes it for this request only."
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	cmd.Flags().StringVar(&deviceKey, "device-key", "", "file of the P-256 key that the devices know (default NAME.p256 beside NAME.key)")
	cmd.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for what becomes of it")
	return cmd
}

// approveDevices signs for the vaults' devices and hands that in, where the wallet is
// in cold custody and there are such devices. must says that it is all that was
// wanted.
func (s *session) approveDevices(ctx context.Context, dec *client.Decoded, k *client.Signer, file string, must bool) error {
	devices := 0
	for _, v := range s.info.Vaults {
		if v.Approval != "" {
			devices++
		}
	}
	if devices == 0 && !must {
		return nil
	}
	w, err := s.api.Wallet(ctx, dec.WalletID)
	if err != nil {
		return err
	}
	if w.Tier != "cold" || devices == 0 {
		if must {
			return withHint(fmt.Errorf("no vault's device waits for approvers: wallet %s is %s, and %d devices have an approval key", w.Name, w.Tier, devices), "coffer approve %s", dec.ID)
		}
		return nil
	}
	d, err := s.deviceSigner(k, file)
	if err != nil {
		if must || file != "" {
			return err
		}
		fmt.Fprintf(s.cmd.ErrOrStderr(), "note: %d vaults' devices sign for this cold wallet with their approvers' P-256 keys only, and there is none of %s here: %v\n", devices, k.Principal(), err)
		return nil
	}
	if d != k {
		defer d.Close()
	}
	as, err := d.ApproveDevices(dec, s.info)
	if err != nil {
		return err
	}
	_, err = s.api.ApproveDevices(ctx, dec.ID, as)
	if err == nil && !s.json {
		_, err = io.WriteString(s.out(), fmt.Sprintf("approved for the devices of %d vaults, with key %s\n", len(as), d.Fingerprint()))
	}
	return err
}

// deviceSigner is the person's P-256 key: k itself, or one in a file of its own.
func (s *session) deviceSigner(k *client.Signer, file string) (*client.Signer, error) {
	if file == "" && k.P256() {
		return k, nil
	}
	if file == "" {
		file = filepath.Join(s.keys(), k.Principal()+p256Suffix)
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("there is no key at %s", file), "coffer user create %s --p256", k.Principal())
	}
	d, err := s.load(file)
	if err != nil {
		return nil, err
	}
	if d.Principal() != k.Principal() {
		d.Close()
		return nil, fmt.Errorf("%s is %s's key, not %s's", file, d.Principal(), k.Principal())
	}
	return d, nil
}

// p256Suffix ends the names of files with keys that devices take.
const p256Suffix = ".p256"
