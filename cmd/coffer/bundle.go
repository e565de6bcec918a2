package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/verify"
)

// bundleOptions are bundle's flags.
type bundleOptions struct {
	out, genesis string
	witnesses    []string
	wait         time.Duration
}

func bundleCommand() *cobra.Command {
	var o bundleOptions
	cmd := verb("bundle REQUEST|TXID [FOLDER…]", "Write the proof of one signature: decisions, policy, approvals, people, up to the genesis", cobra.MinimumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		return makeBundle(ctx, s, &o, args[0], logFolders(args[1:]))
	})
	cmd.Long = `Makes the bundle from the running cluster's logs, or from copies in the folders given (coffer log export).
Who has it and the genesis hash verifies it offline: coffer verify.

With it go the other vaults' cosignatures of each log's checkpoint, for which it waits a little, and, for readers who
know the key, an outside witness's: --witness.`
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "the file to write")
	f.StringVar(&o.genesis, "genesis", "", "the genesis hash (64 hex digits), or the genesis file; needed with folders")
	f.StringArrayVar(&o.witnesses, "witness", nil, "key of an outside witness, NAME+ID+BASE64 (C2SP), whose cosignatures go along; who verifies the bundle names it, too")
	f.DurationVar(&o.wait, "wait", 10*time.Second, "how long to wait until the other vaults have cosigned all that the logs hold now")
	return cmd
}

func makeBundle(ctx context.Context, s *session, o *bundleOptions, what string, dirs []string) error {
	if o.out == "" {
		return &usageError{errors.New("-o: want the file to write")}
	}
	witnesses, err := parseWitnesses(o.witnesses)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		if err := s.connect(ctx); err != nil {
			return err
		}
		if err := s.awaitCosigned(ctx, witnesses, o.wait); err != nil {
			return err
		}
		var cleanup func()
		if dirs, cleanup, err = s.temporaryLogs(ctx); err != nil {
			return err
		}
		defer cleanup()
		if o.genesis == "" {
			o.genesis = s.info.ID
		}
	}
	hash, err := genesisHash(o.genesis)
	if err != nil {
		return err
	}
	b, err := verify.Prove(hash, dirs, what, family.Codecs(), witnesses)
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.out, b.Encode(), 0o644); err != nil {
		return err
	}
	cosigned := map[string][]string{}
	for i := range b.Parts {
		names := []string{}
		for _, c := range b.Parts[i].Cosignatures {
			names = append(names, strings.TrimPrefix(c.Name, fmt.Sprintf("coffer/%x/", hash[:8])))
		}
		cosigned[fmt.Sprintf("vault-%d", b.Parts[i].Vault)] = names
	}
	return s.print(map[string]any{"file": o.out, "genesis": o.genesis, "cosigned": cosigned}, func(w io.Writer) {
		for _, log := range sortedKeys(cosigned) {
			if by := cosigned[log]; len(by) > 0 {
				fmt.Fprintf(w, "the log of %s is cosigned by %s\n", log, strings.Join(by, ", "))
			} else {
				fmt.Fprintf(w, "the log of %s is cosigned by nobody as far as this signature: the same again later, when the other vaults are there\n", log)
			}
		}
		fmt.Fprintf(w, "wrote %s\nnext: coffer verify %s --genesis %x", o.out, o.out, hash)
		for _, k := range o.witnesses {
			fmt.Fprintf(w, " --witness %s", k)
		}
		fmt.Fprintln(w)
	})
}

// awaitCosigned waits until all vaults that answer have cosigned what the others' logs
// hold now, and the witnesses, too; or until its time is over.
func (s *session) awaitCosigned(ctx context.Context, witnesses []audit.Cosigner, wait time.Duration) error {
	vaults, err := s.api.Vaults(ctx)
	if err != nil {
		return err
	}
	vaults = slices.DeleteFunc(vaults, func(v client.Vault) bool { return !v.Reachable })
	until := time.Now().Add(wait)
	for i := range vaults {
		for {
			c, _, err := s.api.Cosigned(ctx, vaults[i].ID)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil && c.Size >= vaults[i].LogSize && hasCosigned(c, len(vaults)-1, witnesses) || !time.Now().Before(until) {
				break
			}
			select {
			case <-time.After(300 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func hasCosigned(c *client.Cosigned, vaults int, witnesses []audit.Cosigner) bool {
	for _, w := range witnesses {
		if !slices.Contains(c.Cosigners, w.Name) {
			return false
		}
	}
	return len(c.Cosigners) >= vaults
}

func parseWitnesses(keys []string) (out []audit.Cosigner, err error) {
	for _, w := range keys {
		k, err := audit.ParseCosigner(w)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--witness: %w", err)}
		}
		out = append(out, k)
	}
	return out, nil
}

func verifyCommand() *cobra.Command {
	var genesis string
	var witnesses []string
	var asJSON bool
	var cosigners int
	cmd := &cobra.Command{
		Use: "verify BUNDLE --genesis HASH", Short: "Verify the proof of one signature offline, and tell it in words",
		Long: `Verifies a bundle (coffer bundle) with nothing but the genesis hash, which should come from elsewhere:
this signature ← the decisions of its vaults ← this version of the policy ← these approvals ← these people.
What was decided is decided again. No network is used.

It says which other vaults cosigned each log's checkpoint: that they were shown this history of it, and no other.
With --cosigners so many must have, and with --witness an outside witness, whose key you know.`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := genesisHash(genesis)
			if err != nil {
				return err
			}
			if cosigners < 0 {
				return &usageError{fmt.Errorf("--cosigners %d: want 0 or more", cosigners)}
			}
			keys, err := parseWitnesses(witnesses)
			if err != nil {
				return err
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
			p := verify.VerifyBundle(hash, raw, family.Codecs(), verify.Demand{Witnesses: keys, Cosigners: cosigners})
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
	cmd.Flags().StringArrayVar(&witnesses, "witness", nil, "key of an outside witness, NAME+ID+BASE64 (C2SP), which must have cosigned every log in the bundle; may be repeated")
	cmd.Flags().IntVar(&cosigners, "cosigners", 0, "how many must have cosigned each log: other vaults, and the witnesses named")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
