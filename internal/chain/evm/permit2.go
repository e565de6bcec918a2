package evm

// Permit2 is the contract of that name: it has this address on every chain,
// because its address follows from its code. Whoever a token's owner lets spend
// through it takes the token, not a token of Permit2.
var Permit2 = Address{0x00, 0x00, 0x00, 0x00, 0x00, 0x22, 0xd4, 0x73, 0x03, 0x0f, 0x11, 0x6d, 0xde, 0xe9, 0xf6, 0xb4, 0x3a, 0xc7, 0x8b, 0xa3}

// permit2 are its methods that are understood, at its address only.
var permit2BySelector = bySelector(table(map[string]meaning{
	"approve(address token,address spender,uint160 amount,uint48 expiration)":                                                                                         permit2Approve,
	"transferFrom(address from,address to,uint160 amount,address token)":                                                                                              permit2Transfer,
	"permit(address owner,((address token,uint160 amount,uint48 expiration,uint48 nonce) details,address spender,uint256 sigDeadline) permitSingle,bytes signature)":  permit2Single,
	"permit(address owner,((address token,uint160 amount,uint48 expiration,uint48 nonce)[] details,address spender,uint256 sigDeadline) permitBatch,bytes signature)": permit2Batch,
}))

func permit2Approve(r *reader, f *frame, v *abiValue) error {
	r.approval(f.from, v.items[1].address(), TokenAsset(r.chain, v.items[0].address()), v.items[2].uint())
	return nil
}

func permit2Transfer(r *reader, _ *frame, v *abiValue) error {
	r.transfer(v.items[0].address(), v.items[1].address(), TokenAsset(r.chain, v.items[3].address()), v.items[2].uint())
	return nil
}

func permit2Single(r *reader, _ *frame, v *abiValue) error {
	permit := &v.items[1]
	r.permitted(&v.items[0], &permit.items[1], &permit.items[0])
	return nil
}

func permit2Batch(r *reader, _ *frame, v *abiValue) error {
	permit := &v.items[1]
	for i := range permit.items[0].items {
		r.permitted(&v.items[0], &permit.items[1], &permit.items[0].items[i])
	}
	return nil
}

// permitted adds what one PermitDetails allows.
func (r *reader) permitted(owner, spender, details *abiValue) {
	r.approval(owner.address(), spender.address(), TokenAsset(r.chain, details.items[0].address()), details.items[1].uint())
}
