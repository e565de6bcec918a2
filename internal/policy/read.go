package policy

import (
	"encoding/hex"
	"slices"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/request"
)

const riskHold = request.Hold

// evaluation is one run of a document over one input. What several rules ask is
// computed once; the tables have one allocation each, however many rules there are.
type evaluation struct {
	doc       *Document
	prog      *program
	roster    *identity.Roster
	in        Input
	native    string // CAIP-19
	walletHex string
	codes     []string // of the creations, once asked for
	// id is the request's, once identified.
	id         [32]byte
	identified bool
	// holdWaits makes a risk verdict "hold" worth the same as none.
	holdWaits bool

	bound  [MaxNesting]int // item of each quantifier, outermost first
	nested int

	slots         []Truth // of conditions that occur more than once; unknown while pending
	groups, roles []Truth // of the initiator; unknown while Waiting
	engines       []engineState
	labels        []labelState // of the fields of transfers, allowances and calls
	totals        []totalState // of assets: sent, then received
	prices        []priceState // by asset
	limits        []limitState
	money         moneyState
	movement      movementState
	explained     int   // operators
	only          Truth // onlyTransfers; unknown while Waiting
}

type engineState struct {
	known   bool
	verdict *identity.RiskResult
}

type labelState struct {
	known bool
	set   labelSet
}

type totalState struct {
	known bool
	ok    Truth
	sum   chain.Amount
}

func newEvaluation(d *Document, p *program, roster *identity.Roster, in Input) *evaluation {
	e := &evaluation{doc: d, prog: p, roster: roster, in: in, only: Waiting}
	e.native, _ = family.Native(in.Effects.Chain)
	f := in.Effects
	e.groups, e.roles = make([]Truth, len(p.groups)), make([]Truth, len(p.roles))
	for _, list := range [][]Truth{e.groups, e.roles} {
		for i := range list {
			list[i] = Waiting
		}
	}
	e.engines = make([]engineState, len(p.engines))
	e.labels = make([]labelState, 2*(len(f.Transfers)+len(f.Approvals)+len(f.Calls)))
	e.totals = make([]totalState, 2*len(d.Assets))
	e.prices = make([]priceState, len(d.Assets))
	e.limits = make([]limitState, len(d.Limits))
	e.slots = make([]Truth, p.slots)
	e.forget()
	return e
}

// pending is the value of a slot that is not known yet.
const pending Truth = 255

// forget empties the slots, but for the columns: it fills them.
func (e *evaluation) forget() {
	fillWith(e.slots, pending)
	for i := range e.prog.columns {
		e.prog.columns[i].fill(e)
	}
}

func (e *evaluation) now() uint64 { return e.in.Now / 1000 }

func (e *evaluation) wallet() string {
	if e.walletHex == "" {
		e.walletHex = hex.EncodeToString(e.in.Request.Wallet[:])
	}
	return e.walletHex
}

// contains searches a sorted set.
func contains(set []string, s string) bool {
	if len(set) > 8 {
		_, ok := slices.BinarySearch(set, s)
		return ok
	}
	return slices.Contains(set, s)
}

// size is the number of items of a list.
func (e *evaluation) size(list Type) int {
	f := e.in.Effects
	switch list {
	case TypeTransfers:
		return len(f.Transfers)
	case TypeAllowances:
		return len(f.Approvals)
	case TypeCalls:
		return len(f.Calls)
	case TypeCreations:
		return len(f.Creates)
	case TypeApprovers:
		return len(e.in.Verified.Approvers)
	}
	return 0
}

// each evaluates the condition of a quantifier for every item until stop says so.
func (e *evaluation) each(n *node, stop func(i int, t Truth) bool) {
	if e.nested >= MaxNesting { // never of a checked document
		stop(0, Failed)
		return
	}
	e.nested++
	for i := range e.size(n.list) {
		e.bound[e.nested-1] = i
		if stop(i, e.boolean(&n.args[1])) {
			break
		}
	}
	e.nested--
}

func (e *evaluation) quantifier(n *node) Truth {
	if n.op == OpExistsOne {
		found, out := 0, True
		e.each(n, func(_ int, t Truth) bool {
			if t == True {
				found++
			}
			out = both(out, t)
			return false
		})
		if out != True {
			return out
		}
		return truth(found == 1)
	}
	strong := truth(n.op == OpExists)
	out := not(strong)
	e.each(n, func(_ int, t Truth) bool {
		if t == strong {
			out = strong
			return true
		}
		out = weaker(out, t)
		return false
	})
	return out
}

