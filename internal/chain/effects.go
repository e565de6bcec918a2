// Package chain says what a chain is to the vault: how the bytes that get
// signed are decoded into Effects, what digest they have, and when two versions
// of one request can not both happen.
//
// One folder a family (evm). A codec is inside the vault's boundary: it decodes
// strictly, re-encodes what it decoded, and derives the digest from that
// re-encoding, never from bytes or a digest that it was handed. Talking to a
// chain's nodes is not done here: that is outside the boundary.
package chain

import "github.com/holiman/uint256"

// Amount is an unsigned 256-bit number of an asset's smallest unit. It is
// comparable; the zero value is 0.
type Amount = uint256.Int

// Effects is what a transaction does, or what a signed message allows, as the
// vault decoded it: the only view of a request that policy, people and the log
// have. Addresses are CAIP-10 accounts ("eip155:1:0x…", checksummed as the chain
// writes them), assets are CAIP-19 ("eip155:1/slip44:60", "eip155:1/erc20:0x…").
type Effects struct {
	Chain     string // CAIP-2
	Sender    string // CAIP-10
	Transfers []Transfer
	Approvals []Approval
	Calls     []Call
	Creates   []Creation
	Message   *Message // what is signed is a message and no transaction; nil: a transaction
	MaxFee    Amount   // the most that the sender can pay in fees, smallest unit of the native asset
	// Undecoded is empty when everything was understood, else the reason. Policy
	// denies undecoded effects by default.
	Undecoded string
}

// Transfer moves Amount of Asset.
type Transfer struct {
	From, To string // CAIP-10; To is empty where a contract is created, which has no address yet
	Asset    string // CAIP-19
	Amount   Amount
}

// Approval lets Spender take up to Amount of Asset from Owner: what this
// transaction gives, so that the sum over transactions bounds what can be taken.
type Approval struct {
	Owner, Spender string
	Asset          string
	Amount         Amount
}

// unlimited is 2⁹⁶−1, the smallest number that tokens treat as "without limit".
var unlimited = Amount{1<<64 - 1, 1<<32 - 1}

// Unlimited says that the amount is 2⁹⁶−1 or more: tokens and Permit2 take
// 2⁹⁶−1, 2¹⁶⁰−1 and 2²⁵⁶−1 for "without limit", and no supply is worth less.
func (a *Approval) Unlimited() bool { return !a.Amount.Lt(&unlimited) }

// Call is a call of a contract, decoded or not: a token's transfer is both a
// Transfer, which says what it means, and a Call, which says how it is done.
// Native coin sent without data is only a Transfer. Calls that a call makes
// follow it, a Depth further down.
type Call struct {
	From   string // CAIP-10: whom the contract sees as its caller
	To     string // CAIP-10
	Method string // "transfer(address,uint256)", or the selector "0x12345678" when unknown
	Value  Amount // native value sent along
	Depth  uint8  // 0: the transaction's own call
	Args   []Arg  // nil when the method is unknown
}

// Creation creates a contract.
type Creation struct {
	Value    Amount   // native value that it is given
	CodeHash [32]byte // of the code that runs once and leaves the contract: its chain's hash (docs/spec/evm.md)
}

// Arg is one decoded value of a call or a message. Lists and structures are
// taken apart: "params.amount", "path[0]", and "path.length" for the number of
// items. A parameter without a name is called by its position, "0".
type Arg struct {
	Path string
	Type string // as the contract's interface writes it, "uint256"
	Kind ArgKind
	Uint Amount // ArgUint; 0 or 1 of ArgFlag
	Text string // the other kinds
}

// ArgKind says which form a value has.
type ArgKind uint8

// The kinds of values.
const (
	ArgUint    ArgKind = 1 // an unsigned number
	ArgAddress ArgKind = 2 // CAIP-10
	ArgText    ArgKind = 3 // escaped to printable ASCII (docs/spec/effects.md), or a negative number in decimal
	ArgFlag    ArgKind = 4
	ArgBytes   ArgKind = 5 // 0x and hex digits, or "keccak256:0x…" of long ones
)

func (k ArgKind) String() string {
	switch k {
	case ArgUint:
		return "uint"
	case ArgAddress:
		return "address"
	case ArgText:
		return "text"
	case ArgFlag:
		return "flag"
	case ArgBytes:
		return "bytes"
	}
	return "unknown kind"
}

// Message is structured data that is signed and not sent (EIP-712).
type Message struct {
	Type     string // the primary type, "Permit"
	Name     string // of the domain, escaped as ArgText; empty where it has none
	Version  string
	Contract string // CAIP-10: the contract that checks the signature
	Fields   []Arg
}

// Method is a method of a contract that the policy declares, so that calls of it
// are decoded.
type Method struct {
	Contract  string // CAIP-10, or "" for every contract
	Signature string // "swap(address token,uint256 amount)"
}
