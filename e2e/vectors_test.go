package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

var update = flag.Bool("update", false, "write internal/chain/evm/testdata/geth.json anew")

const vectorFile = "../internal/chain/evm/testdata/geth.json"

type seed struct {
	name     string
	unsigned []byte
}

// seeds are transactions made by geth, and what a sloppy decoder would accept.
func seeds(t testing.TB) []seed {
	to := common.HexToAddress("0x3535353535353535353535353535353535353535")
	big256 := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	v := func(chainID int64) *big.Int { return big.NewInt(chainID*2 + 35) }
	list := types.AccessList{{Address: to, StorageKeys: []common.Hash{{}, {31: 1}}}, {StorageKeys: []common.Hash{}}}
	var out []seed
	for name, data := range map[string]types.TxData{
		"eip-155 example": &types.LegacyTx{Nonce: 9, GasPrice: big.NewInt(20e9), Gas: 21000, To: &to, Value: big.NewInt(1e18), V: v(1), R: new(big.Int), S: new(big.Int)},
		"legacy creation": &types.LegacyTx{Gas: 1e6, GasPrice: big.NewInt(1), Value: new(big.Int), Data: bytes.Repeat([]byte{1}, 300), V: v(31337), R: new(big.Int), S: new(big.Int)},
		"legacy zeros":    &types.LegacyTx{GasPrice: new(big.Int), Value: new(big.Int), V: v(1), R: new(big.Int), S: new(big.Int)},
		"transfer":        &types.DynamicFeeTx{ChainID: big.NewInt(1), Nonce: 7, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(10), Gas: 21000, To: &to, Value: big.NewInt(5)},
		"zeros":           &types.DynamicFeeTx{ChainID: big.NewInt(1)},
		"greatest": &types.DynamicFeeTx{ChainID: big.NewInt(maxChainID), Nonce: 1<<64 - 1, GasTipCap: big256, GasFeeCap: big256, Gas: 1<<64 - 1,
			To: &to, Value: big256, Data: bytes.Repeat([]byte{0xff}, 56), AccessList: list},
		"erc-20 transfer": &types.DynamicFeeTx{ChainID: big.NewInt(137), Nonce: 128, GasTipCap: big.NewInt(127), GasFeeCap: big.NewInt(128), Gas: 65000, To: &to,
			Data: erc20(t, "transfer", to, big.NewInt(1e6))},
		"access list": &types.DynamicFeeTx{ChainID: big.NewInt(1), To: &to, AccessList: list},
		"data 0":      &types.DynamicFeeTx{ChainID: big.NewInt(1), To: &to, Data: []byte{0}},
		"data 55":     &types.DynamicFeeTx{ChainID: big.NewInt(1), To: &to, Data: make([]byte, 55)},
		"data 256":    &types.DynamicFeeTx{ChainID: big.NewInt(1), To: &to, Data: make([]byte, 256)},
	} {
		out = append(out, seed{name, unsignedBytes(t, types.NewTx(data))})
	}
	for name, s := range map[string]string{
		"empty":                    "",
		"before eip-155":           "e9098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080",
		"chain id 0":               "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080808080",
		"r written as a byte":      "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080010080",
		"recipient as empty list":  "02cc0180808080c0808080c0c0",
		"recipient as list":        "02ca0180808080c08080c0",
		"single byte with length":  "02cb8101808080808080" + "80c0",
		"nonce with leading zero":  "02cb018200018080808080" + "80c0",
		"list in the long form":    "02f8090180808080808080c0",
		"trailing byte":            "02c90180808080808080c000",
		"access list as string":    "02c9018080808080808080",
		"access list of a list":    "02ca0180808080808080c1c0",
		"signed":                   "02cc0180808080808080c0800101",
		"value of 33 bytes":        "02ea018080808080a1" + strings.Repeat("01", 33) + "80c0",
		"chain id above eip-2294":  "02d1887fffffffffffffdc80808080808080c0",
		"type 1":                   "01c90180808080808080c0",
		"type 3":                   "03c90180808080808080c0",
		"type 4":                   "04c90180808080808080c0",
		"type 2 without its bytes": "02",
	} {
		out = append(out, seed{name, common.FromHex(s)})
	}
	slices.SortFunc(out, func(a, b seed) int { return strings.Compare(a.name, b.name) })
	return out
}

// corpus reads the inputs that fuzzing found interesting.
func corpus(t testing.TB) []seed {
	files, err := filepath.Glob("testdata/fuzz/FuzzEVMCodec/*")
	if err != nil {
		t.Fatal(err)
	}
	var out []seed
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(b), "\n[]byte(")
		text, err := strconv.Unquote(strings.TrimSuffix(strings.TrimSpace(line), ")"))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, seed{"fuzz " + filepath.Base(f), []byte(text)})
	}
	return out
}

