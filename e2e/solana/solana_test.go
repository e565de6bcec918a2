// Package solana judges internal/chain/solana by Solana's own client libraries,
// and by its virtual machine in litesvm. Both run under node: `make e2e` installs
// them, in the versions of package.json.
package solana

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

// judge runs judge.mjs.
func judge(t *testing.T, input any, args ...string) []byte {
	t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node_modules is missing: npm ci in e2e/solana")
		}
		t.Skip("node_modules is missing: npm ci in e2e/solana")
	}
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{"judge.mjs"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("judge.mjs %v: %v: %s", args, err, errs.Bytes())
	}
	return out
}

// made is a transaction by one of the libraries.
type made struct {
	By, Payer, Blockhash, Memo, Read string
	Transfers                        []struct{ To, Lamports string }
	Nonce, Price                     *string
	Limit                            *uint32
	Message, Wire                    []byte
}

// TestClientsAgree: what the libraries make, the codec reads as what went in.
func TestClientsAgree(t *testing.T) {
	const n = 2000
	seed := strconv.FormatUint(rand.Uint64(), 16)
	t.Logf("seed %s", seed)
	lines := bufio.NewScanner(bytes.NewReader(judge(t, nil, "make", strconv.Itoa(n), seed)))
	lines.Buffer(nil, 1<<20)
	count := 0
	for lines.Scan() {
		var m made
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		compare(t, &m)
		count++
	}
	if count != n {
		t.Fatalf("%d transactions, want %d", count, n)
	}
}

