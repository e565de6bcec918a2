// Package typeddata compares what a vault signs of typed data (EIP-712) with what
// viem and ethers sign. `make e2e` installs them, in the versions of package.json.
package typeddata

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain/evm"
)

var update = flag.Bool("update", false, "write internal/chain/evm/testdata/typeddata.json anew")

const vectorFile = "../../internal/chain/evm/testdata/typeddata.json"

type (
	field  struct{ Name, Type string }
	object map[string]any
)

func (f field) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"name": f.Name, "type": f.Type})
}

// maker makes random typed data: every elementary type, structs in structs and in
// lists, lists of lists.
type maker struct {
	*rand.Rand
	types map[string][]field
}

func (m *maker) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return "0x" + hex.EncodeToString(b)
}

func (m *maker) typ(depth int) string {
	n := m.IntN(12)
	switch {
	case n < 2:
		return fmt.Sprintf("uint%d", 8*(1+m.IntN(32)))
	case n < 3:
		return fmt.Sprintf("int%d", 8*(1+m.IntN(32)))
	case n < 4:
		return fmt.Sprintf("bytes%d", 1+m.IntN(32))
	case n < 5:
		return "address"
	case n < 6:
		return "bool"
	case n < 7:
		return "bytes"
	case n < 8 || depth == 0:
		return "string"
	case n < 9:
		return m.typ(depth-1) + "[]"
	case n < 10:
		return m.typ(depth-1) + fmt.Sprintf("[%d]", 1+m.IntN(3))
	}
	name := string(rune('A'+m.IntN(26))) + fmt.Sprint(len(m.types))
	m.types[name] = nil
	m.fill(name, depth-1)
	return name
}

func (m *maker) fill(name string, depth int) {
	var fields []field
	for i := range 1 + m.IntN(4) {
		fields = append(fields, field{fmt.Sprintf("%c%d", 'a'+m.IntN(26), i), m.typ(depth)})
	}
	m.types[name] = fields
}

func (m *maker) value(typ string) any {
	if strings.HasSuffix(typ, "]") {
		i := strings.LastIndexByte(typ, '[')
		n := m.IntN(3)
		if number := typ[i+1 : len(typ)-1]; number != "" {
			fmt.Sscan(number, &n)
		}
		list := []any{}
		for range n {
			list = append(list, m.value(typ[:i]))
		}
		return list
	}
	if fields, ok := m.types[typ]; ok {
		o := object{}
		for _, f := range fields {
			o[f.Name] = m.value(f.Type)
		}
		return o
	}
	var n int
	switch {
	case typ == "bool":
		return m.IntN(2) == 0
	case typ == "address":
		return m.hex(20)
	case typ == "string":
		return []string{"", "x", "€ \\ \"", "a\nb", strings.Repeat("long ", 20)}[m.IntN(5)]
	case typ == "bytes":
		return m.hex(m.IntN(70))
	case strings.HasPrefix(typ, "bytes"):
		fmt.Sscan(typ[5:], &n)
		return m.hex(n)
	case strings.HasPrefix(typ, "uint"):
		fmt.Sscan(typ[4:], &n)
		x, _ := new(big.Int).SetString(m.hex(n / 8)[2:], 16)
		return x.String()
	}
	fmt.Sscan(typ[3:], &n)
	x, _ := new(big.Int).SetString(m.hex(n / 8)[2:], 16)
	return x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(n-1))).String()
}

func (m *maker) data() object {
	m.types = map[string][]field{"Top": nil}
	m.fill("Top", 3)
	types := object{}
	for k, v := range m.types {
		types[k] = v
	}
	domain := object{"chainId": 1 + m.IntN(1_000_000), "verifyingContract": "0x01" + m.hex(19)[2:]}
	fields := []field{{"chainId", "uint256"}, {"verifyingContract", "address"}}
	if m.IntN(2) == 0 {
		domain["version"] = "1"
		fields = append([]field{{"version", "string"}}, fields...)
	}
	if m.IntN(2) == 0 {
		domain["name"] = "Näme"
		fields = append([]field{{"name", "string"}}, fields...)
	}
	if m.IntN(2) == 0 {
		types["EIP712Domain"] = fields
	}
	return object{"types": types, "primaryType": "Top", "domain": domain, "message": m.value("Top")}
}

type vector struct {
	Typed  json.RawMessage `json:"typed_data"`
	Digest string          `json:"digest"`
}

