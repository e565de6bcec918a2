//go:build linux

package remote

import (
	"bytes"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

func FuzzDecodeRequest(f *testing.F) {
	f.Add(request{op: opHello}.encode())
	f.Add(request{op: opSign, role: hsm.RoleDecision, st: signature.Statement{Domain: "coffer/test", Body: []byte("b")}}.encode())
	a := hsm.Approvals{approval(f)}
	f.Add(request{op: opSign, role: hsm.RoleApproval, st: signature.Statement{Domain: "coffer/test"}, approvals: a}.encode())
	f.Add(request{op: opSealKey, class: hsm.ClassCold, epoch: 3}.encode())
	f.Add(request{op: opWrap, class: hsm.ClassState, epoch: 1, data: make([]byte, secretSize), bind: []byte("b")}.encode())
	f.Add(request{op: opUnwrap, class: hsm.ClassCold, epoch: 1, data: make([]byte, 65), bind: []byte("b"), approvals: a}.encode())
	f.Add(request{op: opErase, epoch: 2}.encode())
	f.Add(request{op: opAttest, nonce: [32]byte{1}}.encode())
	for _, o := range []op{opSealEpoch, opAdvance, opCounter, opIncrement} {
		f.Add(request{op: o}.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := decodeRequest(b)
		if err != nil {
			return
		}
		if got := q.encode(); !bytes.Equal(got, b) {
			t.Fatalf("decoded %x, encoded %x", b, got)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	d := newDevice(f)
	id, err := newServer(d).identity(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	sig, err := d.Sign(f.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply{op: opHello, id: id}.encode())
	f.Add(reply{op: opSign, sig: sig}.encode())
	id.approval = approval(f).Key
	f.Add(reply{op: opHello, id: id}.encode())
	f.Add(reply{op: opSealKey, key: hsm.SealKey{Suite: hsm.SuiteHPKE, Public: make([]byte, 65)}}.encode())
	f.Add(reply{op: opWrap, data: make([]byte, 80)}.encode())
	f.Add(reply{op: opUnwrap, data: make([]byte, secretSize)}.encode())
	f.Add(reply{op: opAdvance, number: 7}.encode())
	f.Add(reply{op: opErase}.encode())
	f.Add(reply{op: opAttest, evidence: hsm.Evidence{Kind: hsm.EvidenceTPM, Bytes: []byte("e")}}.encode())
	f.Add(errorReply(opSign, hsm.Errorf(hsm.ErrPIN, "hint", "detail")).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeReply(b)
		if err != nil {
			return
		}
		if got := p.encode(); !bytes.Equal(got, b) {
			t.Fatalf("decoded %x, encoded %x", b, got)
		}
	})
}

func approval(t testing.TB) hsm.Approval {
	t.Helper()
	d := newDevice(t)
	key, err := d.Public(t.Context(), hsm.RoleIdentity)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := d.Sign(t.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return hsm.Approval{Key: key, Signature: sig}
}
