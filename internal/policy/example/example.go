// Package example is the policy and the roster that a cluster for trying things
// out starts with (coffer dev, the demo). policy.yaml is a whole policy as people
// write it; Policy adapts it to a chain.
//
// It is no advice for real money: its limits are round numbers.
package example

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/signature"
)

//go:embed policy.yaml
var document string

const (
	chain = "eip155:31337"
	token = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
)

// Parameters adapt the policy. Addresses are EVM addresses, 0x and 40 digits.
type Parameters struct {
	ChainID uint64
	Token   string   // of the test token; empty: the address that anvil's first deployment gets
	Known   []string // label known, instead of the example's own
	Blocked []string // label blocked, besides the example's own

	Unlimited bool // without the limit of a day: for logs that are made without vaults' ledgers
}

// Policy is the policy: nothing to blocked addresses, up to 1 ETH or SOL to known
// ones without approval, up to 10 ETH, 10 SOL or 10,000 TEST with two approvals, at most
// 50 ETH a wallet in 24 hours, nothing else.
func Policy(p Parameters) (*policy.Document, error) {
	id := fmt.Sprintf("eip155:%d", p.ChainID)
	text := strings.ReplaceAll(document, chain, id)
	if p.Token != "" {
		text = strings.ReplaceAll(text, token, p.Token)
	}
	if p.Unlimited {
		text = withoutLimit(text)
	}
	d, err := source.Compile([]byte(text), nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't adapt the example policy: %w", err)
	}
	for i := range d.AddressBook {
		e := &d.AddressBook[i]
		switch e.Label {
		case "known":
			if p.Known != nil {
				e.Addresses = accounts(id, p.Known)
			}
		case "blocked":
			e.Addresses = append(e.Addresses, accounts(id, p.Blocked)...)
		}
	}
	// What was given is read as strictly as what a person writes.
	if d, err = source.Compile(source.JSON(d), nil); err != nil {
		return nil, fmt.Errorf("couldn't adapt the example policy: %w", err)
	}
	return d, nil
}

// withoutLimit drops the lines that name the limit.
func withoutLimit(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Contains(l, "a-day") })
	return strings.Join(lines, "\n")
}

func accounts(id string, addresses []string) []string {
	out := []string{}
	for _, a := range addresses {
		out = append(out, id+":"+a)
	}
	return out
}

// The people of the example roster, the service that proposes, the risk engine.
var (
	People = []string{"alice", "bob", "carol", "dave", "erin"}
	Bot    = "bot"
	Engine = "screening"
)

// Principals names everyone whose key Roster needs.
func Principals() []string { return append(slices.Clone(People), Bot, Engine) }

// Roster is the example roster over the keys of Principals: two of the admins
// alice, bob and carol govern; bob, carol and dave approve; alice, erin and bot
// trade; screening is the risk engine.
func Roster(keys map[string]signature.PublicKey) (*identity.Roster, error) {
	ro := &identity.Roster{
		Groups: []identity.Group{
			{Name: identity.Admins, Members: []string{"alice", "bob", "carol"}},
			{Name: "approvers", Members: []string{"bob", "carol", "dave"}},
			{Name: "traders", Members: []string{"alice", Bot, "erin"}},
		},
		AdminQuorum: 2,
	}
	for _, id := range Principals() {
		key, ok := keys[id]
		if !ok {
			return nil, fmt.Errorf("couldn't make the example roster: no key for %s", id)
		}
		kind := identity.Person
		switch id {
		case Bot:
			kind = identity.Service
		case Engine:
			kind = identity.Risk
		}
		ro.Principals = append(ro.Principals, identity.Principal{ID: id, Kind: kind, Credentials: []signature.PublicKey{key}})
	}
	ro.Sort()
	if err := ro.Check(); err != nil {
		return nil, fmt.Errorf("couldn't make the example roster: %w", err)
	}
	return ro, nil
}
