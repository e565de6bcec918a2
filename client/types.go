package client

import "time"

// Ids are hex, in full; where the API reads one it takes the first 8 digits or
// more. Canonical bytes are base64url without padding. Amounts are decimal.

// Cluster is the cluster as the coordinator knows it.
type Cluster struct {
	ID         string     `json:"id" doc:"The hash of the genesis; it names the cluster." example:"4fd1c2…"`
	Name       string     `json:"name"`
	Created    time.Time  `json:"created"`
	Vaults     []Card     `json:"vaults"`
	Chains     []Chain    `json:"chains" doc:"The chains that this coordinator has a node of."`
	Assets     []Asset    `json:"assets" doc:"The assets that the policy names."`
	Methods    []Method   `json:"methods,omitempty" doc:"The methods and messages that the policy declares."`
	Governance Governance `json:"governance"`
}

// Method is a method of a contract, or a message for it, that the policy declares.
type Method struct {
	Contract  string `json:"contract,omitempty" doc:"CAIP-10; left out for every contract."`
	Signature string `json:"signature" doc:"Such as swap(address token,uint256 amount); a message begins with the word message."`
}

// Card is what the cluster has agreed on about a vault: its card in force.
type Card struct {
	ID       int    `json:"id" doc:"The participant's number."`
	Name     string `json:"name"`
	Vendor   string `json:"vendor" doc:"Of the HSM, as the device named itself at enrolment."`
	Model    string `json:"model"`
	Identity string `json:"identity" doc:"The vault's public identity key, which its HSM holds."`
	Decision string `json:"decision" doc:"The key with which its HSM signs checkpoints."`
	Log      string `json:"log" doc:"The key that signs the log's notes."`
	Sealing  string `json:"sealing,omitempty" doc:"The suites by which its HSM seals, as the card says."`
	Approval string `json:"approval,omitempty" doc:"The HSM's key that signs with the device approvers' signatures only."`
	// ApprovalArea is what a client computes from what the approvers sign.
	ApprovalArea string `json:"approval_area,omitempty" doc:"The approval key in the device's own terms (TPMT_PUBLIC), base64url."`
	From         uint64 `json:"from,omitempty" doc:"The change that put this card in force; left out for the genesis'."`
	Device       string `json:"device" enum:"declared,attested" doc:"Whether people say which device this is, or the device itself has shown it."`
}

// Chain is a chain that the coordinator sends to.
type Chain struct {
	ID            string `json:"id" doc:"CAIP-2." example:"eip155:1"`
	Confirmations uint64 `json:"confirmations" doc:"Blocks after which a transaction counts as final, its own included."`
}

// Asset is an asset that the policy names.
type Asset struct {
	Symbol   string `json:"symbol" example:"ETH"`
	ID       string `json:"id" doc:"CAIP-19." example:"eip155:1/slip44:60"`
	Decimals int    `json:"decimals"`
}

// Governance says which version of policy and roster is in force.
type Governance struct {
	Seq        uint64 `json:"seq" doc:"Changes since the genesis."`
	Head       string `json:"head" doc:"Hash of the newest change, or the cluster's id."`
	PolicyRoot string `json:"policy_root"`
	RosterRoot string `json:"roster_root"`

	Cooling uint64   `json:"cooling_ms" doc:"Milliseconds that a change waits which is not proven to tighten."`
	Pending []uint64 `json:"pending,omitempty" doc:"Numbers of the changes that wait for their time."`
	Chains  []string `json:"chains,omitempty" doc:"That vaults sign for; none: every chain that they can read."`
	Frozen  []Frozen `json:"frozen,omitempty"`
}

