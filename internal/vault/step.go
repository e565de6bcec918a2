package vault

import (
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// Input is one event for Step. At most one of Frame, Command and Device is set;
// none of them is a tick.
type Input struct {
	Now     uint64        // the shell's clock, unix milliseconds
	Frame   []byte        // from the network; who sent it is not to be trusted
	Command *Command      // from the coordinator
	Device  *DeviceResult // the answer to a DeviceCommand
	Stop    bool          // end cleanly: go on stepping, with device results only, until Ready.Stopped
}

// Command is an encoded cluster.Command with the shell's name for it, to which
// exactly one Reply answers.
type Command struct {
	ID   uint64
	Body []byte
}

// Ready is the work that the shell must do after a Step, in this order. A shell
// that cannot make Writes, Entries and Checkpoint durable stops without doing
// anything below them: the vault's state is then what the disk says at the next
// start.
type Ready struct {
	// Device commands go to the HSM. They may run while the writes are made
	// durable, but their results are handed to Step only after.
	Device []DeviceCommand

	// Writes, Entries and Checkpoint become durable together, before anything
	// below leaves.
	Writes     []Record
	Entries    [][]byte // audit.Entry encodings, appended to the log
	Checkpoint []byte   // audit.SignedCheckpoint encoding, replaces the newest; nil: none

	Messages []Message
	Replies  []Reply
	Notes    []Note

	// Stopped says, after Input.Stop, that all is done once this Ready is.
	Stopped bool

	// Wake asks for a tick at this time (unix milliseconds), sooner than the usual
	// one; zero asks for none. It replaces the wish of the Ready before. A shell that
	// ignores it is slower, nothing else.
	Wake uint64
}

// Record is a named value on the node's disk. Values are sealed. A nil Value
// deletes the record.
type Record struct {
	Name  string
	Value []byte
}

// Message is a frame for another vault's node.
type Message struct {
	To    uint16
	Frame []byte
}

// Reply is an encoded cluster.Reply.
type Reply struct {
	ID   uint64
	Body []byte
}

// Note is a line for the operator's log. It never holds a secret.
type Note struct {
	Text string
	Args []any // key, value, …
}

// DeviceKind says what the HSM is asked for.
type DeviceKind uint8

// The device operations.
const (
	DeviceSign    DeviceKind = 1
	DeviceSeal    DeviceKind = 2
	DeviceUnseal  DeviceKind = 3
	DeviceEpoch   DeviceKind = 4 // the newest epoch of the seal keys
	DeviceAdvance DeviceKind = 5 // makes the seal keys of the next epoch
	DeviceErase   DeviceKind = 6 // destroys the seal keys of the epochs below Epoch
	DeviceCounter DeviceKind = 7 // what the device's counter says

	DeviceIncrement DeviceKind = 8 // has it count, and say what it says then

	DeviceAttest DeviceKind = 9 // evidence of what it is, for Nonce and Bind; Data is hsm.Evidence, encoded
)

// DeviceCommand is one operation of the HSM.
type DeviceCommand struct {
	ID        uint64
	Kind      DeviceKind
	Next      bool                // of the device to which the vault moves
	Role      hsm.Role            // sign
	Statement signature.Statement // sign
	Class     hsm.Class           // seal; unseal: of the blob, for the shell's patience
	Epoch     uint64              // seal, erase
	Data, AAD []byte              // seal, unseal
	Approvals hsm.Approvals       // sign with the approval key
	Nonce     [32]byte            // attest
	Bind      [32]byte            // attest
}

// DeviceResult answers a DeviceCommand. Err is empty on success.
type DeviceResult struct {
	ID        uint64
	Signature signature.Signature // sign
	Data      []byte              // seal, unseal, attest
	Took      uint64              // microseconds that the device took; zero: not measured
	Epoch     uint64              // epoch, advance
	Counter   uint64              // counter, increment
	Err       string
	Kind      hsm.Kind // of Err, as far as the device told
}

// Loaded is what the node had on disk.
type Loaded struct {
	Records    []Record
	Entries    [][]byte
	Checkpoint []byte
}
