package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer/client"
)

func parseHex(field, text string) ([]byte, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return nil, &usageError{fmt.Errorf("%s %.80q: want 0x and an even number of hex digits", field, text)}
	}
	return b, nil
}

func printEffects(w io.Writer, sender string, e *client.Effects) {
	for _, t := range e.Transfers {
		label := ""
		if t.Label != "" {
			label = " (" + t.Label + ")"
		}
		to := bare(t.To)
		if to == "" {
			to = "the contract that it creates"
		}
		fmt.Fprintf(w, "  pays       %s\n  to         %s%s\n", both(t.Amount), to, label)
		if t.From != sender {
			fmt.Fprintf(w, "  out of     %s\n", bare(t.From))
		}
	}
	for _, a := range e.Allowances {
		amount := both(a.Amount)
		if a.Unlimited {
			amount = "ALL, WITHOUT LIMIT, of " + a.Amount.Asset
		}
		fmt.Fprintf(w, "  lets       %s\n  spend      %s\n", bare(a.Spender), amount)
		if a.Owner != sender {
			fmt.Fprintf(w, "  out of     %s\n", bare(a.Owner))
		}
	}
	for _, c := range e.Calls {
		indent := strings.Repeat("  ", c.Depth)
		by := ""
		if c.Depth > 0 {
			by = ", as " + bare(c.From)
		}
		fmt.Fprintf(w, "  %scalls      %s of %s, with %s%s\n", indent, c.Method, bare(c.To), both(c.Value), by)
		printArguments(w, indent, c.Arguments)
	}
	for _, c := range e.Creations {
		fmt.Fprintf(w, "  creates    a contract with code %s and %s\n", c.CodeHash, both(c.Value))
	}
	if m := e.Message; m != nil {
		fmt.Fprintf(w, "  signs      %s for %s of %s\n", strings.TrimSpace("message "+m.Type), bare(m.Contract), strings.TrimSpace(strconv.Quote(m.Name)+" "+m.Version))
		printArguments(w, "", m.Fields)
	}
	if e.Undecoded != "" {
		fmt.Fprintf(w, "  NOT DECODED: %s\n", e.Undecoded)
	}
}

func printArguments(w io.Writer, indent string, args []client.Argument) {
	for _, a := range args {
		fmt.Fprintf(w, "  %s           %s (%s) %s\n", indent, a.Path, a.Type, a.Value)
	}
}

// printDecoded shows a request as its own bytes say.
func printDecoded(w io.Writer, d *client.Decoded) {
	printEffects(w, d.Sender, &d.Effects)
	fmt.Fprintf(w, "  from       %s on %s\n  fees       at most %s\n  asked by   %s, valid until %s\n", bare(d.Sender), d.Chain, both(d.MaxFee), d.Initiator, when(d.Expires))
	if d.Memo != "" {
		fmt.Fprintf(w, "  memo       %s\n", d.Memo)
	}
}

func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// printState says where a request stands and what can be done next.
func printState(w io.Writer, r *client.Request) {
	state := strings.ReplaceAll(r.State, "_", " ")
	if rs := refusals(r); r.State == "denied" && len(rs) > 0 {
		fmt.Fprintf(w, "%s by the vaults:\n", state)
		printRefusals(w, rs)
		return
	}
	fmt.Fprintf(w, "%s: %s\n", state, lines(r.Reason))
	if r.TxID != "" {
		fmt.Fprintf(w, "transaction %s\n", r.TxID)
	}
	if r.State == "awaiting_approval" && r.Policy != nil {
		for _, m := range r.Policy.Missing {
			who := "NAME"
			if len(m.From) > 0 {
				who = m.From[0]
			}
			fmt.Fprintf(w, "%d more of %s (%s): coffer approve %s --as %s\n", m.Count, m.Group, strings.Join(m.From, ", "), short(r.ID), who)
		}
	}
}

// lines gives each part of a long reason a line of its own.
func lines(reason string) string { return strings.ReplaceAll(reason, "; ", ";\n  ") }

// printRefusals says once what several vaults say alike.
func printRefusals(w io.Writer, rs []client.VaultAnswer) {
	for i := 0; i < len(rs); {
		j := i + 1
		vaults := []int{rs[i].Vault}
		for ; j < len(rs) && *rs[j].Refusal == *rs[i].Refusal; j++ {
			vaults = append(vaults, rs[j].Vault)
		}
		word := fmt.Sprintf("vault %d refuses", rs[i].Vault)
		if len(vaults) > 1 {
			word = fmt.Sprintf("vaults %s refuse, each by itself", joinInts(vaults))
		}
		f := rs[i].Refusal
		fmt.Fprintf(w, "  %s (%s): %s\n", word, ruleOf(f), lines(f.Detail))
		if f.Fix != "" {
			fmt.Fprintf(w, "  would pass: %s\n", f.Fix)
		}
		i = j
	}
}

func ruleOf(r *client.Refusal) string {
	if r.Rule != "" {
		return "rule " + r.Rule
	}
	return r.Code
}

// refusals are those of the last attempt.
func refusals(r *client.Request) []client.VaultAnswer {
	var out []client.VaultAnswer
	if n := len(r.Attempts); n > 0 {
		for _, a := range r.Attempts[n-1].Replies {
			if a.Refusal != nil {
				out = append(out, a)
			}
		}
	}
	return out
}

func printRequests(w io.Writer, rs []client.Request) {
	if len(rs) == 0 {
		fmt.Fprintln(w, `no request: coffer propose --to 0x… --amount "0.1 ETH"`)
		return
	}
	rows := [][]string{{"REQUEST", "STATE", "WHAT", "BY", "UPDATED"}}
	for i := range rs {
		r := &rs[i]
		rows = append(rows, []string{short(r.ID), strings.ReplaceAll(r.State, "_", " "), what(r), r.Initiator, when(r.Updated)})
	}
	table(w, rows...)
}

