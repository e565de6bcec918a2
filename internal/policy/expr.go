package policy

import "github.com/cofferhq/coffer/internal/chain"

// Expr is a tree of operators. Which fields an operator uses, besides Args, stands
// at the operator; the others are zero.
type Expr struct {
	Op    Op
	Args  []Expr
	Text  string       // literal, name of a limit, engine, group, label, field…
	Set   []string     // sorted
	Num   chain.Amount // literal
	Asset string       // CAIP-19: of an amount literal, of total(…)
	Depth uint8        // a bound variable: 0 the innermost quantifier
}

// Op is an operator of an Expr.
type Op uint8

// The operators: CEL form, types. Amounts and money below are "quantities".
const (
	OpAnd Op = 1 // a && b && …: 2 or more Bool
	OpOr  Op = 2 // a || b || …
	OpNot Op = 3 // !a
	OpIf  Op = 4 // a ? b : c; b and c of one type, no list

	OpEq Op = 10 // ==, both of one type
	OpNe Op = 11 // !=
	OpLt Op = 12 // <, Uint or quantities of one type
	OpLe Op = 13 // <=
	OpGt Op = 14 // >
	OpGe Op = 15 // >=
	OpIn Op = 16 // a in [Set…]: Text

	OpAdd Op = 20 // Uint or quantities of one type
	OpSub Op = 21
	OpMul Op = 22 // Uint*Uint, quantity*Uint, Uint*quantity
	OpDiv Op = 23 // Uint/Uint, quantity/Uint; of two quantities of one type: Uint
	OpMod Op = 24 // Uint%Uint; of two quantities of one type: that type

	OpBool   Op = 30 // true, false: Num 1 or 0
	OpUint   Op = 31 // Num
	OpText   Op = 32 // "Text"
	OpAmount Op = 33 // amount("2 ETH"): Num of Asset
	OpMoney  Op = 34 // money("10,000 USD"): Num in 10^-6 of the currency

	OpChain         Op = 40 // chain: Text
	OpWallet        Op = 41 // wallet: Text, 64 hex digits
	OpSender        Op = 42 // sender: Text
	OpInitiator     Op = 43 // initiator: Text
	OpOnlyTransfers Op = 44 // onlyTransfers: Bool
	OpFee           Op = 45 // fee: Amount
	OpTotal         Op = 46 // total("ETH"): Amount of Asset
	OpReceived      Op = 47 // received("ETH"): Amount of Asset
	OpValue         Op = 48 // value(): Money

	OpMessagePresent  Op = 50 // message.present: Bool
	OpMessageType     Op = 51 // message.type: Text; this and the next ones: error without a message
	OpMessageName     Op = 52
	OpMessageVersion  Op = 53
	OpMessageContract Op = 54
	OpMessageUint     Op = 55 // message.uint("Text"): Uint
	OpMessageAddress  Op = 56 // message.address("Text"): Text
	OpMessageText     Op = 57
	OpMessageFlag     Op = 58 // message.flag("Text"): Bool

	OpTransfers  Op = 60 // lists, as the first operand of a quantifier
	OpAllowances Op = 61
	OpCalls      Op = 62
	OpCreations  Op = 63
	OpApprovers  Op = 64

	OpAll       Op = 70 // list.all(x, p): Bool
	OpExists    Op = 71 // list.exists(x, p): Bool
	OpExistsOne Op = 72 // list.exists_one(x, p): Bool
	OpCount     Op = 73 // list.size(), or list.filter(x, p).size(): Uint

	OpField      Op = 80 // x.Text of the variable bound Depth quantifiers out
	OpItem       Op = 81 // x itself, of approvers: Text
	OpArgUint    Op = 82 // x.uint("Text") of a call
	OpArgAddress Op = 83
	OpArgText    Op = 84
	OpArgFlag    Op = 85

	OpInGroup  Op = 90 // a.inGroup("Text"), a a principal
	OpHasRole  Op = 91 // a.hasRole("Text")
	OpLabelled Op = 92 // a.labelled("Text"), a an account

	OpRiskOutcome Op = 100 // risk("Text").outcome: Text
	OpRiskScore   Op = 101 // risk("Text").score: Uint

	OpDuring Op = 110 // during("Mon-Fri 08:00-18:00 Text"): Num is Hours.Num
	OpBefore Op = 111 // before("2027-01-01T00:00:00Z"): Num is unix s; now < Num
	OpAfter  Op = 112 // after(…): now ≥ Num

	OpWithin Op = 120 // within("Text"): Bool
	OpUsed   Op = 121 // used("Text"): Amount, Money or Uint, as the limit measures
)

// fields are the fields besides Args that an operator uses.
type fields uint8

const (
	usesText fields = 1 << iota
	usesSet
	usesNum
	usesAsset
	usesDepth
)

// opInfo describes an operator.
type opInfo struct {
	name     string // for errors
	min, max int    // number of Args
	uses     fields
}

