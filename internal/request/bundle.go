package request

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Bounds of a Bundle.
const (
	MaxBundle    = 256 << 10 // bytes of its encoding
	MaxApprovals = 64
	MaxVerdicts  = 8
	MaxQuotes    = 8
)

// Bundle is a request with everything that justifies it: what the coordinator
// shows to a vault, and what the log keeps beside the decision.
type Bundle struct {
	Request          *Request
	ProposeKey       signature.PublicKey
	ProposeSignature signature.Signature
	Approvals        []Approval    // sorted by principal, one a person
	Verdicts         []RiskVerdict // sorted by engine, one an engine
	Prices           []PriceQuote  // sorted by source, one a source
}

const bundleVersion = 2

// Sort puts approvals, verdicts and quotes in the order of the encoding. It removes
// nothing: Check tells about a second approval by the same person.
func (b *Bundle) Sort() {
	slices.SortStableFunc(b.Approvals, func(x, y Approval) int { return cmp.Compare(x.Principal, y.Principal) })
	slices.SortStableFunc(b.Verdicts, func(x, y RiskVerdict) int { return cmp.Compare(x.Engine, y.Engine) })
	slices.SortStableFunc(b.Prices, func(x, y PriceQuote) int { return cmp.Compare(x.Source, y.Source) })
}

// Check says whether the bundle is complete, in order, without repetition and
// about one request. It verifies no signature. The error is a *refusal.Refusal.
func (b *Bundle) Check() error {
	if b.Request == nil {
		return refusal.Newf("bundle.request", "", "the bundle has no request")
	}
	if err := b.Request.Check(); err != nil {
		return err
	}
	if len(b.Approvals) > MaxApprovals {
		return refusal.Newf("bundle.approvals", "", "%d approvals, at most %d", len(b.Approvals), MaxApprovals)
	}
	if len(b.Verdicts) > MaxVerdicts {
		return refusal.Newf("bundle.verdicts", "", "%d risk verdicts, at most %d", len(b.Verdicts), MaxVerdicts)
	}
	if len(b.Prices) > MaxQuotes {
		return refusal.Newf("bundle.prices", "", "%d price quotes, at most %d", len(b.Prices), MaxQuotes)
	}
	id := b.Request.ID()
	for i := range b.Approvals {
		if err := b.checkApproval(i, id); err != nil {
			return err
		}
	}
	for i := range b.Verdicts {
		if err := b.checkVerdict(i, id); err != nil {
			return err
		}
	}
	for i := 1; i < len(b.Prices); i++ {
		if b.Prices[i-1].Source >= b.Prices[i].Source {
			return refusal.Newf("price.duplicate", "one quote a source, sorted by source", "prices[%d]: %s comes after %s", i, wire.CleanText(b.Prices[i].Source, 80), wire.CleanText(b.Prices[i-1].Source, 80))
		}
	}
	return nil
}

func (b *Bundle) checkApproval(i int, id [32]byte) error {
	a := &b.Approvals[i]
	if a.Request != id {
		return refusal.Newf("approval.request", "an approval of this request",
			"approvals[%d]: %s approved request %x, not this one, %x", i, wire.CleanText(a.Principal, 80), a.Request, id)
	}
	if i == 0 {
		return nil
	}
	switch c := cmp.Compare(b.Approvals[i-1].Principal, a.Principal); {
	case c == 0:
		return refusal.Newf("approval.duplicate", "one approval a person",
			"approvals[%d]: %s has approved or denied already; one person counts once, with whatever key", i, wire.CleanText(a.Principal, 80))
	case c > 0:
		return refusal.Newf("approval.order", "approvals sorted by principal", "approvals[%d]: %s comes after %s", i, wire.CleanText(a.Principal, 80), wire.CleanText(b.Approvals[i-1].Principal, 80))
	}
	return nil
}

func (b *Bundle) checkVerdict(i int, id [32]byte) error {
	v := &b.Verdicts[i]
	if v.Request != id {
		return refusal.Newf("risk.request", "a verdict on this request",
			"verdicts[%d]: %s judged request %x, not this one, %x", i, wire.CleanText(v.Engine, 80), v.Request, id)
	}
	if i > 0 && b.Verdicts[i-1].Engine >= v.Engine {
		return refusal.Newf("risk.duplicate", "one verdict an engine, sorted by engine", "verdicts[%d]: %s comes after %s", i, wire.CleanText(v.Engine, 80), wire.CleanText(b.Verdicts[i-1].Engine, 80))
	}
	return nil
}

// Encode is the canonical encoding.
func (b *Bundle) Encode() []byte {
	w := wire.NewWriter(bundleVersion).Var(b.Request.Encode())
	signature.WriteKey(w, b.ProposeKey)
	signature.WriteSignature(w, b.ProposeSignature)
	w.Count(len(b.Approvals))
	for i := range b.Approvals {
		w.Var(b.Approvals[i].Encode())
	}
	w.Count(len(b.Verdicts))
	for i := range b.Verdicts {
		w.Var(b.Verdicts[i].Encode())
	}
	w.Count(len(b.Prices))
	for i := range b.Prices {
		w.Var(b.Prices[i].Encode())
	}
	return w.Bytes()
}

// DecodeBundle is the inverse of Encode. What it returns passes Check.
func DecodeBundle(enc []byte) (*Bundle, error) {
	b, err := decodeBundle(enc)
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode bundle: %w", err)
	}
	return b, nil
}

func decodeBundle(enc []byte) (*Bundle, error) {
	if len(enc) > MaxBundle {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(enc), MaxBundle, wire.ErrTooLong)
	}
	r := wire.NewReader(enc, bundleVersion)
	b := new(Bundle)
	nested := func(field string, decode func([]byte) error) {
		if raw := r.Var(field, MaxBundle); r.Err() == nil {
			if err := decode(raw); err != nil {
				r.Fail(fmt.Errorf("%s: %w", field, err))
			}
		}
	}
	nested("request", func(raw []byte) (err error) { b.Request, err = Decode(raw); return err })
	b.ProposeKey, b.ProposeSignature = signature.ReadKey(r, "propose key"), signature.ReadSignature(r, "propose signature")
	for i := range r.Count("approvals", MaxApprovals, 128) {
		nested(fmt.Sprintf("approvals[%d]", i), func(raw []byte) error {
			a, err := DecodeApproval(raw)
			if err == nil {
				b.Approvals = append(b.Approvals, *a)
			}
			return err
		})
	}
	for i := range r.Count("verdicts", MaxVerdicts, 128) {
		nested(fmt.Sprintf("verdicts[%d]", i), func(raw []byte) error {
			v, err := DecodeRiskVerdict(raw)
			if err == nil {
				b.Verdicts = append(b.Verdicts, *v)
			}
			return err
		})
	}
	for i := range r.Count("prices", MaxQuotes, 128) {
		nested(fmt.Sprintf("prices[%d]", i), func(raw []byte) error {
			p, err := DecodePriceQuote(raw)
			if err == nil {
				b.Prices = append(b.Prices, *p)
			}
			return err
		})
	}
	return b, r.Done()
}
