package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// verdict is what deciding again comes to.
type verdict struct {
	allow              bool
	code, rule, detail string
	request            *request.Request
	prepared           *chain.Prepared
	step               step
	asks               []asked // about limits
	move               *policy.Movement
	breakGlass         bool // the rule that allows is one for emergencies
}

// step is how far a vault's checks got before one refused. The order is that of
// docs/spec/verification.md, and it is part of the answer: of several reasons to
// refuse, the first one counts.
type step int

const (
	stepSigners step = iota
	stepAttempt
	stepGoverned
	stepBundle
	stepTransaction
	stepPolicy
	stepVersion
)

// A refusal with one of these codes rests on the vault's own ledger, at its step:
// everything before must hold, and the rest cannot be decided from logs.
var stateful = map[string]step{
	"sign.attempt":     stepAttempt,
	"version.conflict": stepVersion,
	"limit.contended":  stepPolicy, // on other attempts, at that moment
	"limit.scope":      stepPolicy,
	"limit.movement":   stepPolicy,
	"clock.jumped":     stepPolicy,
	"approval.device":  stepVersion, // it rests on the device
}

func refuse(at step, r *refusal.Refusal) verdict {
	return verdict{code: r.Code, rule: r.Rule, detail: r.Detail, step: at}
}

// judge decides again about d, with what was known at its time. The vault's code
// is not asked: this is the same rule, written a second time.
func (v *verifier) judge(self uint16, st *governance.State, k *keyInfo, cert *dkg.Certificate, b *request.Bundle, d *audit.Decision, cloned *refusal.Refusal) verdict {
	if code := v.membersFit(self, k, cert, d); code != "" {
		return refuse(stepSigners, refusal.New(code, "", fmt.Sprintf("signers %v, witnesses %v", d.Parties, d.Witnesses), ""))
	}
	if err := st.CheckSigning(k.id, b.Request.Chain); err != nil {
		return refuse(stepGoverned, asRefusal("governance", err))
	}
	verified, err := st.Roster.Confirming(v.tables.confirms).CheckBundle(b, v.cluster, d.Time)
	if err != nil {
		return refuse(stepBundle, asRefusal("bundle", err))
	}
	if cloned != nil {
		return refuse(stepBundle, cloned)
	}
	p, err := v.prepare(k, b.Request, d.Unsigned, st.Policy.Methods)
	if err != nil {
		return refuse(stepTransaction, asRefusal("transaction", err))
	}
	in := policy.Input{Request: b.Request, Effects: p.Effects, Verified: verified, Now: d.Time}
	ledger := &counted{doc: st.Policy, d: d}
	if m, err := st.Policy.Movement(&in); err == nil {
		ledger.move = m
	}
	in.Ledger = ledger
	out := st.Policy.Evaluate(st.Roster, in)
	if r := out.Refusal(); r != nil {
		return refuse(stepPolicy, r)
	}
	return verdict{allow: true, rule: out.Rule, detail: out.Detail, request: b.Request, prepared: p, step: stepVersion, asks: ledger.told, move: ledger.move, breakGlass: out.BreakGlass}
}

func asRefusal(code string, err error) *refusal.Refusal {
	if r := refusal.As(err); r != nil {
		return r
	}
	return refusal.New(code, "", err.Error(), "")
}

// membersFit: exactly t parties of the key sign, and as many others witness as its
// ledger quorum takes, the vault among either; or the code of the refusal.
func (v *verifier) membersFit(self uint16, k *keyInfo, cert *dkg.Certificate, d *audit.Decision) string {
	all := members(d)
	if len(d.Parties) != cert.Threshold || !slices.Contains(all, self) {
		return "sign.signers"
	}
	faults := min(k.faults, cert.Threshold-1)
	if len(d.Witnesses) != governance.Quorum(len(cert.Parties), cert.Threshold, faults)-cert.Threshold ||
		slices.ContainsFunc(d.Witnesses, func(id uint16) bool { return slices.Contains(d.Parties, id) }) {
		return "sign.witnesses"
	}
	for _, id := range all {
		if !slices.ContainsFunc(cert.Parties, func(p mpc.ID) bool { return uint16(p) == id }) {
			return "sign.signers"
		}
	}
	return ""
}

