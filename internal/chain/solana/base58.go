package solana

import (
	"fmt"
	"math/big"
	"strings"
)

// alphabet is that of Bitcoin: no 0, O, I, l.
const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// encodeBase58 writes b as a number in base 58, and a 1 for each zero byte in
// front of it.
func encodeBase58(b []byte) string {
	// Digits, the least first. Each byte makes the number 256 times as large.
	var digits []byte
	for _, c := range b {
		carry := int(c)
		for i := range digits {
			carry += int(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
		for ; carry > 0; carry /= 58 {
			digits = append(digits, byte(carry%58))
		}
	}
	var out strings.Builder
	for i := 0; i < len(b) && b[i] == 0; i++ {
		out.WriteByte('1')
	}
	for i := len(digits) - 1; i >= 0; i-- {
		out.WriteByte(alphabet[digits[i]])
	}
	return out.String()
}

// decodeBase58 reads exactly len(dst) bytes. Each value has one text, so that
// what it accepts encodes to the same text.
func decodeBase58(s string, dst []byte) error {
	if len(s) > 2*len(dst) {
		return fmt.Errorf("%d characters, want at most %d", len(s), (len(dst)*138+99)/100)
	}
	n, digit := new(big.Int), new(big.Int)
	zeros := 0
	for i := range len(s) {
		d := strings.IndexByte(alphabet, s[i])
		if d < 0 {
			return fmt.Errorf("%q at %d is no character of base58", s[i], i)
		}
		if d == 0 && zeros == i {
			zeros++
		}
		n.Mul(n, big.NewInt(58)).Add(n, digit.SetInt64(int64(d)))
	}
	size := (n.BitLen() + 7) / 8
	if zeros+size != len(dst) {
		return fmt.Errorf("it is %d bytes in base58, want %d", zeros+size, len(dst))
	}
	n.FillBytes(dst)
	return nil
}
