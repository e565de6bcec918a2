package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/verify"
)

func logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "The vaults' signed logs: copy them, verify them", Args: cobra.ArbitraryArgs, RunE: help}
	var genesis string
	var alone bool
	check := verb("verify [FOLDER…]", "Verify every signature and every decision, from log copies and the genesis hash", cobra.ArbitraryArgs, false, func(ctx context.Context, s *session, args []string) error {
		return verifyLogs(ctx, s, genesis, alone, args)
	})
	check.Long = "Verifies offline the copies in the folders given, or, without any, copies fetched now from the running cluster.\nThe genesis hash should come from elsewhere than the copies: --genesis HASH, or a genesis file."
	check.Flags().BoolVar(&alone, "alone", false, "verify one log by itself, without what the other vaults' logs say of it")
	check.Flags().StringVar(&genesis, "genesis", "", "the genesis hash (64 hex digits), or the genesis file")
	cmd.AddCommand(check, exportLogsCommand(), logServeCommand())
	return cmd
}

// logFolders are the folders of copies that are meant: a folder with folders of copies, as
// coffer log export makes it, stands for those.
func logFolders(dirs []string) (out []string) {
	for _, dir := range dirs {
		below, err := filepath.Glob(filepath.Join(dir, "*", logfile.EntriesFile))
		if _, missing := os.Stat(filepath.Join(dir, logfile.EntriesFile)); missing == nil || err != nil || len(below) == 0 {
			out = append(out, dir)
			continue
		}
		for _, file := range below {
			out = append(out, filepath.Dir(file))
		}
	}
	return out
}

func verifyLogs(ctx context.Context, s *session, genesis string, alone bool, dirs []string) error {
	dirs = logFolders(dirs)
	if alone && len(dirs) != 1 {
		return &usageError{fmt.Errorf("--alone: %d folders, want the one of the log", len(dirs))}
	}
	if len(dirs) == 0 {
		var cleanup func()
		var err error
		if dirs, cleanup, err = s.temporaryLogs(ctx); err != nil {
			return err
		}
		defer cleanup()
		if genesis == "" {
			genesis = s.info.ID
			fmt.Fprintln(s.cmd.ErrOrStderr(), "note: the genesis hash is the coordinator's word; give the one that you know with --genesis")
		}
	}
	hash, err := genesisHash(genesis)
	if err != nil {
		return err
	}
	var r *verify.Report
	if alone {
		r = verify.Alone(hash, dirs[0], family.Codecs())
	} else {
		r = verify.Dirs(hash, dirs, family.Codecs())
	}
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

// temporaryLogs connects and copies every vault's log; cleanup removes the copies.
func (s *session) temporaryLogs(ctx context.Context) (dirs []string, cleanup func(), err error) {
	if s.info == nil {
		if err := s.connect(ctx); err != nil {
			return nil, nil, err
		}
	}
	tmp, err := os.MkdirTemp("", "coffer-logs-")
	if err != nil {
		return nil, nil, err
	}
	cleanup = func() { _ = os.RemoveAll(tmp) } // of a temporary folder: the system cleans up what stays
	if dirs, err = s.api.ExportLogs(ctx, filepath.Join(tmp, "logs")); err != nil {
		cleanup()
		return nil, nil, err
	}
	return dirs, cleanup, nil
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
