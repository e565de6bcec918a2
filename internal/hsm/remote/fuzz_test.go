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
	f.Add(request{op: opExchange, peer: make([]byte, pointSize)}.encode())
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
	sig, err := d.Sign(f.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply{op: opHello, id: id}.encode())
	f.Add(reply{op: opSign, sig: sig}.encode())
	f.Add(reply{op: opExchange, shared: make([]byte, secretSize)}.encode())
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
