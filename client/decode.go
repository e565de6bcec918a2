package client

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Decoded is a request as its own bytes say, whoever brought them.
type Decoded struct {
	ID        string    `json:"id"`
	Cluster   string    `json:"cluster"`
	WalletID  string    `json:"wallet_id"`
	Chain     string    `json:"chain"`
	Sender    string    `json:"sender"`
	Initiator string    `json:"initiator"`
	Memo      string    `json:"memo,omitempty"`
	MaxFee    Amount    `json:"max_fee"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Effects   Effects   `json:"effects"`

	request *request.Request
}

// Decode reads the canonical bytes of a request (Request.Canonical). c names
// assets and labels; it may be nil.
func Decode(canonical string, c *Cluster) (*Decoded, error) {
	b, err := decode(canonical)
	if err != nil {
		return nil, errors.New("request: want base64url without padding")
	}
	q, err := request.Decode(b)
	if err != nil {
		return nil, err
	}
	return decoded(q, c)
}

func decoded(q *request.Request, c *Cluster) (*Decoded, error) {
	codec, err := family.Of(q.Chain)
	if err != nil {
		return nil, err
	}
	e, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, c.methods())
	if err != nil {
		return nil, err
	}
	id := q.ID()
	native, _ := family.Native(q.Chain)
	return &Decoded{
		ID: hex.EncodeToString(id[:]), Cluster: hex.EncodeToString(q.Cluster[:]), WalletID: hex.EncodeToString(q.Wallet[:]),
		Chain: q.Chain, Sender: q.Sender, Initiator: q.Initiator, Memo: q.Memo, MaxFee: c.amount(native, q.MaxFee),
		Created: millis(q.Created), Expires: millis(q.Expires), Effects: c.effects(e), request: q,
	}, nil
}

func millis(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, 253402300799999))).UTC() }

// amount writes an amount of an asset in its unit and in the smallest.
func (c *Cluster) amount(asset string, a chain.Amount) Amount {
	out := Amount{Text: a.Dec() + " units of " + asset, Units: a.Dec(), Asset: asset}
	if c != nil {
		for _, x := range c.Assets {
			if x.ID == asset && x.Decimals >= 0 && x.Decimals <= 77 {
				out.Text = amount.Format(a, amount.Unit{Symbol: x.Symbol, Decimals: uint8(x.Decimals)})
			}
		}
	}
	if _, ns, _, err := chain.ParseAsset(asset); err == nil && ns == "slip44" {
		_, units := family.Native(asset)
		out.Smallest = units[len(units)-1].Symbol
		if out.Text == a.Dec()+" units of "+asset {
			out.Text = amount.Format(a, units[0])
		}
	}
	return out
}

// methods are what the policy declares.
func (c *Cluster) methods() (out []chain.Method) {
	if c != nil {
		for _, m := range c.Methods {
			out = append(out, chain.Method(m))
		}
	}
	return out
}

// Amount writes a number of an asset's smallest units (decimal) for people.
func (c *Cluster) Amount(asset, units string) (Amount, error) {
	a, err := amount.Parse(units+" unit", amount.Unit{Symbol: "unit"})
	if err != nil {
		return Amount{}, err
	}
	return c.amount(asset, a), nil
}

func (c *Cluster) effects(e *chain.Effects) Effects {
	out := Effects{Undecoded: e.Undecoded}
	native, _ := family.Native(e.Chain)
	for i := range e.Transfers {
		t := &e.Transfers[i]
		out.Transfers = append(out.Transfers, Transfer{From: t.From, To: t.To, Amount: c.amount(t.Asset, t.Amount)})
	}
	for i := range e.Approvals {
		a := &e.Approvals[i]
		out.Allowances = append(out.Allowances, Allowance{Owner: a.Owner, Spender: a.Spender, Amount: c.amount(a.Asset, a.Amount), Unlimited: a.Unlimited()})
	}
	for i := range e.Calls {
		x := &e.Calls[i]
		out.Calls = append(out.Calls, Call{From: x.From, To: x.To, Method: x.Method, Value: c.amount(native, x.Value), Depth: int(x.Depth), Arguments: arguments(x.Args)})
	}
	for i := range e.Creates {
		x := &e.Creates[i]
		out.Creations = append(out.Creations, Creation{Value: c.amount(native, x.Value), CodeHash: "0x" + hex.EncodeToString(x.CodeHash[:])})
	}
	if m := e.Message; m != nil {
		out.Message = &Message{Type: m.Type, Name: m.Name, Version: m.Version, Contract: m.Contract, Fields: arguments(m.Fields)}
	}
	return out
}

func arguments(args []chain.Arg) (out []Argument) {
	for i := range args {
		a := &args[i]
		x := Argument{Path: a.Path, Type: a.Type, Value: a.Text}
		switch a.Kind {
		case chain.ArgUint:
			x.Value = a.Uint.Dec()
		case chain.ArgFlag:
			x.Value = strconv.FormatBool(!a.Uint.IsZero())
		}
		out = append(out, x)
	}
	return out
}

// DecodedChange is a change as its own bytes say.
type DecodedChange struct {
	Hash     string          `json:"hash"`
	Cluster  string          `json:"cluster"`
	Seq      uint64          `json:"seq"`
	Kind     string          `json:"kind"`
	Author   string          `json:"author"`
	Note     string          `json:"note,omitempty"`
	Created  time.Time       `json:"created"`
	Document json.RawMessage `json:"document"` // the form that people write

	change *governance.Change
}

// Canonical is the change's bytes, base64url.
func (c *DecodedChange) Canonical() string { return encode(c.change.Encode()) }

// DecodeChange reads the canonical bytes of a change (Change.Canonical).
func DecodeChange(canonical string) (*DecodedChange, error) {
	b, err := decode(canonical)
	if err != nil {
		return nil, errors.New("change: want base64url without padding")
	}
	c, err := governance.DecodeChange(b)
	if err != nil {
		return nil, err
	}
	return decodedChange(c)
}

func decodedChange(c *governance.Change) (*DecodedChange, error) {
	h := c.Hash()
	out := &DecodedChange{
		Hash: hex.EncodeToString(h[:]), Cluster: hex.EncodeToString(c.Cluster[:]), Seq: c.Seq, Kind: c.Kind.String(),
		Author: c.Author, Note: c.Note, Created: millis(c.Created), change: c,
	}
	switch c.Kind {
	case governance.KindPolicy:
		d, err := policy.DecodeDocument(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = source.JSON(d)
	case governance.KindRoster:
		r, err := identity.DecodeRoster(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = r.JSON()
	case governance.KindKey:
		o, err := governance.DecodeKeyOrder(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = o.JSON()
	case governance.KindVault:
		o, err := governance.DecodeVaultOrder(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = o.JSON()
	case governance.KindMeasurements:
		p, err := attest.DecodePolicy(c.Body)
		if err != nil {
			return nil, err
		}
		out.Document = governance.MeasurementsJSON(p)
	default:
		var err error
		if out.Document, err = changeDocument(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// NewPolicyChange drafts a new policy, in the form that people write, YAML or JSON
// (docs/policy.md); an error is of type source.Errors, with lines and columns. The author
// is the admin who proposes it.
func NewPolicyChange(c *Cluster, author, note string, document []byte) (*DecodedChange, error) {
	d, err := source.Compile(document, nil)
	if err != nil {
		return nil, err
	}
	return newChange(c, author, note, governance.KindPolicy, d.Encode())
}

// NewRosterChange drafts a new roster.
func NewRosterChange(c *Cluster, author, note string, document []byte) (*DecodedChange, error) {
	r, err := identity.ParseRosterJSON(document)
	if err != nil {
		return nil, err
	}
	return newChange(c, author, note, governance.KindRoster, r.Encode())
}

// NewMeasurementsChange drafts what the vaults' machines may run, in the form that
// people write.
func NewMeasurementsChange(c *Cluster, author, note string, document []byte) (*DecodedChange, error) {
	p, err := governance.ParseMeasurementsJSON(document)
	if err != nil {
		return nil, err
	}
	return newChange(c, author, note, governance.KindMeasurements, p.Encode())
}

// NewRefresh drafts an order that gives a wallet's key new shares, for the same
// vaults. One admin suffices.
func NewRefresh(c *Cluster, w *Wallet, author, note string) (*DecodedChange, error) {
	return newOrder(c, w, author, note, governance.KeyOrder{Action: governance.Refresh})
}

// NewReshare drafts an order that gives the shares of a wallet's key to these
// vaults, of which threshold sign together from then on. insist waives that their devices
// must differ (KeyOptions.Insist).
func NewReshare(c *Cluster, w *Wallet, author, note string, threshold int, vaults []int, insist bool) (*DecodedChange, error) {
	o := governance.KeyOrder{Action: governance.Reshare, Threshold: uint16(threshold), Insist: insist}
	for _, v := range vaults {
		o.Parties = append(o.Parties, uint16(v))
	}
	slices.Sort(o.Parties)
	return newOrder(c, w, author, note, o)
}

// NewAbandon drafts an order that ends the open attempts at a wallet's next epoch.
func NewAbandon(c *Cluster, w *Wallet, author, note string) (*DecodedChange, error) {
	return newOrder(c, w, author, note, governance.KeyOrder{Action: governance.Abandon})
}

// NewErase drafts an order that erases the shares of a wallet's ended epochs.
func NewErase(c *Cluster, w *Wallet, author, note string) (*DecodedChange, error) {
	return newOrder(c, w, author, note, governance.KeyOrder{Action: governance.Erase})
}

// NewTier drafts an order that has the vaults keep their shares of a wallet's key
// in another custody tier from then on: "hot", "warm" or "cold".
func NewTier(c *Cluster, w *Wallet, author, note, tier string) (*DecodedChange, error) {
	t, err := governance.ParseTier(tier)
	if err != nil {
		return nil, err
	}
	return newOrder(c, w, author, note, governance.KeyOrder{Action: governance.SetTier, Tier: t})
}

// newOrder drafts an order about the key that the wallet has now.
func newOrder(c *Cluster, w *Wallet, author, note string, o governance.KeyOrder) (*DecodedChange, error) {
	o.Name, o.Epoch = w.Name, w.Epoch
	var err error
	if o.Key, err = parseID("wallet", w.ID); err != nil {
		return nil, err
	}
	raw, err := decode(w.Certificate)
	if err != nil {
		return nil, fmt.Errorf("wallet %s: certificate: %w", w.Name, err)
	}
	cert, err := dkg.DecodeCertificate(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("wallet %s: %w", w.Name, err)
	case cert.KeyID() != o.Key || cert.Epoch != o.Epoch:
		return nil, fmt.Errorf("wallet %s: the coordinator shows the certificate of another key or epoch", w.Name)
	}
	o.Certificate = cert.Digest()
	return newChange(c, author, note, governance.KindKey, o.Encode())
}

func newChange(c *Cluster, author, note string, kind governance.Kind, body []byte) (*DecodedChange, error) {
	x := &governance.Change{Seq: c.Governance.Seq + 1, Kind: kind, Body: body, Created: uint64(time.Now().UnixMilli()), Author: author, Note: note}
	var err error
	if x.Cluster, err = clusterID(c); err != nil {
		return nil, err
	}
	if x.Prev, err = parseID("governance head", c.Governance.Head); err != nil {
		return nil, err
	}
	// What is signed is what decodes, so that the vaults see the same.
	if x, err = governance.DecodeChange(x.Encode()); err != nil {
		return nil, fmt.Errorf("couldn't draft the change: %w", err)
	}
	return decodedChange(x)
}
