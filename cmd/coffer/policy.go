package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
)

// policyTools are the verbs of policy that change nothing.
func policyTools() []*cobra.Command {
	var roster string
	check := verb("check FILE", "Check a policy: types, names, and with --roster whether people can satisfy it", cobra.ExactArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		return checkPolicy(ctx, s, args[0], roster)
	})
	check.Flags().StringVar(&roster, "roster", "", "the roster that it must fit: a file, or cluster for the one in force")
	test := verb("test FILE CASES", "Decide the cases of a file with a policy, and compare with what they expect", cobra.ExactArgs(2), false, func(ctx context.Context, s *session, args []string) error {
		return testPolicy(ctx, s, args[0], args[1], roster)
	})
	test.Flags().StringVar(&roster, "roster", "", "who is who: a file, or cluster (default: the section people of the cases)")
	var file, cases, name string
	explain := verb("explain [REQUEST]", "Why a request is allowed, waits or is denied, and what would pass", cobra.MaximumNArgs(1), false, func(ctx context.Context, s *session, args []string) error {
		switch {
		case cases == "" && len(args) == 1:
			return explainRequest(ctx, s, args[0])
		case cases != "" && file != "" && len(args) == 0:
			return explainCases(ctx, s, file, cases, name, roster)
		}
		return &usageError{withHint(errors.New("name a request, or --policy FILE and --cases FILE"), "coffer policy explain 0123abcd")}
	})
	f := explain.Flags()
	f.StringVar(&file, "policy", "", "a policy's file, for --cases")
	f.StringVar(&cases, "cases", "", "explain the cases of a file instead of a request")
	f.StringVar(&name, "case", "", "only the case of this name")
	f.StringVar(&roster, "roster", "", "who is who for --cases: a file, or cluster (default: the section people of the cases)")
	return append([]*cobra.Command{check, test, explain, policyLimits()}, policyAnalysis()...)
}

// policyFile compiles a policy's file. Errors show its lines.
func policyFile(path string, roster *identity.Roster) (*policy.Document, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the policy: %w", err)
	}
	d, err := source.Compile(b, roster)
	return d, inFile(path, err)
}

// inFile puts the file's name before what is wrong with it.
func inFile(path string, err error) error {
	var list source.Errors
	if !errors.As(err, &list) {
		return err
	}
	if len(list) == 1 {
		return fmt.Errorf("%s: %s", path, list.Text())
	}
	return fmt.Errorf("%s: %d errors\n%s", path, len(list), list.Text())
}

// rosterNamed is the roster of a flag: none, a file's, or the cluster's.
func (s *session) rosterNamed(ctx context.Context, name string) (*identity.Roster, error) {
	switch name {
	case "":
		return nil, nil
	case "cluster":
		if err := s.connect(ctx); err != nil {
			return nil, err
		}
		d, err := s.api.Roster(ctx)
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(d.Document)
		if err != nil {
			return nil, err
		}
		return identity.ParseRosterJSON(b)
	}
	b, err := readFile(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the roster: %w", err)
	}
	ro, err := identity.ParseRosterJSON(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return ro, nil
}

func checkPolicy(ctx context.Context, s *session, path, roster string) error {
	ro, err := s.rosterNamed(ctx, roster)
	if err != nil {
		return err
	}
	b, err := readFile(path)
	if err != nil {
		return fmt.Errorf("couldn't read the policy: %w", err)
	}
	d, err := source.Compile(b, ro)
	var list source.Errors
	if errors.As(err, &list) && s.json {
		if err := printJSON(s.out(), map[string]any{"valid": false, "errors": list}); err != nil {
			return err
		}
		return inFile(path, err)
	}
	if err != nil {
		return inFile(path, err)
	}
	root := d.Root()
	type counts struct {
		Valid      bool           `json:"valid"`
		Root       string         `json:"root"`
		Guards     int            `json:"guards"`
		Rules      int            `json:"rules"`
		Limits     int            `json:"limits"`
		Invariants int            `json:"invariants"`
		Roster     string         `json:"roster,omitempty"`
		Zones      map[string]int `json:"zones,omitempty"`
		Warnings   []string       `json:"warnings,omitempty"`
		meaning
	}
	out := counts{true, fmt.Sprintf("%x", root), len(d.Guards), len(d.Rules), len(d.Limits), len(d.Invariants), roster, nil, source.Unknown(d), meaningOf(d, ro)}
	for i := range d.Zones {
		if out.Zones == nil {
			out.Zones = make(map[string]int)
		}
		out.Zones[d.Zones[i].Name] = time.Unix(d.Zones[i].Until, 0).UTC().Year()
	}
	err = s.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s is a policy: %s, %s, %s, %s\n", path, plural(out.Guards, "guard"), plural(out.Rules, "rule"), plural(out.Limits, "limit"), plural(out.Invariants, "invariant"))
		fmt.Fprintf(w, "root %x\n", root)
		for i := range d.Zones {
			printZone(w, located(path, b, "zone "+d.Zones[i].Name), &d.Zones[i], time.Now())
		}
		if roster == "" {
			fmt.Fprintln(w, "people, groups and engines were not looked up, nor rules looked for that never match or are hidden by others: name a roster with --roster FILE, or --roster cluster")
		}
		if len(d.Rules) == 0 {
			fmt.Fprintln(w, "warning: there are no rules: everything is denied")
		}
		for _, warning := range out.Warnings {
			place, _, _ := strings.Cut(warning, ":")
			fmt.Fprintf(w, "warning: %s%s\n", located(path, b, place), warning)
		}
		out.print(w, path, b)
	})
	if err != nil {
		return err
	}
	return out.err()
}

