package evm

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
)

// mail is the example of EIP-712.
const mail = `{
  "types": {
    "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"}, {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
    "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
    "Mail": [{"name": "from", "type": "Person"}, {"name": "to", "type": "Person"}, {"name": "contents", "type": "string"}]
  },
  "primaryType": "Mail",
  "domain": {"name": "Ether Mail", "version": "1", "chainId": 1, "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},
  "message": {
    "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
    "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
    "contents": "Hello, Bob!"
  }
}`

const mailMethod = "message Mail((string name,address wallet) from,(string name,address wallet) to,string contents)"

func typedData(t testing.TB, text string) *TypedData {
	t.Helper()
	m, err := ParseTypedData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEIP712Example: encoded types, hashes, digest and the signature's form, as
// the EIP has them.
func TestEIP712Example(t *testing.T) {
	m := typedData(t, mail)
	if got := m.typeText(m.value.typ); got != "Mail(Person from,Person to,string contents)Person(string name,address wallet)" {
		t.Errorf("encoded type %s", got)
	}
	const want = "1901" + "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f" + "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"
	if got := hex.EncodeToString(m.Unsigned()); got != want {
		t.Errorf("what is signed is\n%s, want\n%s", got, want)
	}
	p, err := Codec{}.Prepare(mainnet, sender(t), m.Encode(), amount(0), m.Unsigned(), []chain.Method{{Signature: mailMethod}})
	if err != nil {
		t.Fatal(err)
	}
	const digest = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
	contract := "eip155:1:0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"
	prepared := &chain.Prepared{
		Canonical: unhex(t, want), Digests: [][32]byte{[32]byte(unhex(t, digest))}, Slots: []string{sender(t) + "/message/" + digest},
		Effects: &chain.Effects{Chain: mainnet, Sender: sender(t), Message: &chain.Message{
			Type: "Mail", Name: "Ether Mail", Version: "1", Contract: contract,
			Fields: []chain.Arg{
				{Path: "from.name", Type: "string", Kind: chain.ArgText, Text: "Cow"},
				{Path: "from.wallet", Type: "address", Kind: chain.ArgAddress, Text: "eip155:1:0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
				{Path: "to.name", Type: "string", Kind: chain.ArgText, Text: "Bob"},
				{Path: "to.wallet", Type: "address", Kind: chain.ArgAddress, Text: "eip155:1:0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
				{Path: "contents", Type: "string", Kind: chain.ArgText, Text: "Hello, Bob!"},
			},
		}},
	}
	if d := cmp.Diff(prepared, p); d != "" {
		t.Fatal(d)
	}
	e, err := Codec{}.Intent(mainnet, sender(t), m.Encode(), amount(9), []chain.Method{{Contract: contract, Signature: mailMethod}})
	if err != nil || cmp.Diff(p.Effects, e) != "" {
		t.Errorf("%v: %s", err, cmp.Diff(p.Effects, e))
	}
	sig := sign(key(), p.Digests[0])
	raw, txid, err := Codec{}.Assemble(sender(t), m.Unsigned(), []chain.Signature{sig})
	if r := sig.Bytes(); err != nil || txid != "" || !bytes.Equal(raw, append(r[:], 27+sig.RecoveryID)) {
		t.Errorf("assembled %x %q, %v", raw, txid, err)
	}
	if _, _, err := (Codec{}).Assemble(mainnet+":"+aliceHex, m.Unsigned(), []chain.Signature{sig}); err == nil || !strings.Contains(err.Error(), "want "+aliceHex) {
		t.Errorf("somebody else's signature: %v", err)
	}
	sig.RecoveryID = 4
	_, _, err = Codec{}.Assemble(sender(t), m.Unsigned(), []chain.Signature{sig})
	wantError(t, err, "couldn't assemble signature", "recovery id 4")
}

// TestTypedDataEncoding pins the bytes of docs/spec/evm.md.
func TestTypedDataEncoding(t *testing.T) {
	text := func(s string) string { return "000000" + hex.EncodeToString(append([]byte{byte(len(s))}, s...)) }
	want := "02" + "0000000000000001" + strings.Repeat("cc", 20) + "01" + text("Ether Mail") + "01" + text("1") +
		"00000002" + text("Mail") + "00000003" + text("from") + text("Person") + text("to") + text("Person") + text("contents") + text("string") +
		text("Person") + "00000002" + text("name") + text("string") + text("wallet") + text("address") +
		text("Cow") + "cd2a3d9f938e13cd947ec05abc7fe734df8dd826" + text("Bob") + strings.Repeat("bb", 20) + text("Hello, Bob!")
	b := typedData(t, mail).Encode()
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("encoding\n%s, want\n%s", got, want)
	}
	for n := range b {
		if _, err := DecodeTypedData(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(b))
		}
	}
	if _, err := DecodeTypedData(append(bytes.Clone(b), 0)); err == nil {
		t.Error("a byte at the end was accepted")
	}
	if !IsMessage(b) || IsMessage(nil) || IsMessage(new(Intent).Encode()) {
		t.Error("a message is told from a transaction by its version")
	}
}

func TestMessageRefuses(t *testing.T) {
	m := typedData(t, mail)
	intent, unsigned := m.Encode(), m.Unsigned()
	methods := []chain.Method{{Signature: mailMethod}}
	prepare := func(chainName string, intent, unsigned []byte) error {
		_, err := Codec{}.Prepare(chainName, strings.Replace(sender(t), mainnet, chainName, 1), intent, amount(0), unsigned, methods)
		return err
	}
	if err := prepare(mainnet, intent, unsigned); err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(unsigned)
	other[65] ^= 1
	_, tx := transfer(t)
	txBytes, err := tx.Encode()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, prepare("eip155:10", intent, unsigned), "the message is for eip155:1, want eip155:10")
	wantError(t, prepare(mainnet, intent, other), "what is to be signed is", "the approved message gives")
	wantError(t, prepare(mainnet, intent, txBytes), "what is to be signed is")
	wantError(t, prepare(mainnet, intent, nil), "what is to be signed is")
	wantError(t, prepare(mainnet, intent[:len(intent)-1], unsigned), "couldn't decode typed data")
	wantError(t, prepare(mainnet, NewTransfer(Address{1}, amount(1)).Encode(), unsigned), "couldn't decode unsigned transaction")
	for _, bad := range []string{"eip155:10", "x"} {
		_, err := Codec{}.Intent(bad, strings.Replace(sender(t), mainnet, bad, 1), intent, amount(0), methods)
		if err == nil {
			t.Errorf("a message on %s was read", bad)
		}
	}
	_, err = Codec{}.Intent(mainnet, sender(t), intent[:9], amount(0), methods)
	wantError(t, err, "couldn't decode typed data")
}

