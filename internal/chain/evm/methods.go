package evm

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// meaning adds what a method does to the effects. f is the call, v its arguments.
type meaning func(r *reader, f *frame, v *abiValue) error

// builtin is a method whose meaning is known.
type builtin struct {
	*method
	means meaning
}

func table(entries map[string]meaning) map[string]*builtin {
	out := make(map[string]*builtin, len(entries))
	for signature, means := range entries {
		m, err := parseMethod(signature)
		if err != nil {
			panic(err)
		}
		out[m.name] = &builtin{m, means}
	}
	return out
}

func bySelector(entries map[string]*builtin) map[[4]byte]*builtin {
	out := make(map[[4]byte]*builtin, len(entries))
	for _, b := range entries {
		out[b.selector] = b
	}
	return out
}

// tokens are the methods that tokens have. They are read so at every contract: a
// policy names the assets that it allows (docs/spec/evm.md).
var tokens = table(map[string]meaning{
	"transfer(address to,uint256 amount)":                        tokenTransfer,
	"transferFrom(address from,address to,uint256 amount)":       tokenTransferFrom,
	"approve(address spender,uint256 amount)":                    tokenApprove,
	"increaseAllowance(address spender,uint256 addedValue)":      tokenApprove,
	"decreaseAllowance(address spender,uint256 subtractedValue)": tokenDecrease,
	"deposit()":                wrapCoin,
	"withdraw(uint256 amount)": unwrapCoin,
	"safeTransferFrom(address from,address to,uint256 tokenId)":                                                    nftTransfer,
	"setApprovalForAll(address operator,bool approved)":                                                            nftApproveAll,
	"safeTransferFrom(address from,address to,uint256 tokenId,bytes data)":                                         nftTransfer,
	"safeTransferFrom(address from,address to,uint256 id,uint256 amount,bytes data)":                               multiTransfer,
	"safeBatchTransferFrom(address from,address to,uint256[] ids,uint256[] amounts,bytes data)":                    multiBatch,
	"permit(address owner,address spender,uint256 value,uint256 deadline,uint8 v,bytes32 r,bytes32 s)":             tokenPermit,
	"permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed,uint8 v,bytes32 r,bytes32 s)": daiPermit,
})

var tokensBySelector = bySelector(tokens)

const (
	methodTransfer = "transfer(address,uint256)"
	methodApprove  = "approve(address,uint256)"
)

var (
	selectorTransfer = tokens[methodTransfer].selector
	selectorApprove  = tokens[methodApprove].selector
)

// ambiguous are methods of tokens that contracts of other kinds have as well, with
// another meaning. Where the policy declares one for a contract, it is read as any
// declared method is.
var ambiguous = map[string]bool{"deposit()": true, "withdraw(uint256)": true}

// methodOf finds the method of a contract: the built-in ones, and those that the
// policy declares. A token's method means what it means whatever is declared; a
// declaration then only names its arguments.
func (r *reader) methodOf(to Address, selector [4]byte) (*method, meaning, error) {
	exact, general, err := r.declared(to, selector)
	if err != nil {
		return nil, nil, err
	}
	m := exact
	if m == nil {
		m = general
	}
	known := tokensBySelector[selector]
	if p := permit2BySelector[selector]; p != nil && to == Permit2 {
		known = p
	}
	switch {
	case exact != nil && known != nil && ambiguous[known.name]:
		return exact, nil, nil
	case known != nil && m != nil && m.name != known.name:
		return nil, nil, fmt.Errorf("method %s is declared, and has the selector of %s", m.name, known.name)
	case known != nil && m == nil:
		return known.method, known.means, nil
	case known != nil:
		return m, known.means, nil
	}
	if w := wrappersBySelector[selector]; w != nil {
		if exact == nil || exact.name != w.name {
			return nil, nil, fmt.Errorf("method %s makes other calls: it is understood only of contracts that the policy declares it for", w.name)
		}
		return exact, func(r *reader, f *frame, v *abiValue) error { return within(r, f, w.name, v) }, nil
	}
	if m == nil {
		return nil, nil, fmt.Errorf("method %#x is not built in, and the policy does not declare it for this contract", selector[:])
	}
	return m, nil, nil
}

