// Package amount reads and writes amounts as people do: "0.1 ETH",
// "100000000000000000 wei", "1.5 USDC". Inside Coffer an amount is always a
// whole number of the smallest unit; this package is where the two meet.
//
// Nothing is rounded, in neither direction, and an amount without a unit is
// refused: the difference between 1 wei and 1 ETH is not for software to guess.
// A symbol is only a name: which asset "USDC" is, the caller's policy says.
package amount

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
)

// Unit is a name for 10^Decimals of an asset's smallest unit.
type Unit struct {
	Symbol   string
	Decimals uint8
}

// The units of ether.
var (
	Wei  = Unit{"wei", 0}
	Gwei = Unit{"gwei", 9}
	ETH  = Unit{"ETH", 18}
)

// Ether is all of them, for Parse.
var Ether = []Unit{ETH, Gwei, Wei}

// The units of SOL, Solana's coin.
var (
	Lamport = Unit{"lamport", 0}
	SOL     = Unit{"SOL", 9}
)

// Sol is all of them, for Parse.
var Sol = []Unit{SOL, Lamport}

// maxText bounds what Parse looks at: 2²⁵⁶ has 78 digits.
const maxText = 200

// Parse reads a decimal number and one of the units, which are matched without
// regard to case. There are no signs, no exponents, no separators.
func Parse(text string, units ...Unit) (chain.Amount, error) {
	a, err := parse(strings.TrimSpace(text), units)
	if err != nil {
		return chain.Amount{}, fmt.Errorf("amount %.*q: %w", maxText, text, err)
	}
	return a, nil
}

func parse(text string, units []Unit) (a chain.Amount, err error) {
	if len(text) > maxText {
		return a, fmt.Errorf("%d characters, at most %d", len(text), maxText)
	}
	if strings.HasPrefix(text, "-") {
		return a, fmt.Errorf("it is negative, want 0 or more")
	}
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		return a, fmt.Errorf("it names no unit, want one of %s", names(units))
	}
	if number, _, _ := strings.Cut(text, " "); strings.ContainsAny(number, ",_") || exponent(number[min(end, len(number)):]) {
		return a, fmt.Errorf("%q is not a number, want digits and a point like 1500.5: no commas, no exponent", number)
	}
	number, symbol := text[:end], strings.TrimLeft(text[end:], " ")
	unit, err := find(symbol, units)
	if err != nil {
		return a, err
	}
	return scale(number, unit)
}

// exponent says that what follows the digits is one: "e80", "E-3".
func exponent(rest string) bool {
	return len(rest) > 1 && (rest[0] == 'e' || rest[0] == 'E') && strings.ContainsAny(rest[1:2], "+-0123456789")
}

// scale returns number · 10^decimals exactly.
func scale(number string, unit Unit) (a chain.Amount, err error) {
	whole, fraction, point := strings.Cut(number, ".")
	if whole == "" || (point && fraction == "") || strings.Contains(fraction, ".") {
		return a, fmt.Errorf("%q is not a number, want digits like 12 or 0.5", number)
	}
	if len(fraction) > int(unit.Decimals) {
		return a, fmt.Errorf("%d decimals, %s has at most %d", len(fraction), unit.Symbol, unit.Decimals)
	}
	digits := strings.TrimLeft(whole+fraction+strings.Repeat("0", int(unit.Decimals)-len(fraction)), "0")
	if digits == "" {
		return a, nil
	}
	if err := a.SetFromDecimal(digits); err != nil {
		return chain.Amount{}, fmt.Errorf("it is above 256 bits, at most %s", Format(max256(), unit))
	}
	return a, nil
}

func max256() (a chain.Amount) { return *a.SetAllOne() }

func find(symbol string, units []Unit) (Unit, error) {
	for _, u := range units {
		if strings.EqualFold(symbol, u.Symbol) {
			return u, nil
		}
	}
	return Unit{}, fmt.Errorf("unknown unit %q, want one of %s", symbol, names(units))
}

func names(units []Unit) string {
	var s []string
	for _, u := range units {
		s = append(s, u.Symbol)
	}
	return strings.Join(s, ", ")
}

// Format writes the amount in a unit, exactly and without trailing zeros:
// "0.1 ETH". Parse reads it back.
func Format(a chain.Amount, unit Unit) string {
	digits := a.Dec()
	d := int(unit.Decimals)
	if len(digits) <= d {
		digits = strings.Repeat("0", d+1-len(digits)) + digits
	}
	whole, fraction := digits[:len(digits)-d], strings.TrimRight(digits[len(digits)-d:], "0")
	if fraction != "" {
		whole += "." + fraction
	}
	return whole + " " + unit.Symbol
}

// FormatBoth writes the amount in a unit and in the smallest one:
// "0.1 ETH (100000000000000000 wei)".
func FormatBoth(a chain.Amount, unit, smallest Unit) string {
	return Format(a, unit) + " (" + Format(a, smallest) + ")"
}
