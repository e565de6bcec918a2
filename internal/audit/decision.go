package audit

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const decisionVersion, certificateVersion = 3, 1

const maxCheckpoint = 1024 // a SignedCheckpoint takes 310 bytes, with an RSA device 630

// Decision is a vault's verdict on one attempt to sign one request, with all
// that it rests on, so that anyone can decide again. A refusal is a Decision
// with Allow false.
type Decision struct {
	Attempt        [16]byte
	Request        [32]byte // request.Request.ID
	Bundle         []byte   // request.Bundle: the request and every signature that justifies it
	Unsigned       []byte   // canonical final transaction, as the vault re-encoded it
	Key            [32]byte // the wallet's key id
	Epoch          uint32
	Parties        []uint16 // the signers of the attempt, ascending
	R0Hash         [32]byte // hash of all R0; zero in a refusal before R0
	GovernanceSeq  uint64
	GovernanceHead [32]byte
	PolicyRoot     [32]byte
	RosterRoot     [32]byte
	LedgerHead     [32]byte
	Time           uint64 // unix milliseconds: "now" of every check
	Allow          bool
	Rule           string // the rule that decided
	Detail, Fix    string // in people's words: why, and what would pass
	Code           string // a refusal's code; empty when allowed

	Limits     []LimitUse // as counted at the decision, by ascending name
	BreakGlass bool       // the rule that allows is one for emergencies
	Witnesses  []uint16   // vaults of the ledger quorum that do not sign, ascending

	// Approval is by the vault's approval key over ApprovedStatement: the device's own
	// word that people approved the request. Zero where the vault gave none.
	Approval signature.Signature
}

// LimitUse is what a limit of the policy counted at a decision, with this request.
type LimitUse struct {
	Name      string
	Used, Max chain.Amount // in the limit's unit; Used of several counts (a limit per destination) is the largest
}

const maxLimits = 64

// ApprovedDomain is the domain tag of Decision.Approval.
const ApprovedDomain = "coffer/approved/v1"

// ApprovedStatement is what a vault's approval key signs about a request. The
// device signs it with the approvers' signatures only, whoever runs the vault.
func ApprovedStatement(cluster [32]byte, vault uint16, request [32]byte) signature.Statement {
	body := binary.BigEndian.AppendUint16(append([]byte(nil), cluster[:]...), vault)
	return signature.Statement{Domain: ApprovedDomain, Body: append(body, request[:]...)}
}

// CheckApproval checks that the vault's approval key approved the request that was
// decided on.
func (d *Decision) CheckApproval(cluster [32]byte, vault uint16, key signature.PublicKey) error {
	if !d.approved() {
		return fmt.Errorf("no signature of vault %d's approval key %s: its device signs with the approvers' signatures only", vault, key.Fingerprint())
	}
	if err := signature.Verify(key, ApprovedStatement(cluster, vault, d.Request), d.Approval); err != nil {
		return fmt.Errorf("the signature of vault %d's approval key: %w", vault, err)
	}
	return nil
}

func (d *Decision) approved() bool { return d.Approval.Algorithm != 0 || len(d.Approval.Bytes) > 0 }

// Encode is the canonical encoding (docs/spec/log.md). It cleans and cuts texts to
// what these fields hold.
func (d *Decision) Encode() []byte {
	w := wire.NewWriter(decisionVersion).Fixed(d.Attempt[:]).Fixed(d.Request[:]).Var(d.Bundle).Var(d.Unsigned).
		Fixed(d.Key[:]).Uint32(d.Epoch)
	writeIDs(w, d.Parties)
	w.Fixed(d.R0Hash[:]).Uint64(d.GovernanceSeq).Fixed(d.GovernanceHead[:]).Fixed(d.PolicyRoot[:]).
		Fixed(d.RosterRoot[:]).Fixed(d.LedgerHead[:]).Uint64(d.Time).Bool(d.Allow).
		String(wire.CleanText(d.Rule, maxName)).String(Clip(d.Detail)).
		String(Clip(d.Fix)).String(wire.CleanText(d.Code, maxName))
	w.Count(len(d.Limits))
	for i := range d.Limits {
		w.String(wire.CleanText(d.Limits[i].Name, maxName))
		chain.WriteAmount(w, &d.Limits[i].Used)
		chain.WriteAmount(w, &d.Limits[i].Max)
	}
	w.Bool(d.BreakGlass)
	writeIDs(w, d.Witnesses)
	if d.approved() {
		signature.WriteSignature(w, d.Approval)
	} else {
		w.Var(nil)
	}
	return w.Bytes()
}

