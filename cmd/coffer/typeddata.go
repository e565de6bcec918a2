package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// signTypedDataCommand proposes a message.
func signTypedDataCommand() *cobra.Command {
	var wallet, memo string
	var lifetime, wait time.Duration
	cmd := verb("sign-typed-data FILE", "Propose the signature of structured data for a contract (EIP-712): a permit, an order", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		text, err := readFile(args[0])
		if err != nil {
			return fmt.Errorf("couldn't read %s: %w", args[0], err)
		}
		k, err := s.open(ctx)
		if err != nil {
			return err
		}
		defer k.Close()
		w, err := s.wallet(ctx, wallet, "eip155:")
		if err != nil {
			return err
		}
		d, err := client.NewMessage(s.info, w, text)
		if err != nil {
			return err
		}
		if memo != "" {
			if err := d.SetMemo(memo); err != nil {
				return err
			}
		}
		if err := d.SetLifetime(lifetime); err != nil {
			return fmt.Errorf("--lifetime: %w", err)
		}
		return s.hand(ctx, k, d, wait)
	})
	cmd.Long = cmd.Short + ".\n\nFILE holds it as wallets take it (eth_signTypedData_v4): JSON with types, primaryType, domain and message. The domain must name the chain and the contract. The vaults compute what is signed from the fields that people saw; nothing is sent: coffer export prints the signature."
	f := cmd.Flags()
	f.StringVar(&wallet, "wallet", "", "wallet that signs (default: the only one)")
	f.StringVar(&memo, "memo", "", "a note that people see and sign")
	f.DurationVar(&lifetime, "lifetime", client.DefaultLifetime, "how long it may be signed")
	f.DurationVar(&wait, "wait", 10*time.Second, "how long to wait for what becomes of it")
	return cmd
}
