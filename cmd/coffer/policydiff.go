package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/analysis"
	"github.com/cofferhq/coffer/internal/policy/backtest"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
)

// policyAnalysis are the verbs that say what a change of policy means.
func policyAnalysis() []*cobra.Command {
	var roster, newRoster string
	diff := verb("diff [OLD] NEW", "What a new policy allows and forbids that the old one did not, with examples", cobra.RangeArgs(1, 2), false, func(ctx context.Context, s *session, args []string) error {
		if len(args) == 1 {
			args = []string{"cluster", args[0]}
		}
		return diffPolicies(ctx, s, args[0], args[1], roster, newRoster)
	})
	diff.Long = "Compares two policies for all transactions: files, or cluster for the policy in force, which OLD is when it is left out.\nEvery example is a transaction that both policies were asked about; tightening is a proof."
	diff.Flags().StringVar(&roster, "roster", "cluster", "who is who: a file, or cluster for the roster in force")
	diff.Flags().StringVar(&newRoster, "new-roster", "", "the roster that comes with the new policy (default: the same)")
	var logs []string
	back := verb("backtest NEW", "What a policy would have said to the requests of the past", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		return backtestPolicy(ctx, s, args[0], roster, logs)
	})
	back.Long = "Decides again, under a new policy, what the vaults' logs tell of, in order and with the limits' history.\nThe logs are copies in folders (coffer log export), or fetched now from the running cluster."
	back.Flags().StringVar(&roster, "roster", "cluster", "who is who: a file, or cluster for the roster in force")
	back.Flags().StringSliceVar(&logs, "log", nil, "folders with copies of logs")
	return []*cobra.Command{diff, back}
}

