package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// keyCommand is what happens to a wallet's key after it was made. Address, name and
// key id stay; the shares in the vaults become others.
func keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Renew a wallet's key shares, or move them to other vaults", Args: cobra.ArbitraryArgs, RunE: help}
	cmd.AddCommand(
		verb("list", "List the wallets' keys, their epochs and who holds shares", cobra.NoArgs, false, listKeys),
		verb("show WALLET", "Show a key: its epoch, what each vault says, what was ordered", cobra.MaximumNArgs(1), false, showKey),
		orderVerb("refresh WALLET", "Give the same vaults new shares; what leaked of the old ones is worthless (one admin)", client.NewRefresh),
		reshareVerb(),
		tierVerb(),
		orderVerb("abandon WALLET", "End attempts that hang because a vault is gone for good (admin quorum)", client.NewAbandon),
		orderVerb("erase WALLET", "Erase the shares of ended epochs though a vault has not confirmed the new one (admin quorum)", client.NewErase),
		keyApproveVerb(),
		verb("changes", "List the orders so far, and those that wait for signatures", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return listChanges(ctx, s, "key") }),
	)
	return cmd
}

// orderFlags are those that every order has.
type orderFlags struct {
	note string
	wait time.Duration
}

func (f *orderFlags) add(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&f.note, "note", "", "why, for the other admins")
	f.addWait(cmd)
	return cmd
}

func (f *orderFlags) addWait(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.wait, "wait", 2*time.Minute, "how long to wait until the vaults have done it (0: not at all)")
}

func orderVerb(use, short string, draft func(c *client.Cluster, w *client.Wallet, author, note string) (*client.DecodedChange, error)) *cobra.Command {
	f := new(orderFlags)
	return f.add(verb(use, short, cobra.MaximumNArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return giveOrder(ctx, s, strings.Join(args, ""), f, draft)
	}))
}

func reshareVerb() *cobra.Command {
	f := new(orderFlags)
	var vaults string
	var threshold int
	var insist bool
	cmd := f.add(verb("reshare WALLET", "Give the shares to other vaults, or change how many must sign (admin quorum)", cobra.MaximumNArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		ids, err := parseVaults(vaults)
		if err != nil {
			return err
		}
		if len(ids) == 0 || threshold == 0 {
			return &usageError{errors.New("--vaults and --threshold: which vaults hold shares afterwards, and how many of them must sign? For example --vaults 1,2,3,4,5 --threshold 3")}
		}
		return giveOrder(ctx, s, strings.Join(args, ""), f, func(c *client.Cluster, w *client.Wallet, author, note string) (*client.DecodedChange, error) {
			return client.NewReshare(c, w, author, note, threshold, ids, insist)
		})
	}))
	cmd.Flags().StringVar(&vaults, "vaults", "", "the vaults that hold shares afterwards, such as 1,2,3,4,5")
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how many of them must sign together")
	insistFlag(cmd, &insist)
	return cmd
}

// insistFlag waives the rule that no model of device holds a threshold of shares.
func insistFlag(cmd *cobra.Command, insist *bool) {
	cmd.Flags().BoolVar(insist, "insist", false, "though as many of the vaults as must sign have devices of one model, so that one flaw of it could be enough to steal")
}

func tierVerb() *cobra.Command {
	f := new(orderFlags)
	return f.add(verb("tier WALLET hot|warm|cold", "Have the vaults keep their shares in another custody tier (admin quorum)", cobra.ExactArgs(2), true, func(ctx context.Context, s *session, args []string) error {
		return giveOrder(ctx, s, args[0], f, func(c *client.Cluster, w *client.Wallet, author, note string) (*client.DecodedChange, error) {
			return client.NewTier(c, w, author, note, args[1])
		})
	}))
}

// parseVaults reads "1,2,3".
func parseVaults(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var ids []int
	for _, f := range strings.Split(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 || n > 65535 {
			return nil, &usageError{fmt.Errorf("vaults: %q is no vault's number, want numbers with commas between them, such as 1,2,3", f)}
		}
		if slices.Contains(ids, n) {
			return nil, &usageError{fmt.Errorf("vaults: vault %d stands there twice", n)}
		}
		ids = append(ids, n)
	}
	return ids, nil
}

func giveOrder(ctx context.Context, s *session, name string, f *orderFlags, draft func(c *client.Cluster, w *client.Wallet, author, note string) (*client.DecodedChange, error)) error {
	k, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer k.Close()
	w, err := s.wallet(ctx, name, "")
	if err != nil {
		return err
	}
	d, err := draft(s.info, w, k.Principal(), f.note)
	if err != nil {
		return err
	}
	if err := s.foretell(ctx, d); err != nil {
		return err
	}
	c, err := s.handIn(ctx, k, d)
	if err != nil {
		return err
	}
	return s.followOrder(ctx, c, w.Name, f.wait)
}