// Vault is a vault's own word about itself, or why there is none.
type Vault struct {
	Card
	Reachable     bool   `json:"reachable"`
	Error         string `json:"error,omitempty" doc:"Why it does not answer."`
	Boot          uint64 `json:"boot,omitempty" doc:"How often it has started."`
	GovernanceSeq uint64 `json:"governance_seq" doc:"Changes that it has applied."`
	UpToDate      bool   `json:"up_to_date" doc:"It has applied all changes."`
	LogSize       uint64 `json:"log_size"`
	LogRoot       string `json:"log_root,omitempty"`
	Sessions      int    `json:"sessions" doc:"Keygens and signatures under way."`
	Peers         []Peer `json:"peers,omitempty"`
	Keys          []Key  `json:"keys,omitempty"`

	State      string      `json:"state,omitempty" doc:"starting, replaced, awaiting-heads, running, rolled-back or suspended."`
	Awaiting   []int       `json:"awaiting,omitempty" doc:"awaiting-heads: whose answers would do."`
	RolledBack *RolledBack `json:"rolled_back,omitempty"`
	Suspension *Suspension `json:"suspension,omitempty" doc:"The admins' order that suspends it."`
	Hardware   *Hardware   `json:"hardware,omitempty" doc:"What its HSM says of itself."`
	Isolation  []string    `json:"isolation,omitempty" doc:"What holds the vault's process, each \"name: state\"; its own word."`
	Software   string      `json:"software,omitempty" doc:"SHA-256 of the program that the vault says it runs."`
}

// Hardware is what a vault's HSM says of itself, with its grades: none, software or
// hardware.
type Hardware struct {
	Vendor   string   `json:"vendor"`
	Model    string   `json:"model"`
	Firmware string   `json:"firmware"`
	Suites   []string `json:"suites" doc:"What was negotiated with it."`
	Boundary string   `json:"boundary" doc:"Who keeps its keys from leaving."`
	Rollback string   `json:"rollback" doc:"Who keeps an old state of it from coming back."`
	PerUse   string   `json:"per_use" doc:"Who asks before the single use of a cold key."`
	Tiers    []string `json:"tiers" doc:"The custody tiers that it serves."`
}

// RolledBack says how a vault knows that its disk is older than what was seen of it.
type RolledBack struct {
	OwnSize  uint64 `json:"own_size" doc:"Entries of its log, when it found out."`
	HeldBoot uint64 `json:"held_boot" doc:"The newest head that was shown to it: of which start,"`
	HeldSize uint64 `json:"held_size" doc:"how many entries,"`
	HeldRoot string `json:"held_root" doc:"and the log's root."`
	By       []int  `json:"by" doc:"The vaults that showed it; none: its own device's counter."`
}

// Suspension is an order by which nobody works with a vault.
type Suspension struct {
	Seq    uint64 `json:"seq" doc:"The change's number."`
	Reason string `json:"reason"`
}

// Peer is one vault's view of another.
type Peer struct {
	Vault       int  `json:"vault"`
	Connected   bool `json:"connected"`
	Ready       bool `json:"ready" doc:"They can sign together."`
	Quarantined bool `json:"quarantined"`
	Suspended   bool `json:"suspended" doc:"Caught with two histories, or suspended by the admins."`

	HeldBoot uint64 `json:"held_boot,omitempty" doc:"The newest head of the other's log that this vault holds: of which start,"`
	HeldSize uint64 `json:"held_size,omitempty" doc:"how many entries,"`
	HeldRoot string `json:"held_root,omitempty" doc:"and the log's root."`
}

// Key is a key that a vault holds a share of.
type Key struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	PublicKey string `json:"public_key" doc:"SEC1 compressed, hex."`
	Threshold int    `json:"threshold"`
	Parties   []int  `json:"parties"`
	Epoch     uint64 `json:"epoch" doc:"Of the share that the vault holds."`
	Purpose   string `json:"purpose,omitempty"`
	Tier      string `json:"tier,omitempty" doc:"How the vault keeps its share: hot, warm or cold."`
}

