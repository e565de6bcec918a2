package client_test

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
)

const chain = "eip155:31337"

var (
	cluster = &client.Cluster{
		ID:     strings.Repeat("ab", 32),
		Vaults: []client.Card{{ID: 1}, {ID: 2}, {ID: 3}},
		Assets: []client.Asset{
			{Symbol: "ETH", ID: chain + "/slip44:60", Decimals: 18},
			{Symbol: "TEST", ID: chain + "/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3", Decimals: 6},
			{Symbol: "FAR", ID: "eip155:1/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3", Decimals: 6},
		},
		Governance: client.Governance{Seq: 4, Head: strings.Repeat("cd", 32)},
	}
	wallet = &client.Wallet{
		ID: strings.Repeat("01", 32), Name: "treasury",
		PublicKey: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", // the generator
	}
)

// to is EIP-55's own first example.
const to = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

func signer(t testing.TB, name string) *client.Signer {
	t.Helper()
	s, err := client.NewSigner(name, filepath.Join(t.TempDir(), name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestTransfer(t *testing.T) {
	for name, c := range map[string]struct {
		to, amount string
		want       client.Amount
	}{
		"ether":      {to, "0.1 ETH", client.Amount{Text: "0.1 ETH", Units: "100000000000000000", Asset: chain + "/slip44:60", Smallest: "wei"}},
		"wei":        {to, "7 wei", client.Amount{Text: "0.000000000000000007 ETH", Units: "7", Asset: chain + "/slip44:60", Smallest: "wei"}},
		"no space":   {to, "2gwei", client.Amount{Text: "0.000000002 ETH", Units: "2000000000", Asset: chain + "/slip44:60", Smallest: "wei"}},
		"token":      {to, "1.5 test", client.Amount{Text: "1.5 TEST", Units: "1500000", Asset: chain + "/erc20:0x5FbDB2315678afecb367f032d93F642f64180aa3"}},
		"lower case": {strings.ToLower(to), "1 ETH", client.Amount{Text: "1 ETH", Units: "1000000000000000000", Asset: chain + "/slip44:60", Smallest: "wei"}},
		"account":    {chain + ":" + to, "1 wei", client.Amount{Text: "0.000000000000000001 ETH", Units: "1", Asset: chain + "/slip44:60", Smallest: "wei"}},
	} {
		d, err := client.NewTransfer(cluster, wallet, chain, c.to, c.amount)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x, err := d.Decoded()
		if err != nil || len(x.Effects.Transfers) != 1 {
			t.Errorf("%s: %+v, %v", name, x, err)
			continue
		}
		if got := x.Effects.Transfers[0]; got.To != chain+":"+to || cmp.Diff(c.want, got.Amount) != "" {
			t.Errorf("%s: to %s, amount %s", name, got.To, cmp.Diff(c.want, got.Amount))
		}
	}
}

// TestBadDrafts: each error names what is wrong and what would be right.
func TestBadDrafts(t *testing.T) {
	transfer := func(to, amount string) error {
		_, err := client.NewTransfer(cluster, wallet, chain, to, amount)
		return err
	}
	raw := func(s string) error {
		_, err := client.NewRaw(cluster, wallet, s)
		return err
	}
	draft := func(change func(*client.Draft) error) error {
		d, err := client.NewTransfer(cluster, wallet, chain, to, "1 ETH")
		if err != nil {
			t.Fatal(err)
		}
		return change(d)
	}
	with := func(c *client.Cluster, w *client.Wallet, id string) error {
		_, err := client.NewTransfer(c, w, id, to, "1 wei")
		return err
	}
	for want, err := range map[string]error{
		"it is negative":                         transfer(to, "-1 ETH"),
		"19 decimals, ETH has at most 18":        transfer(to, "0.1234567890123456789 ETH"),
		"7 decimals, TEST has at most 6":         transfer(to, "0.1234567 TEST"),
		"1 decimals, wei has at most 0":          transfer(to, "1.5 wei"),
		"above 256 bits":                         transfer(to, "1"+strings.Repeat("0", 78)+" wei"),
		"it names no unit":                       transfer(to, "5"),
		`unknown unit "BTC"`:                     transfer(to, "1 BTC"),
		`unknown unit "FAR"`:                     transfer(to, "1 FAR"),
		`is not a number`:                        transfer(to, "1.2.3 ETH"),
		"to: address \"\": want 0x":              transfer("", "1 ETH"),
		"40 hex digits":                          transfer(to[:41], "1 ETH"),
		"wrong checksum":                         transfer("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "1 ETH"),
		"want 0x and an even number":             raw("0x1"),
		"or base64 (Solana)":                     raw("12"),
		"even number of hex digits":              raw("0x123"),
		"raw transaction: ":                      raw("0x0102"),
		"max fee: amount":                        draft(func(d *client.Draft) error { return d.SetMaxFee("cheap") }),
		"more than 31 days":                      draft(func(d *client.Draft) error { return d.SetLifetime(40 * 24 * time.Hour) }),
		"is not after created":                   draft(func(d *client.Draft) error { return d.SetLifetime(0) }),
		"at most 256":                            draft(func(d *client.Draft) error { return d.SetMemo(strings.Repeat("x", 300)) }),
		"control characters":                     draft(func(d *client.Draft) error { return d.SetMemo("a\x1b[2Jb") }),
		"want eip155 and a decimal chain id":     with(cluster, wallet, "eip155:0x1"),
		"cluster id":                             with(&client.Cluster{ID: "ab"}, wallet, chain),
		"wallet id":                              with(cluster, &client.Wallet{ID: "x", PublicKey: wallet.PublicKey}, chain),
		"public key of 0 bytes":                  with(cluster, &client.Wallet{ID: wallet.ID}, chain),
		"is no ERC-20 token":                     func() error { _, err := client.NewAllowance(cluster, wallet, chain, to, "1 ETH"); return err }(),
		"request: want base64url without paddin": func() error { _, err := client.Decode("==", cluster); return err }(),
		"couldn't decode request":                func() error { _, err := client.Decode("AAAA", cluster); return err }(),
		"change: want base64url":                 func() error { _, err := client.DecodeChange("=="); return err }(),
		"couldn't decode change":                 func() error { _, err := client.DecodeChange("AAAA"); return err }(),
		"line 2, column 1":                       func() error { _, err := client.NewPolicyChange(cluster, "ada", "", []byte("{\n")); return err }(),
		"name \"Ada\"":                           func() error { _, err := client.NewPolicyChange(cluster, "Ada", "", []byte(emptyPolicy)); return err }(),
		"http://HOST:PORT":                       func() error { _, err := client.New("127.0.0.1:1", ""); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

const emptyPolicy = `{"assets": {"ETH": {"id": "eip155:1/slip44:60", "decimals": 18}}, "rules": [{"name": "none", "when": "onlyTransfers", "then": "deny"}]}`

// TestWhatIsSigned: a proposal carries exactly the draft, under its initiator's
// name; what is decoded from it is what was drafted.
func TestWhatIsSigned(t *testing.T) {
	d, err := client.NewAllowance(cluster, wallet, chain, to, "25 TEST")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetMemo("rent, November"); err != nil {
		t.Fatal(err)
	}
	if err := d.SetMaxFee("0.002 ETH"); err != nil {
		t.Fatal(err)
	}
	alice := signer(t, "alice")
	p, err := alice.Propose(d)
	if err != nil {
		t.Fatal(err)
	}
	if p.Key != alice.PublicKey() || !strings.HasPrefix(p.Key, "ed25519:") {
		t.Errorf("key %s", p.Key)
	}
	x, err := client.Decode(p.Request, cluster)
	if err != nil {
		t.Fatal(err)
	}
	own, err := d.Decoded()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, x, cmpopts.IgnoreUnexported(client.Decoded{})); diff != "" {
		t.Error(diff)
	}
	if x.Initiator != "alice" || x.Memo != "rent, November" || x.MaxFee.Text != "0.002 ETH" || len(x.Effects.Allowances) != 1 || x.Effects.Allowances[0].Amount.Text != "25 TEST" {
		t.Errorf("%+v", x)
	}
	// The same again is another request: it can be wanted twice.
	other, err := client.NewAllowance(cluster, wallet, chain, to, "25 TEST")
	if err != nil {
		t.Fatal(err)
	}
	q, err := alice.Propose(other)
	if err != nil || q.Request == p.Request {
		t.Errorf("%v", err)
	}
}

// TestRaw: what another tool built, with its fee as the maximum.
func TestRaw(t *testing.T) {
	// Type 2, chain 31337, nonce 3, tip 1 gwei, cap 20 gwei, 21000 gas, 1 ETH.
	raw := "0x02f2827a6903843b9aca008504a817c800825208945aaeb6053f3e94c9b9a09f33669435e7ef1beaed880de0b6b3a764000080c0"
	if _, err := hex.DecodeString(raw[2:]); err != nil {
		t.Fatal(err)
	}
	d, err := client.NewRaw(cluster, wallet, raw)
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.Decoded()
	if err != nil || x.Chain != chain || len(x.Effects.Transfers) != 1 || x.Effects.Transfers[0].Amount.Text != "1 ETH" || x.MaxFee.Text != "0.00042 ETH" {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestSigner(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "alice.key")
	s, err := client.NewSigner("alice", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewSigner("alice", path); err == nil {
		t.Error("it overwrote a key")
	}
	again, err := client.LoadSigner(path)
	if err != nil || again.PublicKey() != s.PublicKey() || again.Principal() != "alice" || len(again.Fingerprint()) != 32 {
		t.Fatalf("%v, %v", again, err)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	if _, err := client.LoadSigner(path); err == nil || !strings.Contains(err.Error(), "want 0600") {
		t.Errorf("readable by others: %v", err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := client.ReadToken(token); err != nil || got != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := client.ReadToken(filepath.Join(dir, "none")); err == nil {
		t.Error("a token that is not there")
	}
}

// TestAnswers: an approval is for exactly the request that was decoded, and a
// shorter validity than the request's is kept.
func TestAnswers(t *testing.T) {
	d, err := client.NewTransfer(cluster, wallet, chain, to, "1 ETH")
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.Decoded()
	if err != nil {
		t.Fatal(err)
	}
	bob := signer(t, "bob")
	decode := func(s string) *request.Approval {
		t.Helper()
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		a, err := request.DecodeApproval(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := signature.Verify(a.Key, a.Statement(), a.Signature); err != nil || hex.EncodeToString(a.Request[:]) != x.ID || a.Principal != "bob" {
			t.Errorf("%+v: %v", a, err)
		}
		return a
	}
	whole, err := bob.Approve(x, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a := decode(whole); !a.Approve || a.Expires != uint64(x.Expires.UnixMilli()) {
		t.Errorf("%+v", a)
	}
	short, err := bob.Approve(x, false, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if a := decode(short); a.Approve || a.Expires != a.Time+60_000 {
		t.Errorf("%+v", a)
	}
}

// TestUnreachable: nobody listens.
func TestUnreachable(t *testing.T) {
	c, err := client.New("http://127.0.0.1:1", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cluster(t.Context()); err == nil || !strings.Contains(err.Error(), "couldn't reach the coordinator at http://127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

func TestChangeDraft(t *testing.T) {
	d, err := client.NewPolicyChange(cluster, "ada", "try", []byte(emptyPolicy))
	if err != nil {
		t.Fatal(err)
	}
	if d.Seq != 5 || d.Kind != "policy" || d.Note != "try" || !strings.Contains(string(d.Document), "onlyTransfers") {
		t.Errorf("%+v", d)
	}
	again, err := client.DecodeChange(d.Canonical())
	if err != nil || again.Hash != d.Hash {
		t.Errorf("%+v, %v", again, err)
	}
	sig, err := signer(t, "ada").SignChange(again)
	if err != nil || sig.Principal != "ada" || sig.Signature == "" {
		t.Errorf("%+v", sig)
	}
}
