package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
)

// Forecast is what a change would do if it were signed now.
type Forecast struct {
	Class      string    `json:"class" enum:"tightening,loosening,unknown" doc:"What it does to what is allowed: every vault decides that by itself."`
	Why        string    `json:"why" doc:"Why it is of that class."`
	Quorum     int       `json:"quorum" doc:"How many admins must sign."`
	Waits      bool      `json:"waits"`
	Due        time.Time `json:"due" doc:"When it would be in force if its quorum were complete now."`
	Supersedes []uint64  `json:"supersedes,omitempty" doc:"Pending changes that it would end."`
}

// Forecast asks what a change would do. The coordinator computes it, as every vault
// will for itself.
func (c *Client) Forecast(ctx context.Context, d *DecodedChange) (*Forecast, error) {
	return post[Forecast](ctx, c, "/v1/forecasts", map[string]any{"change": d.Canonical()})
}

func labelled(label string, addresses []string) []governance.Labelled {
	var out []governance.Labelled
	for _, a := range addresses {
		out = append(out, governance.Labelled{Label: label, Address: a})
	}
	return out
}

// NewBookChange drafts a change of the address book: addresses (CAIP-10) that a label
// gains and loses.
func NewBookChange(c *Cluster, author, note, label string, add, remove []string) (*DecodedChange, error) {
	b := &governance.Book{Add: labelled(label, add), Remove: labelled(label, remove)}
	b.Sort()
	if _, err := governance.DecodeBook(b.Encode()); err != nil {
		return nil, err
	}
	return newChange(c, author, note, governance.KindBook, b.Encode())
}

// NewChainsChange drafts a change of the chains (CAIP-2) that the vaults sign for;
// none: every chain that they can read.
func NewChainsChange(c *Cluster, author, note string, chains []string) (*DecodedChange, error) {
	chains = slices.Clone(chains)
	slices.Sort(chains)
	chains = slices.Compact(chains)
	if _, err := governance.DecodeChains(governance.EncodeChains(chains)); err != nil {
		return nil, err
	}
	return newChange(c, author, note, governance.KindChains, governance.EncodeChains(chains))
}

// NewFreeze drafts an order by which nothing is signed with a wallet's key, or with
// any key if wallet is nil; thaw ends it. One admin freezes, the quorum thaws.
func NewFreeze(c *Cluster, wallet *Wallet, thaw bool, author, reason string) (*DecodedChange, error) {
	f := &governance.Freeze{Thaw: thaw, Reason: reason}
	if strings.TrimSpace(reason) == "" {
		return nil, errors.New("reason: say why, for those who read the log")
	}
	if wallet != nil {
		var err error
		if f.Wallet, err = parseID("wallet", wallet.ID); err != nil {
			return nil, err
		}
	}
	return newChange(c, author, reason, governance.KindFreeze, f.Encode())
}

// NewWithdrawal drafts an order by which a change that waits does not come in force.
// One admin suffices.
func NewWithdrawal(c *Cluster, seq uint64, author, reason string) (*DecodedChange, error) {
	if strings.TrimSpace(reason) == "" {
		return nil, errors.New("reason: say why, for those who read the log")
	}
	return newChange(c, author, reason, governance.KindWithdraw, (&governance.Withdrawal{Seq: seq, Reason: reason}).Encode())
}

// changeDocument is a change's body in the form that people read, of the kinds that
// this file drafts.
func changeDocument(c *governance.Change) (json.RawMessage, error) {
	switch c.Kind {
	case governance.KindBook:
		b, err := governance.DecodeBook(c.Body)
		if err != nil {
			return nil, err
		}
		return b.JSON(), nil
	case governance.KindChains:
		chains, err := governance.DecodeChains(c.Body)
		if err != nil {
			return nil, err
		}
		if chains == nil {
			chains = []string{}
		}
		return json.Marshal(map[string][]string{"chains": chains})
	case governance.KindFreeze:
		f, err := governance.DecodeFreeze(c.Body)
		if err != nil {
			return nil, err
		}
		return f.JSON(), nil
	case governance.KindWithdraw:
		w, err := governance.DecodeWithdrawal(c.Body)
		if err != nil {
			return nil, err
		}
		return w.JSON(), nil
	}
	return nil, fmt.Errorf("change %d: unknown kind %s", c.Seq, c.Kind)
}
