package hsm_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// approver is a person with a P-256 key.
type approver struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func newApprover(t testing.TB) approver {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return approver{t, k}
}

func (a approver) public() signature.PublicKey {
	b, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	return signature.PublicKey{Algorithm: signature.P256, Key: string(b)}
}

func (a approver) approve(digest [32]byte) hsm.Approval {
	r, s, err := ecdsa.Sign(rand.Reader, a.key, digest[:])
	if err != nil {
		a.t.Fatal(err)
	}
	sig, err := signature.NormalizeP256(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	if err != nil {
		a.t.Fatal(err)
	}
	return hsm.Approval{Key: a.public(), Signature: sig}
}

// TestApprovals: those count that are over this digest, by these keys, once each.
func TestApprovals(t *testing.T) {
	a, b, stranger := newApprover(t), newApprover(t), newApprover(t)
	digest, other := [32]byte{1}, [32]byte{2}
	c := hsm.Challenge{Kind: hsm.ChallengePolicy, Use: "sign it", Digest: digest, Keys: []signature.PublicKey{a.public(), b.public()}, Need: 2}
	relabelled := a.approve(digest)
	relabelled.Key = b.public()
	for _, tc := range []struct {
		name string
		have hsm.Approvals
		good bool
	}{
		{"both", hsm.Approvals{a.approve(digest), b.approve(digest)}, true},
		{"both and a stranger", hsm.Approvals{stranger.approve(digest), b.approve(digest), a.approve(digest)}, true},
		{"none", nil, false},
		{"one", hsm.Approvals{a.approve(digest)}, false},
		{"one, twice", hsm.Approvals{a.approve(digest), a.approve(digest)}, false},
		{"one and a stranger", hsm.Approvals{a.approve(digest), stranger.approve(digest)}, false},
		{"one over another digest", hsm.Approvals{a.approve(digest), b.approve(other)}, false},
		{"one's under the other's name", hsm.Approvals{a.approve(digest), relabelled}, false},
	} {
		answer, err := hsm.Ask(t.Context(), tc.have, c)
		switch {
		case tc.good && (err != nil || len(answer.Approvals) != 2):
			t.Errorf("%s: %d approvals, %v", tc.name, len(answer.Approvals), err)
		case !tc.good && (!errors.Is(err, hsm.ErrApproval) || answer.Approvals != nil):
			t.Errorf("%s: %d approvals, %v; want ErrApproval", tc.name, len(answer.Approvals), err)
		}
	}
	c.Kind = hsm.ChallengePIN
	if _, err := hsm.Ask(t.Context(), hsm.Approvals{a.approve(digest)}, c); !errors.Is(err, hsm.ErrApproval) {
		t.Errorf("asked for a PIN: %v, want ErrApproval", err)
	}
}

// failing gives a PIN and an error: the PIN must not stay.
type failing struct {
	pin secret.Bytes
	err error
}

func (f failing) Approve(context.Context, hsm.Challenge) (hsm.Answer, error) {
	return hsm.Answer{PIN: f.pin}, f.err
}

func TestAsk(t *testing.T) {
	if _, err := hsm.Ask(t.Context(), nil, hsm.Challenge{}); !errors.Is(err, hsm.ErrApproval) {
		t.Errorf("nobody: %v, want ErrApproval", err)
	}
	f := failing{secret.New([]byte("1234")), io.EOF}
	if _, err := hsm.Ask(t.Context(), f, hsm.Challenge{}); !errors.Is(err, hsm.ErrApproval) || !errors.Is(err, io.EOF) {
		t.Errorf("an approver's own error: %v, want ErrApproval and it", err)
	}
	if f.pin.Len() != 0 {
		t.Error("the PIN of an answer that failed is still there")
	}
	gone := hsm.Errorf(hsm.ErrUnavailable, "", "gone")
	if _, err := hsm.Ask(t.Context(), failing{err: gone}, hsm.Challenge{}); !errors.Is(err, gone) {
		t.Errorf("an error of this package: %v, want it as it is", err)
	}
}

func TestDecodeApprovalRefuses(t *testing.T) {
	a := newApprover(t).approve([32]byte{1})
	mixed := a
	mixed.Signature.Algorithm = signature.Ed25519
	for name, b := range map[string][]byte{
		"nothing": nil, "trailing": append(a.Encode(), 0), "version": append([]byte{2}, a.Encode()[1:]...), "two algorithms": mixed.Encode(),
	} {
		if _, err := hsm.DecodeApproval(b); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	if n := len(hsm.Approval{Key: signature.PublicKey{Algorithm: signature.RSA3072, Key: string(make([]byte, 384))}, Signature: signature.Signature{Bytes: make([]byte, 384)}}.Encode()); n > hsm.MaxApproval {
		t.Errorf("the largest approval has %d bytes, the bound is %d", n, hsm.MaxApproval)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "kind 0": hsm.Evidence{Bytes: []byte("e")}.Encode(), "kind 2": hsm.Evidence{Kind: 2}.Encode(),
		"long": hsm.Evidence{Kind: 1, Bytes: make([]byte, hsm.MaxEvidence+1)}.Encode(), "trailing": append(hsm.Evidence{Kind: 1}.Encode(), 0),
	} {
		if _, err := hsm.DecodeEvidence(b); err == nil {
			t.Errorf("evidence, %s: decodes", name)
		}
	}
}

func FuzzDecodeApproval(f *testing.F) {
	f.Add(newApprover(f).approve([32]byte{1}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := hsm.DecodeApproval(b)
		if err == nil && !bytes.Equal(a.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, a.Encode())
		}
	})
}

func FuzzDecodeEvidence(f *testing.F) {
	f.Add(hsm.Evidence{Kind: hsm.EvidenceTPM, Bytes: []byte("quote")}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := hsm.DecodeEvidence(b)
		if err == nil && !bytes.Equal(e.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, e.Encode())
		}
	})
}
