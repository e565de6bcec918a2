package evm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

// The signatures as contracts name their parameters.
const (
	sigMulticall      = "multicall(bytes[] data)"
	sigMulticallUntil = "multicall(uint256 deadline,bytes[] data)"
	sigAggregate      = "aggregate3((address target,bool allowFailure,bytes callData)[] calls)"
	sigAggregateValue = "aggregate3Value((address target,bool allowFailure,uint256 value,bytes callData)[] calls)"
	sigExecute        = "execute(address dest,uint256 value,bytes func)"
	sigExecuteBatch   = "executeBatch((address target,uint256 value,bytes data)[] calls)"
	sigExecuteLists   = "executeBatch(address[] dest,uint256[] value,bytes[] func)"
	sigExecuteFree    = "executeBatch(address[] dest,bytes[] func)"
	sigSafe           = "execTransaction(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,uint256 gasPrice,address gasToken,address refundReceiver,bytes signatures)"
	sigMultiSend      = "multiSend(bytes transactions)"
)

// declare declares methods for the contracts wallet and bob.
func declare(signatures ...string) (out []chain.Method) {
	for _, s := range signatures {
		for _, c := range []string{walletHex, bobHex} {
			out = append(out, chain.Method{Contract: mainnet + ":" + c, Signature: s})
		}
	}
	return out
}

// TestTokenMethods: every built-in method of tokens, called by itself.
func TestTokenMethods(t *testing.T) {
	token, alice, bob := address(t, tokenHex), address(t, aliceHex), address(t, bobHex)
	sig := bytes.Repeat([]byte{1}, 32)
	one := bytesText(sig)
	for name, c := range map[string]struct {
		data  []byte
		value uint64
		want  []string
	}{
		"increaseAllowance": {invoke(t, "increaseAllowance(address,uint256)", bob, 5), 0, []string{"me lets bob spend 5 erc20:TKN",
			"0 me calls increaseAllowance(address,uint256) TKN value 0 spender=bob addedValue=5"}},
		"decreaseAllowance": {invoke(t, "decreaseAllowance(address,uint256)", bob, 5), 0, []string{"me lets bob spend 0 erc20:TKN",
			"0 me calls decreaseAllowance(address,uint256) TKN value 0 spender=bob subtractedValue=5"}},
		"deposit": {invoke(t, "deposit()"), 7, []string{"me -> TKN: 7 wei", "TKN -> me: 7 erc20:TKN", "0 me calls deposit() TKN value 7"}},
		"withdraw": {invoke(t, "withdraw(uint256)", 7), 0, []string{"me -> TKN: 7 erc20:TKN", "TKN -> me: 7 wei",
			"0 me calls withdraw(uint256) TKN value 0 amount=7"}},
		"permit": {invoke(t, "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", alice, bob, 5, 99, 27, sig, sig), 0, []string{"alice lets bob spend 5 erc20:TKN",
			"0 me calls permit(address,address,uint256,uint256,uint8,bytes32,bytes32) TKN value 0 owner=alice spender=bob value=5 deadline=99 v=27 r=" + one + " s=" + one}},
		"permit of all": {invoke(t, "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", alice, bob, 1, 99, true, 27, sig, sig), 0, []string{"alice lets bob spend " + huge + " erc20:TKN",
			"0 me calls permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32) TKN value 0 holder=alice spender=bob nonce=1 expiry=99 allowed=1 v=27 r=" + one + " s=" + one}},
		"permit of nothing": {invoke(t, "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", alice, bob, 1, 99, false, 27, sig, sig), 0, []string{"alice lets bob spend 0 erc20:TKN",
			"0 me calls permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32) TKN value 0 holder=alice spender=bob nonce=1 expiry=99 allowed=0 v=27 r=" + one + " s=" + one}},
		"erc-721": {invoke(t, "safeTransferFrom(address,address,uint256)", alice, bob, 77), 0, []string{"alice -> bob: 1 erc721:TKN",
			"0 me calls safeTransferFrom(address,address,uint256) TKN value 0 from=alice to=bob tokenId=77"}},
		"erc-721 with data": {invoke(t, "safeTransferFrom(address,address,uint256,bytes)", alice, bob, 77, []byte{1}), 0, []string{"alice -> bob: 1 erc721:TKN",
			"0 me calls safeTransferFrom(address,address,uint256,bytes) TKN value 0 from=alice to=bob tokenId=77 data=0x01"}},
		"erc-1155": {invoke(t, "safeTransferFrom(address,address,uint256,uint256,bytes)", alice, bob, 77, 3, []byte{}), 0, []string{"alice -> bob: 3 erc1155:TKN/77",
			"0 me calls safeTransferFrom(address,address,uint256,uint256,bytes) TKN value 0 from=alice to=bob id=77 amount=3 data=0x"}},
		"erc-1155 batch": {invoke(t, "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", alice, bob, []any{1, 2}, []any{3, 4}, []byte{}), 0, []string{
			"alice -> bob: 3 erc1155:TKN/1", "alice -> bob: 4 erc1155:TKN/2",
			"0 me calls safeBatchTransferFrom(address,address,uint256[],uint256[],bytes) TKN value 0 from=alice to=bob ids.length=2 ids[0]=1 ids[1]=2 amounts.length=2 amounts[0]=3 amounts[1]=4 data=0x"}},
		"erc-1155 batch without an amount": {invoke(t, "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", alice, bob, []any{1, 2}, []any{3}, []byte{}), 0, []string{
			"0 me calls safeBatchTransferFrom(address,address,uint256[],uint256[],bytes) TKN value 0 from=alice to=bob ids.length=2 ids[0]=1 ids[1]=2 amounts.length=1 amounts[0]=3 data=0x",
			"undecoded: safeBatchTransferFrom(address,address,uint256[],uint256[],bytes): 2 ids and 1 amounts, want as many"}},
		"approval for all": {invoke(t, "setApprovalForAll(address,bool)", bob, true), 0, []string{"me lets bob spend " + huge + " erc721:TKN",
			"0 me calls setApprovalForAll(address,bool) TKN value 0 operator=bob approved=1"}},
		"approval for none": {invoke(t, "setApprovalForAll(address,bool)", bob, false), 0, []string{"me lets bob spend 0 erc721:TKN",
			"0 me calls setApprovalForAll(address,bool) TKN value 0 operator=bob approved=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, &Intent{To: &token, Value: amount(c.value), Data: c.data}, nil, c.want...)
		})
	}
}