// Wallet is a key of the cluster with its addresses.
type Wallet struct {
	ID          string            `json:"id" doc:"The key's id."`
	Name        string            `json:"name"`
	Purpose     string            `json:"purpose"`
	PublicKey   string            `json:"public_key" doc:"SEC1 compressed, hex."`
	Threshold   int               `json:"threshold"`
	Parties     []int             `json:"parties"`
	Epoch       uint64            `json:"epoch" doc:"Grows by one with every refresh or reshare; name, key id and addresses stay."`
	Tier        string            `json:"tier" doc:"How the vaults keep their shares: hot, warm or cold."`
	Faults      int               `json:"faults" doc:"How many corrupt vaults limits were made to withstand; more than the threshold then take part in every signature."`
	Insisted    bool              `json:"insisted,omitempty" doc:"An admin waived that devices differ when the key was made."`
	Orders      []KeyOrder        `json:"orders,omitempty" doc:"What the admins ordered for the key, oldest first."`
	Addresses   map[string]string `json:"addresses" doc:"By chain (CAIP-2), as the chain writes it."`
	Created     time.Time         `json:"created"`
	Certificate string            `json:"certificate" doc:"What all parties of the epoch signed; canonical, base64url."`
}

// KeyOrder is an order about a key, and how far it has come.
type KeyOrder struct {
	Change    string `json:"change" doc:"Hash of the change that holds it."`
	Action    string `json:"action" doc:"refresh, reshare, abandon, erase or tier."`
	Epoch     uint64 `json:"epoch" doc:"The epoch that it is for."`
	Tier      string `json:"tier,omitempty" doc:"Of custody, from now on: hot, warm or cold."`
	Insist    bool   `json:"insist,omitempty" doc:"The admins waived that devices differ."`
	Threshold int    `json:"threshold,omitempty"`
	Parties   []int  `json:"parties,omitempty"`
	Done      bool   `json:"done"`
	Detail    string `json:"detail,omitempty" doc:"What stands in the way."`
}

// Amount is a number of an asset's units, in people's unit and in the smallest.
type Amount struct {
	Text     string `json:"text" doc:"In the asset's unit." example:"0.1 ETH"`
	Units    string `json:"units" doc:"In the smallest unit (wei)." example:"100000000000000000"`
	Asset    string `json:"asset,omitempty" doc:"CAIP-19."`
	Smallest string `json:"smallest,omitempty" doc:"What the smallest unit is called, when it has a name." example:"wei"`
}

// Effects is what a request does, as its bytes were decoded.
type Effects struct {
	Transfers  []Transfer  `json:"transfers,omitempty"`
	Allowances []Allowance `json:"allowances,omitempty"`
	Calls      []Call      `json:"calls,omitempty"`
	Creations  []Creation  `json:"creations,omitempty"`
	Message    *Message    `json:"message,omitempty" doc:"What is signed is a message, and no transaction."`
	Undecoded  string      `json:"undecoded,omitempty" doc:"Why not everything was understood. Policy denies it by default."`
}

// Transfer moves an asset.
type Transfer struct {
	From   string `json:"from" doc:"CAIP-10."`
	To     string `json:"to" doc:"CAIP-10; empty when it goes to a contract that is created."`
	Label  string `json:"label,omitempty" doc:"Of the recipient in the address book."`
	Amount Amount `json:"amount"`
}

// Allowance lets a spender take up to an amount of a token.
type Allowance struct {
	Owner     string `json:"owner"`
	Spender   string `json:"spender"`
	Amount    Amount `json:"amount"`
	Unlimited bool   `json:"unlimited,omitempty" doc:"So much that tokens take it for all."`
}

// Call is a call of a contract.
type Call struct {
	From      string     `json:"from" doc:"CAIP-10: whom the contract sees as its caller."`
	To        string     `json:"to" doc:"CAIP-10."`
	Method    string     `json:"method"`
	Value     Amount     `json:"value"`
	Depth     int        `json:"depth" doc:"0: the transaction's own call; those that a call makes follow it, one deeper."`
	Arguments []Argument `json:"arguments,omitempty"`
}

// Argument is one value of a call or a message.
type Argument struct {
	Path  string `json:"path" doc:"Such as params.amount or path[0]."`
	Type  string `json:"type" doc:"As the contract's interface writes it."`
	Value string `json:"value" doc:"Decimal, CAIP-10, true or false, text, or 0x and hex; long bytes as keccak256:0x…"`
}

// Creation creates a contract.
type Creation struct {
	Value    Amount `json:"value"`
	CodeHash string `json:"code_hash" doc:"keccak256 of the code that runs."`
}

