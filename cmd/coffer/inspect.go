package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
	"github.com/cofferhq/coffer/internal/vaultshell"
	"github.com/cofferhq/coffer/internal/verify"
)

// nodesCommand lists vaults; `coffer node --config` runs one, and `coffer node
// list` hangs below it.
func nodesCommand() *cobra.Command {
	return verb("list", "List the vaults: their HSMs, whether they answer, who is paired with whom", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		vs, err := s.api.Vaults(ctx)
		if err != nil {
			return err
		}
		return s.print(nonNil(vs), func(w io.Writer) { printVaults(w, vs) })
	})
}

func printVaults(w io.Writer, vs []client.Vault) {
	rows := [][]string{{"VAULT", "HSM", "STATE", "STARTS", "LOG", "IDENTITY"}}
	for _, v := range vs {
		state := "does not answer: " + v.Error
		if v.Reachable {
			ready := 0
			for _, p := range v.Peers {
				if p.Ready {
					ready++
				}
			}
			state = fmt.Sprintf("ready with %d of %d others", ready, len(v.Peers))
			if !v.UpToDate {
				state += ", misses changes"
			}
		}
		identity := v.Identity
		if len(identity) > 24 {
			identity = identity[:24] + "…"
		}
		rows = append(rows, []string{fmt.Sprintf("%d %s", v.ID, v.Name), v.Vendor + " " + v.Model, state, fmt.Sprint(v.Boot), fmt.Sprintf("%d entries", v.LogSize), identity})
	}
	table(w, rows...)
}

func logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "The vaults' signed logs: copy them, verify them", Args: cobra.ArbitraryArgs, RunE: help}
	var genesis string
	check := verb("verify [FOLDER…]", "Verify every signature and every decision, from log copies and the genesis hash", cobra.ArbitraryArgs, false, func(ctx context.Context, s *session, args []string) error {
		return verifyLogs(ctx, s, genesis, args)
	})
	check.Long = "Verifies offline the copies in the folders given, or, without any, copies fetched now from the running cluster.\nThe genesis hash should come from elsewhere than the copies: --genesis HASH, or a genesis file."
	check.Flags().StringVar(&genesis, "genesis", "", "the genesis hash (64 hex digits), or the genesis file")
	cmd.AddCommand(check, verb("export FOLDER", "Copy every vault's log into a folder", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		dirs, err := s.copyLogs(ctx, args[0])
		if err != nil {
			return err
		}
		return s.print(map[string]any{"genesis": s.info.ID, "folders": dirs}, func(w io.Writer) {
			fmt.Fprintf(w, "copied %d logs\nnext: coffer log verify --genesis %s %s\n", len(dirs), s.info.ID, strings.Join(dirs, " "))
		})
	}))
	return cmd
}

func verifyLogs(ctx context.Context, s *session, genesis string, dirs []string) error {
	if len(dirs) == 0 {
		if err := s.connect(ctx); err != nil {
			return err
		}
		tmp, err := os.MkdirTemp("", "coffer-logs-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		if dirs, err = s.copyLogs(ctx, filepath.Join(tmp, "logs")); err != nil {
			return err
		}
		if genesis == "" {
			genesis = s.info.ID
			fmt.Fprintln(s.cmd.ErrOrStderr(), "note: the genesis hash is the coordinator's word; give the one that you know with --genesis")
		}
	}
	hash, err := genesisHash(genesis)
	if err != nil {
		return err
	}
	r := verify.Dirs(hash, dirs, family.Codecs())
	if s.json {
		if err := printJSON(s.out(), r); err != nil {
			return err
		}
	} else if err := r.WriteText(s.out()); err != nil {
		return err
	}
	if !r.OK {
		return &exitError{exitFailed}
	}
	return nil
}

func genesisHash(text string) ([32]byte, error) {
	if text == "" {
		return [32]byte{}, &usageError{errors.New("--genesis: want the genesis hash (64 hex digits), or the genesis file")}
	}
	if b, err := hex.DecodeString(text); err == nil && len(b) == 32 {
		return [32]byte(b), nil
	}
	b, err := readFile(text)
	if err != nil {
		return [32]byte{}, &usageError{fmt.Errorf("--genesis %.80q: want 64 hex digits, or a genesis file", text)}
	}
	g, err := governance.DecodeGenesis(b)
	if err != nil {
		return [32]byte{}, fmt.Errorf("--genesis %s: %w", text, err)
	}
	return g.Hash(), nil
}