// printZone says how long conditions on a zone can be computed.
func printZone(w io.Writer, where string, z *policy.Zone, now time.Time) {
	until := time.Unix(z.Until, 0).UTC()
	switch left := until.Sub(now); {
	case left <= 0:
		fmt.Fprintf(w, "warning: %s%s is known only until the year %d began: conditions on it are errors, and deny; write a later year\n", where, z.Name, until.Year())
	case left < 180*24*time.Hour:
		fmt.Fprintf(w, "warning: %s%s is known only until the year %d begins: conditions on it are errors from then on, and deny; write a later year\n", where, z.Name, until.Year())
	default:
		fmt.Fprintf(w, "%s is known until the year %d begins; conditions on it are errors from then on\n", z.Name, until.Year())
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// policyCases reads a policy and the cases beside it.
func (s *session) policyCases(ctx context.Context, path, casesPath, roster string) (*policy.Document, *source.Cases, error) {
	ro, err := s.rosterNamed(ctx, roster)
	if err != nil {
		return nil, nil, err
	}
	d, err := policyFile(path, ro)
	if err != nil {
		return nil, nil, err
	}
	b, err := readFile(casesPath)
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't read the cases: %w", err)
	}
	cs, err := source.ParseCases(b, d, ro)
	return d, cs, inFile(casesPath, err)
}

func testPolicy(ctx context.Context, s *session, path, casesPath, roster string) error {
	d, cs, err := s.policyCases(ctx, path, casesPath, roster)
	if err != nil {
		return err
	}
	outcomes, failed := cs.Run(d), 0
	for i := range outcomes {
		if !outcomes[i].Passes {
			failed++
		}
	}
	err = s.print(outcomes, func(w io.Writer) {
		for i := range outcomes {
			printOutcome(w, casesPath, &outcomes[i])
		}
	})
	if err == nil && failed > 0 {
		err = withHint(fmt.Errorf("%d of %s fail", failed, plural(len(outcomes), "case")), "coffer policy explain --policy %s --cases %s shows every rule", path, casesPath)
	}
	return err
}

func printOutcome(w io.Writer, path string, o *source.Outcome) {
	if o.Passes {
		fmt.Fprintf(w, "ok    %-40s %s\n", o.Name, o.Got)
		return
	}
	fmt.Fprintf(w, "FAIL  %s:%d: %s\n", path, o.Line, o.Name)
	for _, line := range o.Wrong {
		fmt.Fprintf(w, "        %s\n", line)
	}
	fmt.Fprintf(w, "      %s\n", lines(o.Result.Detail))
	if o.Result.Fix != "" && !o.Result.Allow {
		fmt.Fprintf(w, "      would pass: %s\n", o.Result.Fix)
	}
}

// explainCases shows how every rule stands to cases.
func explainCases(ctx context.Context, s *session, path, casesPath, name, roster string) error {
	d, cs, err := s.policyCases(ctx, path, casesPath, roster)
	if err != nil {
		return err
	}
	type explained struct {
		Name string `json:"name"`
		policy.Explanation
	}
	var out []explained
	for i := range cs.List {
		if c := &cs.List[i]; name == "" || c.Name == name {
			out = append(out, explained{c.Name, d.Explain(cs.Roster, c.Input)})
		}
	}
	if len(out) == 0 {
		return fmt.Errorf("%s has no case %q", casesPath, name)
	}
	return s.print(out, func(w io.Writer) {
		for i := range out {
			fmt.Fprintf(w, "== %s\n", out[i].Name)
			printExplanation(w, d, &out[i].Explanation)
		}
	})
}

func explainRequest(ctx context.Context, s *session, id string) error {
	if err := checkID("request", id); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	r, err := s.api.Request(ctx, id)
	if err != nil {
		return err
	}
	if r.Policy == nil {
		return withHint(fmt.Errorf("request %s is %s: what the vaults decided stands in their answers", short(r.ID), strings.ReplaceAll(r.State, "_", " ")), "coffer show %s", short(r.ID))
	}
	return s.print(r.Policy, func(w io.Writer) { printPolicy(w, r.Policy) })
}

// printExplanation shows a decision, then each guard and rule with its conditions.
func printExplanation(w io.Writer, d *policy.Document, x *policy.Explanation) {
	word := "denied"
	switch {
	case x.Decision.Allow:
		word = "allowed"
	case x.Decision.Pending:
		word = "waits"
	}
	fmt.Fprint(w, word)
	if x.Decision.Rule != "" {
		fmt.Fprintf(w, " by %s", x.Decision.Rule)
	}
	fmt.Fprintf(w, " (%s): %s\n", x.Decision.Code, lines(x.Decision.Detail))
	if x.Decision.Fix != "" && !x.Decision.Allow {
		fmt.Fprintf(w, "would pass: %s\n", x.Decision.Fix)
	}
	for _, list := range [][]policy.Trace{x.Guards, x.Rules} {
		for i := range list {
			t := &list[i]
			what, mark := "rule", "  "
			if t.Guard {
				what = "guard"
			}
			if t.Decides {
				mark = "* "
			}
			fmt.Fprintf(w, "%s%s %s: %s, then %s\n", mark, what, t.Name, matches(t.Value), t.Then)
			printNode(w, &t.When, "    ")
		}
	}
	for _, u := range x.Limits {
		if l, ok := d.Limit(u.Name); ok {
			fmt.Fprintf(w, "  limit %s: %s of %s, with this request\n", u.Name, d.Measured(l, u.Used), d.Measured(l, u.Max))
		}
	}
	fmt.Fprintln(w)
}

func matches(t policy.Truth) string {
	if t == policy.True {
		return "matches"
	}
	if t == policy.False {
		return "does not match"
	}
	return t.String()
}

func printNode(w io.Writer, n *policy.Node, indent string) {
	if len(n.Sub) == 0 {
		fmt.Fprintf(w, "%s%-8s %s", indent, n.Value, n.Condition)
		if n.Detail != "" {
			fmt.Fprintf(w, "   (%s)", lines(n.Detail))
		}
		fmt.Fprintln(w)
		return
	}
	fmt.Fprintf(w, "%s%-8s %s\n", indent, n.Value, junction(n))
	for i := range n.Sub {
		printNode(w, &n.Sub[i], indent+"  ")
	}
}

// junction says how the conditions below a node are joined.
func junction(n *policy.Node) string {
	rest := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(n.Condition, "("), strings.TrimLeft(n.Sub[0].Condition, "(")), ") ")
	switch {
	case strings.HasPrefix(rest, "&&"):
		return "all of"
	case strings.HasPrefix(rest, "||"):
		return "any of"
	}
	return n.Condition
}

// policyText is a policy that the coordinator shows as people write it.
func policyText(document any) ([]byte, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	d, err := source.Compile(b, nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the policy: %w", err)
	}
	return source.YAML(d), nil
}

// sayPolicyDifference prints the lines that a change of policy removes and adds.
func (s *session) sayPolicyDifference(old *client.Document, document json.RawMessage) error {
	var texts [2][]string
	for i, d := range []any{old.Document, document} {
		b, err := policyText(d)
		if err != nil {
			return err
		}
		texts[i] = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	for _, l := range difference(texts[0], texts[1]) {
		s.say("  %s", l)
	}
	return nil
}
