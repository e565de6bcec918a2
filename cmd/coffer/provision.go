package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/config"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/device"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// loadDevice reads a helper's file and gives this process what its device's library
// reads from the environment.
func loadDevice(path string) (*hsmConfig, error) {
	var c hsmConfig
	if err := config.Load(path, os.Environ(), &c); err != nil {
		return nil, err
	}
	if c.HSM.Device == "" {
		return nil, fmt.Errorf("%s: hsm.device is empty: want a device URI", path)
	}
	for k, v := range c.HSM.Env {
		if err := os.Setenv(k, v); err != nil {
			return nil, fmt.Errorf("hsm.env.%s: %w", k, err)
		}
	}
	return &c, nil
}

func hsmPINCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "pin --config FILE",
		Short: "Change the PIN of a token, and its PIN file",
		Long: `Asks for the new PIN twice, without echo, or reads it once from standard input, and changes it on the token and in
the PIN file of the URI. Stop the helper before: it would go on with the old PIN. Each PIN is tried once.`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadDevice(path)
			if err != nil {
				return err
			}
			pin, err := newPIN(cmd)
			if err != nil {
				return err
			}
			defer pin.Destroy()
			if err := device.ChangePIN(cmd.Context(), c.HSM.Device, pin); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the token and its PIN file have the new PIN; start the helper again")
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// newPIN asks for a PIN that is to be set: twice on a terminal, where one cannot see
// what one types.
func newPIN(cmd *cobra.Command) (secret.Bytes, error) {
	pin, err := askPIN(cmd, "new PIN: ")
	if err != nil || !onTerminal(cmd) {
		return pin, err
	}
	again, err := askPIN(cmd, "the same again: ")
	defer again.Destroy()
	if err == nil && !pin.Equal(again) {
		err = errors.New("these are two different PINs; nothing was changed")
	}
	if err != nil {
		pin.Destroy()
		return secret.Bytes{}, err
	}
	return pin, nil
}

func hsmProvisionCommand() *cobra.Command {
	var path, authority string
	var approvers []string
	var need int
	cmd := &cobra.Command{
		Use:   "provision --config FILE [--approver KEY … --need N --authority FILE]",
		Short: "Make a device's missing keys; on a TPM, install who approves",
		Long: `Makes the keys that are missing on the device, as the helper does when it starts. It never replaces a key.

On a TPM whose URI names an authority, --approver and --need say who approves from now on at the approval key: any N
of these P-256 keys. The authority's key file signs the set; earlier approvals are worth nothing after it. Stop
the helper before.`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (len(approvers) > 0) != (authority != "") {
				return &usageError{errors.New("--approver and --authority: the authority signs who approves; give both, or none")}
			}
			c, err := loadDevice(path)
			if err != nil {
				return err
			}
			if err := device.Provision(cmd.Context(), c.HSM.Device); err != nil {
				return err
			}
			d, err := device.Open(cmd.Context(), c.HSM.Device)
			if err != nil {
				return err
			}
			defer d.Close()
			fmt.Fprintf(cmd.OutOrStdout(), "device  %s\n", d.Info())
			if len(approvers) == 0 {
				return nil
			}
			set, err := installApprovers(cmd.Context(), d, approvers, need, authority)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "approvers  any %d of %d keys, generation %d\n", set.Need, len(set.Keys), set.Generation)
			return nil
		},
	}
	configFlag(cmd, &path)
	f := cmd.Flags()
	f.StringArrayVar(&approvers, "approver", nil, "public P-256 key of somebody who approves, p256:…; once for each")
	f.IntVar(&need, "need", 1, "how many of them must sign")
	f.StringVar(&authority, "authority", "", "file of the authority's P-256 key")
	return cmd
}

// installApprovers has the authority sign a set of approvers, and installs it.
func installApprovers(ctx context.Context, d hsm.HSM, keys []string, need int, authority string) (attest.Approvers, error) {
	t, ok := d.(*tpm.Device)
	if !ok {
		return attest.Approvers{}, withHint(errors.New("this device has no approvers"), "a TPM has, whose URI names an authority (docs/ops/tpm.md)")
	}
	var public []signature.PublicKey
	for _, text := range keys {
		k, err := signature.ParseText(text)
		if err != nil {
			return attest.Approvers{}, &usageError{fmt.Errorf("--approver: %w", err)}
		}
		public = append(public, k)
	}
	counter, generation, err := t.Generation(ctx)
	if err != nil {
		return attest.Approvers{}, err
	}
	set, err := attest.NewApprovers(public, need, counter, generation+1)
	if err != nil {
		return set, &usageError{err}
	}
	k, err := keyfile.Read(authority)
	if err != nil {
		return set, err
	}
	defer k.Destroy()
	digest, err := set.AuthorityDigest()
	if err != nil {
		return set, err
	}
	sig, err := k.Approve(digest)
	if err != nil {
		return set, err
	}
	return set, t.InstallApprovers(ctx, set, sig)
}