// count is .size(), or .filter(…).size().
func (e *evaluation) count(n *node, out *quantity) Truth {
	if len(n.args) == 1 {
		out.num.SetUint64(uint64(e.size(n.list)))
		return True
	}
	found, ok := uint64(0), True
	e.each(n, func(_ int, t Truth) bool {
		if t == True {
			found++
		}
		ok = both(ok, t)
		return false
	})
	out.num.SetUint64(found)
	return ok
}

// item is the index of the item that a variable is bound to.
func (e *evaluation) item(n *node) int {
	i := e.nested - 1 - int(n.depth)
	if i < 0 {
		return 1 << 30
	}
	return e.bound[i]
}

func (e *evaluation) transfer(n *node) *chain.Transfer {
	if i := e.item(n); n.list == TypeTransfers && i < len(e.in.Effects.Transfers) {
		return &e.in.Effects.Transfers[i]
	}
	return nil
}

func (e *evaluation) approval(n *node) *chain.Approval {
	if i := e.item(n); n.list == TypeAllowances && i < len(e.in.Effects.Approvals) {
		return &e.in.Effects.Approvals[i]
	}
	return nil
}

func (e *evaluation) call(n *node) *chain.Call {
	if i := e.item(n); n.list == TypeCalls && i < len(e.in.Effects.Calls) {
		return &e.in.Effects.Calls[i]
	}
	return nil
}

func (e *evaluation) fieldText(n *node) (string, Truth) {
	if t := e.transfer(n); t != nil {
		switch n.field {
		case fieldFrom:
			return t.From, True
		case fieldTo:
			return t.To, True
		case fieldAsset:
			return t.Asset, True
		}
	}
	if a := e.approval(n); a != nil {
		switch n.field {
		case fieldOwner:
			return a.Owner, True
		case fieldSpender:
			return a.Spender, True
		case fieldAsset:
			return a.Asset, True
		}
	}
	if c := e.call(n); c != nil {
		switch n.field {
		case fieldFrom:
			return c.From, True
		case fieldTo:
			return c.To, True
		case fieldMethod:
			return c.Method, True
		}
	}
	if i := e.item(n); n.list == TypeCreations && n.field == fieldCode && i < len(e.in.Effects.Creates) {
		return e.code(i), True
	}
	return "", Failed
}

// code is the hash of a creation's code as conditions write it.
func (e *evaluation) code(i int) string {
	if e.codes == nil {
		e.codes = make([]string, len(e.in.Effects.Creates))
	}
	if e.codes[i] == "" {
		e.codes[i] = "0x" + hex.EncodeToString(e.in.Effects.Creates[i].CodeHash[:])
	}
	return e.codes[i]
}

func (e *evaluation) fieldNumber(n *node, out *quantity) Truth {
	if t := e.transfer(n); t != nil {
		switch n.field {
		case fieldAmount:
			out.num, out.asset = t.Amount, t.Asset
			return True
		case fieldValue:
			var ok Truth
			out.num, ok = e.worth(t.Asset, &t.Amount)
			return ok
		}
	}
	if a := e.approval(n); a != nil && n.field == fieldAmount {
		out.num, out.asset = a.Amount, a.Asset
		return True
	}
	if c := e.call(n); c != nil {
		switch n.field {
		case fieldValue:
			out.num, out.asset = c.Value, e.native
			return True
		case fieldDepth:
			out.num.SetUint64(uint64(c.Depth))
			return True
		}
	}
	if i := e.item(n); n.list == TypeCreations && n.field == fieldValue && i < len(e.in.Effects.Creates) {
		out.num, out.asset = e.in.Effects.Creates[i].Value, e.native
		return True
	}
	return Failed
}

// argument finds the argument of a call or message that an operator reads, if
// there is one and it is of the operator's kind.
func (e *evaluation) argument(n *node) *chain.Arg {
	args := e.arguments(n)
	for i := range args {
		if a := &args[i]; a.Path == n.text {
			if kindFits(n.op, a.Kind) {
				return a
			}
			return nil
		}
	}
	return nil
}

func (e *evaluation) arguments(n *node) []chain.Arg {
	if OpMessageUint <= n.op && n.op <= OpMessageFlag {
		if m := e.in.Effects.Message; m != nil {
			return m.Fields
		}
		return nil
	}
	if c := e.call(n); c != nil {
		return c.Args
	}
	return nil
}

