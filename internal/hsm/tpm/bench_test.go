package tpm

import (
	"testing"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
)

func BenchmarkSign(b *testing.B) { hsmtest.BenchSign(b, opened(b, provisioned(b, emulator(b), ""))) }
func BenchmarkUnseal(b *testing.B) {
	hsmtest.BenchUnseal(b, opened(b, provisioned(b, emulator(b), "")))
}

func BenchmarkUnsealCold(b *testing.B) {
	d, operator, blob := coldDevice(b)
	for b.Loop() {
		if _, err := d.Unseal(b.Context(), blob, []byte("aad"), operator.operating(b)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttest(b *testing.B) {
	d := opened(b, provisioned(b, emulator(b), ""))
	for b.Loop() {
		if _, err := d.Attest(b.Context(), [32]byte{}, [32]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	d := opened(b, provisioned(b, emulator(b), ""))
	w := want(b, d, 1)
	e := evidence(b, d, w)
	for b.Loop() {
		if _, err := attest.Verify(hsm.EvidenceTPM, e, w); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApproval is 2 of 3.
func BenchmarkApproval(b *testing.B) {
	authority := newPerson(b)
	d := opened(b, provisioned(b, emulator(b), "&authority="+authority.public.String()))
	all := people(b, 3)
	install(b, d, authority, all, 2)
	st := approvalStatement(1)
	ap := hsm.Approvals{all[0].approve(b, d, st), all[2].approve(b, d, st)}
	for b.Loop() {
		if _, err := d.Sign(b.Context(), hsm.RoleApproval, st, ap); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIncrement(b *testing.B) {
	d := opened(b, provisioned(b, emulator(b), ""))
	for b.Loop() {
		if _, err := d.Increment(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