// members are who sign and who witness.
func members(d *audit.Decision) []uint16 {
	all := slices.Concat(d.Parties, d.Witnesses)
	slices.Sort(all)
	return all
}

// address is a key's address on a chain, derived once: a square root and a hash of which
// every decision and every receipt asks.
func (v *verifier) address(codec chain.Codec, chainID string, publicKey []byte) (string, error) {
	at := chainID + string(publicKey)
	if a, ok := v.addresses.Load(at); ok {
		return a.(string), nil
	}
	a, err := codec.Address(chainID, publicKey)
	if err == nil {
		v.addresses.Store(at, a)
	}
	return a, err
}

// prepare decodes a transaction against what people signed.
func (v *verifier) prepare(k *keyInfo, q *request.Request, unsigned []byte, methods []chain.Method) (*chain.Prepared, error) {
	codec, ok := v.codec(q.Chain)
	if !ok {
		return nil, refusal.New("request.chain", "", fmt.Sprintf("chain %q", q.Chain), "")
	}
	if k.cert.Suite != codec.Scheme().Suite() {
		return nil, refusal.New("request.chain", "", fmt.Sprintf("%s takes signatures by %v, the key is for %s", q.Chain, codec.Scheme(), k.cert.Purpose), "")
	}
	sender, err := v.address(codec, q.Chain, k.publicKey())
	if err != nil {
		return nil, refusal.New("request.chain", "", err.Error(), "")
	}
	if sender != q.Sender {
		return nil, refusal.New("request.sender", "", fmt.Sprintf("sender %s is not this wallet", q.Sender), "")
	}
	p, err := codec.Prepare(q.Chain, q.Sender, q.Intent, q.MaxFee, unsigned, methods)
	if err != nil {
		return nil, err
	}
	if len(p.Digests) != 1 {
		return nil, fmt.Errorf("%d signatures are needed", len(p.Digests))
	}
	return p, nil
}

func (v *verifier) replayDecision(l *vaultLog, i uint64, p *parsed) error {
	d, b := p.d, p.bundle
	if d.Time != p.e.Time {
		return fmt.Errorf("the decision is of time %d, its entry of %d", d.Time, p.e.Time)
	}
	x := &decision{Decision: d, log: l, index: i, covered: i < l.covered, chain: b.Request.Chain, sender: b.Request.Sender, unsigned: sha256.Sum256(d.Unsigned)}
	check := v.checkDecision(l, x, b)
	l.jobs.first = append(l.jobs.first, func() {
		x.sound = check != nil && check()
		d.Bundle, d.Unsigned = nil, nil // the log has them
	})
	switch {
	case !d.Allow:
		if v.twice(l, i) {
			break
		}
		v.report.Counts.Refused++
		l.jobs.after = append(l.jobs.after, func() {
			if x.sound {
				v.report.Refused = append(v.report.Refused, Refused{l.id, i, hex.EncodeToString(d.Request[:]), d.Code, d.Rule, d.Detail})
			}
		})
	case l.decisions[d.Attempt] != nil:
		v.entryFault(l, i, DecisionRepeated, "attempt %x was allowed already, by entry %d", d.Attempt, l.decisions[d.Attempt].index)
	default:
		v.checkInForce(l, i, "allows a request")
		for _, u := range d.Limits {
			if u.Used.Gt(&u.Max) {
				v.entryFault(l, i, LimitExceeded, "request %x: allowed with limit %q at %s of %s: more than the limit, by the vault's own count", d.Request[:8], u.Name, l.measured(d, &u, u.Used), l.measured(d, &u, u.Max))
			}
		}
		if !v.twice(l, i) {
			v.report.Counts.Allowed++
		}
		l.decisions[d.Attempt] = x
		l.jobs.after = append(l.jobs.after, func() { d.Rule, d.Detail, d.Fix, x.does = v.one(d.Rule), "", "", v.one(x.does) })
	}
	return nil
}

// measured writes what a limit counts for people, as far as the policy of the decision is
// known.
func (l *vaultLog) measured(d *audit.Decision, u *audit.LimitUse, n chain.Amount) string {
	if st, _ := l.stateOf(d); st != nil {
		if x, ok := st.Policy.Limit(u.Name); ok {
			return st.Policy.Measured(x, n)
		}
	}
	return n.Dec() + " (in the limit's smallest unit)"
}