func kindFits(o Op, k chain.ArgKind) bool {
	switch o {
	case OpArgUint, OpMessageUint:
		return k == chain.ArgUint
	case OpArgAddress, OpMessageAddress:
		return k == chain.ArgAddress
	case OpArgText, OpMessageText:
		return k == chain.ArgText || k == chain.ArgBytes
	}
	return k == chain.ArgFlag
}

func (e *evaluation) principal(n *node) Truth {
	who, ok := e.text(&n.args[0])
	if ok != True {
		return ok
	}
	table, ask := e.groups, e.roster.InGroup
	if n.op == OpHasRole {
		table, ask = e.roles, e.roster.HasRole
	}
	if n.args[0].op != OpInitiator {
		return truth(ask(who, n.text))
	}
	if table[n.index] == Waiting {
		table[n.index] = truth(ask(who, n.text))
	}
	return table[n.index]
}

func (e *evaluation) labelled(n *node) Truth {
	x := &n.args[0]
	s, ok := e.text(x)
	if ok != True {
		return ok
	}
	place := e.place(x)
	if place < 0 {
		set := e.prog.labels[s]
		return truth(set.has(n.index))
	}
	l := &e.labels[place]
	if !l.known {
		l.known, l.set = true, e.prog.labels[s]
	}
	return truth(l.set.has(n.index))
}

// place is where labels remembers what a field of a bound variable is in, or -1.
func (e *evaluation) place(n *node) int {
	if n.op != OpField {
		return -1
	}
	second := 0
	if n.field == fieldTo || n.field == fieldSpender {
		second = 1
	}
	f, i := e.in.Effects, e.item(n)
	switch n.list {
	case TypeTransfers:
		return 2*i + second
	case TypeAllowances:
		return 2*(len(f.Transfers)+i) + second
	case TypeCalls:
		return 2*(len(f.Transfers)+len(f.Approvals)+i) + second
	}
	return -1
}

func (e *evaluation) verdict(engine int) *identity.RiskResult {
	s := &e.engines[engine]
	if !s.known {
		s.known = true
		s.verdict, _ = e.in.Verified.RiskOf(e.prog.engines[engine])
	}
	return s.verdict
}

// total adds up what leaves the sender, or arrives there, of one asset.
func (e *evaluation) total(n *node, out *quantity) Truth {
	at := n.index
	if n.op == OpReceived {
		at += len(e.doc.Assets)
	}
	s := &e.totals[at]
	if !s.known {
		s.known, s.ok = true, True
		f := e.in.Effects
		for i := range f.Transfers {
			t := &f.Transfers[i]
			side := t.From
			if n.op == OpReceived {
				side = t.To
			}
			if t.Asset != n.asset || side != f.Sender {
				continue
			}
			if _, over := s.sum.AddOverflow(&s.sum, &t.Amount); over {
				s.ok = Failed
				break
			}
		}
	}
	out.num, out.asset = s.sum, n.asset
	return s.ok
}

// onlyTransfers: there is a transfer, all are from the sender, there is no
// allowance, creation or message, and every call is a token's transfer, which the
// list of transfers accounts for.
func (e *evaluation) onlyTransfers() bool {
	if e.only == Waiting {
		e.only = truth(onlyTransfers(e.in.Effects))
	}
	return e.only == True
}

func onlyTransfers(f *chain.Effects) bool {
	if len(f.Transfers) == 0 || len(f.Approvals) > 0 || len(f.Creates) > 0 || f.Message != nil {
		return false
	}
	for i := range f.Transfers {
		if f.Transfers[i].From != f.Sender {
			return false
		}
	}
	for i := range f.Calls {
		if !transferCall(f, &f.Calls[i]) {
			return false
		}
	}
	return true
}

func transferCall(f *chain.Effects, c *chain.Call) bool {
	if c.Method != "transfer(address,uint256)" && c.Method != "transferFrom(address,address,uint256)" {
		return false
	}
	id, address, err := chain.ParseAccount(c.To)
	if err != nil {
		return false
	}
	asset := id + "/erc20:" + address
	return slices.ContainsFunc(f.Transfers, func(t chain.Transfer) bool { return t.Asset == asset })
}

func formatUnits(a chain.Amount, decimals uint8, symbol string) string {
	return amount.Format(a, amount.Unit{Symbol: symbol, Decimals: decimals})
}