var ops = map[Op]opInfo{
	OpAnd: {"&&", 2, MaxSet, 0}, OpOr: {"||", 2, MaxSet, 0}, OpNot: {"!", 1, 1, 0}, OpIf: {"?:", 3, 3, 0},
	OpEq: {"==", 2, 2, 0}, OpNe: {"!=", 2, 2, 0}, OpLt: {"<", 2, 2, 0}, OpLe: {"<=", 2, 2, 0},
	OpGt: {">", 2, 2, 0}, OpGe: {">=", 2, 2, 0}, OpIn: {"in", 1, 1, usesSet},
	OpAdd: {"+", 2, 2, 0}, OpSub: {"-", 2, 2, 0}, OpMul: {"*", 2, 2, 0}, OpDiv: {"/", 2, 2, 0}, OpMod: {"%", 2, 2, 0},
	OpBool: {"bool", 0, 0, usesNum}, OpUint: {"number", 0, 0, usesNum}, OpText: {"text", 0, 0, usesText},
	OpAmount: {"amount", 0, 0, usesNum | usesAsset}, OpMoney: {"money", 0, 0, usesNum},
	OpChain: {"chain", 0, 0, 0}, OpWallet: {"wallet", 0, 0, 0}, OpSender: {"sender", 0, 0, 0}, OpInitiator: {"initiator", 0, 0, 0},
	OpOnlyTransfers: {"onlyTransfers", 0, 0, 0}, OpFee: {"fee", 0, 0, 0},
	OpTotal: {"total", 0, 0, usesAsset}, OpReceived: {"received", 0, 0, usesAsset}, OpValue: {"value", 0, 0, 0},
	OpMessagePresent: {"message.present", 0, 0, 0}, OpMessageType: {"message.type", 0, 0, 0}, OpMessageName: {"message.name", 0, 0, 0},
	OpMessageVersion: {"message.version", 0, 0, 0}, OpMessageContract: {"message.contract", 0, 0, 0},
	OpMessageUint: {"message.uint", 0, 0, usesText}, OpMessageAddress: {"message.address", 0, 0, usesText},
	OpMessageText: {"message.text", 0, 0, usesText}, OpMessageFlag: {"message.flag", 0, 0, usesText},
	OpTransfers: {"transfers", 0, 0, 0}, OpAllowances: {"allowances", 0, 0, 0}, OpCalls: {"calls", 0, 0, 0},
	OpCreations: {"creations", 0, 0, 0}, OpApprovers: {"approvers", 0, 0, 0},
	OpAll: {"all", 2, 2, 0}, OpExists: {"exists", 2, 2, 0}, OpExistsOne: {"exists_one", 2, 2, 0}, OpCount: {"size", 1, 2, 0},
	OpField: {"field", 0, 0, usesText | usesDepth}, OpItem: {"item", 0, 0, usesDepth},
	OpArgUint: {"uint", 0, 0, usesText | usesDepth}, OpArgAddress: {"address", 0, 0, usesText | usesDepth},
	OpArgText: {"text", 0, 0, usesText | usesDepth}, OpArgFlag: {"flag", 0, 0, usesText | usesDepth},
	OpInGroup: {"inGroup", 1, 1, usesText}, OpHasRole: {"hasRole", 1, 1, usesText}, OpLabelled: {"labelled", 1, 1, usesText},
	OpRiskOutcome: {"risk.outcome", 0, 0, usesText}, OpRiskScore: {"risk.score", 0, 0, usesText},
	OpDuring: {"during", 0, 0, usesText | usesNum}, OpBefore: {"before", 0, 0, usesNum}, OpAfter: {"after", 0, 0, usesNum},
	OpWithin: {"within", 0, 0, usesText}, OpUsed: {"used", 0, 0, usesText},
}

func (o Op) String() string {
	if info, ok := ops[o]; ok {
		return info.name
	}
	return "unknown operator"
}

// isList reports whether o is a list, the first operand of a quantifier.
func (o Op) isList() bool { return OpTransfers <= o && o <= OpApprovers }

// isQuantifier reports whether o binds a variable in its second operand.
func (o Op) isQuantifier() bool { return OpAll <= o && o <= OpCount }

// Type is the type of an Expr.
type Type uint8

// The types. A list occurs only as the first operand of a quantifier.
const (
	TypeBool   Type = 1
	TypeUint   Type = 2 // 0 to 2^256-1
	TypeText   Type = 3
	TypeAmount Type = 4 // a number of an asset's smallest unit
	TypeMoney  Type = 5 // 10^-6 of the currency

	TypeTransfers  Type = 10
	TypeAllowances Type = 11
	TypeCalls      Type = 12
	TypeCreations  Type = 13
	TypeApprovers  Type = 14
)

func (t Type) String() string {
	switch t {
	case TypeBool:
		return "bool"
	case TypeUint:
		return "uint"
	case TypeText:
		return "text"
	case TypeAmount:
		return "amount"
	case TypeMoney:
		return "money"
	case TypeTransfers:
		return "list of transfers"
	case TypeAllowances:
		return "list of allowances"
	case TypeCalls:
		return "list of calls"
	case TypeCreations:
		return "list of creations"
	case TypeApprovers:
		return "list of approvers"
	}
	return "unknown type"
}

// Fields returns the fields of the items of a list, with their types; nil for
// what is no list or has none.
func (t Type) Fields() map[string]Type { return listFields[t] }

var listFields = map[Type]map[string]Type{
	TypeTransfers:  {"from": TypeText, "to": TypeText, "asset": TypeText, "amount": TypeAmount, "value": TypeMoney},
	TypeAllowances: {"owner": TypeText, "spender": TypeText, "asset": TypeText, "amount": TypeAmount, "unlimited": TypeBool},
	TypeCalls:      {"from": TypeText, "to": TypeText, "method": TypeText, "value": TypeAmount, "depth": TypeUint},
	TypeCreations:  {"value": TypeAmount, "code": TypeText},
}