// TestPermit2: its methods, at its address and nowhere else.
func TestPermit2(t *testing.T) {
	token, alice, bob, wallet := address(t, tokenHex), address(t, aliceHex), address(t, bobHex), address(t, walletHex)
	details := []any{token, 5, 99, 0}
	for signature, c := range map[string]struct {
		args []any
		want []string
	}{
		"approve(address,address,uint160,uint48)":       {[]any{token, bob, 5, 99}, []string{"me lets bob spend 5 erc20:TKN"}},
		"transferFrom(address,address,uint160,address)": {[]any{alice, bob, 5, token}, []string{"alice -> bob: 5 erc20:TKN"}},
		"permit(address,((address,uint160,uint48,uint48),address,uint256),bytes)": {[]any{alice, []any{details, bob, 9}, []byte{1}},
			[]string{"alice lets bob spend 5 erc20:TKN"}},
		"permit(address,((address,uint160,uint48,uint48)[],address,uint256),bytes)": {[]any{alice, []any{[]any{details, []any{wallet, 6, 99, 0}}, bob, 9}, []byte{1}},
			[]string{"alice lets bob spend 5 erc20:TKN", "alice lets bob spend 6 erc20:wallet"}},
	} {
		data := invoke(t, signature, c.args...)
		e, err := Codec{}.Intent(mainnet, sender(t), (&Intent{To: &Permit2, Data: data}).Encode(), amount(9), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := brief(e); !strings.HasPrefix(got, strings.Join(c.want, "\n")+"\n0 me calls "+signature+" PERMIT2 value 0 ") || e.Undecoded != "" {
			t.Errorf("%s: %s", signature, got)
		}
		e, err = Codec{}.Intent(mainnet, sender(t), (&Intent{To: &token, Data: data}).Encode(), amount(9), nil)
		if err != nil || !strings.Contains(e.Undecoded, "is not built in") || len(e.Approvals)+len(e.Transfers) > 0 {
			t.Errorf("%s elsewhere: %v, %v", signature, e, err)
		}
	}
}

// TestDeclaredMethods: what the policy declares is decoded, at the contract that
// it is declared for.
func TestDeclaredMethods(t *testing.T) {
	token, wallet, bob := address(t, tokenHex), address(t, walletHex), address(t, bobHex)
	const swap = "swap(address token,(uint256 least,address[] path) params)"
	data := invoke(t, swap, token, []any{9, []any{token, bob}})
	read := "swap(address,(uint256,address[])) wallet value 0"
	named := "0 me calls " + read + " token=TKN params.least=9 params.path.length=2 params.path[0]=TKN params.path[1]=bob"
	bySelector := func(data []byte) string { return "method 0x" + hexText(data[:4]) }
	unknown := []string{"0 me calls 0x" + hexText(data[:4]) + " wallet value 0", "undecoded: " + bySelector(data) + " is not built in, and the policy does not declare it for this contract"}
	transfer := invoke(t, "transfer(address,uint256)", bob, 5)
	for name, c := range map[string]struct {
		data    []byte
		methods []chain.Method
		want    []string
	}{
		"for the contract":         {data, declare(swap), []string{named}},
		"for every one":            {data, []chain.Method{{Signature: swap}}, []string{named}},
		"the contract's names win": {data, append([]chain.Method{{Signature: "swap(address,(uint256,address[]))"}}, declare(swap)...), []string{named}},
		"without names": {data, []chain.Method{{Signature: "swap(address,(uint256,address[]))"}},
			[]string{"0 me calls " + read + " 0=TKN 1.0=9 1.1.length=2 1.1[0]=TKN 1.1[1]=bob"}},
		"not at all":           {data, nil, unknown},
		"for another contract": {data, []chain.Method{{Contract: mainnet + ":" + tokenHex, Signature: swap}}, unknown},
		"for another chain":    {data, []chain.Method{{Contract: "eip155:10:" + walletHex, Signature: swap}}, unknown},
		"broken":               {data, []chain.Method{{Signature: "swap(uint)"}}, []string{unknown[0], `undecoded: method "swap(uint)": type "uint": want one of address, bool, uint8 to uint256, int8 to int256, bytes1 to bytes32, bytes, string or a tuple in parentheses`}},
		"a token's method keeps its meaning": {transfer, declare("transfer(address dst,uint256 wad)"), []string{"me -> bob: 5 erc20:wallet",
			"0 me calls transfer(address,uint256) wallet value 0 dst=bob wad=5"}},
		"deposit declared is what the policy says": {invoke(t, "deposit()"), declare("deposit()"), []string{"0 me calls deposit() wallet value 0"}},
		"withdraw declared too":                    {invoke(t, "withdraw(uint256)", 5), declare("withdraw(uint256 shares)"), []string{"0 me calls withdraw(uint256) wallet value 0 shares=5"}},
		"withdraw declared for all keeps its meaning": {invoke(t, "withdraw(uint256)", 5), []chain.Method{{Signature: "withdraw(uint256 wad)"}}, []string{
			"me -> wallet: 5 erc20:wallet", "wallet -> me: 5 wei", "0 me calls withdraw(uint256) wallet value 0 wad=5"}},
		"two of one selector": {invoke(t, "burn(uint256)", 5), declare("burn(uint256)", "collate_propagate_storage(bytes16)"),
			[]string{"0 me calls 0x42966c68 wallet value 0", "undecoded: methods burn(uint256) and collate_propagate_storage(bytes16) are both declared, and have one selector"}},
		"one twice": {invoke(t, "burn(uint256)", 5), declare("burn(uint256)", "burn(uint256 x)"),
			[]string{"0 me calls 0x42966c68 wallet value 0", "undecoded: methods burn(uint256) and burn(uint256) are both declared, and have one selector"}},
		"a token's selector under another name": {transfer, declare("many_msg_babbage(bytes1)"),
			[]string{"0 me calls 0xa9059cbb wallet value 0", "undecoded: method many_msg_babbage(bytes1) is declared, and has the selector of transfer(address,uint256)"}},
		"more than 256 values": {invoke(t, "f(uint8[])", make257()), []chain.Method{{Signature: "f(uint8[])"}},
			[]string{"0 me calls f(uint8[]) wallet value 0", "undecoded: f(uint8[]): 258 values, at most 256"}},
	} {
		t.Run(name, func(t *testing.T) { check(t, &Intent{To: &wallet, Data: c.data}, c.methods, c.want...) })
	}
	long := "f(" + strings.Repeat("(", 7) + "bool " + strings.Repeat("a", 64)
	for range 7 {
		long += ") " + strings.Repeat("b", 64)
	}
	in := &Intent{To: &wallet, Data: invoke(t, long+")", []any{[]any{[]any{[]any{[]any{[]any{[]any{true}}}}}}})}
	check(t, in, declare(long+")"), "0 me calls f((((((((bool)))))))) wallet value 0", "undecoded: f((((((((bool)))))))): an argument's path of 519 bytes, at most 256")
}

func hexText(b []byte) string { return strings.TrimPrefix(bytesText(b), "0x") }

func make257() []any {
	out := make([]any, 257)
	for i := range out {
		out[i] = 0
	}
	return out
}

// TestNestedCalls: whoever makes a call is its caller; what a wrapper makes its
// sender pay and what it pays itself is told apart.
func TestNestedCalls(t *testing.T) {
	token, alice, bob, wallet := address(t, tokenHex), address(t, aliceHex), address(t, bobHex), address(t, walletHex)
	give := NewERC20Transfer(token, alice, amount(5)).Data
	let := NewERC20Approve(token, bob, amount(8)).Data
	calls := func(data ...[]byte) (out []any) {
		for _, d := range data {
			out = append(out, d)
		}
		return out
	}
	execute := invoke(t, sigExecute, token, 0, give)
	for name, c := range map[string]struct {
		declared string
		data     []byte
		value    uint64
		want     []string
	}{
		"multicall: the sender is the caller": {sigMulticall, invoke(t, sigMulticall, calls(give, let)), 0, []string{
			"me -> alice: 5 erc20:wallet", "me lets bob spend 8 erc20:wallet",
			"0 me calls multicall(bytes[]) wallet value 0 data.length=2 data[0]=" + bytesText(give) + " data[1]=" + bytesText(let),
			"1 me calls transfer(address,uint256) wallet value 0 to=alice amount=5",
			"1 me calls approve(address,uint256) wallet value 0 spender=bob amount=8",
		}},
		"multicall: the value is sent once": {sigMulticallUntil, invoke(t, sigMulticallUntil, 9, calls(give)), 3, []string{
			"me -> wallet: 3 wei", "me -> alice: 5 erc20:wallet",
			"0 me calls multicall(uint256,bytes[]) wallet value 3 deadline=9 data.length=1 data[0]=" + bytesText(give),
			"1 me calls transfer(address,uint256) wallet value 0 to=alice amount=5",
		}},
		"multicall: deposit would be counted twice": {sigMulticall, invoke(t, sigMulticall, calls(invoke(t, "deposit()"))), 3, []string{
			"me -> wallet: 3 wei", "0 me calls multicall(bytes[]) wallet value 3 data.length=1 data[0]=0xd0e30db0", "1 me calls deposit() wallet value 0",
			"undecoded: deposit(): it takes the value of the call that it is part of, which others of that call can take too",
		}},
		"multicall: of nothing": {sigMulticall, invoke(t, sigMulticall, calls([]byte{})), 0, []string{
			"0 me calls multicall(bytes[]) wallet value 0 data.length=1 data[0]=0x", "1 me calls 0x wallet value 0", "undecoded: data of 0 bytes is too short for a method",
		}},
		"aggregate3: the contract is the caller": {sigAggregate, invoke(t, sigAggregate, []any{[]any{token, true, give}, []any{alice, false, []byte{}}}), 0, []string{
			"wallet -> alice: 5 erc20:TKN", "wallet -> alice: 0 wei",
			"0 me calls aggregate3((address,bool,bytes)[]) wallet value 0 calls.length=2 calls[0].target=TKN calls[0].allowFailure=1 calls[0].callData=" + bytesText(give) + " calls[1].target=alice calls[1].allowFailure=0 calls[1].callData=0x",
			"1 wallet calls transfer(address,uint256) TKN value 0 to=alice amount=5",
		}},
		"aggregate3Value: the contract pays": {sigAggregateValue, invoke(t, sigAggregateValue, []any{[]any{alice, false, 2, []byte{}}}), 2, []string{
			"me -> wallet: 2 wei", "wallet -> alice: 2 wei",
			"0 me calls aggregate3Value((address,bool,uint256,bytes)[]) wallet value 2 calls.length=1 calls[0].target=alice calls[0].allowFailure=0 calls[0].value=2 calls[0].callData=0x",
		}},
		"execute": {sigExecute, invoke(t, sigExecute, token, 3, let), 0, []string{
			"wallet -> TKN: 3 wei", "wallet lets bob spend 8 erc20:TKN",
			"0 me calls execute(address,uint256,bytes) wallet value 0 dest=TKN value=3 func=" + bytesText(let),
			"1 wallet calls approve(address,uint256) TKN value 3 spender=bob amount=8",
		}},
		"execute within execute": {sigExecute, invoke(t, sigExecute, bob, 0, execute), 0, []string{
			"bob -> alice: 5 erc20:TKN",
			"0 me calls execute(address,uint256,bytes) wallet value 0 dest=bob value=0 func=" + bytesText(execute),
			"1 wallet calls execute(address,uint256,bytes) bob value 0 dest=TKN value=0 func=" + bytesText(give),
			"2 bob calls transfer(address,uint256) TKN value 0 to=alice amount=5",
		}},
		"executeBatch": {sigExecuteBatch, invoke(t, sigExecuteBatch, []any{[]any{alice, 2, []byte{}}}), 0, []string{
			"wallet -> alice: 2 wei", "0 me calls executeBatch((address,uint256,bytes)[]) wallet value 0 calls.length=1 calls[0].target=alice calls[0].value=2 calls[0].data=0x",
		}},
		"executeBatch of lists": {sigExecuteLists, invoke(t, sigExecuteLists, []any{alice, token}, []any{2, 0}, calls([]byte{}, give)), 0, []string{
			"wallet -> alice: 2 wei", "wallet -> alice: 5 erc20:TKN",
			"0 me calls executeBatch(address[],uint256[],bytes[]) wallet value 0 dest.length=2 dest[0]=alice dest[1]=TKN value.length=2 value[0]=2 value[1]=0 func.length=2 func[0]=0x func[1]=" + bytesText(give),
			"1 wallet calls transfer(address,uint256) TKN value 0 to=alice amount=5",
		}},
		"executeBatch without values": {sigExecuteLists, invoke(t, sigExecuteLists, []any{alice}, []any{}, calls([]byte{})), 0, []string{
			"wallet -> alice: 0 wei", "0 me calls executeBatch(address[],uint256[],bytes[]) wallet value 0 dest.length=1 dest[0]=alice value.length=0 func.length=1 func[0]=0x",
		}},
		"executeBatch of two lists": {sigExecuteFree, invoke(t, sigExecuteFree, []any{alice}, calls([]byte{})), 0, []string{
			"wallet -> alice: 0 wei", "0 me calls executeBatch(address[],bytes[]) wallet value 0 dest.length=1 dest[0]=alice func.length=1 func[0]=0x",
		}},
		"executeBatch with a value too few": {sigExecuteLists, invoke(t, sigExecuteLists, []any{alice, bob}, []any{2}, calls([]byte{}, []byte{})), 0, []string{
			"0 me calls executeBatch(address[],uint256[],bytes[]) wallet value 0 dest.length=2 dest[0]=alice dest[1]=bob value.length=1 value[0]=2 func.length=2 func[0]=0x func[1]=0x",
			"undecoded: executeBatch(address[],uint256[],bytes[]): 2 targets, 1 values and 2 calls, want as many of each",
		}},
		"executeBatch with a call too few": {sigExecuteFree, invoke(t, sigExecuteFree, []any{alice, bob}, calls([]byte{})), 0, []string{
			"0 me calls executeBatch(address[],bytes[]) wallet value 0 dest.length=2 dest[0]=alice dest[1]=bob func.length=1 func[0]=0x",
			"undecoded: executeBatch(address[],bytes[]): 2 targets, 0 values and 1 calls, want as many of each",
		}},
		"an inner call that is not understood": {sigExecuteBatch, invoke(t, sigExecuteBatch, []any{[]any{bob, 0, []byte{1, 2, 3, 4}}, []any{token, 0, give}}), 0, []string{
			"wallet -> alice: 5 erc20:TKN",
			"0 me calls executeBatch((address,uint256,bytes)[]) wallet value 0 calls.length=2 calls[0].target=bob calls[0].value=0 calls[0].data=0x01020304 calls[1].target=TKN calls[1].value=0 calls[1].data=" + bytesText(give),
			"1 wallet calls 0x01020304 bob value 0", "1 wallet calls transfer(address,uint256) TKN value 0 to=alice amount=5",
			"undecoded: method 0x01020304 is not built in, and the policy does not declare it for this contract",
		}},
		"a wrapper that is not declared": {sigMulticall, invoke(t, sigExecute, token, 0, give), 0, []string{
			"0 me calls 0xb61d27f6 wallet value 0",
			"undecoded: method execute(address,uint256,bytes) makes other calls: it is understood only of contracts that the policy declares it for",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, &Intent{To: &wallet, Value: amount(c.value), Data: c.data}, declare(c.declared), c.want...)
		})
	}
	t.Run("declared for all contracts", func(t *testing.T) {
		check(t, &Intent{To: &wallet, Data: execute}, []chain.Method{{Signature: sigExecute}}, "0 me calls 0xb61d27f6 wallet value 0",
			"undecoded: method execute(address,uint256,bytes) makes other calls: it is understood only of contracts that the policy declares it for")
	})
}

