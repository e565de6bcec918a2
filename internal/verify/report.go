package verify

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
)

// Code names a kind of fault. docs/spec/verification.md has a line for each.
type Code string

// The faults, complete: nothing else is ever reported, and each is a failure.
const (
	CopyUnreadable Code = "copy.unreadable" // not a log folder, or its header is damaged
	CopyDamaged    Code = "copy.damaged"    // an entry's checksum or length is wrong, or the file ends within one
	CopyForeign    Code = "copy.foreign"    // another cluster's log, or that of a vault which the genesis does not name
	CopyForked     Code = "copy.forked"     // two copies of one vault's log disagree
	CopyMissing    Code = "copy.missing"    // nothing could be checked: no copy, or none with the genesis

	GenesisWrong Code = "genesis.wrong" // entry 0 is not the genesis that was asked for
	GenesisAgain Code = "genesis.again" // a second genesis

	CheckpointMissing Code = "checkpoint.missing" // the log has no signed checkpoint
	CheckpointForm    Code = "checkpoint.form"    // it does not decode
	CheckpointForeign Code = "checkpoint.foreign" // signatures do not verify under the genesis' keys of that vault
	CheckpointSize    Code = "checkpoint.size"    // the log is shorter than its checkpoint
	CheckpointRoot    Code = "checkpoint.root"    // the entries are not those that the checkpoint covers
	CheckpointBoot    Code = "checkpoint.boot"    // it is from an earlier start than the log tells of

	EntryForm    Code = "entry.form"    // an entry or its body does not decode
	BootOrder    Code = "boot.order"    // a start of another vault, or its number did not grow
	ChangeBad    Code = "change.bad"    // a change that the rules of that moment do not admit
	ResumeOther  Code = "resume.other"  // a log went on by a change that names another
	CardRetired  Code = "card.retired"  // the vault took part by a card that is no longer, or not yet, in force
	BootEnded    Code = "boot.ended"    // it took part in a start that the admins had ended
	ChangeTime   Code = "change.time"   // a change came in force before its time, too late, or otherwise than the log says
	ChangeForked Code = "change.forked" // two vaults hold different changes with one number
	KeyOrder     Code = "key.order"     // no admin ordered this key, or ordered another
	KeySigners   Code = "key.signers"   // not all vaults certified it
	KeyDiffers   Code = "key.differs"   // two logs tell different things of one key, or of one wallet
	EpochOrder   Code = "epoch.order"   // no order of the admins leads to this epoch of a key
	EpochCommit  Code = "epoch.commit"  // its commit certificate lacks votes, or they are not the vaults'
	EpochForked  Code = "epoch.forked"  // two logs tell of different epochs, or one does not follow the other

	DecisionState    Code = "decision.state"    // it names another policy, roster or change than the log had reached
	DecisionKey      Code = "decision.key"      // its key, epoch or parties are not those of a key in the log
	DecisionRequest  Code = "decision.request"  // it names another request than its bundle holds
	DecisionVerdict  Code = "decision.verdict"  // deciding again gives another answer
	DecisionApproval Code = "decision.approval" // the signature of the vault's approval key, which the wallet's custody tier demands, is missing or wrong
	LimitExceeded    Code = "limit.exceeded"    // a request was allowed although, by the decision's own count or the sum over all logs, a limit was passed
	LimitUncounted   Code = "limit.uncounted"   // a decision counted less of a limit than the logs show was given by then
	DecisionRepeated Code = "decision.repeated" // an attempt was decided twice

	OutcomeDecision  Code = "outcome.decision"  // a share was released without an allowing decision
	OutcomeRepeated  Code = "outcome.repeated"  // an attempt ended twice
	OutcomePeer      Code = "outcome.peer"      // a share was released on a peer whose log has no such decision
	OutcomeWitness   Code = "outcome.witness"   // the peers' checkpoints are not those of the other parties, or not signed by them
	OutcomeSuspended Code = "outcome.suspended" // a share was released with a vault that the admins had suspended
	OutcomeConflict  Code = "outcome.conflict"  // a vault released shares for two versions that could both happen
	WitnessTruncated Code = "witness.truncated" // the log is shorter than a peer saw it
	WitnessForked    Code = "witness.forked"    // the log is not the one that a peer saw

	ReceiptKey       Code = "receipt.key"       // of no known key
	ReceiptDecisions Code = "receipt.decisions" // fewer than t vaults decided on exactly this
	ReceiptReleases  Code = "receipt.releases"  // a deciding vault's log does not say that it released its share
	ReceiptSignature Code = "receipt.signature" // the signature does not verify, or is over something else
	ReceiptTx        Code = "receipt.tx"        // sender or transaction id do not follow from it
	ReceiptConflict  Code = "receipt.conflict"  // two signed versions of one request that could both happen

	CloneBad Code = "clone.bad" // a passkey is said to be in two devices, and its signatures do not show it

	IncidentPeer Code = "incident.peer" // it blames a vault that does not exist, or itself
)

