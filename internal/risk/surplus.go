package risk

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
)

// flow is what leaves the sender: an asset to somebody, or an allowance for them. Of
// what is told apart by its number, an item of a collection, it is one with that number.
type flow struct {
	kind      rpc.MoveKind
	asset, to string
	item      chain.Amount
}

// allowed is what of each flow was decoded, less what of it the simulation used up.
type allowed map[flow]chain.Amount

// surplus names what leaves the sender in the simulation beyond what was decoded.
// What comes in, and what others pay each other, costs the sender nothing.
func surplus(x *chain.Effects, moves []rpc.Move) []string {
	left := decoded(x)
	var out []string
	for i := range moves {
		m := &moves[i]
		if m.From != x.Sender || m.To == x.Sender {
			continue
		}
		if over := left.use(m); over != "" {
			out = append(out, over)
		}
	}
	return out
}

func decoded(x *chain.Effects) allowed {
	left := allowed{}
	one := *new(chain.Amount).SetOne()
	for i := range x.Transfers {
		t := &x.Transfers[i]
		if t.From != x.Sender {
			continue
		}
		left.add(flow{kind: rpc.MoveTransfer, asset: t.Asset, to: t.To}, &t.Amount)
		if c, counted := collection(t.Asset); counted {
			left.add(flow{kind: rpc.MoveItem, asset: c, to: t.To}, &t.Amount)
		} else { // transferFrom is a token's and a collection's
			left.add(flow{kind: rpc.MoveItem, asset: c, to: t.To, item: t.Amount}, &one)
		}
	}
	for i := range x.Approvals {
		a := &x.Approvals[i]
		if a.Owner != x.Sender {
			continue
		}
		c, _ := collection(a.Asset)
		left.add(flow{kind: rpc.MoveAllowance, asset: a.Asset, to: a.Spender}, &a.Amount)
		left.add(flow{kind: rpc.MoveLentItem, asset: c, to: a.Spender, item: a.Amount}, &one) // so is approve
		if a.Unlimited() {
			left.add(flow{kind: rpc.MoveForAll, asset: c, to: a.Spender}, &one)
		}
	}
	return left
}

func (l allowed) add(k flow, a *chain.Amount) {
	sum := l[k]
	addUp(&sum, a)
	l[k] = sum
}

// take uses up so much of a flow, if there is as much.
func (l allowed) take(k flow, a *chain.Amount) bool {
	left := l[k]
	if a.Gt(&left) {
		return false
	}
	l[k] = *left.Sub(&left, a)
	return true
}

// use uses up a move, and says what it is when there is not as much.
func (l allowed) use(m *rpc.Move) string {
	one := *new(chain.Amount).SetOne()
	k := flow{kind: m.Kind, asset: m.Asset, to: m.To}
	switch m.Kind {
	case rpc.MoveTransfer, rpc.MoveAllowance:
		fresh := flow{kind: m.Kind, asset: m.Asset} // a contract that is created has no address in the effects
		if left := l[k]; !l.take(k, &m.Amount) && !l.take(fresh, &m.Amount) {
			return words(m) + fmt.Sprintf(", decoded %s", left.Dec())
		}
	case rpc.MoveItem:
		named := k
		if named.item = m.Amount; !l.take(named, &one) && !l.take(k, &one) {
			return words(m)
		}
	case rpc.MoveLentItem:
		if k.item = m.Amount; m.To != nobody(m.To) && !l.take(k, &one) {
			return words(m)
		}
	case rpc.MoveForAll:
		if !m.Amount.IsZero() && !l.take(k, &one) {
			return words(m)
		}
	default:
		return words(m)
	}
	return ""
}

// nobody is the zero address of an account's chain: who lends to it takes back.
func nobody(account string) string {
	return evm.Account(account[:strings.LastIndexByte(account, ':')], evm.Address{})
}

func words(m *rpc.Move) string {
	switch m.Kind {
	case rpc.MoveAllowance:
		return fmt.Sprintf("%s may spend %s of %s", m.To, m.Amount.Dec(), m.Asset)
	case rpc.MoveItem:
		return fmt.Sprintf("item %s of %s goes to %s", m.Amount.Dec(), m.Asset, m.To)
	case rpc.MoveLentItem:
		return fmt.Sprintf("%s may take item %s of %s", m.To, m.Amount.Dec(), m.Asset)
	case rpc.MoveForAll:
		return fmt.Sprintf("%s may take every item of %s", m.To, m.Asset)
	}
	return fmt.Sprintf("%s of %s goes to %s", m.Amount.Dec(), m.Asset, m.To)
}

// collection is the contract of an asset, spelled as the chain's node spells every
// contract, and whether the asset counts its items without telling them apart.
func collection(asset string) (contract string, counted bool) {
	id, namespace, reference, err := chain.ParseAsset(asset)
	if err != nil {
		return asset, false
	}
	reference, _, _ = strings.Cut(reference, "/")
	return id + "/erc20:" + reference, namespace == "erc721"
}
