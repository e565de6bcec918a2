package main

import (
	"crypto/rand"
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/keyfile"
)

// A vault enrolled by a thief, under whose policy the device asks the thief, is seen.
func TestCheckAuthority(t *testing.T) {
	var keys []*keyfile.Key
	for _, name := range []string{"authority", "thief", "device"} {
		k, err := keyfile.NewP256(rand.Reader, name)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	attributes, policy, err := attest.ApprovalArea(keys[1].Public())
	if err != nil {
		t.Fatal(err)
	}
	card := governance.Vault{ID: 1, Approval: keys[2].Public(), ApprovalArea: attest.Area{Attributes: attributes, Policy: policy[:], Key: keys[2].Public()}.Encode()}
	g := &governance.Genesis{Enrolments: []governance.Enrolment{{Vault: card}, {Vault: governance.Vault{ID: 2}}}}
	for text, ok := range map[string]bool{"": true, keys[0].Public().String(): false, keys[1].Public().String(): true, "nobody": false} {
		if err := checkAuthority(g, text); (err == nil) != ok {
			t.Errorf("authority %q: %v", text, err)
		}
	}
}