// DecodeDecision is the inverse of Encode. It decodes neither the bundle nor the
// transaction.
func DecodeDecision(b []byte) (*Decision, error) {
	r, d := wire.NewReader(b, decisionVersion), new(Decision)
	r.Into("attempt", d.Attempt[:])
	r.Into("request", d.Request[:])
	d.Bundle, d.Unsigned = r.Var("bundle", maxBundle), r.Var("unsigned", maxTx)
	r.Into("key", d.Key[:])
	d.Epoch = r.Uint32("epoch")
	d.Parties = readIDs(r, "parties")
	r.Into("r0 hash", d.R0Hash[:])
	d.GovernanceSeq = r.Uint64("governance seq")
	r.Into("governance head", d.GovernanceHead[:])
	r.Into("policy root", d.PolicyRoot[:])
	r.Into("roster root", d.RosterRoot[:])
	r.Into("ledger head", d.LedgerHead[:])
	d.Time, d.Allow = r.Uint64("time"), r.Bool("allow")
	d.Rule, d.Detail = r.Text("rule", maxName), r.Text("detail", maxText)
	d.Fix, d.Code = r.Text("fix", maxText), r.Text("code", maxName)
	if d.Allow && d.Code != "" {
		r.Failf("code: %q on a decision that allows, want none", d.Code)
	}
	d.readLimits(r)
	if d.BreakGlass = r.Bool("break-glass"); d.BreakGlass && !d.Allow {
		r.Failf("break-glass: on a refusal, want none")
	}
	d.Witnesses = readIDs(r, "witnesses")
	for _, id := range d.Witnesses {
		if slices.Contains(d.Parties, id) {
			r.Failf("witnesses: vault %d is a signer, want others", id)
		}
	}
	if b := r.Var("approval signature", maxName); r.Err() == nil && len(b) > 0 {
		var err error
		if d.Approval, err = signature.Decode(b); err != nil {
			r.Fail(fmt.Errorf("approval signature: %w", err))
		} else if !d.Allow {
			r.Failf("approval signature: on a refusal, want none")
		}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode decision: %w", err)
	}
	return d, nil
}

// readLimits reads them in strictly ascending order of their names.
func (d *Decision) readLimits(r *wire.Reader) {
	for range r.Count("limits", maxLimits, 4+2*32) {
		u := LimitUse{Name: r.Text("limit", maxName)}
		u.Used, u.Max = chain.ReadAmount(r, "used"), chain.ReadAmount(r, "max")
		if n := len(d.Limits); u.Name == "" || n > 0 && u.Name <= d.Limits[n-1].Name {
			r.Failf("limits: %q is empty or not after the one before it", u.Name)
		}
		d.Limits = append(d.Limits, u)
	}
}

// Entry is the log entry of the decision: both have one time.
func (d *Decision) Entry() *Entry { return &Entry{Time: d.Time, Kind: KindDecision, Body: d.Encode()} }

// Certificate shows that a Decision stands in a vault's log under a checkpoint
// that the vault's HSM signed. It travels in R2; no final share leaves before
// those of all peers verify.
type Certificate struct {
	Decision   Decision
	Index      uint64
	Proof      [][32]byte // inclusion at Checkpoint.Size
	Checkpoint SignedCheckpoint
}

// Certify makes the certificate of the decision that stands at index in l, under
// a checkpoint whose size l has reached.
func Certify(l *Log, d *Decision, index uint64, cp *SignedCheckpoint) (*Certificate, error) {
	proof, err := l.Inclusion(index, cp.Size)
	if err != nil {
		return nil, err
	}
	c := &Certificate{*d, index, proof, *cp}
	return c, c.included()
}

// Encode is the canonical encoding (docs/spec/checkpoint.md).
func (c *Certificate) Encode() []byte {
	w := wire.NewWriter(certificateVersion).Var(c.Decision.Encode()).Uint64(c.Index).Count(len(c.Proof))
	for i := range c.Proof {
		w.Fixed(c.Proof[i][:])
	}
	return w.Var(c.Checkpoint.Encode()).Bytes()
}

// DecodeCertificate is the inverse of Encode. It does not verify.
func DecodeCertificate(b []byte) (*Certificate, error) {
	r, c := wire.NewReader(b, certificateVersion), new(Certificate)
	decision := r.Var("decision", maxBlob)
	c.Index = r.Uint64("index")
	for range r.Count("proof", MaxProof, 32) {
		var h [32]byte
		r.Into("proof", h[:])
		c.Proof = append(c.Proof, h)
	}
	checkpoint := r.Var("checkpoint", maxCheckpoint)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode certificate: %w", err)
	}
	d, err := DecodeDecision(decision)
	if err != nil {
		return nil, fmt.Errorf("couldn't decode certificate: %w", err)
	}
	cp, err := DecodeSignedCheckpoint(checkpoint)
	if err != nil {
		return nil, fmt.Errorf("couldn't decode certificate: %w", err)
	}
	c.Decision, c.Checkpoint = *d, *cp
	return c, nil
}

// Verify checks the checkpoint's signatures under the vault's keys and that the
// Decision stands in the log that it covers. Whether the Decision is the one
// that the caller waits for (allowed, same attempt, same R0Hash, same roots) is
// the caller's to compare.
func (c *Certificate) Verify(k Keys) error {
	if err := c.Checkpoint.Verify(k); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return c.included()
}

func (c *Certificate) included() error {
	leaf := LeafHash(c.Decision.Entry().Encode())
	if err := CheckInclusion(c.Proof, c.Index, c.Checkpoint.Size, c.Checkpoint.Root, leaf); err != nil {
		return fmt.Errorf("certificate of %s: %w", c.Checkpoint.Origin(), err)
	}
	return nil
}
