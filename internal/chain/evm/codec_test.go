package evm

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
)

const mainnet = "eip155:1"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func address(t testing.TB, s string) Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func amount(v uint64) chain.Amount { return *uint256.NewInt(v) }

// key is the private key of EIP-155's example.
func key() *secp256k1.PrivateKey {
	return secp256k1.PrivKeyFromBytes(bytes.Repeat([]byte{0x46}, 32))
}

func sign(k *secp256k1.PrivateKey, digest [32]byte) chain.Signature {
	compact := ecdsa.SignCompact(k, digest[:], false)
	return chain.Signature{R: [32]byte(compact[1:33]), S: [32]byte(compact[33:]), RecoveryID: compact[0] - 27}
}

func sender(t testing.TB) string {
	t.Helper()
	account, err := Codec{}.Address(mainnet, key().PubKey().SerializeCompressed())
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// wantError fails unless err says every one of the words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// TestEIP155Example is the worked example of EIP-155: unsigned bytes, digest,
// signed bytes.
func TestEIP155Example(t *testing.T) {
	unsigned := unhex(t, "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080")
	const from = "eip155:1:0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
	if got := sender(t); got != from {
		t.Fatalf("address %s, want %s", got, from)
	}
	in := NewTransfer(address(t, "0x3535353535353535353535353535353535353535"), amount(1e18))
	fee := amount(21000 * 20e9)
	got, err := Codec{}.Prepare(mainnet, from, in.Encode(), fee, unsigned, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &chain.Prepared{
		Effects: &chain.Effects{
			Chain: mainnet, Sender: from, MaxFee: fee,
			Transfers: []chain.Transfer{{
				From: from, To: "eip155:1:0x3535353535353535353535353535353535353535",
				Asset: "eip155:1/slip44:60", Amount: amount(1e18),
			}},
		},
		Canonical: unsigned,
		Digests:   [][32]byte{[32]byte(unhex(t, "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"))},
		Slots:     []string{from + "/nonce/9"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	raw, txid, err := Codec{}.Assemble(from, unsigned, []chain.Signature{sign(key(), got.Digests[0])})
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"); !bytes.Equal(raw, want) {
		t.Errorf("raw %x, want %x", raw, want)
	}
	if want := "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788"; txid != want {
		t.Errorf("txid %s, want %s", txid, want)
	}
}

// transfer is an approved intent and a transaction that does it.
func transfer(t testing.TB) (*Intent, *Transaction) {
	to := address(t, "0x3535353535353535353535353535353535353535")
	return NewTransfer(to, amount(5)), &Transaction{
		Type: TypeDynamicFee, ChainID: 1, Nonce: 7, TipCap: amount(1), FeeCap: amount(10), Gas: 21000,
		To: &to, Value: amount(5),
	}
}

func TestPrepareRefusesWhatDiffers(t *testing.T) {
	other := address(t, "0x4646464646464646464646464646464646464646")
	huge := chain.Amount{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	for name, c := range map[string]struct {
		change func(tx *Transaction)
		words  []string
	}{
		"chain":          {func(tx *Transaction) { tx.ChainID = 10 }, []string{"chain is eip155:10", "want eip155:1"}},
		"recipient":      {func(tx *Transaction) { tx.To = &other }, []string{"recipient is 0x4646", "want 0x3535"}},
		"creation":       {func(tx *Transaction) { tx.To = nil }, []string{"recipient is none", "want 0x3535"}},
		"value":          {func(tx *Transaction) { tx.Value = amount(6) }, []string{"value is 6 wei", "want 5 wei"}},
		"data":           {func(tx *Transaction) { tx.Data = []byte{1} }, []string{"data is 1 bytes 0x01", "want 0 bytes"}},
		"long data":      {func(tx *Transaction) { tx.Data = make([]byte, 101) }, []string{"data is 101 bytes", "keccak256"}},
		"fee cap":        {func(tx *Transaction) { tx.FeeCap = amount(11) }, []string{"fee can reach 231000 wei", "at most 210000 wei"}},
		"gas":            {func(tx *Transaction) { tx.Gas = 21001 }, []string{"fee can reach 210010 wei", "at most 210000 wei"}},
		"tip above cap":  {func(tx *Transaction) { tx.TipCap = amount(11) }, []string{"priority fee cap is 11 wei", "fee cap of 10 wei"}},
		"fee overflow":   {func(tx *Transaction) { tx.FeeCap = huge }, []string{"above 256 bits"}},
		"last nonce":     {func(tx *Transaction) { tx.Nonce = math.MaxUint64 }, []string{"EIP-2681"}},
		"nothing at all": {func(*Transaction) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in, tx := transfer(t)
			c.change(tx)
			unsigned, err := tx.Encode()
			if err != nil {
				t.Fatal(err)
			}
			p, err := Codec{}.Prepare(mainnet, sender(t), in.Encode(), amount(210000), unsigned, nil)
			if c.words == nil {
				if err != nil || p.Effects.Undecoded != "" {
					t.Fatalf("the unchanged transaction is refused: %v %v", err, p)
				}
				return
			}
			wantError(t, err, c.words...)
		})
	}
}
