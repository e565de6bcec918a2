package family

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
)

const (
	alice = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"
	bob   = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"
)

func TestOf(t *testing.T) {
	for name, want := range map[string]string{"eip155:1": "eip155", alice: "eip155", bob: "solana", "solana:x": "solana"} {
		if c, err := Of(name); err != nil || c.Namespace() != want {
			t.Errorf("Of(%q): %v, %v", name, c, err)
		}
	}
	for _, name := range []string{"", "eip155", "eip1555:1", "bip122:000000000019d6689c085ae165831e93", "\x1b[2J:1"} {
		if _, err := Of(name); err == nil || !strings.Contains(err.Error(), "want one of eip155, solana") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("Of(%q): %v", name, err)
		}
	}
}

func TestChecks(t *testing.T) {
	for _, a := range []string{alice, bob, "hedera:mainnet:0.0.123"} {
		if err := CheckAccount(a); err != nil {
			t.Error(err)
		}
	}
	for a, want := range map[string]string{
		"alice": "want a CAIP-10 account", strings.ToLower(alice): "want it with its checksum", bob + "11": "want 32",
		strings.Replace(bob, "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EtWTRABZaYq6iMfeYKouRu166VU2xqa1", 1): "does not name its cluster",
	} {
		if err := CheckAccount(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckAccount(%q): %v, want %q", a, err, want)
		}
	}
	for id, want := range map[string]string{"eip155:01": "want eip155 and a decimal chain id", "solana:devnet": "does not name its cluster", "main": "want a CAIP-2 id"} {
		if err := CheckChain(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckChain(%q): %v, want %q", id, err, want)
		}
	}
	for _, id := range []string{"eip155:1", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "hedera:mainnet"} {
		if err := CheckChain(id); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckAsset(t *testing.T) {
	contract := strings.TrimPrefix(alice, "eip155:1:")
	for _, a := range []string{
		"eip155:1/slip44:60", "eip155:10/erc20:" + contract, "eip155:1/erc721:" + contract, "eip155:1/erc1155:" + contract + "/0",
		"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/slip44:501", "hedera:mainnet/token:0.0.1",
	} {
		if err := CheckAsset(a); err != nil {
			t.Error(err)
		}
	}
	for a, want := range map[string]string{
		"ETH": "want a CAIP-19 asset", "eip155:01/slip44:60": "want eip155 and a decimal chain id", "eip155:1/slip44:61": "want eip155:1/slip44:60",
		"eip155:1/erc20:" + strings.ToLower(contract): "want it with its checksum", "eip155:1/erc721:0x12": "40 hex digits",
		"eip155:1/erc1155:" + contract: "want the token's number", "eip155:1/other:1": "want one of slip44",
		"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/token:x": "no other of this chain",
	} {
		if err := CheckAsset(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckAsset(%q): %v, want %q", a, err, want)
		}
	}
	if err := CheckMethod(&chain.Method{Contract: alice, Signature: "f(bool x)"}); err != nil {
		t.Error(err)
	}
	if err := CheckMethod(&chain.Method{Contract: bob, Signature: "f(bool x)"}); err == nil {
		t.Error("a method of a Solana account was accepted")
	}
}

func TestNative(t *testing.T) {
	for id, want := range map[string]string{"eip155:10": "eip155:10/slip44:60 ETH wei", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/slip44:501 SOL lamport"} {
		asset, units := Native(id)
		if got := asset + " " + units[0].Symbol + " " + units[len(units)-1].Symbol; got != want || units[len(units)-1].Decimals != 0 {
			t.Errorf("Native(%s) is %s, want %s", id, got, want)
		}
	}
}