func keyApproveVerb() *cobra.Command {
	f := new(orderFlags)
	var sure bool
	cmd := verb("approve CHANGE", "Sign a proposed order, after seeing it", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		c, d, err := signShown(ctx, s, "key", args[0], sure)
		if err != nil {
			return err
		}
		name, err := orderedWallet(d)
		if err != nil {
			return err
		}
		return s.followOrder(ctx, c, name, f.wait)
	})
	cmd.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	f.addWait(cmd)
	return cmd
}

// followOrder waits until the vaults have carried out an order that is in force.
func (s *session) followOrder(ctx context.Context, c *client.Change, wallet string, wait time.Duration) error {
	if !c.Applied || wait == 0 || c.Status == "waiting" {
		return s.print(c, func(out io.Writer) { printChange(out, c) })
	}
	if !s.json {
		s.say("change %d is in force; the vaults carry it out", c.Seq)
	}
	until := time.Now().Add(wait)
	for {
		w, err := s.api.Wallet(ctx, wallet)
		if err != nil {
			return err
		}
		o := orderOf(w, c.Hash)
		if o != nil && o.Done {
			return s.print(w, func(out io.Writer) { printWallet(out, w) })
		}
		if time.Now().After(until) {
			detail := "no vault has answered yet"
			if o != nil && o.Detail != "" {
				detail = o.Detail
			}
			return withHint(fmt.Errorf("the vaults have not done it yet: %s", detail), "the coordinator goes on trying, and the wallet works as before: coffer key show %s", wallet)
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func orderOf(w *client.Wallet, change string) *client.KeyOrder {
	for i := range w.Orders {
		if w.Orders[i].Change == change {
			return &w.Orders[i]
		}
	}
	return nil
}

func listKeys(ctx context.Context, s *session, _ []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	ws, err := s.api.Wallets(ctx)
	if err != nil {
		return err
	}
	return s.print(nonNil(ws), func(out io.Writer) {
		if len(ws) == 0 {
			fmt.Fprintln(out, "no key yet: coffer wallet create NAME --as ADMIN")
			return
		}
		rows := [][]string{{"WALLET", "EPOCH", "SIGNS", "VAULTS", "PURPOSE", "STATE"}}
		for i := range ws {
			w := &ws[i]
			rows = append(rows, []string{w.Name, fmt.Sprint(w.Epoch), fmt.Sprintf("any %d of %d", w.Threshold, len(w.Parties)), joinInts(w.Parties), w.Purpose, keyState(w)})
		}
		table(out, rows...)
	})
}

// keyState is what still happens to a key, in a few words.
func keyState(w *client.Wallet) string {
	for i := range w.Orders {
		if o := &w.Orders[i]; !o.Done {
			return o.Action + " under way"
		}
	}
	return "at rest"
}

func showKey(ctx context.Context, s *session, args []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	w, err := s.wallet(ctx, strings.Join(args, ""), "")
	if err != nil {
		return err
	}
	vaults, err := s.api.Vaults(ctx)
	if err != nil {
		return err
	}
	type holder struct {
		Vault     int    `json:"vault"`
		Name      string `json:"name"`
		Reachable bool   `json:"reachable"`
		Epoch     uint64 `json:"epoch,omitempty"`
	}
	var holders []holder
	for _, v := range vaults {
		h := holder{Vault: v.ID, Name: v.Name, Reachable: v.Reachable}
		for _, k := range v.Keys {
			if k.ID == w.ID {
				h.Epoch = k.Epoch
			}
		}
		if h.Epoch != 0 || slices.Contains(w.Parties, v.ID) {
			holders = append(holders, h)
		}
	}
	return s.print(map[string]any{"wallet": w, "vaults": holders}, func(out io.Writer) {
		printWallet(out, w)
		for _, h := range holders {
			says := fmt.Sprintf("holds a share of epoch %d", h.Epoch)
			switch {
			case !h.Reachable:
				says = "does not answer"
			case h.Epoch == 0:
				says = "holds no share yet"
			case !slices.Contains(w.Parties, h.Vault):
				says += ", which is no longer used"
			}
			fmt.Fprintf(out, "vault %-5d %s %s\n", h.Vault, h.Name, says)
		}
		for i := range w.Orders {
			printOrder(out, &w.Orders[i])
		}
	})
}

func printOrder(out io.Writer, o *client.KeyOrder) {
	what := fmt.Sprintf("%s of epoch %d", o.Action, o.Epoch)
	if len(o.Parties) > 0 {
		what += fmt.Sprintf(" to %d of vaults %s", o.Threshold, joinInts(o.Parties))
	}
	if o.Tier != "" {
		what += " to " + o.Tier
	}
	state := "done"
	if !o.Done {
		if state = "under way"; o.Detail != "" {
			state += ": " + o.Detail
		}
	}
	fmt.Fprintf(out, "order       %s, by change %s: %s\n", what, short(o.Change), state)
}
