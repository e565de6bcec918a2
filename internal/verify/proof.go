package verify

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Proof is what a bundle shows.
type Proof struct {
	OK      bool     `json:"ok"`
	Cluster string   `json:"cluster"`
	Name    string   `json:"name,omitempty"`
	Signed  *Signed  `json:"signed,omitempty"`
	Chain   []string `json:"chain,omitempty"` // in words, from the signature back to the genesis
	Faults  []Fault  `json:"faults"`
}

// Faults of a bundle beside those of logs.
const (
	BundleForm        Code = "bundle.form"        // it does not decode, or a proof in it does not hold
	BundleForeign     Code = "bundle.foreign"     // it is of another cluster
	BundleIncomplete  Code = "bundle.incomplete"  // it does not show exactly one signature with all its decisions
	BundleCosignature Code = "bundle.cosignature" // a cosignature is wrong, or its key is not known
)

// VerifyBundle checks a bundle with nothing but the genesis hash, and the keys of
// outside witnesses if it names any. It decides again as Dirs does: by the same code.
func VerifyBundle(genesis [32]byte, raw []byte, codecs []chain.Codec, witnesses []audit.Cosigner) *Proof {
	v := newVerifier(genesis, codecs)
	fail := func(code Code, format string, args ...any) *Proof {
		v.report.fault(0, nil, code, format, args...)
		return v.proof(nil)
	}
	b, err := DecodeBundle(raw)
	if err != nil {
		return fail(BundleForm, "%v", err)
	}
	if b.Cluster != genesis {
		return fail(BundleForeign, "the bundle is of cluster %x, want %x", b.Cluster[:8], genesis[:8])
	}
	copies, err := b.copies()
	if err != nil {
		return fail(BundleForm, "%v", err)
	}
	v.run(copies)
	if len(v.logs) != len(b.Parts) || len(v.report.Signed) != 1 || v.report.Counts.Receipts != 1 {
		return fail(BundleIncomplete, "it shows %d good signatures by %d of %d logs, want exactly one by all", len(v.report.Signed), len(v.logs), len(b.Parts))
	}
	x := v.logs[0].decisions[b.Attempt]
	if x == nil {
		return fail(BundleIncomplete, "vault %d decided nothing", v.logs[0].id)
	}
	for _, id := range members(x.Decision) {
		if _, d := v.decisionOf(id, b.Attempt); d == nil || !d.sound || !d.covered {
			return fail(BundleIncomplete, "there is no good decision of vault %d, which took part", id)
		}
	}
	var cosigned []string
	for i := range b.Parts {
		line, err := v.cosigned(&b.Parts[i], witnesses)
		if err != nil {
			return fail(BundleCosignature, "vault %d: %v", b.Parts[i].Vault, err)
		}
		cosigned = append(cosigned, line)
	}
	return v.proof(v.chainOf(b, x, cosigned))
}

func (v *verifier) proof(words []string) *Proof {
	v.report.finish()
	p := &Proof{OK: v.report.OK, Cluster: v.report.Cluster, Name: v.report.Name, Faults: v.report.Faults}
	if p.OK {
		p.Chain = words
		p.Signed = &v.report.Signed[0]
	}
	return p
}

// cosigned checks a part's cosignatures and tells of them.
func (v *verifier) cosigned(p *Part, witnesses []audit.Cosigner) (string, error) {
	cp, err := audit.DecodeSignedCheckpoint(p.Checkpoint)
	if err != nil {
		return "", err
	}
	known := slices.Clone(witnesses)
	for i := range v.newest.Vaults {
		if c := &v.newest.Vaults[i]; c.ID != p.Vault {
			known = append(known, audit.Cosigner{Name: audit.Origin(v.cluster, c.ID), Key: c.Log})
		}
	}
	var by []string
	for i := range p.Cosignatures {
		c := &p.Cosignatures[i]
		k := slices.IndexFunc(known, func(k audit.Cosigner) bool { return k.Name == c.Name })
		if k < 0 {
			return "", fmt.Errorf("a cosignature of %q, whose key is not known: name it with --witness", c.Name)
		}
		if err := c.Verify(known[k], cp.Text()); err != nil {
			return "", err
		}
		if i > 0 && c.Name <= p.Cosignatures[i-1].Name {
			return "", fmt.Errorf("cosignatures of %q after %q, want ascending", c.Name, p.Cosignatures[i-1].Name)
		}
		by = append(by, fmt.Sprintf("%s at %s", strings.TrimPrefix(c.Name, fmt.Sprintf("coffer/%x/", v.cluster[:8])), clock(c.Time*1000)))
	}
	line := fmt.Sprintf("in the log of vault %d, %s under its checkpoint of %s", p.Vault, count(int(cp.Size), "entry", "entries"), clock(cp.Time))
	if len(by) > 0 {
		line += ", cosigned by " + strings.Join(by, ", ")
	}
	return line, nil
}

func clock(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<52))).UTC().Format("2006-01-02 15:04:05 UTC")
}

