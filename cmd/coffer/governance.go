package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/policy/source"
)

// documentCommand is policy, roster or measurements: all change the same way.
func documentCommand(kind string) *cobra.Command {
	short := "What is allowed: show it, propose a new one, sign a change"
	switch kind {
	case "roster":
		short = "People, groups and the admin quorum: show them, propose a change, sign it"
	case "measurements":
		short = "What the vaults' machines may run, as their devices attest it: show it, propose a change, sign it"
	}
	cmd := &cobra.Command{Use: kind, Short: short, Args: cobra.ArbitraryArgs, RunE: help}
	form := "JSON"
	if kind == "policy" {
		form = "YAML or JSON"
	}
	var note string
	var sure bool
	propose := verb("propose FILE", "Propose a new "+kind+" ("+form+") and sign it as the first admin", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return proposeChange(ctx, s, kind, args[0], note)
	})
	propose.Flags().StringVar(&note, "note", "", "why, for the other admins")
	approve := verb("approve CHANGE", "Sign a proposed change, after seeing it", cobra.ExactArgs(1), true, func(ctx context.Context, s *session, args []string) error {
		return approveChange(ctx, s, kind, args[0], sure)
	})
	approve.Flags().BoolVarP(&sure, "yes", "y", false, "sign without being asked")
	cmd.AddCommand(
		verb("show", "Show the "+kind+" in force", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return showDocument(ctx, s, kind) }),
		propose, approve,
		verb("changes", "List the changes so far, and those that wait for signatures", cobra.NoArgs, false, func(ctx context.Context, s *session, _ []string) error { return listChanges(ctx, s, kind) }),
	)
	if kind == "policy" {
		cmd.AddCommand(policyTools()...)
	}
	return cmd
}

// document is what is in force of a kind.
func (s *session) document(ctx context.Context, kind string) (*client.Document, error) {
	switch kind {
	case "roster":
		return s.api.Roster(ctx)
	case "measurements":
		return s.api.Measurements(ctx)
	}
	return s.api.Policy(ctx)
}

func showDocument(ctx context.Context, s *session, kind string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	d, err := s.document(ctx, kind)
	if err != nil {
		return err
	}
	if !s.json {
		fmt.Fprintf(s.cmd.ErrOrStderr(), "version %d, root %s\n", d.Version.Seq, d.Root)
	}
	// The document alone, so that it can be edited and proposed.
	if kind == "policy" && !s.json {
		text, err := policyText(d.Document)
		if err == nil {
			_, err = s.out().Write(text)
		}
		return err
	}
	return printJSON(s.out(), d.Document)
}

func proposeChange(ctx context.Context, s *session, kind, path, note string) error {
	b, err := readFile(path)
	if err != nil {
		return fmt.Errorf("couldn't read the new %s: %w", kind, err)
	}
	k, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer k.Close()
	draft := client.NewPolicyChange
	switch kind {
	case "roster":
		draft = client.NewRosterChange
	case "measurements":
		draft = client.NewMeasurementsChange
	}
	d, err := draft(s.info, k.Principal(), note, b)
	if list := (source.Errors)(nil); errors.As(err, &list) {
		return inFile(path, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := s.foretell(ctx, d); err != nil {
		return err
	}
	c, err := s.handIn(ctx, k, d)
	if err != nil {
		return err
	}
	return s.print(c, func(w io.Writer) { printChange(w, c) })
}

// describeChange shows a change whole, for who proposes it.
func describeChange(d *client.DecodedChange) func(io.Writer) error {
	return func(w io.Writer) error {
		var text bytes.Buffer
		if err := json.Indent(&text, d.Document, "", "  "); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "change %d of the %s, by %s: %s\n%s\n", d.Seq, d.Kind, d.Author, d.Note, text.Bytes())
		return err
	}
}

func approveChange(ctx context.Context, s *session, kind, hash string, sure bool) error {
	c, _, err := signShown(ctx, s, kind, hash, sure)
	if err != nil {
		return err
	}
	return s.print(c, func(w io.Writer) { printChange(w, c) })
}

// signShown signs a change that the admin has seen.
func signShown(ctx context.Context, s *session, kind, hash string, sure bool) (*client.Change, *client.DecodedChange, error) {
	if err := checkID("change", hash); err != nil {
		return nil, nil, err
	}
	k, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer k.Close()
	c, err := s.api.Change(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	d, err := client.DecodeChange(c.Canonical)
	switch {
	case err != nil:
		return nil, nil, err
	case !strings.HasPrefix(d.Hash, hash):
		return nil, nil, fmt.Errorf("the coordinator shows change %s, which is not %s", d.Hash, hash)
	case d.Cluster != s.info.ID:
		return nil, nil, fmt.Errorf("the change is for cluster %s, this is %s", d.Cluster, s.info.ID)
	case kind != "" && d.Kind != kind:
		return nil, nil, withHint(fmt.Errorf("change %s is of kind %s", short(d.Hash), d.Kind), "coffer %s %s", approveOf(d.Kind), short(d.Hash))
	}
	if !s.json {
		s.say("change %d (%s), by %s: %s", d.Seq, d.Kind, d.Author, d.Note)
		if err := s.showDifference(ctx, d.Kind, d.Document); err != nil {
			return nil, nil, err
		}
		s.sayClass(c)
	}
	if !sure {
		if err := s.confirmSigning(k); err != nil {
			return nil, nil, err
		}
	}
	sig, err := k.SignChange(d)
	if err != nil {
		return nil, nil, err
	}
	c, err = s.api.SignChange(ctx, d.Hash, sig)
	return c, d, err
}

// orderedWallet is the wallet that an order is about.
func orderedWallet(d *client.DecodedChange) (string, error) {
	var o struct {
		Wallet string `json:"wallet"`
	}
	if err := json.Unmarshal(d.Document, &o); err != nil {
		return "", fmt.Errorf("couldn't read the order: %w", err)
	}
	return o.Wallet, nil
}

// showDifference prints the lines that a change removes and adds.
func (s *session) showDifference(ctx context.Context, kind string, document json.RawMessage) error {
	if !isDocument(kind) {
		s.showOrder(document)
		return nil
	}
	old, err := s.document(ctx, kind)
	if err != nil {
		return err
	}
	if kind == "policy" {
		return s.sayPolicyDifference(old, document)
	}
	was, err := json.Marshal(old.Document)
	if err != nil {
		return err
	}
	before, after, err := indentBoth(was, document)
	if err != nil {
		return err
	}
	for _, l := range difference(before, after) {
		s.say("  %s", l)
	}
	return nil
}

// indentBoth writes two documents in one form, a value a line.
func indentBoth(a, b []byte) (x, y []string, err error) {
	for _, p := range []struct {
		in  []byte
		out *[]string
	}{{a, &x}, {b, &y}} {
		var v any
		dec := json.NewDecoder(bytes.NewReader(p.in))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			return nil, nil, err
		}
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, nil, err
		}
		*p.out = strings.Split(string(text), "\n")
	}
	return x, y, nil
}

