package solana

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cofferhq/coffer/internal/chain"
)

func wants(t *testing.T, cases map[string]error) {
	t.Helper()
	for want, err := range cases {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

func TestIntentRefuses(t *testing.T) {
	decode := func(in Intent, more ...byte) error {
		_, err := DecodeIntent(append(in.Encode(), more...))
		return err
	}
	pay := []Transfer{{bob, 1}}
	many := make([]Transfer, MaxTransfers+1)
	for i := range many {
		many[i].To = bob
	}
	wants(t, map[string]error{
		"0 transfers":                    decode(Intent{}),
		"above the bound":                decode(Intent{Transfers: many}),
		"transfer 2 goes to 1111":        decode(Intent{Transfers: []Transfer{{bob, 1}, {SystemProgram, 1}}}),
		"transfer 1 goes to SysvarRecen": decode(Intent{Transfers: []Transfer{{RecentBlockhashes, 1}}}),
		"memo: byte 0x5c at 1":           decode(Intent{Transfers: pay, Memo: `a\b`}),
		"memo: byte 0x7f at 0":           decode(Intent{Transfers: pay, Memo: "\x7f"}),
		"couldn't decode intent: 1 byte": decode(Intent{Transfers: pay}, 0),
	})
	compile := func(in Intent) error {
		_, err := (&Transaction{Payer: wallet, Intent: in}).Message()
		return err
	}
	to := make([]Transfer, 40)
	for i := range to {
		to[i].To[0], to[i].To[1] = 7, byte(i)
	}
	wants(t, map[string]error{
		"0 transfers":        compile(Intent{}),
		"pay fewer at once":  compile(Intent{Transfers: to}),
		"memo: byte 0x22 at": compile(Intent{Transfers: pay, Memo: `"`}),
	})
}

func TestCodecRefuses(t *testing.T) {
	c, in, good := Codec{}, NewTransfer(bob, 1_000_000_000).Encode(), encoded(t, payment())
	fee := lamports(5000)
	prepare := func(sender string, intent, unsigned []byte) error {
		_, err := c.Prepare(Mainnet, sender, intent, fee, unsigned, nil)
		return err
	}
	intent := func(chainName, sender string, intent []byte) error {
		_, err := c.Intent(chainName, sender, intent, fee, nil)
		return err
	}
	assemble := func(sender string, unsigned []byte) error {
		_, _, err := c.Assemble(sender, unsigned, []chain.Signature{{}})
		return err
	}
	address := func(chainName string, key []byte) error {
		_, err := c.Address(chainName, key)
		return err
	}
	other, err := payment().Message()
	if err != nil {
		t.Fatal(err)
	}
	other.Accounts[2] = Address{9}
	_, blockhash := ParseBlockhash("0")
	wants(t, map[string]error{
		"sender: account":                   prepare("x", in, good),
		"couldn't decode intent":            prepare(Account(wallet), in[1:], good),
		"couldn't decode message":           prepare(Account(wallet), in, good[1:]),
		"instruction 1: calls program":      prepare(Account(wallet), in, other.Encode()),
		"want " + Mainnet:                   intent("solana:devnet", Account(wallet), in),
		"sender: account \"y\"":             intent(Mainnet, "y", in),
		"couldn't decode intent: version":   intent(Mainnet, Account(wallet), []byte{9}),
		"sender: account \"z\"":             assemble("z", good),
		"couldn't decode message: accounts": assemble(Account(wallet), good[1:]),
		"public key of 31 bytes, want 32":   address(Mainnet, wallet[1:]),
		"solana:x":                          address("solana:x", wallet[:]),
		"blockhash \"0\"":                   blockhash,
	})
	if err := decodeBase58(strings.Repeat("1", 65), make([]byte, 32)); err == nil || !strings.Contains(err.Error(), "65 characters, want at most 45") {
		t.Error(err)
	}
}

// A memo is a call, which a rule for transfers alone does not pass.
func TestMemoEffects(t *testing.T) {
	in := &Intent{Transfers: []Transfer{{bob, 1}, {wallet, 0}}, Memo: "invoice 7"}
	e, err := Codec{}.Intent(Mainnet, Account(wallet), in.Encode(), lamports(9), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := Account(wallet)
	if d := cmp.Diff(&chain.Effects{
		Chain: Mainnet, Sender: w, MaxFee: lamports(9),
		Transfers: []chain.Transfer{{From: w, To: Account(bob), Asset: NativeAsset, Amount: lamports(1)}, {From: w, To: w, Asset: NativeAsset}},
		Calls:     []chain.Call{{To: Account(MemoProgram), Method: `memo("invoice 7")`}},
	}, e); d != "" {
		t.Error(d)
	}
}