func packed(operation byte, to Address, value uint64, data []byte) []byte {
	v, n := amount(value), amount(uint64(len(data)))
	vb, nb := v.Bytes32(), n.Bytes32()
	return bytes.Join([][]byte{{operation}, to[:], vb[:], nb[:], data}, nil)
}

// TestSafe: a Safe's transaction, one call or many.
func TestSafe(t *testing.T) {
	token, alice, bob, wallet, none := address(t, tokenHex), address(t, aliceHex), address(t, bobHex), address(t, walletHex), Address{}
	give := NewERC20Transfer(token, alice, amount(5)).Data
	exec := func(to Address, value int, data []byte, operation, gasPrice int) []byte {
		return invoke(t, sigSafe, to, value, data, operation, 0, 0, gasPrice, none, none, []byte{})
	}
	outer := func(to string, value int, data []byte, operation, gasPrice int) string {
		return "0 me calls " + methodSafe + " wallet value 0 to=" + to + " value=" + itoa(value) + " data=" + bytesText(data) + " operation=" + itoa(operation) +
			" safeTxGas=0 baseGas=0 gasPrice=" + itoa(gasPrice) + " gasToken=nobody refundReceiver=nobody signatures=0x"
	}
	many := func(b []byte) []byte { return invoke(t, sigMultiSend, b) }
	two := many(append(packed(0, alice, 2, nil), packed(0, token, 0, give)...))
	sent := func(b []byte) string {
		return "1 wallet calls multiSend(bytes) bob value 0 transactions=" + bytesText(b[68:68+int(b[67])+int(b[66])*256])
	}
	broken := func(b []byte, reason string) []string {
		return []string{outer("bob", 0, many(b), 1, 0), sent(many(b)), "undecoded: multiSend(bytes): " + reason}
	}
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"call": {exec(token, 3, give, 0, 0), []string{"wallet -> TKN: 3 wei", "wallet -> alice: 5 erc20:TKN", outer("TKN", 3, give, 0, 0),
			"1 wallet calls transfer(address,uint256) TKN value 3 to=alice amount=5"}},
		"many": {exec(bob, 0, two, 1, 0), []string{"wallet -> alice: 2 wei", "wallet -> alice: 5 erc20:TKN", outer("bob", 0, two, 1, 0), sent(two),
			"2 wallet calls transfer(address,uint256) TKN value 0 to=alice amount=5"}},
		"many, called and not run":  {exec(bob, 0, two, 0, 0), []string{outer("bob", 0, two, 0, 0), sent(two), "undecoded: multiSend(bytes): it is called, want a Safe that runs it"}},
		"foreign code":              {exec(token, 0, give, 1, 0), []string{outer("TKN", 0, give, 1, 0), "1 wallet calls transfer(address,uint256) TKN value 0", "undecoded: transfer(address,uint256) runs as code of the Safe, want multiSend(bytes)"}},
		"foreign code of no method": {exec(token, 0, nil, 1, 0), []string{outer("TKN", 0, nil, 1, 0), "1 wallet calls 0x TKN value 0", "undecoded: data of 0 bytes is too short for a method"}},
		"multiSend that is not declared": {exec(alice, 0, two, 1, 0), []string{outer("alice", 0, two, 1, 0), "1 wallet calls 0x8d80ff0a alice value 0",
			"undecoded: method multiSend(bytes) makes other calls: it is understood only of contracts that the policy declares it for"}},
		"a refund":                {exec(token, 0, give, 0, 1), []string{outer("TKN", 0, give, 0, 1), "undecoded: " + methodSafe + ": the Safe pays a refund, at a gasPrice of 1, want 0"}},
		"value with foreign code": {exec(bob, 1, two, 1, 0), []string{outer("bob", 1, two, 1, 0), "undecoded: " + methodSafe + ": operation 1 with value 1, want 0, or 1 without value"}},
		"operation 2":             {exec(bob, 0, two, 2, 0), []string{outer("bob", 0, two, 2, 0), "undecoded: " + methodSafe + ": operation 2 with value 0, want 0, or 1 without value"}},
		"many, foreign code":      {exec(bob, 0, many(packed(1, token, 0, nil)), 1, 0), broken(packed(1, token, 0, nil), "operation 1 to TKN, want operation 0 and a recipient")},
		"many, no recipient":      {exec(bob, 0, many(packed(0, none, 0, nil)), 1, 0), broken(packed(0, none, 0, nil), "operation 0 to 0x0000000000000000000000000000000000000000, want operation 0 and a recipient")},
		"many, a byte too few":    {exec(bob, 0, many(packed(0, token, 0, nil)[:84]), 1, 0), broken(packed(0, token, 0, nil)[:84], "84 bytes at the end, want another transaction of at least 85")},
		"many, data too short":    {exec(bob, 0, many(packed(0, token, 0, give)[:100]), 1, 0), broken(packed(0, token, 0, give)[:100], "68 bytes of data in the last 15")},
		"many, a length beyond":   {exec(bob, 0, many(append(packed(0, token, 0, nil)[:53], bytes.Repeat([]byte{0xff}, 32)...)), 1, 0), broken(append(packed(0, token, 0, nil)[:53], bytes.Repeat([]byte{0xff}, 32)...), "argument transactions: a length of 0x"+strings.Repeat("f", 64)+", at most 131072")},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.want {
				c.want[i] = strings.ReplaceAll(c.want[i], none.String(), "nobody")
				if len(c.want[i]) > 256+11 && strings.HasPrefix(c.want[i], "undecoded") {
					c.want[i] = c.want[i][:len("undecoded: ")+253] + "..."
				}
			}
			check(t, &Intent{To: &wallet, Data: c.data}, declare(sigSafe, sigMultiSend), c.want...)
		})
	}
}