// firstLine is enough where the rest stands elsewhere on the screen.
func firstLine(reason string) string {
	first, rest, _ := strings.Cut(reason, "; ")
	if rest != "" {
		first += " …"
	}
	return first
}

// what is a request in a few words.
func what(r *client.Request) string {
	e := &r.Effects
	switch {
	case e.Undecoded != "":
		return "not decoded"
	case len(e.Transfers) > 0:
		to := bare(e.Transfers[0].To)
		if e.Transfers[0].Label != "" {
			to = e.Transfers[0].Label
		}
		return e.Transfers[0].Amount.Text + " to " + to
	case len(e.Allowances) > 0:
		return "allowance of " + e.Allowances[0].Amount.Text + " for " + bare(e.Allowances[0].Spender)
	case len(e.Creations) > 0:
		return "a new contract"
	case e.Message != nil:
		return "message " + e.Message.Type + " for " + bare(e.Message.Contract)
	case len(e.Calls) > 0:
		return "call of " + bare(e.Calls[0].To)
	}
	return "nothing"
}

// printRequest shows everything.
func printRequest(w io.Writer, r *client.Request, info *client.Cluster) {
	fmt.Fprintf(w, "request %s\n", r.ID)
	printState(w, r)
	fmt.Fprintln(w, "\nwhat it does, decoded here from its bytes")
	if dec, err := client.Decode(r.Canonical, info); err != nil {
		fmt.Fprintf(w, "  CANNOT BE DECODED: %v\n", err)
	} else {
		if dec.ID != r.ID {
			fmt.Fprintf(w, "  THE COORDINATOR SHOWS OTHER BYTES: their id is %s\n", dec.ID)
		}
		printDecoded(w, dec)
	}
	fmt.Fprintf(w, "  wallet     %s\n", r.Wallet)
	if r.Policy != nil {
		printPolicy(w, r.Policy)
	}
	printPeople(w, r)
	for _, a := range r.Attempts {
		fmt.Fprintf(w, "\nattempt %s, vaults %s", short(a.ID), joinInts(a.Signers))
		if a.Nonce != nil {
			fmt.Fprintf(w, ", nonce %d", *a.Nonce)
		}
		fmt.Fprintln(w)
		for _, v := range a.Replies {
			printVerdict(w, &v)
		}
	}
	if x := r.Receipt; x != nil {
		fmt.Fprintf(w, "\nmined in block %d, %d gas, fee %s\n", x.Block, x.GasUsed, both(x.Fee))
	}
	if len(r.Transitions) > 0 {
		fmt.Fprintln(w, "\nhistory")
		for _, t := range r.Transitions {
			fmt.Fprintf(w, "  %s  %-18s %s\n", t.Time.Local().Format("15:04:05.000"), strings.ReplaceAll(t.State, "_", " "), firstLine(t.Reason))
		}
	}
}

func printPolicy(w io.Writer, d *client.Decision) {
	fmt.Fprintln(w, "\npolicy, as the coordinator sees it (each vault decides for itself)")
	word := "denies"
	switch {
	case d.Allow:
		word = "allows"
	case d.Pending:
		word = "waits"
	}
	fmt.Fprintf(w, "  %s", word)
	if d.Rule != "" {
		fmt.Fprintf(w, ", rule %s%s", d.Rule, emergency(d.Glass))
	}
	fmt.Fprintf(w, ": %s\n", lines(d.Detail))
	if d.Fix != "" && !d.Allow {
		fmt.Fprintf(w, "  would pass: %s\n", d.Fix)
	}
	for _, x := range d.Rules {
		mark := " "
		if x.Decides {
			mark = "*"
		}
		fmt.Fprintf(w, "  %s %-18s matches: %-8s %s; then %s\n", mark, x.Name, x.Matches, x.Detail, x.Then)
	}
}

func printPeople(w io.Writer, r *client.Request) {
	if len(r.Approvals)+len(r.Risk)+len(r.Devices) == 0 {
		return
	}
	fmt.Fprintln(w, "\nwho said what")
	for _, x := range r.Risk {
		fmt.Fprintf(w, "  %-10s %s, score %d %s\n", x.Engine, x.Outcome, x.Score, strings.Join(x.Reasons, "; "))
	}
	for _, a := range r.Approvals {
		word := "no"
		if a.Approve {
			word = "yes"
		}
		fmt.Fprintf(w, "  %-10s %s, at %s\n", a.Principal, word, when(a.Time))
	}
	for _, d := range r.Devices {
		fmt.Fprintf(w, "  %-10s yes, for vault %d's device\n", d.Principal, d.Vault)
	}
}

// emergency is said of a rule for emergencies.
func emergency(glass bool) string {
	if glass {
		return ", BREAK-GLASS"
	}
	return ""
}

func printVerdict(w io.Writer, v *client.VaultAnswer) {
	switch {
	case v.Refusal != nil:
		fmt.Fprintf(w, "  vault %d refuses (%s): %s; would pass: %s", v.Vault, ruleOf(v.Refusal), v.Refusal.Detail, v.Refusal.Fix)
	case v.Decision != nil && v.Decision.Allow:
		fmt.Fprintf(w, "  vault %d allows (rule %s%s): %s", v.Vault, v.Decision.Rule, emergency(v.Decision.Glass), v.Decision.Detail)
	default:
		fmt.Fprintf(w, "  vault %d %s: %s", v.Vault, v.Outcome, v.Detail)
	}
	if v.Decision != nil {
		fmt.Fprintf(w, " [entry %d of its log]", v.Decision.LogIndex)
	}
	fmt.Fprintln(w)
}