func compare(t *testing.T, m *made) {
	t.Helper()
	message, tx, err := solana.FromUnsigned(m.Wire)
	if len(m.Message) > solana.MaxMessage {
		if err == nil {
			t.Fatalf("%s: %d bytes accepted", m.By, len(m.Message))
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: %v\n%x", m.By, err, m.Wire)
	}
	type words struct {
		message                    string
		payer, blockhash, memo     string
		transfers, nonce, limit, p string
	}
	got := words{message: string(message), payer: tx.Payer.String(), blockhash: solana.Address(tx.Blockhash).String(), memo: tx.Memo}
	want := words{message: string(m.Message), payer: m.Payer, blockhash: m.Blockhash, memo: m.Memo}
	for _, x := range tx.Transfers {
		got.transfers += fmt.Sprintf("%v %d; ", x.To, x.Lamports)
	}
	for _, x := range m.Transfers {
		want.transfers += fmt.Sprintf("%s %s; ", x.To, x.Lamports)
	}
	if tx.Nonce != nil {
		got.nonce = tx.Nonce.String()
	}
	if m.Nonce != nil {
		want.nonce = *m.Nonce
	}
	if tx.Budget != nil {
		got.limit, got.p = fmt.Sprint(tx.Budget.Limit), fmt.Sprint(tx.Budget.Price)
	}
	if m.Limit != nil {
		want.limit, want.p = fmt.Sprint(*m.Limit), *m.Price
	}
	if got != want {
		t.Fatalf("%s: read as %+v, want %+v", m.By, got, want)
	}
	if m.Read != m.Payer {
		t.Fatalf("web3.js reads the payer %s, want %s", m.Read, m.Payer)
	}
}

// machine is what litesvm says.
type machine struct {
	Blockhash, Failed, Paid string
	Received, Logs          []string
}

// TestMachineAgrees: a signed transaction moves on Solana's virtual machine what
// the codec says that it moves, and costs what it says.
func TestMachineAgrees(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	wallet := solana.Address(key.Public().(ed25519.PublicKey))
	ask := map[string]any{"payer": wallet.String(), "funds": "100000000000", "want": "blockhash"}
	var m machine
	if err := json.Unmarshal(judge(t, ask, "run"), &m); err != nil {
		t.Fatal(err)
	}
	blockhash, err := solana.ParseBlockhash(m.Blockhash)
	if err != nil {
		t.Fatal(err)
	}
	for i, tx := range []*solana.Transaction{
		{Intent: *solana.NewTransfer(solana.Address{1}, 1_000_000_000)},
		{Intent: solana.Intent{Transfers: []solana.Transfer{{To: solana.Address{1}, Lamports: 5_000_000}, {To: solana.Address{2}, Lamports: 7_000_000}, {To: solana.Address{1}, Lamports: 1}}}},
		{Budget: &solana.Budget{Limit: 1000, Price: 1_000_001}, Intent: *solana.NewTransfer(solana.Address{3}, 2_000_000)},
		{Budget: &solana.Budget{Limit: 3_000_000, Price: 1_000_000}, Intent: *solana.NewTransfer(solana.Address{3}, 2_000_000)},
		{Budget: &solana.Budget{Limit: 60_000, Price: 1}, Intent: solana.Intent{Transfers: []solana.Transfer{{To: solana.Address{4}, Lamports: 2_000_000}}, Memo: "invoice 7"}},
		{Intent: *solana.NewTransfer(wallet, 5)},
	} {
		tx.Payer, tx.Blockhash = wallet, blockhash
		run(t, i, key, tx)
	}
}

func run(t *testing.T, i int, key ed25519.PrivateKey, tx *solana.Transaction) {
	t.Helper()
	message, err := tx.Message()
	if err != nil {
		t.Fatal(err)
	}
	fee := tx.Fee()
	p, err := solana.Codec{}.Prepare(solana.Mainnet, solana.Account(tx.Payer), tx.Intent.Encode(), fee, message.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var sig chain.Signature
	s := ed25519.Sign(key, p.Messages[0])
	copy(sig.R[:], s[:32])
	copy(sig.S[:], s[32:])
	raw, _, err := solana.Codec{}.Assemble(p.Effects.Sender, p.Canonical, []chain.Signature{sig})
	if err != nil {
		t.Fatal(err)
	}
	// What the effects say.
	paid := p.Effects.MaxFee.Uint64()
	received := map[string]uint64{}
	var to []string
	for _, x := range p.Effects.Transfers {
		a, err := solana.ParseAccount(x.To)
		if err != nil {
			t.Fatal(err)
		}
		if _, seen := received[a.String()]; !seen {
			to = append(to, a.String())
		}
		received[a.String()] += x.Amount.Uint64()
		if a != tx.Payer {
			paid += x.Amount.Uint64()
		}
	}
	var m machine
	in := map[string]any{"payer": tx.Payer.String(), "funds": "100000000000", "raw": base64.StdEncoding.EncodeToString(raw), "to": to}
	if err := json.Unmarshal(judge(t, in, "run"), &m); err != nil {
		t.Fatal(err)
	}
	if m.Failed != "" {
		t.Fatalf("transaction %d failed: %s %q", i, m.Failed, m.Logs)
	}
	if m.Paid != strconv.FormatUint(paid, 10) {
		t.Errorf("transaction %d: the wallet paid %s lamports, the codec says %d", i, m.Paid, paid)
	}
	for k, a := range to {
		if a != tx.Payer.String() && m.Received[k] != strconv.FormatUint(received[a], 10) {
			t.Errorf("transaction %d: %s received %s lamports, the codec says %d", i, a, m.Received[k], received[a])
		}
	}
}

// TestThresholdOnMachine: what three vaults sign together, two at a time, is good
// on Solana's virtual machine.
func TestThresholdOnMachine(t *testing.T) {
	w, err := sim.New(77, 3, sim.Roster(77), sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.KeygenEd25519("sol", 2)
	if err != nil {
		t.Fatal(err)
	}
	wallet, err := solana.ParseAccount(x.Sender)
	if err != nil {
		t.Fatal(err)
	}
	var m machine
	ask := map[string]any{"payer": wallet.String(), "funds": "100000000000", "want": "blockhash"}
	if err := json.Unmarshal(judge(t, ask, "run"), &m); err != nil {
		t.Fatal(err)
	}
	blockhash, err := solana.ParseBlockhash(m.Blockhash)
	if err != nil {
		t.Fatal(err)
	}
	for _, signers := range [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}} {
		b := w.Pay(x, sim.KnownSolana, sim.Lamports(1))
		message, err := (&solana.Transaction{Payer: wallet, Blockhash: blockhash, Intent: *solana.NewTransfer(sim.KnownSolana, sim.Lamports(1))}).Message()
		if err != nil {
			t.Fatal(err)
		}
		replies, err := w.Sign(b, message.Encode(), signers...)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := sim.CombineEd25519(x, b, message.Encode(), replies)
		if err != nil {
			t.Fatal(err)
		}
		raw, _, err := solana.Codec{}.Assemble(x.Sender, message.Encode(), []chain.Signature{*sig})
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]any{"payer": wallet.String(), "funds": "100000000000", "raw": base64.StdEncoding.EncodeToString(raw), "to": []string{sim.KnownSolana.String()}}
		m = machine{}
		if err := json.Unmarshal(judge(t, in, "run"), &m); err != nil {
			t.Fatal(err)
		}
		if m.Failed != "" || m.Paid != "1000005000" || m.Received[0] != "1000000000" {
			t.Errorf("signed by %v: %+v", signers, m)
		}
	}
}