// sayEffects tells what was signed does.
func sayEffects(say func(format string, args ...any), doc *policy.Document, e *chain.Effects) {
	amount := func(asset string, n chain.Amount) string {
		if text := doc.Amount(asset, n); !strings.Contains(text, asset) {
			return text + " (" + asset + ")"
		}
		return n.Dec() + " smallest units of " + asset + " (the policy does not name it)"
	}
	for _, t := range e.Transfers {
		to := t.To
		if to == "" {
			to = "the contract that it creates"
		}
		say("  it moves %s from %s to %s", amount(t.Asset, t.Amount), t.From, to)
	}
	for _, a := range e.Approvals {
		what := amount(a.Asset, a.Amount)
		if a.Unlimited() {
			what = "any amount of " + a.Asset
		}
		say("  it lets %s spend %s of %s", a.Spender, what, a.Owner)
	}
	for _, c := range e.Calls {
		say("  it calls %s of %s, as %s", c.Method, c.To, c.From)
	}
	for _, c := range e.Creates {
		say("  it creates a contract with code %x", c.CodeHash)
	}
	if e.Message != nil {
		say("  it is a message %s for %s", e.Message.Type, e.Message.Contract)
	}
}

// chainOf tells what was verified, from the signature back to the genesis.
func (v *verifier) chainOf(b *Bundle, x *decision, cosigned []string) []string {
	var out []string
	say := func(format string, args ...any) {
		out = append(out, wire.CleanText(fmt.Sprintf(format, args...), 2048))
	}
	s, k := v.report.Signed[0], v.keys[x.Key]
	say("signed: %s on %s, by wallet %q (key %x)", s.TxID, s.Chain, s.Wallet, x.Key[:8])
	raw, _ := x.log.at(x.index) // it was read before
	made := parse(raw)
	doc := new(policy.Document) // it names no asset
	if st, _ := x.log.stateOf(x.Decision); st != nil {
		doc = st.Policy
	}
	if p, err := v.prepare(k, made.bundle.Request, made.d.Unsigned, doc.Methods); err == nil {
		sayEffects(say, doc, p.Effects)
	}
	for _, id := range members(x.Decision) {
		l, d := v.decisionOf(id, b.Attempt)
		what := fmt.Sprintf("allowed by rule %q", d.Rule)
		if slices.Contains(x.Witnesses, id) {
			what += " (as a witness of the limits)"
		}
		say("← vault %d (%s) decided, entry %d of its log, %s: %s", id, l.name, d.index, clock(d.Time), what)
	}
	for _, u := range made.d.Limits {
		say("  limit %q: %s of %s with this request, as vault %d counted", u.Name, x.log.measured(x.Decision, &u, u.Used), x.log.measured(x.Decision, &u, u.Max), x.log.id)
	}
	if made.d.BreakGlass {
		say("  BREAK-GLASS: the rule is one for emergencies")
	}
	say("← under governance change %d (%x), policy %x, roster %x", x.GovernanceSeq, x.GovernanceHead[:8], x.PolicyRoot[:8], x.RosterRoot[:8])
	v.sayPeople(say, made.bundle)
	e := k.epochs[uint64(x.Epoch)]
	say("← the key: epoch %d, %d of %v, certified by the HSM identities of all of them", x.Epoch, e.cert.Threshold, e.cert.Parties)
	if o, err := governance.DecodeKeygenOrder(k.order); err == nil {
		say("  ordered by %s, %s", o.Author, clock(o.Created))
	}
	v.sayChanges(say, x)
	for _, line := range cosigned {
		say("← %s", line)
	}
	say("← genesis %x (%s)", v.cluster, v.report.Name)
	return out
}

func (v *verifier) sayPeople(say func(string, ...any), b *request.Bundle) {
	id := b.Request.ID()
	say("← request %s, proposed by %s with %s, %s", hex.EncodeToString(id[:]), b.Request.Initiator, b.ProposeKey.Fingerprint(), clock(b.Request.Created))
	for i := range b.Approvals {
		a := &b.Approvals[i]
		what := "approved"
		if !a.Approve {
			what = "rejected"
		}
		say("← %s by %s with %s, %s", what, a.Principal, a.Key.Fingerprint(), clock(a.Time))
	}
	for i := range b.Verdicts {
		say("← risk engine %s said %v, score %d, %s", b.Verdicts[i].Engine, b.Verdicts[i].Outcome, b.Verdicts[i].Score, clock(b.Verdicts[i].Time))
	}
	for i := range b.Prices {
		say("← prices of %s, %s", b.Prices[i].Source, clock(b.Prices[i].Time))
	}
}

// sayChanges names who signed the changes that led to the governance of a decision.
func (v *verifier) sayChanges(say func(string, ...any), x *decision) {
	for _, c := range x.log.changes {
		e, err := audit.DecodeEntry(c.bytes)
		if err != nil || e.Kind != audit.KindChange {
			continue
		}
		s, err := governance.DecodeSignedChange(e.Body)
		if err != nil || s.Change.Seq > x.GovernanceSeq {
			continue
		}
		var by []string
		for i := range s.Signatures {
			by = append(by, s.Signatures[i].Principal)
		}
		say("← change %d (%v) signed by %s", s.Change.Seq, s.Change.Kind, strings.Join(by, ", "))
	}
}

// WriteText writes the proof for people.
func (p *Proof) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, line := range p.Chain {
		fmt.Fprintln(&b, line)
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "FAULT: %s\n", f)
	}
	if p.OK {
		b.WriteString("verified: the signature rests on these decisions, and they on these people\n")
	} else {
		fmt.Fprintf(&b, "NOT verified: %s\n", count(len(p.Faults), "fault", "faults"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
