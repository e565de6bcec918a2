package coordinator

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/sim"
)

// typed is a request for the signature of typed data.
func (f *fixture) typed(text string) *request.Bundle {
	f.t.Helper()
	m, err := evm.ParseTypedData([]byte(text))
	if err != nil {
		f.t.Fatal(err)
	}
	b := f.propose(evm.NewTransfer(sim.Known, sim.ETH(1)), time.Hour)
	b.Request.Intent, b.Request.MaxFee = m.Encode(), chain.Amount{}
	b.ProposeSignature = sim.SignStatement(sim.Person(f.v.Seed, sim.Trader), request.ProposeStatement(b.Request.ID()))
	return b
}

// TestMessage: a declared message is signed by the vaults and ends there, also
// over a restart; one that nobody declared is denied, and so is a method.
func TestMessage(t *testing.T) {
	f := (&fixture{t: t}).governed()
	id, err := evm.ParseChain(sim.Chain)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"types": {"Order": [{"name": "maker", "type": "address"}, {"name": "amount", "type": "uint256"}]}, "primaryType": "Order",
  "domain": {"name": "Market", "chainId": %d, "verifyingContract": "%s"}, "message": {"maker": "%s", "amount": "7"}}`, id, sim.Known, sim.Stranger)
	denied := f.handIn(f.typed(text)).ID
	if r := f.state(denied, Denied); !strings.Contains(r.Reason, "policy.undecoded") {
		t.Errorf("undeclared: %s", r.Reason)
	}
	d := source.MustCompile(fmt.Sprintf(`
methods: [{contract: "%s", signature: "message Order(address maker,uint256 amount)"}]
rules: [{name: orders, when: 'message.present && message.uint("amount") <= 7', then: allow}]
`, evm.Account(sim.Chain, sim.Known)))
	if _, err := f.co.Change(t.Context(), f.change(d, "ada", "ben")); err != nil {
		t.Fatal(err)
	}
	done := f.handIn(f.typed(text)).ID
	r := f.state(done, Signed)
	m, err := evm.ParseTypedData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !Ended(r.State, r.Reason) || r.TxID != "" || !bytes.Equal(r.Unsigned, m.Unsigned()) || len(r.Raw) != 65 {
		t.Fatalf("%+v", r)
	}
	sig := chain.Signature{R: [32]byte(r.Raw), S: [32]byte(r.Raw[32:]), RecoveryID: r.Raw[64] - 27}
	if raw, _, err := (evm.Codec{}).Assemble(f.sender, r.Unsigned, []chain.Signature{sig}); err != nil || !bytes.Equal(raw, r.Raw) {
		t.Errorf("the signature is not the wallet's: %v", err)
	}
	f.restart()
	time.Sleep(50 * time.Millisecond)
	if again := f.record(done); again.State != Signed || again.Reason != r.Reason {
		t.Errorf("after a restart: %s, %s", again.State, again.Reason)
	}
	over := f.handIn(f.typed(strings.Replace(text, `"7"`, `"8"`, 1))).ID
	f.state(over, Denied)
	if Ended(Signed, "by vaults [1 3]") || Ended(Signing, signedMessage) || !Ended(Denied, "") {
		t.Error("what has ended")
	}
}
