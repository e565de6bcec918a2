package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
)

// governanceCommands are the verbs about changes of every kind, and those that have no
// document of their own.
func governanceCommands() []*cobra.Command {
	return []*cobra.Command{changesCommand(), bookCommand(), chainsCommand(), freezeCommand(false), freezeCommand(true)}
}

func changesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "changes", Short: "Changes of every kind: list them, sign them, withdraw one that waits", Args: cobra.ArbitraryArgs, RunE: help}
	var f changeFlags
	withdraw := verb("withdraw NUMBER --reason TEXT", "Keep a change that waits from coming in force; one admin suffices, or who was one until less than a cooling-off time ago", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		seq, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return &usageError{fmt.Errorf("%q is no number of a change (coffer changes pending)", args[0])}
		}
		return draftChange(ctx, s, &f, func(author string) (*client.DecodedChange, error) {
			return client.NewWithdrawal(s.info, seq, author, f.note)
		})
	})
	f.reason(withdraw)
	var sure bool
	approve := verb("approve CHANGE", "Sign a proposed change of any kind, after seeing it", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return approveChange(ctx, s, "", args[0], sure)
	})
	approve.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	cmd.AddCommand(
		verb("list", "List all changes", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return listChanges(ctx, s, "") }),
		verb("pending", "List what waits: for its time, or for signatures", cobra.NoArgs, false, listPending),
		verb("show CHANGE", "Show a change, what it does and where it has arrived", cobra.ExactArgs(1), false, showChange),
		approve, withdraw,
	)
	return cmd
}

// changeFlags are those of verbs that propose a change.
type changeFlags struct {
	note string
	sure bool
}

func (f *changeFlags) reason(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.note, "reason", "", "what happened, for the other admins and for those who read the log")
	cmd.Flags().BoolVarP(&f.sure, "yes", "y", false, "sign without being asked")
	_ = cmd.MarkFlagRequired("reason")
}

func (f *changeFlags) optional(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.note, "note", "", "why, for the other admins")
	cmd.Flags().BoolVarP(&f.sure, "yes", "y", false, "sign without being asked")
}

// draftChange drafts a change, says what it would do, and signs it.
func draftChange(ctx context.Context, s *session, f *changeFlags, draft func(author string) (*client.DecodedChange, error)) error {
	k, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer k.Close()
	d, err := draft(k.Principal())
	if err != nil {
		return err
	}
	if err := s.consent(ctx, k, d, f.sure); err != nil {
		return err
	}
	c, err := s.handIn(ctx, k, d)
	if err != nil {
		return err
	}
	return s.print(c, func(w io.Writer) { printChange(w, c) })
}

// consent shows an order, says what it would do, and asks the admin, unless sure.
func (s *session) consent(ctx context.Context, k *client.Signer, d *client.DecodedChange, sure bool) error {
	if !s.json {
		s.showOrder(d.Document)
	}
	if err := s.foretell(ctx, d); err != nil || sure {
		return err
	}
	return s.confirmSigning(k)
}

func (s *session) confirmSigning(k *client.Signer) error {
	return s.confirm("Sign this as " + k.Principal() + "?")
}

// handIn signs a draft and proposes it with this first signature.
func (s *session) handIn(ctx context.Context, k *client.Signer, d *client.DecodedChange) (*client.Change, error) {
	s.describe = describeChange(d)
	sig, err := k.SignChange(d)
	if err != nil {
		return nil, err
	}
	return s.api.ProposeChange(ctx, d, sig)
}

// foretell says what a change will do, before anybody signs it.
func (s *session) foretell(ctx context.Context, d *client.DecodedChange) error {
	f, err := s.api.Forecast(ctx, d)
	if err != nil || s.json {
		return err
	}
	s.say("%s: %s", f.Class, f.Why)
	switch {
	case f.Waits:
		s.say("It would be in force from %s on, if %s signed it now; until then any admin can withdraw it (coffer changes withdraw %d).", moment(f.Due), admins(f.Quorum), d.Seq)
	default:
		s.say("It would be in force at once, when %s signed it.", admins(f.Quorum))
	}
	if len(f.Supersedes) > 0 {
		s.say("It ends what waits: change %s.", numbers(f.Supersedes))
	}
	return nil
}