// TestVectorsAreGeths fails when the root module's golden vectors are not what
// geth says today; go test -run TestVectorsAreGeths -update writes them.
func TestVectorsAreGeths(t *testing.T) {
	var vectors []vector
	seen := map[string]bool{}
	add := func(name string, unsigned []byte) {
		if seen[string(unsigned)] {
			return
		}
		seen[string(unsigned)] = true
		v := vector{Unsigned: hex(unsigned)}
		if theirs, err := judge(unsigned); err == nil && withinBounds(theirs, len(unsigned)) {
			v = signVector(t, unsigned, bytes.Repeat([]byte{0x46}, 32))
		}
		v.Name = name
		vectors = append(vectors, v)
	}
	for _, s := range append(seeds(t), corpus(t)...) {
		add(s.name, s.unsigned)
		if !strings.HasPrefix(s.name, "fuzz ") {
			continue
		}
		k := taker{s.unsigned}
		k.bytes(10)
		add(s.name+", as fields", unsignedBytes(t, types.NewTx(k.transaction())))
	}
	sortVectors(vectors)
	var lines [][]byte // one vector a line
	for _, v := range vectors {
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	b := append(append([]byte("[\n"), bytes.Join(lines, []byte(",\n"))...), "\n]\n"...)
	if *update {
		if err := os.MkdirAll(filepath.Dir(vectorFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b) {
		t.Errorf("%s is not what geth says; run this test with -update", vectorFile)
	}
}

const erc20ABI = `[
{"type":"function","name":"transfer","inputs":[{"name":"to","type":"address"},{"name":"value","type":"uint256"}]},
{"type":"function","name":"approve","inputs":[{"name":"spender","type":"address"},{"name":"value","type":"uint256"}]},
{"type":"function","name":"transferFrom","inputs":[{"name":"from","type":"address"},{"name":"to","type":"address"},{"name":"value","type":"uint256"}]}]`

func erc20(t testing.TB, method string, args ...any) []byte {
	t.Helper()
	contract, err := abi.JSON(strings.NewReader(erc20ABI))
	if err != nil {
		t.Fatal(err)
	}
	data, err := contract.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzERC20Calls compares the reading of token calls with geth's ABI: what geth
// packs is understood, and what is understood is what geth unpacks.
func FuzzERC20Calls(f *testing.F) {
	a, b := common.Address{1}, common.Address{19: 2}
	f.Add(erc20(f, "transfer", a, big.NewInt(3)))
	f.Add(erc20(f, "approve", b, big.NewInt(4)))
	f.Add(erc20(f, "transferFrom", a, b, big.NewInt(5)))
	contract, err := abi.JSON(strings.NewReader(erc20ABI))
	if err != nil {
		f.Fatal(err)
	}
	const me, token = "eip155:1:0x3535353535353535353535353535353535353535", "eip155:1/erc20:0x0000000000000000000000000000000000000007"
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &evm.Intent{To: &evm.Address{19: 7}, Data: data}
		e, err := evm.Codec{}.Intent("eip155:1", me, in.Encode(), chain.Amount{}, nil)
		if err != nil || len(data) < 4 {
			return
		}
		account := func(a any) string { return "eip155:1:" + a.(common.Address).Hex() }
		want := ""
		m, err := contract.MethodById(data[:4])
		if err != nil && e.Undecoded == "" {
			return // another built-in method (FuzzCallArguments)
		}
		if err == nil {
			args, err := m.Inputs.Unpack(data[4:])
			if err != nil {
				if e.Undecoded == "" {
					t.Fatalf("%x is understood, geth says %v", data, err)
				}
				return
			}
			// Geth's reader allows dirty padding and bytes at the end; its writer
			// has one form, and that is the strict one.
			if strict, err := m.Inputs.Pack(args...); err != nil || !bytes.Equal(strict, data[4:]) {
				if e.Undecoded == "" {
					t.Fatalf("%x is understood, geth would write %x", data, strict)
				}
				return
			}
			switch m.Name {
			case "transfer":
				want = "transfer " + me + " " + account(args[0]) + " " + args[1].(*big.Int).String()
			case "approve":
				want = "approve " + me + " " + account(args[0]) + " " + args[1].(*big.Int).String()
			case "transferFrom":
				want = "transfer " + account(args[0]) + " " + account(args[1]) + " " + args[2].(*big.Int).String()
			}
		}
		got := ""
		for _, x := range e.Transfers {
			got += "transfer " + x.From + " " + x.To + " " + x.Amount.Dec()
			if x.Asset != token {
				t.Fatalf("asset %s, want %s", x.Asset, token)
			}
		}
		for _, x := range e.Approvals {
			got += "approve " + x.Owner + " " + x.Spender + " " + x.Amount.Dec()
		}
		if got != want || (e.Undecoded == "") != (want != "") {
			t.Fatalf("%x: %q %q, want %q", data, got, e.Undecoded, want)
		}
	})
}

func sortVectors(v []vector) {
	slices.SortFunc(v, func(a, b vector) int { return strings.Compare(a.Name, b.Name) })
}