// difference is the longest common subsequence's complement, with one line of
// context around each change.
func difference(a, b []string) []string {
	n, m := len(a), len(b)
	if n*m > 4<<20 {
		return append([]string{"(too long to compare; the whole new document)"}, b...)
	}
	l := make([][]int, n+1)
	for i := range l {
		l[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if a[i] == b[j] {
				l[i][j] = l[i+1][j+1] + 1
			} else {
				l[i][j] = max(l[i+1][j], l[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < n || j < m; {
		switch {
		case i < n && j < m && a[i] == b[j]:
			i, j = i+1, j+1
		case i < n && (j == m || l[i+1][j] >= l[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	if out == nil {
		return []string{"(no difference)"}
	}
	return out
}

func listChanges(ctx context.Context, s *session, kind string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	all, err := s.api.Changes(ctx)
	if err != nil {
		return err
	}
	cs := []client.Change{}
	for _, c := range all {
		if kind == "" || c.Kind == kind {
			cs = append(cs, c)
		}
	}
	return s.print(cs, func(w io.Writer) {
		if len(cs) == 0 {
			next := "propose FILE"
			switch kind {
			case "key":
				next = "refresh WALLET"
			case "vault":
				next = "suspend VAULT"
			}
			fmt.Fprintf(w, "no change since the genesis: coffer %s %s\n", kind, next)
			return
		}
		rows := [][]string{{"CHANGE", "NUMBER", "KIND", "BY", "SIGNED BY", "CLASS", "STATE", "NOTE"}}
		for _, c := range cs {
			rows = append(rows, []string{short(c.Hash), fmt.Sprint(c.Seq), c.Kind, c.Author, strings.Join(c.SignedBy, ","), c.Class, changeState(&c), c.Note})
		}
		table(w, rows...)
	})
}

// approveOf is the verb that signs a change of a kind.
func approveOf(kind string) string {
	switch kind {
	case "freeze", "withdraw":
		return "changes approve"
	}
	return kind + " approve"
}

func printChange(w io.Writer, c *client.Change) {
	fmt.Fprintf(w, "change %s, number %d (%s): %s\n", c.Hash, c.Seq, c.Kind, changeState(c))
	switch {
	case c.Status == "waiting":
		fmt.Fprintf(w, "%s: %s\nany admin can withdraw it until then: coffer changes withdraw %d --reason TEXT --as ADMIN\n", c.Class, c.Why, c.Seq)
	case !c.Applied && c.Status == client.StatusSignatures:
		fmt.Fprintf(w, "next: coffer %s %s --as ADMIN\n", approveOf(c.Kind), short(c.Hash))
	}
}

// sayClass says what a change that waits for signatures would do.
func (s *session) sayClass(c *client.Change) {
	if c.Class == "" || c.Applied {
		return
	}
	s.say("%s: %s", c.Class, c.Why)
	if c.Due != nil {
		s.say("It waits once enough have signed: in force from %s on, if that is now.", moment(*c.Due))
	} else {
		s.say("It is in force at once, when enough have signed.")
	}
	if len(c.Supersedes) > 0 {
		s.say("It ends what waits: change %s.", numbers(c.Supersedes))
	}
}