// TestMessageMeanings: known messages allow what they say; others are declared or
// undecoded.
func TestMessageMeanings(t *testing.T) {
	me := strings.TrimPrefix(sender(t), mainnet+":")
	tokens := `"TokenPermissions": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}]`
	details := `"PermitDetails": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint160"}, {"name": "expiration", "type": "uint48"}, {"name": "nonce", "type": "uint48"}]`
	list := func(types string) string {
		var out []string
		for _, f := range strings.Split(types, ",") {
			typ, name, _ := strings.Cut(f, " ")
			out = append(out, `{"name": "`+name+`", "type": "`+typ+`"}`)
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	permit2612, dai := "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline", "address holder,address spender,uint256 nonce,uint256 expiry,bool allowed"
	auth := "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
	authMessage := `{"from": "` + me + `", "to": "` + bobHex + `", "value": "5", "validAfter": 0, "validBefore": 9, "nonce": "0x` + strings.Repeat("01", 32) + `"}`
	one := `{"token": "` + tokenHex + `", "amount": "5"}`
	single := `{"token": "` + tokenHex + `", "amount": "5", "expiration": 9, "nonce": 0}`
	const unknown = "it is not built in, and the policy does not declare it for this contract"
	p2 := Permit2.String()
	for name, c := range map[string]struct{ primary, types, contract, message, want string }{
		"EIP-2612": {"Permit", `"Permit": ` + list(permit2612), tokenHex, `{"owner": "` + me + `", "spender": "` + bobHex + `", "value": "5", "nonce": 0, "deadline": 9}`, "me lets bob spend 5 erc20:TKN"},
		"EIP-2612 of another": {"Permit", `"Permit": ` + list(permit2612), tokenHex, `{"owner": "` + aliceHex + `", "spender": "` + bobHex + `", "value": "5", "nonce": 0, "deadline": 9}`,
			"alice lets bob spend 5 erc20:TKN\nundecoded: message Permit: it is a permit of alice, want one of the sender, me"},
		"EIP-2612 with another field": {"Permit", `"Permit": ` + list(strings.Replace(permit2612, "nonce", "nonce2", 1)), tokenHex, `{"owner": "` + me + `", "spender": "` + bobHex + `", "value": "5", "nonce2": 0, "deadline": 9}`, "undecoded: message Permit: " + unknown},
		"DAI":                         {"Permit", `"Permit": ` + list(dai), tokenHex, `{"holder": "` + me + `", "spender": "` + bobHex + `", "nonce": 0, "expiry": 9, "allowed": true}`, "me lets bob spend " + huge + " erc20:TKN"},
		"DAI, none":                   {"Permit", `"Permit": ` + list(dai), tokenHex, `{"holder": "` + me + `", "spender": "` + bobHex + `", "nonce": 0, "expiry": 9, "allowed": false}`, "me lets bob spend 0 erc20:TKN"},
		"DAI of another": {"Permit", `"Permit": ` + list(dai), tokenHex, `{"holder": "` + aliceHex + `", "spender": "` + bobHex + `", "nonce": 0, "expiry": 9, "allowed": false}`,
			"alice lets bob spend 0 erc20:TKN\nundecoded: message Permit: it is a permit of alice, want one of the sender, me"},
		"EIP-3009":          {"TransferWithAuthorization", `"TransferWithAuthorization": ` + list(auth), tokenHex, authMessage, "me -> bob: 5 erc20:TKN"},
		"EIP-3009, receive": {"ReceiveWithAuthorization", `"ReceiveWithAuthorization": ` + list(auth), tokenHex, authMessage, "me -> bob: 5 erc20:TKN"},
		"EIP-3009 of another": {"TransferWithAuthorization", `"TransferWithAuthorization": ` + list(auth), tokenHex, strings.Replace(authMessage, me, aliceHex, 1),
			"alice -> bob: 5 erc20:TKN\nundecoded: message TransferWithAuthorization: it is a permit of alice, want one of the sender, me"},
		"PermitSingle":           {"PermitSingle", `"PermitSingle": ` + list("PermitDetails details,address spender,uint256 sigDeadline") + "," + details, p2, `{"details": ` + single + `, "spender": "` + bobHex + `", "sigDeadline": 9}`, "me lets bob spend 5 erc20:TKN"},
		"PermitSingle elsewhere": {"PermitSingle", `"PermitSingle": ` + list("PermitDetails details,address spender,uint256 sigDeadline") + "," + details, tokenHex, `{"details": ` + single + `, "spender": "` + bobHex + `", "sigDeadline": 9}`, "undecoded: message PermitSingle: " + unknown},
		"PermitBatch":            {"PermitBatch", `"PermitBatch": ` + list("PermitDetails[] details,address spender,uint256 sigDeadline") + "," + details, p2, `{"details": [` + single + "," + single + `], "spender": "` + bobHex + `", "sigDeadline": 9}`, "me lets bob spend 5 erc20:TKN\nme lets bob spend 5 erc20:TKN"},
		"PermitTransferFrom":     {"PermitTransferFrom", `"PermitTransferFrom": ` + list("TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline") + "," + tokens, p2, `{"permitted": ` + one + `, "spender": "` + bobHex + `", "nonce": 0, "deadline": 9}`, "me lets bob spend 5 erc20:TKN"},
		"PermitBatchTransferFrom": {"PermitBatchTransferFrom", `"PermitBatchTransferFrom": ` + list("TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline") + "," + tokens, p2, `{"permitted": [` + one + "," + one + `], "spender": "` + bobHex + `", "nonce": 0, "deadline": 9}`,
			"me lets bob spend 5 erc20:TKN\nme lets bob spend 5 erc20:TKN"},
		"PermitWitnessTransferFrom": {"PermitWitnessTransferFrom", `"Order": ` + list("uint8 x") + `, "PermitWitnessTransferFrom": ` + list("TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Order witness") + "," + tokens, p2,
			`{"permitted": ` + one + `, "spender": "` + bobHex + `", "nonce": 0, "deadline": 9, "witness": {"x": 1}}`, "me lets bob spend 5 erc20:TKN"},
		"PermitWitnessTransferFrom with more": {"PermitWitnessTransferFrom", `"PermitWitnessTransferFrom": ` + list("TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,bool witness,bool more") + "," + tokens, p2,
			`{"permitted": ` + one + `, "spender": "` + bobHex + `", "nonce": 0, "deadline": 9, "witness": true, "more": true}`, "undecoded: message PermitWitnessTransferFrom: " + unknown},
		"PermitTransferFrom with other permissions": {"PermitTransferFrom", `"PermitTransferFrom": ` + list("TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline") + "," + strings.Replace(tokens, "amount", "amounts", 1), p2,
			`{"permitted": ` + strings.Replace(one, "amount", "amounts", 1) + `, "spender": "` + bobHex + `", "nonce": 0, "deadline": 9}`, "undecoded: message PermitTransferFrom: " + unknown},
	} {
		t.Run(name, func(t *testing.T) {
			m := typedData(t, `{"types": {`+c.types+`}, "primaryType": "`+c.primary+`", "domain": {"chainId": 1, "verifyingContract": "`+c.contract+`"}, "message": `+c.message+`}`)
			e, err := Codec{}.Intent(mainnet, sender(t), m.Encode(), amount(9), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(e); got != c.want {
				t.Errorf("effects\n%s\nwant\n%s", got, c.want)
			}
			if e.Message == nil || e.Message.Type != c.primary || e.Message.Name != "" || e.Message.Version != "" || len(e.Message.Fields) < 4 || !e.MaxFee.IsZero() || len(e.Calls) > 0 {
				t.Errorf("%+v", e)
			}
			if _, err := chain.DecodeEffects(e.Encode()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeclaredMessages(t *testing.T) {
	m := typedData(t, mail)
	contract := "eip155:1:0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"
	for _, c := range []struct {
		contract, signature string
		good                bool
	}{
		{contract, mailMethod, true}, {"", mailMethod, true},
		{mainnet + ":" + bobHex, mailMethod, false}, {strings.Replace(contract, ":1:", ":10:", 1), mailMethod, false},
		{contract, strings.TrimPrefix(mailMethod, "message "), false}, {contract, strings.Replace(mailMethod, "contents", "content", 1), false},
		{contract, strings.Replace(mailMethod, "string contents", "bytes contents", 1), false}, {contract, "message Mail2" + mailMethod[len("message Mail"):], false},
	} {
		e, err := Codec{}.Intent(mainnet, sender(t), m.Encode(), amount(0), []chain.Method{{Contract: c.contract, Signature: c.signature}})
		if err != nil {
			t.Fatal(err)
		}
		if (e.Undecoded == "") != c.good {
			t.Errorf("%s %s: undecoded %q", c.contract, c.signature, e.Undecoded)
		}
	}
	if err := CheckMethod(&chain.Method{Contract: contract, Signature: mailMethod}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"message Mail(string)", "message Mail((string,address a) b)", "message Mail(uint a)", "message  Mail(bool a)", "message Mail(bool[] a,(bool)[] b)"} {
		if err := CheckMethod(&chain.Method{Signature: bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	// A message's declaration declares no method.
	to := address(t, bobHex)
	data := invoke(t, "f(bool)", true)
	e, err := Codec{}.Intent(mainnet, sender(t), (&Intent{To: &to, Data: data}).Encode(), amount(0), []chain.Method{{Signature: "message f(bool x)"}})
	if err != nil || e.Undecoded == "" {
		t.Errorf("%v, %v", e, err)
	}
}