// policyNamed is the policy of a file, or the cluster's.
func (s *session) policyNamed(ctx context.Context, name string, roster *identity.Roster) (*policy.Document, error) {
	if name != "cluster" {
		return policyFile(name, roster)
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	d, err := s.api.Policy(ctx)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(d.Document)
	if err != nil {
		return nil, err
	}
	return source.Compile(b, roster)
}

type differenceView struct {
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
	Example string `json:"example"`
	Then    string `json:"then"`
	Now     string `json:"now"`
}

func diffPolicies(ctx context.Context, s *session, oldName, newName, rosterName, newRosterName string) error {
	oldRoster, err := s.rosterNamed(ctx, rosterName)
	if err != nil {
		return err
	}
	newRoster := oldRoster
	if newRosterName != "" {
		if newRoster, err = s.rosterNamed(ctx, newRosterName); err != nil {
			return err
		}
	}
	old, err := s.policyNamed(ctx, oldName, oldRoster)
	if err != nil {
		return err
	}
	next, err := s.policyNamed(ctx, newName, newRoster)
	if err != nil {
		return err
	}
	d := analysis.Compare(old, next, oldRoster, newRoster)
	view := func(list []analysis.Difference) []differenceView {
		var out []differenceView
		for _, x := range list {
			out = append(out, differenceView{x.Old, x.New, x.Example.Words, x.Example.Old.Detail, x.Example.New.Detail})
		}
		return out
	}
	out := struct {
		Class     string           `json:"class"`
		Reason    string           `json:"reason"`
		Means     string           `json:"means"`
		Allowed   []differenceView `json:"allowed,omitempty"`
		Forbidden []differenceView `json:"forbidden,omitempty"`
		Open      []string         `json:"open,omitempty"`
	}{d.Class.String(), d.Reason, classMeans(d.Class), view(d.Allowed), view(d.Forbidden), d.Open}
	return s.print(out, func(w io.Writer) {
		for _, x := range out.Allowed {
			fmt.Fprintf(w, "newly allowed%s: %s\n", byRules(x.Old, x.New), x.Example)
			fmt.Fprintf(w, "    before: %s\n", lines(x.Then))
		}
		for _, x := range out.Forbidden {
			fmt.Fprintf(w, "no longer allowed%s: %s\n", byRules(x.Old, x.New), x.Example)
			fmt.Fprintf(w, "    now: %s\n", lines(x.Now))
		}
		for _, o := range out.Open {
			fmt.Fprintf(w, "not known: %s\n", o)
		}
		if len(out.Allowed)+len(out.Forbidden)+len(out.Open) == 0 {
			fmt.Fprintln(w, "the two allow the same transactions")
		}
		fmt.Fprintf(w, "this change is %s: %s\n", out.Class, out.Means)
		if d.Class != analysis.Tightening && d.Example == nil {
			fmt.Fprintf(w, "because: %s\n", d.Reason)
		}
	})
}

// byRules names the rules that decide an example, where there are any.
func byRules(old, now string) string {
	switch {
	case old != "" && now != "" && old != now:
		return fmt.Sprintf(" (by %s, before by %s)", now, old)
	case now != "":
		return fmt.Sprintf(" (by %s)", now)
	case old != "":
		return fmt.Sprintf(" (before by %s)", old)
	}
	return ""
}

// classMeans says what governance does with a change of the class.
func classMeans(c analysis.Class) string {
	switch c {
	case analysis.Tightening:
		return "it is in force as soon as the quorum of admins has signed"
	case analysis.Loosening:
		return "it is in force when the cooling-off time is over after the quorum of admins has signed"
	}
	return "all admins must sign it, and then it waits for the cooling-off time"
}

// meaning is what check finds beyond types: what is without effect, and whether the
// invariants hold.
type meaning struct {
	Lint     []analysis.Issue `json:"lint,omitempty"`
	Promises []promise        `json:"promises,omitempty"`
}

type promise struct {
	Invariant string `json:"invariant"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
}

// meaningOf looks at a policy with a roster; without one there is nothing to say.
func meaningOf(d *policy.Document, roster *identity.Roster) meaning {
	if roster == nil {
		return meaning{}
	}
	m := meaning{Lint: analysis.Lint(d, roster)}
	for _, f := range analysis.Invariants(d, roster) {
		m.Promises = append(m.Promises, promise{f.Invariant, f.Outcome.String(), f.Reason})
	}
	return m
}

// print writes it with the places of the policy's file, if there is one.
func (m *meaning) print(w io.Writer, path string, file []byte) {
	for _, i := range m.Lint {
		fmt.Fprintf(w, "%s%s: %s [%s]\n", located(path, file, i.Place), i.Place, lines(i.Words), i.Kind)
	}
	for _, p := range m.Promises {
		fmt.Fprintf(w, "%sinvariant %s is %s: %s\n", located(path, file, "invariant "+p.Invariant), p.Invariant, p.Outcome, lines(p.Reason))
	}
}

// located is where a file speaks of a place, "rule payments": "policy.yaml: line 3,
// column 5: ", or nothing.
func located(path string, file []byte, place string) string {
	kind, name, _ := strings.Cut(place, " ")
	if line, column := source.Locate(file, kind, name); line > 0 {
		return fmt.Sprintf("%s: line %d, column %d: ", path, line, column)
	}
	return ""
}

// err says that invariants are not proven.
func (m *meaning) err() error {
	n := 0
	for _, p := range m.Promises {
		if p.Outcome != analysis.Proven.String() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return withHint(fmt.Errorf("%s not proven: such a policy cannot be published", plural(n, "invariant")), "change the rules, or the invariants, until each is proven")
}

func backtestPolicy(ctx context.Context, s *session, name, rosterName string, dirs []string) error {
	dirs = logFolders(dirs)
	roster, err := s.rosterNamed(ctx, rosterName)
	if err != nil {
		return err
	}
	if roster == nil {
		return &usageError{errors.New("--roster: want a file, or cluster")}
	}
	d, err := s.policyNamed(ctx, name, roster)
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		var cleanup func()
		var err error
		if dirs, cleanup, err = s.temporaryLogs(ctx); err != nil {
			return err
		}
		defer cleanup()
	}
	r, err := backtest.Run(dirs, d, roster)
	if err != nil {
		return err
	}
	return s.print(r, func(w io.Writer) {
		for i := range r.Changed {
			c := &r.Changed[i]
			then, now := "denied", "allowed by "+c.Now.Rule
			if c.Allowed {
				then, now = "allowed by "+c.Rule, "denied"
				if c.Now.Pending {
					now = "waiting"
				}
			}
			fmt.Fprintf(w, "%s %s: %s\n    was %s, would now be %s: %s\n", request.Instant(c.Time), short(c.Request), c.What, then, now, lines(c.Now.Detail))
		}
		for _, k := range r.Skipped {
			fmt.Fprintf(w, "%s cannot be decided again: %s\n", short(k.Request), k.Why)
		}
		fmt.Fprintf(w, "%s of the past decided again: %d the same, %d otherwise\n", plural(r.Requests, "request"), r.Same, len(r.Changed))
	})
}
