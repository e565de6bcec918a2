package amount

import (
	"strings"
	"testing"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/chain"
)

var usdc = Unit{"USDC", 6}

const max = "115792089237316195423570985008687907853269984665640564039457584007913129639935"

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"0.1 ETH":                          "100000000000000000",
		"100000000000000000 wei":           "100000000000000000",
		"1.5 USDC":                         "1500000",
		"1.5usdc":                          "1500000",
		" 2  Gwei ":                        "2000000000",
		"0 ETH":                            "0",
		"0.0 ETH":                          "0",
		"007 wei":                          "7",
		"0.000000000000000001 ETH":         "1",
		"1.100000 USDC":                    "1100000",
		max + " wei":                       max,
		max[:60] + "." + max[60:] + " ETH": max,
	} {
		got, err := Parse(text, append(Ether, usdc)...)
		if err != nil || got.Dec() != want {
			t.Errorf("%q is %s, %v, want %s", text, got.Dec(), err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, word := range map[string]string{
		"":                                "no unit, want one of ETH, gwei, wei",
		"1":                               "no unit",
		"-1 ETH":                          "negative",
		"+1 ETH":                          `unknown unit "+1 ETH"`,
		"1 DOGE":                          `unknown unit "DOGE", want one of ETH, gwei, wei`,
		"ETH":                             `"" is not a number`,
		".5 ETH":                          `".5" is not a number`,
		"5. ETH":                          `"5." is not a number`,
		"1.2.3 ETH":                       `"1.2.3" is not a number`,
		". ETH":                           `"." is not a number`,
		"1,5 ETH":                         "no commas, no exponent",
		"1_000 wei":                       "no commas, no exponent",
		"1e18 wei":                        "no commas, no exponent",
		"0x10 wei":                        "unknown unit",
		"1 000 wei":                       "unknown unit",
		"٣ wei":                           "unknown unit",
		"NaN ETH":                         "unknown unit",
		"0.5 wei":                         "1 decimals, wei has at most 0",
		"0.0000000000000000001 ETH":       "19 decimals, ETH has at most 18",
		"1 ETH\n":                         "",
		"1\tETH":                          "unknown unit",
		max[:len(max)-1] + "6 wei":        "above 256 bits, at most " + max,
		max + " ETH":                      "above 256 bits",
		strings.Repeat("9", 300) + " wei": "304 characters, at most 200",
	} {
		_, err := Parse(text, Ether...)
		if word == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: error %v, want one that says %q", text, err, word)
		}
	}
}

func TestFormat(t *testing.T) {
	a := *uint256.NewInt(100000000000000000)
	if got, want := FormatBoth(a, ETH, Wei), "0.1 ETH (100000000000000000 wei)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for v, want := range map[uint64]string{0: "0 USDC", 1: "0.000001 USDC", 1000000: "1 USDC", 12345678: "12.345678 USDC", 10000000: "10 USDC"} {
		if got := Format(*uint256.NewInt(v), usdc); got != want {
			t.Errorf("%d is %q, want %q", v, got, want)
		}
	}
}

// TestParseReadsWhatFormatWrites, for every amount and every number of decimals.
func TestParseReadsWhatFormatWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a chain.Amount
		a.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "amount"))
		unit := Unit{"X", rapid.Uint8Range(0, 77).Draw(t, "decimals")}
		text := Format(a, unit)
		if got, err := Parse(text, unit); err != nil || got != a {
			t.Fatalf("%s is written %q, which is read as %s, %v", a.Dec(), text, got.Dec(), err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("0.1 ETH")
	f.Add("1.5usdc")
	f.Fuzz(func(t *testing.T, text string) {
		units := append(Ether[:len(Ether):len(Ether)], usdc)
		a, err := Parse(text, units...)
		if err != nil {
			return
		}
		if again, err := Parse(Format(a, ETH), units...); err != nil || again != a {
			t.Fatalf("%q is read as %s, which is written %q", text, a.Dec(), Format(a, ETH))
		}
	})
}
