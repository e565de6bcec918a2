package example_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/example"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/signature"
)

func keys(t *testing.T) map[string]signature.PublicKey {
	t.Helper()
	out := make(map[string]signature.PublicKey)
	for _, id := range example.Principals() {
		seed := sha256.Sum256([]byte(id))
		k, err := signature.ParsePublicKey(signature.Ed25519, ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		out[id] = k
	}
	return out
}

func TestExampleFits(t *testing.T) {
	roster, err := example.Roster(keys(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := example.Policy(example.Parameters{
		ChainID: 1, Token: "0x6b175474e89094c44da98b954eedeac495271d0f",
		Known: []string{"0x52908400098527886E0F7030069857D2E4169EE7"}, Blocked: []string{"0x8617e340b3d01fa5f11f306f4090fd50e238070d"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(roster); err != nil {
		t.Fatal(err)
	}
	text := string(source.YAML(d))
	for _, want := range []string{
		"eip155:1/erc20:0x6B175474E89094C44Da98b954EedeAC495271d0F",
		"known: [eip155:1:0x52908400098527886E0F7030069857D2E4169EE7]",
		"eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the adapted policy does not hold %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "31337") {
		t.Errorf("the adapted policy still speaks of chain 31337:\n%s", text)
	}
	if _, err := policy.DecodeDocument(d.Encode()); err != nil {
		t.Error(err)
	}
	free, err := example.Policy(example.Parameters{ChainID: 1, Unlimited: true})
	if err != nil || len(free.Limits) != 0 || len(d.Limits) != 1 || len(free.Rules) != len(d.Rules) {
		t.Errorf("limits %v, and without them %+v, %v", d.Limits, free, err)
	}
}

func TestExampleRefuses(t *testing.T) {
	if _, err := example.Policy(example.Parameters{ChainID: 1, Known: []string{"0x52908400098527886E0F7030069857D2E4169Ee7"}}); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a known address with a wrong checksum: %v", err)
	}
	k := keys(t)
	delete(k, "dave")
	if _, err := example.Roster(k); err == nil || !strings.Contains(err.Error(), "dave") {
		t.Errorf("without dave's key: %v", err)
	}
}
