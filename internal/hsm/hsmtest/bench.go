package hsmtest

import (
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// BenchSign measures one signature over a short statement.
func BenchSign(b *testing.B, d hsm.HSM) {
	st := signature.Statement{Domain: domain, Body: make([]byte, 200)}
	for b.Loop() {
		if _, err := d.Sign(b.Context(), hsm.RoleDecision, st, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchUnseal measures the opening of one blob of the size of a key share.
func BenchUnseal(b *testing.B, d hsm.HSM) {
	blob, err := d.Seal(b.Context(), hsm.ClassState, 1, make([]byte, 1024), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Unseal(b.Context(), blob, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