func admins(n int) string {
	if n == 1 {
		return "one admin has"
	}
	return fmt.Sprintf("%d admins have", n)
}

func numbers(seqs []uint64) string {
	var out []string
	for _, n := range seqs {
		out = append(out, strconv.FormatUint(n, 10))
	}
	return strings.Join(out, ", ")
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func showChange(ctx context.Context, s *session, args []string) error {
	if err := checkID("change", args[0]); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	c, err := s.api.Change(ctx, args[0])
	if err != nil {
		return err
	}
	d, err := client.DecodeChange(c.Canonical)
	if err != nil {
		return err
	}
	return s.print(c, func(w io.Writer) {
		printChange(w, c)
		if c.Class != "" {
			fmt.Fprintf(w, "%s: %s\n", c.Class, c.Why)
		}
		s.showOrder(d.Document)
		for _, v := range c.Vaults {
			if !v.Applied {
				fmt.Fprintf(w, "vault %d does not have it yet %s\n", v.Vault, v.Error)
			}
		}
	})
}

func listPending(ctx context.Context, s *session, _ []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	all, err := s.api.Changes(ctx)
	if err != nil {
		return err
	}
	out := []client.Change{}
	for _, c := range all {
		if c.Status == "waiting" || c.Status == client.StatusSignatures {
			out = append(out, c)
		}
	}
	return s.print(out, func(w io.Writer) {
		for i := range s.info.Governance.Frozen {
			fmt.Fprintln(w, frozenText(&s.info.Governance.Frozen[i]))
		}
		if len(out) == 0 {
			fmt.Fprintln(w, "nothing waits")
			return
		}
		rows := [][]string{{"CHANGE", "NUMBER", "KIND", "BY", "CLASS", "STATE", "NOTE"}}
		for i := range out {
			c := &out[i]
			rows = append(rows, []string{short(c.Hash), fmt.Sprint(c.Seq), c.Kind, c.Author, c.Class, changeState(c), c.Note})
		}
		table(w, rows...)
		fmt.Fprintln(w, "any admin can withdraw what waits for its time: coffer changes withdraw NUMBER --reason TEXT --as ADMIN")
	})
}

func frozenText(f *client.Frozen) string {
	what := "FROZEN: all wallets"
	if f.Wallet != "" {
		what = "FROZEN: the wallet with key " + short(f.Wallet)
	}
	return fmt.Sprintf("%s, by %s in change %d: %s", what, f.By, f.Change, f.Reason)
}

func bookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "book", Short: "The address book: show it, add addresses, remove some", Args: cobra.ArbitraryArgs, RunE: help}
	for _, add := range []bool{true, false} {
		f, name, short := new(changeFlags), "add", "Propose addresses (CAIP-10) for a label; new ones cool off"
		if !add {
			name, short = "remove", "Propose to take addresses (CAIP-10) from a label"
		}
		v := verb(name+" LABEL ADDRESS …", short, cobra.MinimumNArgs(2), true, func(ctx context.Context, s *session, args []string) error {
			return draftChange(ctx, s, f, func(author string) (*client.DecodedChange, error) {
				if add {
					return client.NewBookChange(s.info, author, f.note, args[0], args[1:], nil)
				}
				return client.NewBookChange(s.info, author, f.note, args[0], nil, args[1:])
			})
		})
		f.optional(v)
		cmd.AddCommand(v)
	}
	cmd.AddCommand(approveVerb("book"),
		verb("show", "Show the address book in force", cobra.NoArgs, false, showBook),
		verb("changes", "List the changes so far, and those that wait", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return listChanges(ctx, s, "book") }))
	return cmd
}

