package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/machine"
	"github.com/cofferhq/coffer/internal/vaultshell"
)

// finding is one line of doctor.
type finding struct {
	About string        `json:"about"` // machine, devices, cluster
	What  string        `json:"what"`
	OK    bool          `json:"ok"`    // nothing keeps this from working
	Level machine.Level `json:"level"` // ok, warn, none (not there, and need not be), fail
	Says  string        `json:"says"`
	Hint  string        `json:"hint,omitempty"`
}

// findings are what doctor prints.
type findings []finding

func (fs *findings) add(about, what string, level machine.Level, says, hint string) {
	*fs = append(*fs, finding{about, what, level != machine.Fail, level, says, hint})
}

// try adds what was found, or the error in its place.
func (fs *findings) try(about, what, says string, err error) {
	if err != nil {
		fs.add(about, what, machine.Fail, err.Error(), hintOf(err))
		return
	}
	fs.add(about, what, machine.OK, says, "")
}

func (fs findings) failed() bool {
	for _, f := range fs {
		if !f.OK {
			return true
		}
	}
	return false
}

func doctorCommand() *cobra.Command {
	var uri string
	var provision bool
	cmd := verb("doctor", "Check this machine, its devices and the cluster, and say what to do", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		var fs findings
		if uri != "" {
			examineDevice(ctx, uri, provision, &fs)
		} else {
			examineMachine(&fs)
			examineDevices(ctx, &fs)
			examineCluster(ctx, s, &fs)
		}
		err := s.print(fs, fs.print)
		if err == nil && fs.failed() {
			err = &exitError{exitFailed}
		}
		return err
	})
	cmd.Long = `Checks this machine, its devices and, where client.toml names one, the cluster. Nothing is changed.
With --device it opens that one device, in the process of this command, and uses its keys a few times.

ok    as a vault wants it
warn  it works, and something is weaker than it could be
none  not there, and need not be
FAIL  it does not work; the exit code is 1`
	cmd.Flags().StringVar(&uri, "device", "", "open this device instead (soft:…, pkcs11:…) and say what it is and does")
	cmd.Flags().BoolVar(&provision, "provision", false, "make the keys that are missing on --device first")
	_ = cmd.Flags().MarkHidden("provision") // coffer hsm does it; doctor wants it for tokens of its own
	return cmd
}

func (fs findings) print(w io.Writer) {
	about := ""
	for _, f := range fs {
		if f.About != about {
			about = f.About
			fmt.Fprintln(w, about)
		}
		level := string(f.Level)
		if f.Level == machine.Fail {
			level = "FAIL"
		}
		fmt.Fprintf(w, "  %-4s  %-18s %s\n", level, f.What, strings.ReplaceAll(strings.TrimSpace(f.Says), "\n", "\n"+strings.Repeat(" ", 27)))
		if f.Hint != "" {
			fmt.Fprintf(w, "%27sto do: %s\n", "", f.Hint)
		}
	}
}

func examineMachine(fs *findings) {
	const about = "machine"
	fs.try(about, "processor", "AES in instructions, as a vault needs it", vaultshell.CheckProcessor())
	for _, f := range machine.Look().Findings() {
		fs.add(about, f.What, f.Level, f.Says, f.Hint)
	}
	if anvil, err := devnode.FindAnvil(); err != nil {
		fs.add(about, "EVM node (anvil)", machine.Missing, "not installed; only make demo, tests and coffer dev want it", "make tools")
	} else {
		fs.add(about, "EVM node (anvil)", machine.OK, anvil, "")
	}
}

func examineCluster(ctx context.Context, s *session, out *findings) {
	const about = "cluster"
	if _, err := os.Stat(filepath.Join(s.home, "client.toml")); errors.Is(err, fs.ErrNotExist) && os.Getenv("COFFER_API") == "" {
		out.add(about, "coordinator", machine.Missing, "not asked: there is no client.toml in "+s.home, "--home FOLDER, where users' keys and client.toml are")
		return
	}
	if err := s.connect(ctx); err != nil {
		out.try(about, "coordinator", "", err)
		return
	}
	out.try(about, "coordinator", fmt.Sprintf("cluster %s (%s…), changes since the genesis: %d", s.info.Name, short(s.info.ID), s.info.Governance.Seq), nil)
	vs, err := s.api.Vaults(ctx)
	if err != nil {
		out.try(about, "vaults", "", err)
		return
	}
	for _, v := range vs {
		what := fmt.Sprintf("vault %d", v.ID)
		switch {
		case !v.Reachable:
			out.try(about, what, "", withHint(errors.New("does not answer: "+v.Error), "look at its node and its vault: are both running, and the HSM helper?"))
		case !v.UpToDate:
			out.try(about, what, "", fmt.Errorf("has applied %d of %d changes", v.GovernanceSeq, s.info.Governance.Seq))
		case v.State != "" && v.State != "running":
			out.try(about, what, "", withHint(errors.New(vaultState(&v)), "coffer vault show %d", v.ID))
		default:
			out.try(about, what, fmt.Sprintf("%s %s, log entries: %d, starts: %d", v.Vendor, v.Model, v.LogSize, v.Boot), pairsReady(&v))
		}
	}
}

func pairsReady(v *client.Vault) error {
	for _, p := range v.Peers {
		switch {
		case p.Suspended:
			return withHint(fmt.Errorf("it has suspended vault %d: two starts or two histories of that one were seen, or the admins ordered it", p.Vault), "coffer vault show %d", p.Vault)
		case p.Quarantined:
			return fmt.Errorf("its pair with vault %d is quarantined: one of them misbehaved", p.Vault)
		case !p.Ready:
			return fmt.Errorf("it is not paired with vault %d yet", p.Vault)
		}
	}
	return nil
}
