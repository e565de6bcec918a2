package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// CommandKind says what a Command asks of a vault.
type CommandKind uint8

// The commands. Every command gets exactly one Reply, perhaps much later.
const (
	CommandStatus  CommandKind = 1 // no fields → Status in Reply.Body
	CommandChange  CommandKind = 2 // Body: governance.SignedChange, Unsigned: audit.EncodeAdoptions, or nothing
	CommandKeygen  CommandKind = 3 // Attempt, Body: governance.KeygenOrder → dkg certificate in Reply.Body
	CommandSign    CommandKind = 4 // Attempt, Body: request.Bundle, Unsigned, Signers, Witnesses → final share in Reply.Body, of a witness nothing
	CommandReceipt CommandKind = 5 // Body: audit.Receipt
	CommandAbandon CommandKind = 6 // Attempt: end that session, benign

	// Attempt, Body: Handover, Signers: the dealers → the new epoch's dkg certificate
	// in Reply.Body, once it is active at this vault.
	CommandHandover CommandKind = 7

	CommandCosigned CommandKind = 8 // no fields → audit.CosignedCheckpoint in Reply.Body: what the peers cosigned
	// Body: Adoption → audit.EncodeAdoptions of the one proof in Reply.Body.
	CommandAdoption CommandKind = 9
	CommandLimits   CommandKind = 10 // no fields → Usage in Reply.Body
)

const lastCommand = CommandLimits

func (k CommandKind) String() string {
	switch k {
	case CommandStatus:
		return "status"
	case CommandChange:
		return "change"
	case CommandKeygen:
		return "keygen"
	case CommandSign:
		return "sign"
	case CommandReceipt:
		return "receipt"
	case CommandAbandon:
		return "abandon"
	case CommandHandover:
		return "handover"
	case CommandCosigned:
		return "cosigned"
	case CommandAdoption:
		return "adoption"
	case CommandLimits:
		return "limits"
	}
	return fmt.Sprintf("command-%d", uint8(k))
}

// Command is one order to one vault. Fields that a kind does not use are empty.
type Command struct {
	Kind     CommandKind
	Attempt  [16]byte // one attempt at a keygen or a signature; never used twice
	Body     []byte
	Unsigned []byte   // sign: the final unsigned transaction
	Signers  []uint16 // sign: exactly t vaults, sorted

	// Witnesses are the vaults of the key's ledger quorum that do not sign, sorted. Sign
	// only; with a key of faults 0 there are none.
	Witnesses []uint16

	// Approvals are the device approvers' (hsm.Approval, encoded), for the vault's
	// approval key. Sign only.
	Approvals [][]byte
}

const commandVersion = 3

// Bounds of a Command. MaxBody leaves room in one frame for the rest.
const (
	MaxBody     = 1 << 20
	MaxUnsigned = 256 << 10
	MaxVaults   = 16

	MaxApprovals = 16
	maxApproval  = 1024
)

// Encode is the canonical encoding.
func (c *Command) Encode() []byte {
	w := wire.NewWriter(commandVersion).Uint8(uint8(c.Kind)).Fixed(c.Attempt[:]).Var(c.Body).Var(c.Unsigned)
	writeIDs(w, c.Signers)
	writeIDs(w, c.Witnesses)
	w.Count(len(c.Approvals))
	for _, a := range c.Approvals {
		w.Var(a)
	}
	return w.Bytes()
}

// DecodeCommand is the inverse of Encode.
func DecodeCommand(b []byte) (*Command, error) {
	r := wire.NewReader(b, commandVersion)
	c := &Command{Kind: CommandKind(r.Uint8("kind"))}
	if r.Err() == nil && (c.Kind < CommandStatus || c.Kind > lastCommand) {
		r.Failf("kind: unknown command %d, want 1 to %d", c.Kind, lastCommand)
	}
	r.Into("attempt", c.Attempt[:])
	c.Body = r.Var("body", MaxBody)
	c.Unsigned = r.Var("unsigned", MaxUnsigned)
	c.Signers, c.Witnesses = readIDs(r, "signers"), readIDs(r, "witnesses")
	for range r.Count("approvals", MaxApprovals, 4) {
		c.Approvals = append(c.Approvals, r.Var("approval", maxApproval))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode command: %w", err)
	}
	return c, nil
}

func writeIDs(w *wire.Writer, ids []uint16) {
	w.Count(len(ids))
	for _, id := range ids {
		w.Uint16(id)
	}
}

// readIDs reads a sorted list without zero and without repetition.
func readIDs(r *wire.Reader, field string) []uint16 {
	var ids []uint16
	for range r.Count(field, MaxVaults, 2) {
		id := r.Uint16(field)
		if n := len(ids); r.Err() == nil && (id == 0 || n > 0 && ids[n-1] >= id) {
			r.Failf("%s: vault ids must be above 0, sorted and unique; got %d", field, id)
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// Handover asks for the next epoch of a key.
type Handover struct {
	Order       [32]byte // hash of the change that orders it
	Certificate []byte   // of the epoch that ends, with all signatures: what newcomers go by
}

const (
	handoverVersion = 1
	maxCertificate  = 64 << 10
)

// Encode is the canonical encoding.
func (h *Handover) Encode() []byte {
	return wire.NewWriter(handoverVersion).Fixed(h.Order[:]).Var(h.Certificate).Bytes()
}

// DecodeHandover is the inverse of Encode.
func DecodeHandover(b []byte) (*Handover, error) {
	r := wire.NewReader(b, handoverVersion)
	h := new(Handover)
	r.Into("order", h.Order[:])
	h.Certificate = r.Var("certificate", maxCertificate)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode handover command: %w", err)
	}
	return h, nil
}

// Adoption asks when a vault adopted the change with a number: the body of
// CommandAdoption.
func Adoption(seq uint64) []byte { return wire.NewWriter(1).Uint64(seq).Bytes() }
