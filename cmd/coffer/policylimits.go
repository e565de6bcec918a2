package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

func policyLimits() *cobra.Command {
	return verb("limits", "How much of each limit is used, as the vaults count it, and when the next part comes back", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
		if err := s.connect(ctx); err != nil {
			return err
		}
		l, err := s.api.Limits(ctx)
		if err != nil {
			return err
		}
		return s.print(l, func(out io.Writer) { printLimits(out, l) })
	})
}

// printLimits prints each counter once; where the vaults differ, what each says.
func printLimits(out io.Writer, l *client.Limits) {
	if len(l.Limits) == 0 {
		fmt.Fprintln(out, "the policy has no limits")
		return
	}
	rows := [][]string{{"LIMIT", "OF", "USED", "MAX", "LEFT", "NEXT BACK", "VAULTS"}}
	for _, limit := range l.Limits {
		before := len(rows)
		for _, v := range l.Vaults {
			for _, c := range v.Counters {
				if c.Limit == limit.Name {
					rows = addCounter(rows, before, &limit, &c, v.Vault)
				}
			}
		}
		if len(rows) == before {
			rows = append(rows, []string{limit.Name, "", "nothing", limit.Max, limit.Max, "", ""})
		}
	}
	table(out, rows...)
	for _, v := range l.Vaults {
		if v.Error != "" {
			fmt.Fprintf(out, "vault %d (%s): %s\n", v.Vault, v.Name, v.Error)
		}
		if v.More > 0 {
			fmt.Fprintf(out, "vault %d (%s): %d more counters are in use, and less full\n", v.Vault, v.Name, v.More)
		}
	}
}

// addCounter adds a row, or the vault to the row that says the same already.
func addCounter(rows [][]string, from int, limit *client.Limit, c *client.Counter, vault int) [][]string {
	var of []string
	for _, s := range []string{c.Wallet, c.Initiator, c.Destination} {
		if s != "" {
			of = append(of, s)
		}
	}
	if c.Asset != "" && !strings.HasSuffix(limit.Max, " "+c.Asset) {
		of = append(of, c.Asset)
	}
	row := []string{limit.Name, strings.Join(of, " "), c.Used, limit.Max, c.Left, "", fmt.Sprint(vault)}
	switch {
	case c.Error != "":
		row[2], row[4] = "cannot be counted: "+c.Error, ""
	case c.Frees != nil:
		row[5] = c.FreesAmount + " at " + moment(*c.Frees)
	}
	last := len(row) - 1
	for _, r := range rows[from:] {
		if slices.Equal(r[:last], row[:last]) {
			r[last] += ", " + row[last]
			return rows
		}
	}
	return append(rows, row)
}
