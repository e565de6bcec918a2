package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/verify"
)

func bundleCommand() *cobra.Command {
	var out, genesis string
	cmd := verb("bundle REQUEST|TXID [FOLDER…]", "Write the proof of one signature: decisions, policy, approvals, people, up to the genesis", cobra.MinimumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if out == "" {
			return &usageError{errors.New("-o: want the file to write")}
		}
		dirs := logFolders(args[1:])
		if len(dirs) == 0 {
			var cleanup func()
			var err error
			if dirs, cleanup, err = s.temporaryLogs(ctx); err != nil {
				return err
			}
			defer cleanup()
			if genesis == "" {
				genesis = s.info.ID
			}
		}
		hash, err := genesisHash(genesis)
		if err != nil {
			return err
		}
		b, err := verify.Prove(hash, dirs, args[0], family.Codecs())
		if err != nil {
			return err
		}
		if err := os.WriteFile(out, b.Encode(), 0o644); err != nil {
			return err
		}
		return s.print(map[string]any{"file": out, "genesis": genesis}, func(w io.Writer) {
			fmt.Fprintf(w, "wrote %s\nnext: coffer verify %s --genesis %x\n", out, out, hash)
		})
	})
	cmd.Long = "Makes the bundle from the running cluster's logs, or from copies in the folders given (coffer log export).\nWho has it and the genesis hash verifies it offline: coffer verify."
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to write")
	cmd.Flags().StringVar(&genesis, "genesis", "", "the genesis hash (64 hex digits), or the genesis file; needed with folders")
	return cmd
}

func verifyCommand() *cobra.Command {
	var genesis string
	var witnesses []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify BUNDLE --genesis HASH", Short: "Verify the proof of one signature offline, and tell it in words",
		Long: `Verifies a bundle (coffer bundle) with nothing but the genesis hash, which should come from elsewhere:
this signature ← the decisions of its vaults ← this version of the policy ← these approvals ← these people.
What was decided is decided again. No network is used.`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := genesisHash(genesis)
			if err != nil {
				return err
			}
			var keys []audit.Cosigner
			for _, w := range witnesses {
				k, err := audit.ParseCosigner(w)
				if err != nil {
					return &usageError{fmt.Errorf("--witness: %w", err)}
				}
				keys = append(keys, k)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			raw, err := io.ReadAll(io.LimitReader(f, verify.MaxBundle+1))
			if err != nil {
				return err
			}
			p := verify.VerifyBundle(hash, raw, family.Codecs(), keys)
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), p)
			} else {
				err = p.WriteText(cmd.OutOrStdout())
			}
			if err == nil && !p.OK {
				err = &exitError{exitFailed}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&genesis, "genesis", "", "the genesis hash (64 hex digits), or the genesis file")
	cmd.Flags().StringArrayVar(&witnesses, "witness", nil, "key of an outside witness, NAME+ID+BASE64 (C2SP); may be repeated")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