// Message is structured data that is signed and not sent (EIP-712).
type Message struct {
	Type     string     `json:"type"`
	Name     string     `json:"name,omitempty" doc:"Of the domain."`
	Version  string     `json:"version,omitempty"`
	Contract string     `json:"contract" doc:"CAIP-10: the contract that checks the signature."`
	Fields   []Argument `json:"fields"`
}

// Proposal is a signed request on its way to the coordinator.
type Proposal struct {
	Request   string `json:"request" doc:"The canonical request, base64url."`
	Key       string `json:"key" doc:"The initiator's public key, ed25519:BASE64URL or p256:BASE64URL."`
	Signature string `json:"signature" doc:"Over the request's id (domain coffer/propose/v1): 64 bytes, base64url."`
}

// Request is a request with everything that is known of it.
type Request struct {
	ID        string    `json:"id"`
	State     string    `json:"state" enum:"draft,screening,awaiting_approval,signing,signed,broadcast,confirmed,denied,rejected,expired,cancelled,failed"`
	Reason    string    `json:"reason" doc:"Why it is in that state."`
	Final     bool      `json:"final" doc:"Nothing more happens to it."`
	Wallet    string    `json:"wallet" doc:"The wallet's name."`
	WalletID  string    `json:"wallet_id"`
	Chain     string    `json:"chain"`
	Sender    string    `json:"sender"`
	Initiator string    `json:"initiator"`
	Memo      string    `json:"memo,omitempty"`
	MaxFee    Amount    `json:"max_fee"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Updated   time.Time `json:"updated"`
	Effects   Effects   `json:"effects" doc:"Decoded from the request's bytes."`
	Canonical string    `json:"canonical" doc:"The bytes that people sign, base64url."`
	TxID      string    `json:"txid,omitempty"`
	Receipt   *Receipt  `json:"receipt,omitempty"`

	// What follows is in a single request's answer, not in lists.
	Policy      *Decision    `json:"policy,omitempty" doc:"What the policy says now, by the coordinator. The vaults decide for themselves."`
	Approvals   []Answer     `json:"approvals,omitempty"`
	Devices     []DeviceYes  `json:"device_approvals,omitempty" doc:"Who has signed for which vault's device. The devices say whether that is enough."`
	Risk        []Risk       `json:"risk,omitempty"`
	Transitions []Transition `json:"transitions,omitempty"`
	Attempts    []Attempt    `json:"attempts,omitempty"`
}

// Receipt is what the chain says of the transaction.
type Receipt struct {
	Block   uint64 `json:"block"`
	GasUsed uint64 `json:"gas_used"`
	Fee     Amount `json:"fee"`
	Success bool   `json:"success"`
}

// Decision is what the policy says, with its reason.
type Decision struct {
	Allow   bool      `json:"allow"`
	Pending bool      `json:"pending" doc:"Only approvals or a risk verdict are missing."`
	Code    string    `json:"code"`
	Rule    string    `json:"rule,omitempty"`
	Glass   bool      `json:"break_glass,omitempty" doc:"The rule is one for emergencies."`
	Detail  string    `json:"detail"`
	Fix     string    `json:"fix,omitempty" doc:"What would pass."`
	Missing []Missing `json:"missing,omitempty"`
	Rules   []Rule    `json:"rules,omitempty" doc:"How every guard and rule stands to the request."`
}

// Missing is a number of approvals and who could give them.
type Missing struct {
	Group string   `json:"group"`
	Count int      `json:"count"`
	From  []string `json:"from"`
}

// Rule is a guard or a rule with what it makes of the request.
type Rule struct {
	Name    string `json:"name"`
	Guard   bool   `json:"guard,omitempty"`
	Matches string `json:"matches" enum:"yes,no,waiting"`
	Then    string `json:"then"`
	Detail  string `json:"detail"`
	Decides bool   `json:"decides,omitempty"`
}

// Answer is a person's yes or no.
type Answer struct {
	Principal string    `json:"principal"`
	Approve   bool      `json:"approve"`
	Time      time.Time `json:"time"`
	Expires   time.Time `json:"expires"`
}

// DeviceYes says that a person signed for a vault's device.
type DeviceYes struct {
	Vault     int    `json:"vault"`
	Principal string `json:"principal" doc:"Whose key it is; empty for nobody's in the roster any more."`
	Key       string `json:"key"`
}

// DeviceApproval is a person's signature for the approval key of a vault's device.
type DeviceApproval struct {
	Vault     int    `json:"vault"`
	Key       string `json:"key" doc:"p256:BASE64URL."`
	Signature string `json:"signature" doc:"Over the digest by which the device's policy names the request (docs/spec/attestation.md): 64 bytes, base64url."`
}

// Risk is a risk engine's verdict.
type Risk struct {
	Engine  string    `json:"engine"`
	Outcome string    `json:"outcome" enum:"pass,hold,deny"`
	Score   int       `json:"score" doc:"0 harmless, 1000 certain."`
	Reasons []string  `json:"reasons,omitempty"`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
}

// Transition is one step of a request's history.
type Transition struct {
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Attempt is one try at a signature.
type Attempt struct {
	ID      string        `json:"id"`
	Time    time.Time     `json:"time"`
	Signers []int         `json:"signers"`
	Nonce   *uint64       `json:"nonce,omitempty"`
	Replies []VaultAnswer `json:"replies,omitempty"`
}

// VaultAnswer is what one vault answered to an attempt.
type VaultAnswer struct {
	Vault    int            `json:"vault"`
	Outcome  string         `json:"outcome" enum:"done,refused,aborted,failed"`
	Refusal  *Refusal       `json:"refusal,omitempty"`
	Culprits []int          `json:"culprits,omitempty"`
	Detail   string         `json:"detail,omitempty"`
	Decision *VaultDecision `json:"decision,omitempty" doc:"From the certificate that the vault's HSM signed for."`
}

// Refusal is a vault's no.
type Refusal struct {
	Code   string `json:"code"`
	Rule   string `json:"rule,omitempty"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// VaultDecision is a decision as it stands in a vault's log.
type VaultDecision struct {
	Allow      bool      `json:"allow"`
	Rule       string    `json:"rule,omitempty"`
	Glass      bool      `json:"break_glass,omitempty" doc:"The rule is one for emergencies."`
	Detail     string    `json:"detail"`
	Time       time.Time `json:"time"`
	LogIndex   uint64    `json:"log_index"`
	Governance uint64    `json:"governance_seq"`
}

// Transaction is a request's transaction.
type Transaction struct {
	ID       string   `json:"txid,omitempty"`
	Unsigned string   `json:"unsigned,omitempty" doc:"As the vaults were asked to sign it, 0x and hex."`
	Raw      string   `json:"raw,omitempty" doc:"Signed, ready to be sent by anyone, as the chain's tools take it: 0x and hex, or base64. Of a message the signature: r, s and 27 or 28."`
	Nonce    *uint64  `json:"nonce,omitempty"`
	Receipt  *Receipt `json:"receipt,omitempty"`
}

// Document is a policy or a roster, with its version.
type Document struct {
	Kind      string     `json:"kind" enum:"policy,roster,measurements"`
	Version   Governance `json:"version"`
	Root      string     `json:"root"`
	Document  any        `json:"document" doc:"The form that people write."`
	Canonical string     `json:"canonical" doc:"Base64url."`
}

// Limits are the policy's limits, and how much of them each vault counts as used.
type Limits struct {
	PolicyRoot string        `json:"policy_root"`
	Limits     []Limit       `json:"limits"`
	Vaults     []VaultLimits `json:"vaults"`
}

// Limit is one limit of the policy in force.
type Limit struct {
	Name     string `json:"name"`
	Max      string `json:"max" example:"10 ETH"`
	MaxUnits string `json:"max_units" doc:"In the smallest unit, decimal."`
}

// VaultLimits is what one vault counts: the word that decides.
type VaultLimits struct {
	Vault    int       `json:"vault"`
	Name     string    `json:"name"`
	Time     time.Time `json:"time" doc:"By the vault's clock."`
	Counters []Counter `json:"counters" doc:"Of each limit the fullest."`
	More     int       `json:"more,omitempty" doc:"Counters in use that are not listed."`
	Error    string    `json:"error,omitempty" doc:"Why the vault says nothing, or nothing of this policy."`
}

// Counter is one counter of a limit; it counts for the whole cluster, or for the
// wallet, asset, initiator or destination that it names.
type Counter struct {
	Limit       string     `json:"limit"`
	Wallet      string     `json:"wallet,omitempty" doc:"Its name, or its id."`
	Asset       string     `json:"asset,omitempty"`
	Initiator   string     `json:"initiator,omitempty"`
	Destination string     `json:"destination,omitempty"`
	Used        string     `json:"used,omitempty" example:"7.5 ETH"`
	UsedUnits   string     `json:"used_units,omitempty"`
	Left        string     `json:"left,omitempty" example:"2.5 ETH"`
	Frees       *time.Time `json:"frees,omitempty" doc:"When the next part comes back."`
	FreesAmount string     `json:"frees_amount,omitempty" doc:"How much comes back then."`
	Error       string     `json:"error,omitempty" doc:"Why it cannot be counted."`
}

// Cosigned is a vault's newest checkpoint that others have cosigned: a claim, until
// whoever has Canonical verifies it (coffer bundle, coffer verify).
type Cosigned struct {
	Vault     int       `json:"vault"`
	Size      uint64    `json:"size" doc:"Entries that it covers."`
	Time      time.Time `json:"time" doc:"The checkpoint's own."`
	Cosigners []string  `json:"cosigners" doc:"Names: another vault's is the origin of its log."`
	Canonical string    `json:"canonical" doc:"The checkpoint with its cosignatures, base64url (docs/spec/witness.md)."`
}

// Change is a change of policy or roster with the signatures so far.
type Change struct {
	Hash      string    `json:"hash" doc:"What the admins sign."`
	Seq       uint64    `json:"seq"`
	Prev      string    `json:"prev"`
	Kind      string    `json:"kind" enum:"roster,policy,key,vault,measurements,book,chains,freeze,withdraw"`
	Author    string    `json:"author"`
	Note      string    `json:"note,omitempty"`
	Created   time.Time `json:"created"`
	SignedBy  []string  `json:"signed_by"`
	Quorum    int       `json:"quorum" doc:"How many admins must sign."`
	Applied   bool      `json:"applied"`
	Document  any       `json:"document"`
	Canonical string    `json:"canonical" doc:"The change's bytes, base64url."`
	Vaults    []Applied `json:"vaults,omitempty" doc:"Where an applied change has arrived."`

	Status     string     `json:"status" enum:"signatures,overtaken,waiting,in-force,superseded,withdrawn,dropped,no-effect"`
	Class      string     `json:"class,omitempty" doc:"tightening, loosening or unknown: what it does to what is allowed."`
	Why        string     `json:"why,omitempty" doc:"Why it is of that class."`
	Due        *time.Time `json:"due,omitempty" doc:"When it comes, came or would have come in force."`
	Supersedes []uint64   `json:"supersedes,omitempty" doc:"Pending changes that it would end."`
	EndedBy    uint64     `json:"ended_by,omitempty" doc:"The change that superseded or withdrew it."`
	Detail     string     `json:"detail,omitempty"`
}

// What a change that is not adopted waits for, or why it never will be.
const (
	StatusSignatures = "signatures"
	StatusOvertaken  = "overtaken"
)

// Frozen is a freeze in force.
type Frozen struct {
	Wallet string `json:"wallet,omitempty" doc:"Key id; none: all wallets."`
	Change uint64 `json:"change"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Applied says whether a vault has applied a change.
type Applied struct {
	Vault   int    `json:"vault"`
	Applied bool   `json:"applied"`
	Error   string `json:"error,omitempty"`
}

// Error is what the API answers when it does not do what was asked: RFC 9457.
type Error struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
	Field  string `json:"field,omitempty"`
}

func (e *Error) Error() string { return e.Detail }