// declared finds the declaration for this contract and that for every contract.
// Two of one selector, which are two methods, would leave open which is meant.
func (r *reader) declared(to Address, selector [4]byte) (exact, general *method, err error) {
	account := r.account(to)
	for i := range r.methods {
		d := &r.methods[i]
		if d.Contract != "" && d.Contract != account || strings.HasPrefix(d.Signature, messagePrefix) {
			continue
		}
		m, err := parseMethod(d.Signature)
		if err != nil {
			return nil, nil, err
		}
		if m.selector != selector {
			continue
		}
		into := &general
		if d.Contract != "" {
			into = &exact
		}
		if *into != nil {
			return nil, nil, fmt.Errorf("methods %s and %s are both declared, and have one selector", (*into).name, m.name)
		}
		*into = m
	}
	return exact, general, nil
}

func tokenTransfer(r *reader, f *frame, v *abiValue) error {
	r.transfer(f.from, v.items[0].address(), TokenAsset(r.chain, f.to), v.items[1].uint())
	return nil
}

func tokenTransferFrom(r *reader, f *frame, v *abiValue) error {
	r.transfer(v.items[0].address(), v.items[1].address(), TokenAsset(r.chain, f.to), v.items[2].uint())
	return nil
}

// tokenApprove is approve and increaseAllowance: what is given either way is the
// amount, and the sum of all that is given bounds what can be taken.
func tokenApprove(r *reader, f *frame, v *abiValue) error {
	r.approval(f.from, v.items[0].address(), TokenAsset(r.chain, f.to), v.items[1].uint())
	return nil
}

func tokenDecrease(r *reader, f *frame, v *abiValue) error {
	r.approval(f.from, v.items[0].address(), TokenAsset(r.chain, f.to), chain.Amount{})
	return nil
}

func tokenPermit(r *reader, f *frame, v *abiValue) error {
	r.approval(v.items[0].address(), v.items[1].address(), TokenAsset(r.chain, f.to), v.items[2].uint())
	return nil
}

func daiPermit(r *reader, f *frame, v *abiValue) error {
	r.approval(v.items[0].address(), v.items[1].address(), TokenAsset(r.chain, f.to), all(v.items[4].flag()))
	return nil
}

// all is an allowance without limit, or none.
func all(yes bool) (a chain.Amount) {
	if yes {
		a.SetAllOne()
	}
	return a
}

// wrapCoin is deposit of a token that stands for the chain's coin: the coin that
// is sent comes back as the token.
func wrapCoin(r *reader, f *frame, _ *abiValue) error {
	if f.how != sent {
		return fmt.Errorf("it takes the value of the call that it is part of, which others of that call can take too")
	}
	r.transfer(f.to, f.from, TokenAsset(r.chain, f.to), f.value)
	return nil
}

func unwrapCoin(r *reader, f *frame, v *abiValue) error {
	amount := v.items[0].uint()
	r.transfer(f.from, f.to, TokenAsset(r.chain, f.to), amount)
	r.transfer(f.to, f.from, NativeAsset(r.chain), amount)
	return nil
}

// nftTransfer moves one item of a collection (ERC-721): one of the asset that the
// collection is; which one stands among the arguments.
func nftTransfer(r *reader, f *frame, v *abiValue) error {
	var one chain.Amount
	one.SetOne()
	r.transfer(v.items[0].address(), v.items[1].address(), CollectionAsset(r.chain, f.to), one)
	return nil
}

// nftApproveAll gives away everything that the caller has and will have of a
// collection, ERC-721 or ERC-1155: the call does not say which it is.
func nftApproveAll(r *reader, f *frame, v *abiValue) error {
	r.approval(f.from, v.items[0].address(), CollectionAsset(r.chain, f.to), all(v.items[1].flag()))
	return nil
}

// multiTransfer moves an amount of one of the tokens of an ERC-1155 contract.
func multiTransfer(r *reader, f *frame, v *abiValue) error {
	r.transfer(v.items[0].address(), v.items[1].address(), MultiAsset(r.chain, f.to, v.items[2].uint()), v.items[3].uint())
	return nil
}

func multiBatch(r *reader, f *frame, v *abiValue) error {
	ids, amounts := v.items[2].items, v.items[3].items
	if len(ids) != len(amounts) {
		return fmt.Errorf("%d ids and %d amounts, want as many", len(ids), len(amounts))
	}
	for i := range ids {
		r.transfer(v.items[0].address(), v.items[1].address(), MultiAsset(r.chain, f.to, ids[i].uint()), amounts[i].uint())
	}
	return nil
}