// published are what others wrote down: the example of EIP-712, and a permit of
// each kind.
func published() []string {
	const token, me, you = `"0x6B175474E89094C44Da98b954EedeAC495271d0F"`, `"0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"`, `"0x70997970C51812dc3A010C7d01b50e0d17dc79C8"`
	domain := `"domain": {"name": "Token", "version": "1", "chainId": 1, "verifyingContract": ` + token + `}`
	permit2 := `"domain": {"name": "Permit2", "chainId": 1, "verifyingContract": "0x000000000022D473030F116dDEE9F6B43aC78BA3"}`
	details := `"PermitDetails": [{"name":"token","type":"address"},{"name":"amount","type":"uint160"},{"name":"expiration","type":"uint48"},{"name":"nonce","type":"uint48"}]`
	detail := `{"token":` + token + `,"amount":"1461501637330902918203684832716283019655932542975","expiration":2000000000,"nonce":0}`
	permissions := `"TokenPermissions": [{"name":"token","type":"address"},{"name":"amount","type":"uint256"}]`
	return []string{
		`{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],"Person":[{"name":"name","type":"string"},{"name":"wallet","type":"address"}],"Mail":[{"name":"from","type":"Person"},{"name":"to","type":"Person"},{"name":"contents","type":"string"}]},"primaryType":"Mail","domain":{"name":"Ether Mail","version":"1","chainId":1,"verifyingContract":"0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},"message":{"from":{"name":"Cow","wallet":"0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},"to":{"name":"Bob","wallet":"0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},"contents":"Hello, Bob!"}}`,
		`{"types":{"Permit":[{"name":"owner","type":"address"},{"name":"spender","type":"address"},{"name":"value","type":"uint256"},{"name":"nonce","type":"uint256"},{"name":"deadline","type":"uint256"}]},"primaryType":"Permit",` + domain + `,"message":{"owner":` + me + `,"spender":` + you + `,"value":"5000000","nonce":0,"deadline":2000000000}}`,
		`{"types":{"PermitSingle":[{"name":"details","type":"PermitDetails"},{"name":"spender","type":"address"},{"name":"sigDeadline","type":"uint256"}],` + details + `},"primaryType":"PermitSingle",` + permit2 + `,"message":{"details":` + detail + `,"spender":` + you + `,"sigDeadline":2000000000}}`,
		`{"types":{"PermitBatch":[{"name":"details","type":"PermitDetails[]"},{"name":"spender","type":"address"},{"name":"sigDeadline","type":"uint256"}],` + details + `},"primaryType":"PermitBatch",` + permit2 + `,"message":{"details":[` + detail + "," + detail + `],"spender":` + you + `,"sigDeadline":2000000000}}`,
		`{"types":{"PermitTransferFrom":[{"name":"permitted","type":"TokenPermissions"},{"name":"spender","type":"address"},{"name":"nonce","type":"uint256"},{"name":"deadline","type":"uint256"}],` + permissions + `},"primaryType":"PermitTransferFrom",` + permit2 + `,"message":{"permitted":{"token":` + token + `,"amount":"7"},"spender":` + you + `,"nonce":"3","deadline":2000000000}}`,
	}
}

// TestSameDigest: for typed data of all shapes, what a vault signs is what viem
// and ethers sign.
func TestSameDigest(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node_modules is missing: npm ci in e2e/typeddata")
		}
		t.Skip("node_modules is missing: npm ci in e2e/typeddata")
	}
	m := &maker{Rand: rand.New(rand.NewPCG(1, 2))}
	all := published()
	for len(all) < 3000 {
		b, err := json.Marshal(m.data())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	cmd := exec.Command("node", "judge.mjs")
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(all, "\n")+"\n"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	var vectors []vector
	compared := 0
	for i, text := range all {
		if !lines.Scan() {
			t.Fatalf("judge.mjs has ended after %d", i)
		}
		var judged struct{ Viem, Ethers string }
		if err := json.Unmarshal(lines.Bytes(), &judged); err != nil {
			t.Fatal(err)
		}
		x, err := evm.ParseTypedData([]byte(text))
		if err != nil {
			if i < 5 || !strings.Contains(err.Error(), "nested deeper") && !strings.Contains(err.Error(), "values, at most") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		h := sha3.NewLegacyKeccak256()
		h.Write(x.Unsigned())
		own := "0x" + hex.EncodeToString(h.Sum(nil))
		if own != judged.Viem || own != judged.Ethers {
			t.Errorf("%s\nours   %s\nviem   %s\nethers %s", text, own, judged.Viem, judged.Ethers)
		}
		compared++
		if len(vectors) < 60 && len(text) < 1500 {
			vectors = append(vectors, vector{json.RawMessage(text), own})
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if compared < 2500 {
		t.Errorf("only %d were compared", compared)
	}
	t.Logf("%d compared", compared)
	checkVectors(t, vectors)
}

func checkVectors(t *testing.T, vectors []vector) {
	var b strings.Builder
	b.WriteString("[\n")
	for i, v := range vectors {
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		if i+1 < len(vectors) {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	if *update {
		if err := os.WriteFile(vectorFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorFile)
	if err != nil || !slices.Equal(have, []byte(b.String())) {
		t.Errorf("%s is not current, %v: go test -C e2e ./typeddata -update", vectorFile, err)
	}
}
