package evm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// A message is signed and not sent: the signature itself is what has an effect,
// whenever somebody shows it to the contract.

// messagePrefix stands before the type of a message that a policy declares,
// "message Order(address maker,uint256 amount)": its components with their names,
// structs written as tuples.
const messagePrefix = "message "

// IsMessage says that an intent is of a message, and not of a transaction.
func IsMessage(intent []byte) bool { return len(intent) > 0 && intent[0] == messageVersion }

// messageEffects says what the signature of a message allows.
func messageEffects(name string, sender Address, m *TypedData, methods []chain.Method) (*chain.Effects, error) {
	if got := ChainName(m.ChainID); got != name {
		return nil, fmt.Errorf("the message is for %s, want %s", got, name)
	}
	e := &chain.Effects{Chain: name, Sender: Account(name, sender)}
	r := &reader{chain: name, e: e, methods: methods}
	e.Message = &chain.Message{
		Type: m.Primary(), Name: domainText(m.Name), Version: domainText(m.Version), Contract: Account(name, m.Contract),
	}
	fields, err := r.argsOf(&m.value)
	if err != nil {
		r.fail("message %s: %v", m.Primary(), err)
		return e, nil
	}
	e.Message.Fields = fields
	if err := r.understand(sender, m); err != nil {
		r.fail("message %s: %v", m.Primary(), err)
	}
	return e, nil
}

func domainText(s *string) string {
	if s == nil {
		return ""
	}
	_, text := stringText([]byte(*s))
	return text
}

// understand adds what a message of a known type allows; any other must be
// declared.
func (r *reader) understand(sender Address, m *TypedData) error {
	text := m.typeText(m.value.typ)
	if means := tokenMessages[text]; means != nil {
		return means(r, sender, m)
	}
	if m.Contract == Permit2 {
		if means := permit2Message(m, text); means != nil {
			return means(r, sender, m)
		}
	}
	want := m.Primary() + m.value.typ.text(true)
	for _, d := range r.methods {
		if declared, ok := strings.CutPrefix(d.Signature, messagePrefix); ok && declared == want && (d.Contract == "" || d.Contract == r.e.Message.Contract) {
			return nil
		}
	}
	return errors.New("it is not built in, and the policy does not declare it for this contract")
}

// checkMessage checks a message that a policy declares.
func checkMessage(signature string) error {
	m, err := parseMethod(signature)
	if err != nil {
		return err
	}
	if want := m.name[:strings.IndexByte(m.name, '(')] + m.params.text(true); want != signature || !m.params.named() {
		return fmt.Errorf("message %.120q: want each field with its name", signature)
	}
	return nil
}

// named says that every component of every tuple has a name.
func (t *abiType) named() bool {
	if t.item != nil {
		return t.item.named()
	}
	return !slices.ContainsFunc(t.fields, func(f abiField) bool { return f.name == "" || !f.typ.named() })
}

type messageMeaning func(r *reader, sender Address, m *TypedData) error

// tokenMessages are the messages that tokens take, by the text that is hashed.
var tokenMessages = map[string]messageMeaning{
	"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)": func(r *reader, sender Address, m *TypedData) error {
		v := m.value.items
		r.approval(v[0].address(), v[1].address(), TokenAsset(r.chain, m.Contract), v[2].uint())
		return signedBy(sender, &v[0])
	},
	"Permit(address holder,address spender,uint256 nonce,uint256 expiry,bool allowed)": func(r *reader, sender Address, m *TypedData) error {
		v := m.value.items
		r.approval(v[0].address(), v[1].address(), TokenAsset(r.chain, m.Contract), all(v[4].flag()))
		return signedBy(sender, &v[0])
	},
	"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)": authorize,
	"ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)":  authorize,
}

// authorize is EIP-3009: whoever has the signature makes the transfer, once.
func authorize(r *reader, sender Address, m *TypedData) error {
	v := m.value.items
	r.transfer(v[0].address(), v[1].address(), TokenAsset(r.chain, m.Contract), v[2].uint())
	return signedBy(sender, &v[0])
}

// signedBy: a permit of somebody else is worth nothing with this signature.
func signedBy(sender Address, owner *abiValue) error {
	if owner.address() != sender {
		return fmt.Errorf("it is a permit of %s, want one of the sender, %s", owner.address(), sender)
	}
	return nil
}

const (
	permitDetails    = "PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)"
	tokenPermissions = "TokenPermissions(address token,uint256 amount)"
)

// permit2Message reads the messages of Permit2: the two permits, and the two
// transfers, each of which may carry a witness, a struct of the spender's own.
func permit2Message(m *TypedData, text string) messageMeaning {
	switch text {
	case "PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)" + permitDetails,
		"PermitBatch(PermitDetails[] details,address spender,uint256 sigDeadline)" + permitDetails:
		return permitTokens
	}
	first, _, _ := strings.Cut(text, ")")
	if !strings.Contains(text, ")"+tokenPermissions) {
		return nil
	}
	for _, list := range []struct{ name, typ string }{{"", ""}, {"Batch", "[]"}} {
		rest := "(TokenPermissions" + list.typ + " permitted,address spender,uint256 nonce,uint256 deadline"
		if first == "Permit"+list.name+"TransferFrom"+rest || strings.HasPrefix(first, "Permit"+list.name+"WitnessTransferFrom"+rest+",") && len(m.value.items) == 5 {
			return permitTokens
		}
	}
	return nil
}

// permitTokens lets the second field spend what the first lists, token and amount
// first.
func permitTokens(r *reader, sender Address, m *TypedData) error {
	what, spender := &m.value.items[0], m.value.items[1].address()
	list := what.items
	if what.typ.kind == abiTuple {
		list = []abiValue{*what}
	}
	for i := range list {
		r.approval(sender, spender, TokenAsset(r.chain, list[i].items[0].address()), list[i].items[1].uint())
	}
	return nil
}
