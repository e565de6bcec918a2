package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// nodesCommand lists vaults; `coffer node --config` runs one, and `coffer node
// list` hangs below it.
func nodesCommand() *cobra.Command {
	cmd := verb("list", "List the vaults: their state, their HSMs, what isolates them, what they run", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		vs, err := s.api.Vaults(ctx)
		if err != nil {
			return err
		}
		return s.print(nonNil(vs), func(w io.Writer) {
			printVaults(w, vs)
			for i := range vs {
				if vs[i].Reachable {
					fmt.Fprintln(w)
					printVault(w, &vs[i])
				}
			}
			printPrograms(w, vs)
		})
	})
	cmd.Long = `Lists the vaults. What stands there of a device, its grades, isolation and program is the vault's own word; "attested"
is said where the device itself has shown what it is, "declared" where people say so.`
	return cmd
}

func printVaults(w io.Writer, vs []client.Vault) {
	rows := [][]string{{"VAULT", "HSM", "STATE", "STARTS", "LOG", "IDENTITY"}}
	for i := range vs {
		v := &vs[i]
		identity := v.Identity
		if len(identity) > 24 {
			identity = identity[:24] + "…"
		}
		rows = append(rows, []string{fmt.Sprintf("%d %s", v.ID, v.Name), v.Vendor + " " + v.Model, vaultState(v), fmt.Sprint(v.Boot), fmt.Sprintf("%d entries", v.LogSize), identity})
	}
	table(w, rows...)
}

// vaultState is a vault's state in a few words.
func vaultState(v *client.Vault) string {
	if !v.Reachable {
		return "does not answer: " + v.Error
	}
	ready := 0
	var bad []string
	for _, p := range v.Peers {
		switch {
		case p.Suspended:
			bad = append(bad, fmt.Sprintf("has suspended vault %d", p.Vault))
		case p.Quarantined:
			bad = append(bad, fmt.Sprintf("quarantined with vault %d", p.Vault))
		case p.Ready:
			ready++
		}
	}
	state := fmt.Sprintf("ready with %d of %d others", ready, len(v.Peers))
	switch v.State {
	case "", "running":
	case "awaiting-heads":
		state = fmt.Sprintf("signs nothing yet: it waits until others say what they hold of its log (vaults %s)", joinInts(v.Awaiting))
	case "rolled-back":
		state = "ROLLED BACK"
	default:
		state = strings.ToUpper(v.State)
	}
	if !v.UpToDate {
		bad = append(bad, "misses changes")
	}
	return strings.Join(append([]string{state}, bad...), ", ")
}

// printVault shows one vault's own word about itself.
func printVault(w io.Writer, v *client.Vault) {
	fmt.Fprintf(w, "vault %d %s\n", v.ID, v.Name)
	if r := v.RolledBack; r != nil {
		by := "its own device's counter says so"
		if len(r.By) > 0 {
			by = fmt.Sprintf("vaults %s have seen more", joinInts(r.By))
		}
		fmt.Fprintf(w, "  ROLLED BACK: its disk has %d log entries, and %d were signed at its start %d: %s\n", r.OwnSize, r.HeldSize, r.HeldBoot, by)
		fmt.Fprintf(w, "  to do      find out who put the old disk back; then coffer vault resume (docs/ops/rollback.md)\n")
	}
	if h := v.Hardware; h != nil {
		fmt.Fprintf(w, "  device     %s %s, firmware %s (%s)\n", h.Vendor, h.Model, orUnknown(h.Firmware), v.Device)
		fmt.Fprintf(w, "  suites     %s\n", orUnknown(strings.Join(h.Suites, ", ")))
		fmt.Fprintf(w, "  grades     boundary %s, rollback %s, per use %s\n", orUnknown(h.Boundary), orUnknown(h.Rollback), orUnknown(h.PerUse))
		if len(h.Tiers) > 0 {
			fmt.Fprintf(w, "  tiers      %s\n", strings.Join(h.Tiers, ", "))
		}
	}
	for i, line := range v.Isolation {
		head := ""
		if i == 0 {
			head = "isolation"
		}
		fmt.Fprintf(w, "  %-10s %s\n", head, line)
	}
	if v.Software != "" {
		fmt.Fprintf(w, "  program    %s\n", v.Software)
	}
}

// printPrograms compares the vaults' programs.
func printPrograms(w io.Writer, vs []client.Vault) {
	runs := make(map[string][]int)
	for _, v := range vs {
		if v.Reachable && v.Software != "" {
			runs[v.Software] = append(runs[v.Software], v.ID)
		}
	}
	switch len(runs) {
	case 0:
	case 1:
		fmt.Fprintln(w, "\nall vaults that answer say that they run the same program")
	default:
		fmt.Fprintln(w, "\nTHE VAULTS RUN DIFFERENT PROGRAMS:")
		for _, hash := range sortedKeys(runs) {
			fmt.Fprintf(w, "  %s  vaults %s\n", hash, joinInts(runs[hash]))
		}
		fmt.Fprintln(w, "during an upgrade that is so; otherwise compare with the hash that make reproducible prints")
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
