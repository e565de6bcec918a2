package backtest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/analysis"
	"github.com/cofferhq/coffer/internal/request"
)

// Report is what a policy would have said.
type Report struct {
	Requests int       `json:"requests"` // that the policy decided, then and now
	Same     int       `json:"same"`
	Changed  []Case    `json:"changed,omitempty"`
	Skipped  []Skipped `json:"skipped,omitempty"`
}

// Case is a request that is judged differently.
type Case struct {
	Request string          `json:"request"`
	Time    uint64          `json:"time"` // unix ms
	What    string          `json:"what"`
	Allowed bool            `json:"allowed"` // then
	Rule    string          `json:"rule"`    // that decided then
	Detail  string          `json:"detail"`  // then
	Now     policy.Decision `json:"now"`
}

// Skipped is a request that cannot be decided again, and why.
type Skipped struct {
	Request string `json:"request"`
	Why     string `json:"why"`
}

// past is the decision on a request that counts: the first that allows, or the last.
type past struct {
	*audit.Decision
}

// Run decides again what the copies of logs in the folders tell of, with a policy
// and the roster that is in force with it.
func Run(dirs []string, doc *policy.Document, roster *identity.Roster) (*Report, error) {
	list := make(map[[32]byte]*past)
	for _, dir := range dirs {
		if err := read(dir, list); err != nil {
			return nil, err
		}
	}
	var order []*past
	for _, p := range list {
		order = append(order, p)
	}
	slices.SortFunc(order, func(a, b *past) int {
		if a.Time != b.Time {
			if a.Time < b.Time {
				return -1
			}
			return 1
		}
		return slices.Compare(a.Request[:], b.Request[:])
	})
	r, ledger := new(Report), policy.MemoryLedger{}
	for _, p := range order {
		r.decide(p, doc, roster, &ledger)
	}
	return r, nil
}

// read collects the decisions of one log.
func read(dir string, list map[[32]byte]*past) error {
	l, err := logfile.OpenReader(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	for {
		b, err := l.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, logfile.ErrTorn) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		e, err := audit.DecodeEntry(b)
		if err != nil || e.Kind != audit.KindDecision {
			if err != nil {
				return fmt.Errorf("%s: entry %d: %w", dir, l.Index()-1, err)
			}
			continue
		}
		d, err := audit.DecodeDecision(e.Body)
		if err != nil {
			return fmt.Errorf("%s: entry %d: %w", dir, l.Index()-1, err)
		}
		if old := list[d.Request]; old == nil || d.Allow && (!old.Allow || d.Time < old.Time) || !old.Allow && d.Time > old.Time {
			list[d.Request] = &past{Decision: d}
		}
	}
}

// decide decides a request again. What is allowed now counts for the limits of all
// that comes after it.
func (r *Report) decide(p *past, doc *policy.Document, roster *identity.Roster, ledger *policy.MemoryLedger) {
	id := hex.EncodeToString(p.Request[:])
	if !p.Allow && !strings.HasPrefix(p.Code, "policy.") && !strings.HasPrefix(p.Code, "limit.") && !strings.HasPrefix(p.Code, "price.") {
		return // something else than the policy refused it
	}
	in, err := p.input(doc, roster)
	if err != nil {
		r.Skipped = append(r.Skipped, Skipped{id, err.Error()})
		return
	}
	in.Ledger = *ledger
	now := doc.Evaluate(roster, in.Policy())
	r.Requests++
	if now.Allow {
		full := in.Policy()
		if m, err := doc.Movement(&full); err == nil {
			*ledger = append(*ledger, policy.LedgerEntry{Request: p.Request, Wallet: p.Key, Time: p.Time, Movement: m})
		}
	}
	if now.Allow == p.Allow {
		r.Same++
		return
	}
	r.Changed = append(r.Changed, Case{
		Request: id, Time: p.Time, What: analysis.Describe(doc, in),
		Allowed: p.Allow, Rule: p.Rule, Detail: p.Detail, Now: now,
	})
}

// input is what the vault decided about, as the new policy reads it.
func (p *past) input(doc *policy.Document, roster *identity.Roster) (*analysis.Input, error) {
	b, err := request.DecodeBundle(p.Bundle)
	if err != nil {
		return nil, err
	}
	verified, err := roster.CheckBundle(b, b.Request.Cluster, p.Time)
	if err != nil {
		return nil, fmt.Errorf("its signatures are not good under this roster: %w", err)
	}
	codec, ok := codecOf(b.Request.Chain)
	if !ok {
		return nil, fmt.Errorf("there is no codec for %s", b.Request.Chain)
	}
	q := b.Request
	prepared, err := codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, p.Unsigned, doc.Methods)
	if err != nil {
		return nil, fmt.Errorf("its transaction cannot be read: %w", err)
	}
	return &analysis.Input{Request: q, Effects: prepared.Effects, Verified: verified, Now: p.Time}, nil
}

func codecOf(id string) (chain.Codec, bool) {
	for _, c := range family.Codecs() {
		if strings.HasPrefix(id, c.Namespace()+":") {
			return c, true
		}
	}
	return nil, false
}