// Fault is one thing that is wrong.
type Fault struct {
	Vault  uint16  `json:"vault,omitempty"` // 0: of no single vault
	Entry  *uint64 `json:"entry,omitempty"` // nil: of the log as a whole
	Code   Code    `json:"code"`
	Detail string  `json:"detail"`
}

// String is "vault 2, entry 17: what is wrong (code)".
func (f Fault) String() string {
	var where string
	switch {
	case f.Vault != 0 && f.Entry != nil:
		where = fmt.Sprintf("vault %d, entry %d: ", f.Vault, *f.Entry)
	case f.Vault != 0:
		where = fmt.Sprintf("vault %d: ", f.Vault)
	}
	return where + f.Detail + " (" + string(f.Code) + ")"
}

// Report is the answer.
type Report struct {
	OK      bool        `json:"ok"`
	Cluster string      `json:"cluster"` // the genesis hash, hex
	Name    string      `json:"name,omitempty"`
	Vaults  []VaultLog  `json:"vaults"`
	Counts  Counts      `json:"counts"`
	Signed  []Signed    `json:"signed,omitempty"`
	Refused []Refused   `json:"refused,omitempty"`
	Reports []Suspicion `json:"incidents,omitempty"`
	Faults  []Fault     `json:"faults"`
	Notes   []string    `json:"notes,omitempty"` // not wrong, but good to know
}

// VaultLog is the log that was checked for one vault.
type VaultLog struct {
	Vault   uint16 `json:"vault"`
	Name    string `json:"name"`
	Entries uint64 `json:"entries"`
	Covered uint64 `json:"covered"` // by its signed checkpoint
	Copies  int    `json:"copies"`
	Since   uint64 `json:"since,omitempty"`    // the change that began it with a new card
	Until   uint64 `json:"until,omitempty"`    // the change that began the vault's next log
	GivenUp uint64 `json:"given_up,omitempty"` // the change by which the vault went on from an older head
}

// Counts says how much was checked. Decisions are counted in every log, payments
// once.
type Counts struct {
	Entries  int `json:"entries"`
	Changes  int `json:"changes"`
	Keys     int `json:"keys"`
	Epochs   int `json:"epochs"` // of keys, after the first
	Allowed  int `json:"allowed"`
	Refused  int `json:"refused"`
	Stateful int `json:"stateful"` // refusals among them that rest on a vault's own state
	Receipts int `json:"receipts"` // different signed transactions
	// Unchecked are entries on whose evidence in other logs these copies say nothing yet:
	// they were made while the cluster signed.
	Unchecked int `json:"unchecked,omitempty"`
}

// Signed is one transaction whose signature and decisions were found good.
type Signed struct {
	TxID    string   `json:"txid"` // empty: a message was signed
	Request string   `json:"request"`
	Wallet  string   `json:"wallet"`
	Chain   string   `json:"chain"`
	Does    string   `json:"does"` // in words, with amounts in the policy's units
	Time    uint64   `json:"time"` // of a decision, by its vault's clock, unix milliseconds
	Rule    string   `json:"rule"`
	Glass   bool     `json:"breakGlass,omitempty"` // the rule is one for emergencies
	Vaults  []uint16 `json:"vaults"`               // that decided
}

// Refused is one refusal, decided again with the same answer.
type Refused struct {
	Vault   uint16 `json:"vault"`
	Entry   uint64 `json:"entry"`
	Request string `json:"request"`
	Code    string `json:"code"`
	Rule    string `json:"rule,omitempty"`
	Detail  string `json:"detail"`
}

