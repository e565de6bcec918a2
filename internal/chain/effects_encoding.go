package chain

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

const effectsVersion = 2

// Bounds of one Effects.
const (
	maxText      = 256
	MaxItems     = 64  // transfers, approvals, calls, creations: of each
	MaxArgs      = 256 // values of one call or message
	MaxTotalArgs = 512 // values of all calls together
	MaxDepth     = 8   // of calls within calls
)

// Encode is the canonical encoding (docs/spec/effects.md).
func (e *Effects) Encode() []byte {
	w := wire.NewWriter(effectsVersion).String(e.Chain).String(e.Sender)
	w.Count(len(e.Transfers))
	for i := range e.Transfers {
		t := &e.Transfers[i]
		w.String(t.From).String(t.To).String(t.Asset)
		WriteAmount(w, &t.Amount)
	}
	w.Count(len(e.Approvals))
	for i := range e.Approvals {
		a := &e.Approvals[i]
		w.String(a.Owner).String(a.Spender).String(a.Asset)
		WriteAmount(w, &a.Amount)
	}
	w.Count(len(e.Calls))
	for i := range e.Calls {
		c := &e.Calls[i]
		w.String(c.From).String(c.To).String(c.Method)
		WriteAmount(w, &c.Value)
		writeArgs(w.Uint8(c.Depth), c.Args)
	}
	w.Count(len(e.Creates))
	for i := range e.Creates {
		WriteAmount(w, &e.Creates[i].Value)
		w.Fixed(e.Creates[i].CodeHash[:])
	}
	w.Bool(e.Message != nil)
	if m := e.Message; m != nil {
		writeArgs(w.String(m.Type).String(m.Name).String(m.Version).String(m.Contract), m.Fields)
	}
	WriteAmount(w, &e.MaxFee)
	return w.String(e.Undecoded).Bytes()
}

func writeArgs(w *wire.Writer, args []Arg) {
	w.Count(len(args))
	for i := range args {
		a := &args[i]
		w.String(a.Path).String(a.Type).Uint8(uint8(a.Kind))
		if a.Kind == ArgUint || a.Kind == ArgFlag {
			WriteAmount(w, &a.Uint)
		} else {
			w.String(a.Text)
		}
	}
}

// DecodeEffects is the inverse of Encode.
func DecodeEffects(b []byte) (*Effects, error) {
	r := wire.NewReader(b, effectsVersion)
	e := &Effects{Chain: readText(r, "chain"), Sender: readText(r, "sender")}
	for range r.Count("transfers", MaxItems, 44) {
		e.Transfers = append(e.Transfers, Transfer{
			From: readText(r, "from"), To: readText(r, "to"),
			Asset: readText(r, "asset"), Amount: ReadAmount(r, "amount"),
		})
	}
	for range r.Count("approvals", MaxItems, 44) {
		e.Approvals = append(e.Approvals, Approval{
			Owner: readText(r, "owner"), Spender: readText(r, "spender"),
			Asset: readText(r, "asset"), Amount: ReadAmount(r, "amount"),
		})
	}
	e.Calls = readCalls(r)
	for range r.Count("creations", MaxItems, 64) {
		c := Creation{Value: ReadAmount(r, "value")}
		r.Into("code hash", c.CodeHash[:])
		e.Creates = append(e.Creates, c)
	}
	if r.Bool("has message") {
		e.Message = &Message{
			Type: readText(r, "type"), Name: readText(r, "name"), Version: readText(r, "version"),
			Contract: readText(r, "contract"), Fields: readArgs(r, "fields"),
		}
	}
	e.MaxFee = ReadAmount(r, "max fee")
	e.Undecoded = readText(r, "undecoded")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode effects: %w", err)
	}
	return e, nil
}

// readCalls reads calls, the first of depth 0, each at most one deeper than the
// one before, and their values, of which there are at most MaxTotalArgs.
func readCalls(r *wire.Reader) (calls []Call) {
	deepest, total := 0, 0
	for range r.Count("calls", MaxItems, 49) {
		c := Call{
			From: readText(r, "from"), To: readText(r, "to"), Method: readText(r, "method"),
			Value: ReadAmount(r, "value"), Depth: r.Uint8("depth"),
		}
		c.Args = readArgs(r, "arguments")
		if int(c.Depth) > deepest || c.Depth > MaxDepth {
			r.Failf("depth: %d, want at most %d here", c.Depth, min(deepest, MaxDepth))
		}
		if total += len(c.Args); total > MaxTotalArgs {
			r.Fail(fmt.Errorf("arguments: %d in all calls, at most %d: %w", total, MaxTotalArgs, wire.ErrTooLong))
		}
		if r.Err() != nil {
			return nil
		}
		deepest = int(c.Depth) + 1
		calls = append(calls, c)
	}
	return calls
}

func readArgs(r *wire.Reader, field string) (args []Arg) {
	for range r.Count(field, MaxArgs, 13) {
		a := Arg{Path: readText(r, "path"), Type: readText(r, "argument's type"), Kind: ArgKind(r.Uint8("kind"))}
		switch a.Kind {
		case ArgUint, ArgFlag:
			a.Uint = ReadAmount(r, "number")
			if a.Kind == ArgFlag && a.Uint.GtUint64(1) {
				r.Failf("flag: %s, want 0 or 1", a.Uint.Dec())
			}
		case ArgAddress, ArgText, ArgBytes:
			a.Text = readText(r, "value")
		default:
			r.Failf("kind: %d, want 1 to 5", a.Kind)
		}
		if r.Err() != nil {
			return nil
		}
		args = append(args, a)
	}
	return args
}

// readText reads printable ASCII: these strings are compared byte by byte and
// shown on terminals, so that nothing in them may look like something else.
func readText(r *wire.Reader, field string) string {
	s := r.String(field, maxText)
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			r.Failf("%s: byte %#02x at %d, want printable ASCII", field, s[i], i)
			return ""
		}
	}
	return s
}

// WriteAmount appends 32 bytes, big-endian.
func WriteAmount(w *wire.Writer, a *Amount) {
	b := a.Bytes32()
	w.Fixed(b[:])
}

// ReadAmount reads 32 bytes, big-endian.
func ReadAmount(r *wire.Reader, field string) Amount {
	var b [32]byte
	r.Into(field, b[:])
	var a Amount
	a.SetBytes32(b[:])
	return a
}