func approveVerb(kind string) *cobra.Command {
	var sure bool
	v := verb("approve CHANGE", "Sign a proposed change, after seeing it", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return approveChange(ctx, s, kind, args[0], sure)
	})
	v.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	return v
}

func showBook(ctx context.Context, s *session, _ []string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	d, err := s.api.Policy(ctx)
	if err != nil {
		return err
	}
	b, err := json.Marshal(d.Document)
	if err != nil {
		return err
	}
	var x struct {
		Book map[string][]string `json:"addressBook"`
	}
	if err := json.Unmarshal(b, &x); err != nil {
		return fmt.Errorf("couldn't read the policy: %w", err)
	}
	return s.print(x.Book, func(w io.Writer) {
		rows := [][]string{{"LABEL", "ADDRESS"}}
		for _, label := range sortedKeys(x.Book) {
			for _, a := range x.Book[label] {
				rows = append(rows, []string{label, a})
			}
		}
		table(w, rows...)
	})
}

func chainsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "chains", Short: "The chains that the vaults sign for: show them, propose others", Args: cobra.ArbitraryArgs, RunE: help}
	f := new(changeFlags)
	set := verb("set CHAIN … | all", "Propose the chains (CAIP-2) that the vaults sign for", cobra.MinimumNArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		if len(args) == 1 && args[0] == "all" {
			args = nil
		}
		return draftChange(ctx, s, f, func(author string) (*client.DecodedChange, error) {
			return client.NewChainsChange(s.info, author, f.note, args)
		})
	})
	f.optional(set)
	cmd.AddCommand(set, approveVerb("chains"),
		verb("show", "Show the chains in force", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error {
			if err := s.connect(ctx); err != nil {
				return err
			}
			chains := s.info.Governance.Chains
			return s.print(chains, func(w io.Writer) {
				if len(chains) == 0 {
					fmt.Fprintln(w, "every chain that the vaults can read")
				}
				for _, c := range chains {
					fmt.Fprintln(w, c)
				}
			})
		}),
		verb("changes", "List the changes so far, and those that wait", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return listChanges(ctx, s, "chains") }))
	return cmd
}

func freezeCommand(thaw bool) *cobra.Command {
	name, short := "freeze", "Stop a wallet, or all, at once; one admin suffices"
	if thaw {
		name, short = "thaw", "Propose to end a freeze; it takes the admin quorum"
	}
	f, all := new(changeFlags), false
	cmd := verb(name+" WALLET | --all", short, cobra.MaximumNArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		if all == (len(args) == 1) {
			return &usageError{errors.New("want a wallet, or --all")}
		}
		return draftChange(ctx, s, f, func(author string) (*client.DecodedChange, error) {
			if all {
				return client.NewFreeze(s.info, nil, thaw, author, f.note)
			}
			w, err := s.wallet(ctx, args[0], "")
			if err != nil {
				return nil, err
			}
			return client.NewFreeze(s.info, w, thaw, author, f.note)
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "all wallets")
	f.reason(cmd)
	return cmd
}

// isDocument says whether a change is a whole new document, to compare with the old.
func isDocument(kind string) bool {
	return kind == "policy" || kind == "roster" || kind == "measurements"
}

// changeState says in words what a change waits for, or what became of it.
func changeState(c *client.Change) string {
	switch c.Status {
	case "waiting":
		if c.Due != nil {
			return "in force from " + moment(*c.Due)
		}
	case "superseded", "withdrawn":
		return fmt.Sprintf("%s by change %d", c.Status, c.EndedBy)
	case "dropped", "no-effect":
		return strings.ReplaceAll(c.Status, "-", " ") + ": " + c.Detail
	case client.StatusOvertaken:
		return "overtaken: propose it anew"
	}
	if c.Applied {
		return "in force"
	}
	return fmt.Sprintf("%d of %d signatures", len(c.SignedBy), c.Quorum)
}
