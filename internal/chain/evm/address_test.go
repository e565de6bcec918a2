package evm

import (
	"strings"
	"testing"
)

// The vectors of EIP-55.
var eip55 = []string{
	"0x52908400098527886E0F7030069857D2E4169EE7",
	"0x8617E340B3D01FA5F11F306F4090FD50E238070D",
	"0xde709f2102306220921060314715629080e2fb77",
	"0x27b1fdb04752bbc536007a920d24acb045561c26",
	"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
	"0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
	"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
	"0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
}

func TestEIP55(t *testing.T) {
	for _, want := range eip55 {
		for _, s := range []string{want, strings.ToLower(want)} {
			a, err := ParseAddress(s)
			if err != nil {
				t.Errorf("%s: %v", s, err)
			} else if a.String() != want {
				t.Errorf("%s is formatted as %s", want, a)
			}
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	const good = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	for name, c := range map[string]struct{ s, word string }{
		"wrong checksum": {"0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "it is " + good},
		"all upper":      {"0x" + strings.ToUpper(good[2:]), "it is " + good},
		"no prefix":      {good[2:], "want 0x and 40 hex digits"},
		"upper prefix":   {"0X" + good[2:], "want 0x and 40 hex digits"},
		"short":          {good[:41], "want 0x and 40 hex digits"},
		"long":           {good + "0", "want 0x and 40 hex digits"},
		"not hex":        {good[:41] + "g", "want 0x and 40 hex digits"},
		"space":          {good[:41] + " ", "want 0x and 40 hex digits"},
		"empty":          {"", "want 0x and 40 hex digits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAddress(c.s)
			wantError(t, err, c.word)
		})
	}
}

func TestChainsAndAccounts(t *testing.T) {
	for _, bad := range []string{"", "eip155", "eip155:", "eip155:0", "eip155:01", "eip155:+1", "eip155:-1", "eip155:1 ",
		"EIP155:1", "eip155:0x1", "solana:1", "eip155:9223372036854775772", "eip155:18446744073709551616", "eip155:1:0x00"} {
		if _, err := ParseChain(bad); err == nil {
			t.Errorf("chain %q was accepted", bad)
		}
	}
	if id, err := ParseChain("eip155:9223372036854775771"); err != nil || id != maxChainID {
		t.Errorf("the greatest chain id: %d, %v", id, err)
	}
	good := "eip155:137:" + eip55[4]
	if on, a, err := ParseAccount(good); err != nil || on != "eip155:137" || a.String() != eip55[4] {
		t.Errorf("account %s: %s %s %v", good, on, a, err)
	}
	_, _, err := ParseAccount(strings.ToLower(good))
	wantError(t, err, "want it with its checksum, "+good)
	for _, bad := range []string{"", eip55[4], "eip155:" + eip55[4], ":" + eip55[4], good + ":", "eip155:1::" + eip55[4]} {
		if _, _, err := ParseAccount(bad); err == nil {
			t.Errorf("account %q was accepted", bad)
		}
	}
}

func TestAddressOfRefuses(t *testing.T) {
	good := key().PubKey().SerializeCompressed()
	offCurve := append([]byte(nil), good...)
	for i := 1; ; i++ { // half of all x have no y
		offCurve[32] = byte(i)
		if _, err := AddressOf(offCurve); err != nil {
			wantError(t, err, "not a point of secp256k1")
			break
		}
	}
	for _, bad := range [][]byte{nil, good[:32], append(good, 0), key().PubKey().SerializeUncompressed(), make([]byte, 33)} {
		if _, err := AddressOf(bad); err == nil {
			t.Errorf("public key %x was accepted", bad)
		}
	}
	if _, err := (Codec{}).Address("eip155:x", good); err == nil {
		t.Error("an address on a chain without a number was given")
	}
}