// checkDecision reports what is wrong with a decision. It looks up what the log has
// said so far, and returns what is left to do, which takes time and says whether
// nothing is wrong; nil when something is.
func (v *verifier) checkDecision(l *vaultLog, x *decision, b *request.Bundle) func() bool {
	d := x.Decision
	fault := func(code Code, format string, args ...any) func() bool {
		v.entryFault(l, x.index, code, format, args...)
		return nil
	}
	if id := b.Request.ID(); d.Request != id {
		return fault(DecisionRequest, "it is about request %x, its bundle holds request %x", d.Request[:8], id[:8])
	}
	st, why := l.stateOf(d)
	if why != "" {
		return fault(DecisionState, "%s", why)
	}
	k, cert := v.keys[d.Key], l.keys[d.Key]
	switch {
	case cert == nil:
		return fault(DecisionKey, "its key %x is not in the log", d.Key[:8])
	case d.Key != b.Request.Wallet:
		return fault(DecisionKey, "it would sign with key %x, the request is of wallet %x", d.Key[:8], b.Request.Wallet[:8])
	case uint64(d.Epoch) != cert.Epoch:
		return fault(DecisionKey, "epoch %d, the key is in epoch %d", d.Epoch, cert.Epoch)
	case d.Allow && d.R0Hash == [32]byte{}:
		return fault(DecisionKey, "it allows without a session: no R0 hash")
	}
	cloned := l.clonedIn(b, st, d) // now: what the log tells later does not count
	return func() bool {
		got := v.judge(l.id, st, k, cert, b, d, cloned)
		if got.prepared != nil {
			x.does = does(st.Policy, got.prepared.Effects)
		}
		if x.prepared = got.prepared; v.limited && d.Allow {
			x.asks, x.move = got.asks, got.move
		}
		return v.compareVerdict(l, x, got) && v.checkApproved(l, x, st, k)
	}
}

// checkApproved: what the device says that people approved.
func (v *verifier) checkApproved(l *vaultLog, x *decision, st *governance.State, k *keyInfo) bool {
	card, ok := st.Vault(l.id)
	if !x.Allow || !ok || slices.Contains(x.Witnesses, l.id) {
		return true
	}
	var err error
	switch {
	case st.Approves(l.id, x.Key, k.tier) != nil, x.Approval.Algorithm != 0 && card.HasApproval():
		err = x.CheckApproval(v.cluster, l.id, card.Approval)
	case x.Approval.Algorithm != 0:
		err = fmt.Errorf("an approval key's signature, and vault %d has no approval key", l.id)
	}
	if err != nil {
		v.entryFault(l, x.index, DecisionApproval, "request %x: %v", x.Request[:8], err)
		x.prepared = nil
	}
	return err == nil
}

func (v *verifier) compareVerdict(l *vaultLog, x *decision, got verdict) bool {
	d := x.Decision
	if at, ok := stateful[d.Code]; ok && d.Rule == "" && got.step >= at {
		v.mu.Lock()
		v.report.Counts.Stateful++
		v.mu.Unlock()
		return true
	}
	if d.Allow != got.allow || d.Code != got.code || d.Rule != got.rule {
		x.prepared = nil
		v.entryFault(l, x.index, DecisionVerdict, "request %x: the log says %s; deciding again gives %s",
			d.Request[:8], words(d.Allow, d.Code, d.Rule, d.Detail), words(got.allow, got.code, got.rule, got.detail))
		return false
	}
	if d.Allow && d.BreakGlass != got.breakGlass {
		x.prepared = nil
		v.entryFault(l, x.index, DecisionVerdict, "request %x: the log says break-glass: %t, and of rule %q the policy says %t", d.Request[:8], d.BreakGlass, d.Rule, got.breakGlass)
		return false
	}
	if d.Allow && string(got.prepared.Canonical) != string(d.Unsigned) {
		x.prepared = nil
		v.entryFault(l, x.index, DecisionVerdict, "request %x: the transaction is not in its canonical form", d.Request[:8])
		return false
	}
	return true
}

func words(allow bool, code, rule, detail string) string {
	if allow {
		return fmt.Sprintf("allow by rule %q", rule)
	}
	return fmt.Sprintf("refuse, %s, rule %q: %s", code, rule, detail)
}