// TestReason: whatever a reason holds, effects with it have an encoding.
func TestReason(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "a\n\x1b\u20ac": "a?????",
		strings.Repeat("x", 256): strings.Repeat("x", 256), strings.Repeat("x", 257): strings.Repeat("x", 253) + "...",
	} {
		if got := reason(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func itoa(n int) string { return amountText(uint64(n)) }

func amountText(n uint64) string { a := amount(n); return a.Dec() }

// TestNestedBounds: depth, calls, transfers, approvals, values. Each is a reason,
// never effects that have no encoding.
func TestNestedBounds(t *testing.T) {
	token, alice, wallet := address(t, tokenHex), address(t, aliceHex), address(t, walletHex)
	methods := declare(sigExecute, sigExecuteBatch, sigExecuteLists, sigSafe, sigMultiSend, sigMulticall, "f(uint8[] x)")
	undecoded := func(data []byte) string {
		t.Helper()
		in := &Intent{To: &wallet, Data: data}
		checkEffects(t, in, methods)
		e, err := Codec{}.Intent(mainnet, sender(t), in.Encode(), amount(9), methods)
		if err != nil {
			t.Fatal(err)
		}
		return e.Undecoded
	}
	repeat := func(n int, to Address, data []byte) []byte {
		var calls []any
		for range n {
			calls = append(calls, []any{to, 0, data})
		}
		return invoke(t, sigExecuteBatch, calls)
	}
	nested := func(n int) []byte {
		data := invoke(t, "transfer(address,uint256)", alice, 1)
		for range n {
			data = invoke(t, sigMulticall, []any{data})
		}
		return data
	}
	// deep is a call at depth 9, whose parent is of a certain kind and makes another
	// call after it.
	deep := func(last string) []byte {
		give := invoke(t, "transfer(address,uint256)", alice, 1)
		data := invoke(t, sigExecuteBatch, []any{[]any{token, 0, give}})
		n := 8
		switch last {
		case sigExecuteLists:
			data = invoke(t, sigExecuteLists, []any{token, token}, []any{}, []any{give, give})
		case sigMultiSend:
			many := invoke(t, sigMultiSend, append(packed(0, token, 0, give), packed(0, token, 0, give)...))
			data, n = invoke(t, sigSafe, wallet, 0, many, 1, 0, 0, 0, Address{}, Address{}, []byte{}), 7
		}
		for range n {
			data = invoke(t, sigExecute, wallet, 0, data)
		}
		return data
	}
	lots := func(n int) []byte { return invoke(t, "f(uint8[])", make257()[:n]) }
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"depth 8":            {nested(8), ""},
		"depth 9":            {nested(9), "multicall(bytes[]): calls within calls deeper than 8"},
		"depth 9 by lists":   {deep(sigExecuteLists), methodExecuteLists + ": calls within calls deeper than 8"},
		"depth 9 by a batch": {deep(sigExecuteBatch), methodExecuteBatch + ": calls within calls deeper than 8"},
		"depth 9 by a Safe":  {deep(sigMultiSend), "multiSend(bytes): calls within calls deeper than 8"},
		"63 calls":           {repeat(63, token, invoke(t, "deposit()")), ""},
		"64 calls":           {repeat(64, token, invoke(t, "deposit()")), "more than 64 calls"},
		"64 transfers":       {repeat(64, alice, nil), ""},
		"65 transfers":       {repeat(65, alice, nil), "more than 64 transfers"},
		"65 approvals":       {repeat(2, Permit2, permits(t, 33)), "more than 64 approvals"},
		"64 approvals":       {repeat(2, Permit2, permits(t, 32)), ""},
		"512 values":         {invoke(t, sigMulticall, []any{lots(255), lots(252)}), ""},
		"513 values":         {invoke(t, sigMulticall, []any{lots(255), lots(253)}), "f(uint8[]): 513 values in all calls, at most 512"},
	} {
		if got := undecoded(c.data); got != c.want {
			t.Errorf("%s: undecoded is %q, want %q", name, got, c.want)
		}
	}
}

// permits is a Permit2 permit of n tokens, which has 4n+5 values.
func permits(t *testing.T, n int) []byte {
	var details []any
	for range n {
		details = append(details, []any{address(t, tokenHex), 1, 2, 3})
	}
	return invoke(t, "permit(address,((address,uint160,uint48,uint48)[],address,uint256),bytes)", address(t, aliceHex), []any{details, address(t, bobHex), 9}, []byte{})
}

// FuzzCalls: whatever the data is, effects have an encoding, and what was read is
// the one encoding of what it was read as.
func FuzzCalls(f *testing.F) {
	token, alice, bob := address(f, tokenHex), address(f, aliceHex), address(f, bobHex)
	give := NewERC20Transfer(token, alice, amount(5)).Data
	signatures := []string{sigMulticall, sigMulticallUntil, sigAggregate, sigAggregateValue, sigExecute, sigExecuteBatch, sigExecuteLists, sigExecuteFree, sigSafe, sigMultiSend, everything}
	m, v := everyValue(f)
	for _, b := range [][]byte{
		give, append(m.selector[:], encode(v)...), invoke(f, sigExecute, bob, 1, give), invoke(f, sigMulticall, []any{give, give}),
		invoke(f, sigAggregate, []any{[]any{token, true, give}}), invoke(f, sigExecuteLists, []any{alice}, []any{2}, []any{[]byte{}}),
		invoke(f, sigSafe, bob, 0, invoke(f, sigMultiSend, packed(0, token, 0, give)), 1, 0, 0, 0, Address{}, Address{}, []byte{}),
	} {
		f.Add(b)
	}
	methods := declare(signatures...)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > MaxData {
			return
		}
		in := &Intent{To: &bob, Data: data}
		checkEffects(t, in, methods)
		for _, s := range signatures {
			m, err := parseMethod(s)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) < 4 || [4]byte(data) != m.selector {
				continue
			}
			if v, err := decodeABI(m.params, data[4:]); err == nil && !bytes.Equal(encode(v), data[4:]) {
				t.Fatalf("%x is read as %s, and is another encoding of %x", data, s, encode(v))
			}
		}
	})
}
