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
	// Cosigned are the logs' checkpoints with those who cosigned them.
	Cosigned []Cosigned `json:"cosigned,omitempty"`
	Faults   []Fault    `json:"faults"`
}

// Faults of a bundle beside those of logs.
const (
	BundleForm        Code = "bundle.form"        // it does not decode, or a proof in it does not hold
	BundleForeign     Code = "bundle.foreign"     // it is of another cluster
	BundleIncomplete  Code = "bundle.incomplete"  // it does not show exactly one signature with all its decisions
	BundleCosignature Code = "bundle.cosignature" // a cosignature is wrong, or one that is demanded is not there
)

// Cosigned is the checkpoint of one vault's log, and who states to have seen no other.
type Cosigned struct {
	Vault uint16   `json:"vault"`
	Size  uint64   `json:"size"`
	Time  uint64   `json:"time"` // of the checkpoint, unix milliseconds
	By    []string `json:"by"`   // other vaults (vault-N) and outside witnesses whose keys were given
	at    []uint64 // unix seconds, of By
}

// Demand is what a reader wants of a bundle's checkpoints. Its zero value: nothing, but
// a cosignature in a vault's name has to be that vault's.
type Demand struct {
	Witnesses []audit.Cosigner // outside witnesses: each must have cosigned every checkpoint
	Cosigners int              // how many, vaults and Witnesses together, must have cosigned each
}

// VerifyBundle checks a bundle with nothing but the genesis hash, and the keys of
// outside witnesses if some are demanded. It decides again as Dirs does: by the same
// code.
func VerifyBundle(genesis [32]byte, raw []byte, codecs []chain.Codec, demand Demand) *Proof {
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
	var cosigned []Cosigned
	for i := range b.Parts {
		c, err := v.cosigned(&b.Parts[i], demand)
		if err != nil {
			return fail(BundleCosignature, "vault %d: %v", b.Parts[i].Vault, err)
		}
		cosigned = append(cosigned, *c)
	}
	p := v.proof(v.chainOf(b, x, cosigned))
	if p.OK {
		p.Cosigned = cosigned
	}
	return p
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

// cosigners are the vaults whose cosignatures of a vault's log count, with the log
// keys of their cards.
func (v *verifier) cosigners(vault uint16) (out []audit.Cosigner) {
	for i := range v.newest.Vaults {
		if c := &v.newest.Vaults[i]; c.ID != vault {
			out = append(out, audit.Cosigner{Name: audit.Origin(v.cluster, c.ID), Key: c.Log})
		}
	}
	return out
}

// cosigned checks a part's cosignatures and says whose they are.
func (v *verifier) cosigned(p *Part, d Demand) (*Cosigned, error) {
	cp, err := audit.DecodeSignedCheckpoint(p.Checkpoint)
	if err != nil {
		return nil, err
	}
	known := append(v.cosigners(p.Vault), d.Witnesses...)
	out := &Cosigned{Vault: p.Vault, Size: cp.Size, Time: cp.Time, By: []string{}}
	for i := range p.Cosignatures {
		c := &p.Cosignatures[i]
		if i > 0 && c.Name <= p.Cosignatures[i-1].Name {
			return nil, fmt.Errorf("cosignatures of %q after %q, want ascending", c.Name, p.Cosignatures[i-1].Name)
		}
		k := slices.IndexFunc(known, func(k audit.Cosigner) bool { return k.Name == c.Name })
		if k < 0 {
			return nil, fmt.Errorf("a cosignature of %q, whose key is not known: name it with --witness", c.Name)
		}
		if err := c.Verify(known[k], cp.Text()); err != nil {
			return nil, err
		}
		out.By, out.at = append(out.By, strings.TrimPrefix(c.Name, fmt.Sprintf("coffer/%x/", v.cluster[:8]))), append(out.at, c.Time)
	}
	for _, w := range d.Witnesses {
		if !slices.ContainsFunc(p.Cosignatures, func(c audit.Cosignature) bool { return c.Verify(w, cp.Text()) == nil }) {
			return nil, fmt.Errorf("%s has not cosigned its checkpoint of %s", w.Name, count(int(cp.Size), "entry", "entries"))
		}
	}
	if len(out.By) < d.Cosigners {
		return nil, fmt.Errorf("%d have cosigned its checkpoint of %s, want %d", len(out.By), count(int(cp.Size), "entry", "entries"), d.Cosigners)
	}
	return out, nil
}

// words tells of a checkpoint and who cosigned it.
func (c *Cosigned) words() string {
	line := fmt.Sprintf("in the log of vault %d, %s under its checkpoint of %s", c.Vault, count(int(c.Size), "entry", "entries"), clock(c.Time))
	for i, name := range c.By {
		sep := ", "
		if i == 0 {
			sep = ", cosigned by "
		}
		line += sep + name + " at " + clock(min(c.at[i], 1<<50)*1000)
	}
	if len(c.By) == 0 {
		line += ", cosigned by nobody"
	}
	return line
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
func (v *verifier) chainOf(b *Bundle, x *decision, cosigned []Cosigned) []string {
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
	say("← the key: epoch %d, held by vaults %s, of which any %d can sign; certified by the HSM identities of all of them", x.Epoch, listed(e.cert.Parties), e.cert.Threshold)
	if o, err := governance.DecodeKeygenOrder(k.order); err == nil {
		say("  ordered by %s, %s", o.Author, clock(o.Created))
	}
	v.sayChanges(say, x)
	for i := range cosigned {
		say("← %s", cosigned[i].words())
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
