package source

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/policy"
)

// Outcome is what became of a case.
type Outcome struct {
	Name   string          `json:"name"`
	Line   int             `json:"line"`
	Passes bool            `json:"passes"`
	Wanted string          `json:"wanted"`
	Got    string          `json:"got"`
	Wrong  []string        `json:"wrong,omitempty"` // what differs, a line each
	Result policy.Decision `json:"decision"`
}

// Run decides every case.
func (cs *Cases) Run(d *policy.Document) []Outcome {
	out := make([]Outcome, 0, len(cs.List))
	for i := range cs.List {
		out = append(out, cs.List[i].run(d, cs))
	}
	return out
}

func (c *Case) run(d *policy.Document, cs *Cases) Outcome {
	r := d.Evaluate(cs.Roster, c.Input)
	x := &c.Expect
	out := Outcome{Name: c.Name, Line: c.Line, Result: r, Wanted: decided(x.Verdict, x.Rule), Got: decided(verdictOf(&r), r.Rule)}
	differ := func(what, want, got string) {
		out.Wrong = append(out.Wrong, fmt.Sprintf("- %s %s", what, want), fmt.Sprintf("+ %s %s", what, got))
	}
	if x.Verdict != verdictOf(&r) || x.Rule == "none" && r.Rule != "" || x.Rule != "" && x.Rule != "none" && x.Rule != r.Rule {
		differ("decision", out.Wanted, out.Got)
	}
	if x.Code != "" && x.Code != r.Code {
		differ("code", x.Code, r.Code)
	}
	if x.Detail != "" && !strings.Contains(r.Detail, x.Detail) {
		differ("detail", "…"+x.Detail+"…", r.Detail)
	}
	if x.Missing != "" && !strings.Contains(r.Fix, x.Missing) {
		differ("missing", "…"+x.Missing+"…", r.Fix)
	}
	out.Passes = len(out.Wrong) == 0
	return out
}

func verdictOf(d *policy.Decision) string {
	switch {
	case d.Allow:
		return "allow"
	case d.Pending:
		return "wait"
	}
	return "deny"
}

func decided(verdict, rule string) string {
	switch rule {
	case "":
		return verdict
	case "none":
		return verdict + ", by no rule"
	}
	return verdict + ", by " + rule
}
