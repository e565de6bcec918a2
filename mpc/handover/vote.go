package handover

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Kind is what a vote promises.
type Kind uint8

// The votes. Each is durable before it is signed.
const (
	// Prepared, by a new party: its share of e+1 is sealed. It is the party's
	// signature on the certificate of e+1, and may still be followed by Abort.
	Prepared Kind = 1
	// Ready, by a new party that has seen all n′ Prepared: it will keep the share,
	// of which it proves knowledge, until a later epoch is active. Excludes Abort.
	Ready Kind = 2
	// Closed, by an old party that has seen all n′ Ready: it never again signs in e.
	Closed Kind = 3
	// Abort, by a new party: it has not signed Ready and never will.
	Abort Kind = 4
	// Active, by a new party that holds a commit certificate: it signs in e+1.
	Active Kind = 5
)

const lastKind = Active

func (k Kind) String() string {
	switch k {
	case Prepared:
		return "PREPARED"
	case Ready:
		return "READY"
	case Closed:
		return "CLOSED"
	case Abort:
		return "ABORT"
	case Active:
		return "ACTIVE"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Vote is one party's signed promise about one plan.
type Vote struct {
	Kind        Kind
	From        mpc.ID
	Certificate [32]byte // digest of e+1's certificate; zero in Abort
	Proof       []byte   // Ready: knowledge of the new share; Closed: what the caller states; otherwise empty
	Signature   []byte
}

// Digest is what the party's identity signs.
func (v *Vote) Digest(plan [32]byte) [32]byte {
	if v.Kind == Prepared {
		return v.Certificate
	}
	return transcript.Sum(transcript.TagHandoverVote, plan[:], []byte{uint8(v.Kind)}, transcript.Uint16(uint16(v.From)), v.Certificate[:], v.Proof)
}

// contradicts says that an honest party signs one of the two at most. A PREPARED
// contradicts nothing: it is a signature on a certificate and names no plan, so
// that one of another attempt looks like one of this.
func (v *Vote) contradicts(o *Vote) bool {
	if v.From != o.From || v.Kind == Prepared || o.Kind == Prepared {
		return false
	}
	if v.Kind == Abort || o.Kind == Abort {
		other := v.Kind
		if v.Kind == Abort {
			other = o.Kind
		}
		return other == Ready || other == Closed || other == Active
	}
	return v.Certificate != o.Certificate
}

// Bounds of a bundle.
const (
	MaxBody      = 1 << 14
	maxProof     = 256
	maxSignature = 1024
	maxVotes     = int(lastKind) * 2 * mpc.MaxParties
)

// Bundle is what the parties send each other: a plan with the votes that the
// sender knows. With n′ Ready and n−t+1 Closed it is a commit certificate.
type Bundle struct {
	Plan  Plan
	Body  []byte // the certificate of e+1 as it is signed, empty where not known
	Votes []Vote // ascending by kind, then by party; one of each
	Ask   bool   // the receiver answers if it knows more; an answer asks nothing
}

const bundleVersion = 1

// Encode is the canonical encoding.
func (b *Bundle) Encode() []byte {
	w := wire.NewWriter(bundleVersion).Var(b.Plan.Encode()).Var(b.Body).Count(len(b.Votes))
	for i := range b.Votes {
		writeVote(w, &b.Votes[i])
	}
	return w.Bool(b.Ask).Bytes()
}

func writeVote(w *wire.Writer, v *Vote) {
	w.Uint8(uint8(v.Kind)).Uint16(uint16(v.From)).Fixed(v.Certificate[:]).Var(v.Proof).Var(v.Signature)
}

func readVote(r *wire.Reader) Vote {
	v := Vote{Kind: Kind(r.Uint8("vote")), From: mpc.ID(r.Uint16("voter"))}
	r.Into("certificate", v.Certificate[:])
	v.Proof, v.Signature = r.Var("proof", maxProof), r.Var("signature", maxSignature)
	if r.Err() != nil {
		return v
	}
	switch {
	case v.Kind < Prepared || v.Kind > lastKind:
		r.Failf("vote: unknown kind %d, want %d to %d", v.Kind, Prepared, lastKind)
	case v.Kind != Ready && v.Kind != Closed && len(v.Proof) > 0:
		r.Failf("%s of participant %d carries a proof, only READY and CLOSED do", v.Kind, v.From)
	case v.Kind == Abort && v.Certificate != [32]byte{}:
		r.Failf("ABORT of participant %d names a certificate", v.From)
	}
	return v
}

// DecodeBundle is strict. It verifies no signature.
func DecodeBundle(b []byte) (*Bundle, error) {
	r := wire.NewReader(b, bundleVersion)
	out := new(Bundle)
	if raw := r.Var("plan", 1<<10); r.Err() == nil {
		if p, err := DecodePlan(raw); err != nil {
			r.Fail(err)
		} else {
			out.Plan = *p
		}
	}
	out.Body = r.Var("certificate", MaxBody)
	for i := range r.Count("votes", maxVotes, 1+2+32+4+4) {
		v := readVote(r)
		if r.Err() == nil && i > 0 && !out.Votes[i-1].before(&v) {
			r.Failf("%s of participant %d stands after %s of %d: want them sorted, one of each", v.Kind, v.From, out.Votes[i-1].Kind, out.Votes[i-1].From)
		}
		out.Votes = append(out.Votes, v)
	}
	out.Ask = r.Bool("ask")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode handover bundle: %w", err)
	}
	return out, nil
}

func (v *Vote) before(o *Vote) bool {
	return v.Kind < o.Kind || v.Kind == o.Kind && v.From < o.From
}

// voters says who may cast a vote of a kind.
func (p *Plan) voters(k Kind) []mpc.ID {
	if k == Closed {
		return p.Old
	}
	return p.New
}

// Verifier checks what this package takes as opaque.
type Verifier struct {
	// Signature verifies a party's identity signature on the digest of a vote.
	Signature func(kind Kind, id mpc.ID, digest [32]byte, sig []byte) bool
	// Certificate checks that body, signatures aside, is a certificate of the
	// plan's new epoch, and returns its digest.
	Certificate func(p *Plan, body []byte) ([32]byte, error)
	// Proof verifies a new party's proof of knowledge of its share in body.
	Proof func(p *Plan, body []byte, id mpc.ID, proof []byte) error
	// Closing is called when this party decides to close an epoch: from then on it
	// does not sign in it. What it returns, at most 256 bytes, is signed with CLOSED.
	// Nil: nothing.
	Closing func(p *Plan) []byte
}

// VerifyCommit demands that the bundle is a commit certificate: whoever holds it
// knows that the epoch which its plan leaves has ended, and that the next one is
// the key's. That the plan leaves the key's epoch is for the caller to see: Old,
// OldThreshold and Previous are the plan's own word, and only parties that stand in
// it have voted.
func (b *Bundle) VerifyCommit(v Verifier) error {
	if err := b.Plan.Check(); err != nil {
		return err
	}
	digest, err := v.Certificate(&b.Plan, b.Body)
	if err != nil {
		return fmt.Errorf("certificate of epoch %d: %w", b.Plan.To(), err)
	}
	count := map[Kind]int{}
	id := b.Plan.ID()
	for i := range b.Votes {
		x := &b.Votes[i]
		if i > 0 && !b.Votes[i-1].before(x) {
			return errors.New("votes are not sorted, or one stands twice")
		}
		if x.Certificate != digest || !sharing.Contains(b.Plan.voters(x.Kind), x.From) {
			continue
		}
		if !v.Signature(x.Kind, x.From, x.Digest(id), x.Signature) {
			return fmt.Errorf("%s of participant %d is not signed by its identity", x.Kind, x.From)
		}
		if x.Kind == Ready {
			if err := v.Proof(&b.Plan, b.Body, x.From, x.Proof); err != nil {
				return fmt.Errorf("READY of participant %d: %w", x.From, err)
			}
		}
		count[x.Kind]++
	}
	for _, want := range []struct {
		kind Kind
		n    int
	}{{Prepared, len(b.Plan.New)}, {Ready, len(b.Plan.New)}, {Closed, b.Plan.closedQuorum()}} {
		if count[want.kind] < want.n {
			return fmt.Errorf("%d %s, want %d", count[want.kind], want.kind, want.n)
		}
	}
	return nil
}
