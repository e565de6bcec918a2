package devnode

import (
	"fmt"
	"math/big"
	"strings"
)

// opcodes that the token uses (yellow paper, appendix H).
var opcodes = map[string]byte{
	"ADD": 0x01, "SUB": 0x03, "LT": 0x10, "EQ": 0x14, "SHL": 0x1b, "SHR": 0x1c, "SHA3": 0x20, "CALLER": 0x33,
	"CALLVALUE": 0x34, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CODECOPY": 0x39, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55,
	"JUMP": 0x56, "JUMPI": 0x57, "DUP1": 0x80, "DUP2": 0x81, "DUP3": 0x82, "SWAP1": 0x90, "LOG3": 0xa3,
	"RETURN": 0xf3, "REVERT": 0xfd,
}

// assemble turns words into code: a mnemonic; a number, which is pushed in as few
// bytes as it takes; `name:`, a place to jump to; `@name`, which pushes that
// place; `@end`, which pushes the length of the code. A ; starts a comment.
func assemble(source string) ([]byte, error) {
	var code []byte
	places, uses := map[string]int{}, map[int]string{}
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(line, ";")
		for word := range strings.FieldsSeq(line) {
			op, known := opcodes[word]
			number, isNumber := new(big.Int).SetString(word, 0)
			switch {
			case known:
				code = append(code, op)
			case isNumber && number.Sign() >= 0 && number.BitLen() <= 256:
				b := number.Bytes()
				if len(b) == 0 {
					b = []byte{0}
				}
				code = append(append(code, 0x5f+byte(len(b))), b...) // PUSH1 is 0x60
			case strings.HasSuffix(word, ":"):
				places[strings.TrimSuffix(word, ":")] = len(code)
				code = append(code, 0x5b) // JUMPDEST
			case strings.HasPrefix(word, "@"):
				uses[len(code)+1] = word[1:]
				code = append(code, 0x61, 0, 0) // PUSH2
			default:
				return nil, fmt.Errorf("unknown word %q", word)
			}
		}
	}
	places["end"] = len(code)
	for at, name := range uses {
		place, ok := places[name]
		if !ok || place > 0xffff {
			return nil, fmt.Errorf("no place @%s", name)
		}
		code[at], code[at+1] = byte(place>>8), byte(place)
	}
	return code, nil
}