// Suspicion is what a vault reported of another.
type Suspicion struct {
	Vault  uint16 `json:"vault"`
	Entry  uint64 `json:"entry"`
	Peer   uint16 `json:"peer"`
	Class  string `json:"class"`
	Detail string `json:"detail"`
}

func (r *Report) fault(vault uint16, entry *uint64, code Code, format string, args ...any) {
	detail := wire.CleanText(fmt.Sprintf(format, args...), 1024)
	r.Faults = append(r.Faults, Fault{vault, entry, code, detail})
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, wire.CleanText(fmt.Sprintf(format, args...), 1024))
}

// finish puts everything in a fixed order and decides.
func (r *Report) finish() *Report {
	slices.SortStableFunc(r.Faults, func(a, b Fault) int {
		if a.Vault != b.Vault {
			return int(a.Vault) - int(b.Vault)
		}
		return compareEntry(a.Entry, b.Entry)
	})
	slices.SortStableFunc(r.Signed, func(a, b Signed) int { return cmp.Compare(a.Time, b.Time) })
	r.OK = len(r.Faults) == 0
	if r.Faults == nil {
		r.Faults = []Fault{}
	}
	if r.Vaults == nil {
		r.Vaults = []VaultLog{}
	}
	return r
}

func compareEntry(a, b *uint64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	case *a < *b:
		return -1
	case *a > *b:
		return 1
	}
	return 0
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s %s\n", r.Name, r.Cluster)
	for _, v := range r.Vaults {
		var which string
		switch {
		case v.GivenUp > 0:
			which = fmt.Sprintf(", given up by change %d", v.GivenUp)
		case v.Until > 0:
			which = fmt.Sprintf(", ended by change %d", v.Until)
		case v.Since > 0:
			which = fmt.Sprintf(", begun with change %d", v.Since)
		}
		fmt.Fprintf(&b, "vault %d (%s): %s, %d covered by its signed checkpoint%s\n", v.Vault, v.Name, count(int(v.Entries), "entry", "entries"), v.Covered, which)
	}
	c := r.Counts
	fmt.Fprintf(&b, "checked: %s, %s, %s; in all logs together %s to allow and %d to refuse\n",
		count(c.Changes, "change of policy, people or vaults", "changes of policy, people or vaults"), count(c.Keys, "wallet key", "wallet keys"),
		count(c.Receipts, "signed transaction", "signed transactions"), count(c.Allowed, "decision", "decisions"), c.Refused)
	for _, s := range r.Signed {
		what := s.TxID
		if what == "" {
			what = "a message"
		}
		glass := ""
		if s.Glass {
			glass = " (BREAK-GLASS: for emergencies)"
		}
		fmt.Fprintf(&b, "signed   %s: %s, %s, by wallet %q on %s: request %s, allowed by rule %q%s, decided by vaults %s\n",
			what, s.Does, clock(s.Time), s.Wallet, s.Chain, short(s.Request), s.Rule, glass, listed(s.Vaults))
	}
	for _, x := range r.Refused {
		fmt.Fprintf(&b, "refused  request %s, by vault %d (entry %d of its log): %s (%s)\n", short(x.Request), x.Vault, x.Entry, x.Detail, x.Code)
	}
	for _, x := range r.Reports {
		fmt.Fprintf(&b, "incident vault %d (entry %d of its log) reports vault %d, %s: %s\n", x.Vault, x.Entry, x.Peer, x.Class, x.Detail)
	}
	if c.Stateful > 0 {
		fmt.Fprintf(&b, "note: %s on what only the vault itself knows, its own ledger or device: that it had to refuse is its word, all before that was decided again\n", count(c.Stateful, "refusal rests", "refusals rest"))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "FAULT: %s\n", f)
	}
	if r.OK && c.Unchecked > 0 {
		fmt.Fprintf(&b, "verified, but for %s too young to be checked against the other copies: every other signature and decision stands\n", count(c.Unchecked, "entry that is", "entries that are"))
	} else if r.OK {
		b.WriteString("verified: every signature and every decision stands\n")
	} else {
		fmt.Fprintf(&b, "NOT verified: %s\n", count(len(r.Faults), "fault", "faults"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func short(hex string) string { return hex[:min(16, len(hex))] }
