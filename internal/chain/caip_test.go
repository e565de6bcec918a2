package chain

import (
	"strings"
	"testing"
)

func TestCAIP(t *testing.T) {
	for _, s := range []string{"eip155:1", "bip122:000000000019d6689c085ae165831e93", "cosmos:cosmoshub-3", "a-1:A_b-" + strings.Repeat("x", 28)} {
		if err := CheckID(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "eip155", "eip155:", ":1", "ei:1", "EIP155:1", "eip155eip:1", "eip155:1:2", "eip155:" + strings.Repeat("1", 33), "eip 155:1", "eip155:1\n", "eip155:é"} {
		if err := CheckID(s); err == nil || !strings.Contains(err.Error(), "want a CAIP-2 id such as eip155:1") {
			t.Errorf("CheckID(%q): %v", s, err)
		}
	}
	id, address, err := ParseAccount("hedera:mainnet:0.0.1234567890-zbhlt")
	if err != nil || id != "hedera:mainnet" || address != "0.0.1234567890-zbhlt" {
		t.Errorf("got %q, %q, %v", id, address, err)
	}
	for _, s := range []string{"", "0x52908400098527886E0F7030069857D2E4169EE7", "eip155:1", "eip155:1:", "eip155:1:a b", "eip155:1:" + strings.Repeat("a", 129), "EIP155:1:a", "eip155:1:a/b"} {
		if _, _, err := ParseAccount(s); err == nil || !strings.Contains(err.Error(), "want a CAIP-10 account") {
			t.Errorf("ParseAccount(%q): %v", s, err)
		}
	}
	id, namespace, reference, err := ParseAsset("eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F")
	if err != nil || id != "eip155:1" || namespace != "erc20" || reference != "0x6B175474E89094C44Da98b954EedeAC495271d0F" {
		t.Errorf("got %q, %q, %q, %v", id, namespace, reference, err)
	}
	if _, namespace, reference, err = ParseAsset("eip155:1/erc1155:0xA/10"); err != nil || namespace != "erc1155" || reference != "0xA/10" {
		t.Errorf("got %q, %q, %v", namespace, reference, err)
	}
	for _, s := range []string{"eip155:1/erc1155:0xA/", "eip155:1/erc1155:0xA/01", "eip155:1/erc1155:0xA/x", "eip155:1/erc1155:0xA/1/2", "eip155:1/erc1155:/1", "eip155:1/erc1155:0xA/" + strings.Repeat("9", 79), "eip155:1/erc721:0xA/1",
		"", "ETH", "eip155:1", "eip155:1/", "eip155:1/slip44", "eip155:1/slip44:", "eip155:1/SLIP44:60", "eip155:1/s:60", "eip155:/slip44:60", "eip155:1/slip44:60/1", "eip155:1/slip44:" + strings.Repeat("6", 129)} {
		if _, _, _, err := ParseAsset(s); err == nil || !strings.Contains(err.Error(), "want a CAIP-19 asset") {
			t.Errorf("ParseAsset(%q): %v", s, err)
		}
	}
}
