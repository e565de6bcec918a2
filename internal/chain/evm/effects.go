package evm

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// reader follows a transaction's calls and collects what they do.
type reader struct {
	chain   string // CAIP-2
	e       *chain.Effects
	methods []chain.Method // that the policy declares
	args    int            // of all calls so far
}

// frame is one call, as the contract that is called sees it.
type frame struct {
	from  Address // its caller
	to    Address
	value chain.Amount
	data  []byte
	how   how
	depth uint8
}

// how a call is made.
type how uint8

const (
	sent      how = iota // with a value of its own
	shared               // by a multicall: the contract sees the value of the call that it is part of, which is not sent again
	delegated            // the code runs as its caller, a Safe
)

// effects says what an intent does when sender sends it.
func effects(name string, sender Address, in *Intent, maxFee chain.Amount, methods []chain.Method) *chain.Effects {
	e := &chain.Effects{Chain: name, Sender: Account(name, sender), MaxFee: maxFee}
	r := &reader{chain: name, e: e, methods: methods}
	if in.To == nil {
		r.create(&in.Value, in.Data)
		return e
	}
	r.call(&frame{from: sender, to: *in.To, value: in.Value, data: in.Data})
	return e
}

// create is a contract's creation: all that is known of it is its code. The value
// goes to an account that has no name yet.
func (r *reader) create(value *chain.Amount, code []byte) {
	r.e.Creates = []chain.Creation{{Value: *value, CodeHash: keccak256(code)}}
	if !value.IsZero() {
		r.e.Transfers = []chain.Transfer{{From: r.e.Sender, Asset: NativeAsset(r.chain), Amount: *value}}
	}
}

// call reads one call and those that it makes.
func (r *reader) call(f *frame) {
	// The value moves whatever the data means, and a plain transfer of 0 still has
	// a recipient for policy to look at.
	if f.how == sent {
		if len(f.data) == 0 || !f.value.IsZero() {
			r.transfer(f.from, f.to, NativeAsset(r.chain), f.value)
		}
		if len(f.data) == 0 {
			return
		}
	}
	if len(r.e.Calls) == chain.MaxItems {
		r.fail("more than %d calls", chain.MaxItems)
		return
	}
	r.e.Calls = append(r.e.Calls, chain.Call{
		From: r.account(f.from), To: r.account(f.to), Method: bytesText(f.data[:min(4, len(f.data))]), Value: f.value, Depth: f.depth,
	})
	c := &r.e.Calls[len(r.e.Calls)-1]
	if len(f.data) < 4 {
		r.fail("data of %d bytes is too short for a method", len(f.data))
		return
	}
	m, meaning, err := r.methodOf(f.to, [4]byte(f.data))
	if err != nil {
		r.fail("%v", err)
		return
	}
	c.Method = m.name
	if f.how == delegated && m.name != methodMultiSend {
		r.fail("%s runs as code of the Safe, want %s", m.name, methodMultiSend)
		return
	}
	v, err := decodeABI(m.params, f.data[4:])
	if err == nil {
		c.Args, err = r.argsOf(v)
	}
	if err == nil && meaning != nil {
		err = meaning(r, f, v)
	}
	if err != nil {
		r.fail("%s: %v", m.name, err)
	}
}

func (r *reader) argsOf(v *abiValue) ([]chain.Arg, error) {
	args := v.args(r.chain, "")
	if len(args) > chain.MaxArgs {
		return nil, fmt.Errorf("%d values, at most %d", len(args), chain.MaxArgs)
	}
	if r.args += len(args); r.args > chain.MaxTotalArgs {
		return nil, fmt.Errorf("%d values in all calls, at most %d", r.args, chain.MaxTotalArgs)
	}
	for i := range args {
		if n := len(args[i].Path); n > maxPath {
			return nil, fmt.Errorf("an argument's path of %d bytes, at most %d", n, maxPath)
		}
	}
	return args, nil
}

// maxPath bounds the path of a value.
const maxPath = 256

// fail says why the transaction is not understood; the first reason stays.
func (r *reader) fail(format string, args ...any) {
	if r.e.Undecoded == "" {
		r.e.Undecoded = reason(fmt.Sprintf(format, args...))
	}
}

// reason makes text fit for effects: printable ASCII of at most 256 bytes.
func reason(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	if len(b) > maxReason {
		b = append(b[:maxReason-3], "..."...)
	}
	return string(b)
}

const maxReason = 256

func (r *reader) account(a Address) string { return Account(r.chain, a) }

func (r *reader) transfer(from, to Address, asset string, amount chain.Amount) {
	if len(r.e.Transfers) == chain.MaxItems {
		r.fail("more than %d transfers", chain.MaxItems)
		return
	}
	r.e.Transfers = append(r.e.Transfers, chain.Transfer{From: r.account(from), To: r.account(to), Asset: asset, Amount: amount})
}

func (r *reader) approval(owner, spender Address, asset string, amount chain.Amount) {
	if len(r.e.Approvals) == chain.MaxItems {
		r.fail("more than %d approvals", chain.MaxItems)
		return
	}
	r.e.Approvals = append(r.e.Approvals, chain.Approval{Owner: r.account(owner), Spender: r.account(spender), Asset: asset, Amount: amount})
}
