package vault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
)

// Each field of the envelope is compared, by itself.
func TestAgree(t *testing.T) {
	v := &Vault{now: 100_000}
	own := envelope{Attempt: [16]byte{1}, Clock: 100_000, Request: [32]byte{2}, Digest: [32]byte{3}, Key: [32]byte{4}, Epoch: 5, Signers: []mpc.ID{1, 2}, GovernanceSeq: 6, GovernanceHead: [32]byte{7}, PolicyRoot: [32]byte{8}, RosterRoot: [32]byte{9}}
	s, p := &signSession{envelope: &own}, &peer{id: 2}
	for _, c := range []struct {
		want string
		edit func(e *envelope)
	}{
		{"no checkpoint", func(*envelope) {}},
		{"no checkpoint", func(e *envelope) { e.Clock += maxSkew }},
		{"no checkpoint", func(e *envelope) { e.Clock -= maxSkew }},
		{"clock", func(e *envelope) { e.Clock += maxSkew + 1 }},
		{"clock", func(e *envelope) { e.Clock -= maxSkew + 1 }},
		{"another attempt", func(e *envelope) { e.Attempt[0]++ }},
		{"another request", func(e *envelope) { e.Request[0]++ }},
		{"another transaction", func(e *envelope) { e.Digest[0]++ }},
		{"another key", func(e *envelope) { e.Key[0]++ }},
		{"another key", func(e *envelope) { e.Epoch++ }},
		{"other signers", func(e *envelope) { e.Signers = []mpc.ID{1, 3} }},
		{"other signers", func(e *envelope) { e.Signers = []mpc.ID{1, 2, 3} }},
		{"other signers", func(e *envelope) { e.Signers = []mpc.ID{1} }},
		{"other witnesses", func(e *envelope) { e.Witnesses = []mpc.ID{3} }},
		{"other prices", func(e *envelope) { e.Movement[0]++ }},
		{"governance change", func(e *envelope) { e.GovernanceSeq++ }},
		{"governance change", func(e *envelope) { e.GovernanceHead[0]++ }},
		{"another policy or roster", func(e *envelope) { e.PolicyRoot[0]++ }},
		{"another policy or roster", func(e *envelope) { e.RosterRoot[0]++ }},
	} {
		e := own
		c.edit(&e)
		if err := v.agree(s, p, &e); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Lists of parties, and of heads, are sorted, unique and without zero.
func TestListsAreStrict(t *testing.T) {
	e := func(parties ...mpc.ID) []byte { return (&event{Kind: eventReserve, Parties: parties}).encode() }
	d := func(parties ...mpc.ID) []byte {
		var hs []ledgerHead
		for _, id := range parties {
			hs = append(hs, ledgerHead{Party: id})
		}
		return (&envelope{Heads: hs}).encode()
	}
	for _, ids := range [][]mpc.ID{{0}, {0, 1}, {2, 1}, {1, 1}} {
		if _, err := decodeEvent(e(ids...)); err == nil {
			t.Errorf("parties %v decode", ids)
		}
		if _, err := decodeEnvelope(d(ids...)); err == nil {
			t.Errorf("heads of %v decode", ids)
		}
	}
	if _, err := decodeEvent(e(1, 2, 16)); err != nil {
		t.Error(err)
	}
	two := wireDelta(2)
	if _, err := decodeDelta(two); err == nil {
		t.Error("a delta with two heads decodes")
	}
	if _, err := decodeDelta(wireDelta(0)); err == nil {
		t.Error("a delta without a head decodes")
	}
}

func wireDelta(heads int) []byte {
	b := (&delta{Head: ledgerHead{Party: 1}}).encode()
	b = b[:len(b)-42-4]
	b = append(b, 0, 0, 0, byte(heads))
	for i := range heads {
		b = append(b, append([]byte{0, byte(i + 1)}, make([]byte, 40)...)...)
	}
	return b
}

// A session key is an Ed25519 key and nothing else.
func TestHelloSessionKey(t *testing.T) {
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 7))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	h := hello{Vault: 1, Session: signature.PublicKey{Algorithm: signature.P256, Key: string(raw)}, Signature: signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}}
	if _, err := decodeHello(h.encode()); err == nil || !strings.Contains(err.Error(), "want ed25519") {
		t.Errorf("%v", err)
	}
}

func TestPace(t *testing.T) {
	var p pace
	for i, c := range []struct {
		now, cost uint64
		ok        bool
	}{{1000, 60, true}, {1000, 40, true}, {1000, 1, false}, {1001, 1, true}, {1001, 1, false}, {5000, 100, true}, {5000, 101, false}, {5100, 101, false}, {5100, 0, true}} {
		if got := p.spend(c.now, c.cost, 100); got != c.ok {
			t.Errorf("%d: %v, want %v", i, got, c.ok)
		}
	}
	p.force(6000, 1000)
	if !p.spent(6000, 1000) || p.spent(6001, 1000) || p.spent(9000, 1000) {
		t.Error("spent at the wrong time")
	}
}