// copyLogs fetches every vault's log into folders below dir, which must be new.
func (s *session) copyLogs(ctx context.Context, dir string) (dirs []string, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the folder for the copies: %w", err)
	}
	for _, v := range s.info.Vaults {
		to := filepath.Join(dir, v.Name)
		if err := os.Mkdir(to, 0o700); err != nil {
			return nil, err
		}
		f, err := os.Create(filepath.Join(to, logfile.EntriesFile))
		if err != nil {
			return nil, err
		}
		checkpoint, err := s.api.CopyLog(ctx, v.ID, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(to, logfile.CheckpointFile), checkpoint, 0o600); err != nil {
			return nil, err
		}
		dirs = append(dirs, to)
	}
	return dirs, nil
}

// finding is one line of doctor.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
	Hint string `json:"hint,omitempty"`
}

func doctorCommand() *cobra.Command {
	return verb("doctor", "Check this machine and the cluster, and say what to do", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		fs := diagnose(ctx, s)
		err := s.print(fs, func(w io.Writer) {
			for _, f := range fs {
				mark := "ok  "
				if !f.OK {
					mark = "FAIL"
				}
				fmt.Fprintf(w, "%s  %-18s %s\n", mark, f.What, f.Says)
				if f.Hint != "" {
					fmt.Fprintf(w, "      hint: %s\n", f.Hint)
				}
			}
		})
		for _, f := range fs {
			if !f.OK && err == nil {
				err = &exitError{exitFailed}
			}
		}
		return err
	})
}

func diagnose(ctx context.Context, s *session) []finding {
	var out []finding
	add := func(what, says string, err error) {
		f := finding{What: what, OK: err == nil, Says: says}
		if err != nil {
			f.Says, f.Hint = err.Error(), hintOf(err)
		}
		out = append(out, f)
	}
	add("processor", "AES in instructions, as a vault needs it", vaultshell.CheckProcessor())
	module, _, err := softhsm.FindModule()
	add("SoftHSM", module, err)
	anvil, err := devnode.FindAnvil()
	if err != nil {
		err = withHint(err, "make tools")
	}
	add("EVM node (anvil)", anvil, err)
	if err := s.connect(ctx); err != nil {
		add("coordinator", "", err)
		return out
	}
	add("coordinator", fmt.Sprintf("cluster %s (%s…), changes since the genesis: %d", s.info.Name, short(s.info.ID), s.info.Governance.Seq), nil)
	vs, err := s.api.Vaults(ctx)
	if err != nil {
		add("vaults", "", err)
		return out
	}
	for _, v := range vs {
		what := fmt.Sprintf("vault %d", v.ID)
		switch {
		case !v.Reachable:
			add(what, "", withHint(errors.New("does not answer: "+v.Error), "look at its node and its vault: are both running, and the HSM helper?"))
		case !v.UpToDate:
			add(what, "", fmt.Errorf("has applied %d of %d changes", v.GovernanceSeq, s.info.Governance.Seq))
		default:
			add(what, fmt.Sprintf("%s %s, log entries: %d, starts: %d", v.Vendor, v.Model, v.LogSize, v.Boot), pairsReady(&v))
		}
	}
	return out
}

func pairsReady(v *client.Vault) error {
	for _, p := range v.Peers {
		switch {
		case p.Quarantined:
			return fmt.Errorf("its pair with vault %d is quarantined: one of them misbehaved", p.Vault)
		case !p.Ready:
			return fmt.Errorf("it is not paired with vault %d yet", p.Vault)
		}
	}
	return nil
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		v := map[string]string{"version": "development", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
		if b, ok := debug.ReadBuildInfo(); ok {
			for _, x := range b.Settings {
				switch x.Key {
				case "vcs.revision":
					v["commit"] = x.Value
				case "vcs.time":
					v["time"] = x.Value
				}
			}
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), v)
		}
		if v["commit"] != "" {
			v["version"] += ", commit " + v["commit"]
		}
		fmt.Fprintf(cmd.OutOrStdout(), "coffer %s (%s, %s)\n", v["version"], v["go"], v["platform"])
		return nil
	}}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// selfPath is this program's file, to start more of it.
func selfPath() (string, error) {
	p, err := os.Executable()
	if err != nil {
		return exec.LookPath("coffer")
	}
	return p, nil
}
