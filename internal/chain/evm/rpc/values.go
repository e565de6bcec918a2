package rpc

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain/evm"
)

// quantity is a number as JSON-RPC writes it: 0x and hex digits, at most 256
// bits.
type quantity struct{ uint256.Int }

func (q *quantity) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("number %.80s: want a string of 0x and hex digits", b)
	}
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || digits == "" || len(digits) > 64 {
		return fmt.Errorf("number %.80q: want 0x and 1 to 64 hex digits", s)
	}
	raw, err := hex.DecodeString(strings.Repeat("0", 64-len(digits)) + digits)
	if err != nil {
		return fmt.Errorf("number %.80q: want 0x and 1 to 64 hex digits", s)
	}
	q.SetBytes32(raw)
	return nil
}

// uint64 returns the number when it fits.
func (q *quantity) uint64(what string) (uint64, error) {
	if !q.IsUint64() {
		return 0, fmt.Errorf("the node gives %s %s, which is above 64 bits", what, q.Dec())
	}
	return q.Uint64(), nil
}

// data is bytes as JSON-RPC writes them.
type data []byte

func (d *data) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("bytes %.80s: want a string of 0x and hex digits", b)
	}
	digits, ok := strings.CutPrefix(s, "0x")
	raw, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return fmt.Errorf("bytes %.80q: want 0x and pairs of hex digits", s)
	}
	*d = raw
	return nil
}

func hexBytes(b []byte) string { return "0x" + hex.EncodeToString(b) }

// address is an account as JSON-RPC writes it; nodes differ in whether they
// write the checksum.
type address evm.Address

func (a *address) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("address %.80s: want a string", b)
	}
	parsed, err := evm.ParseAddress(strings.ToLower(s))
	*a = address(parsed)
	return err
}
