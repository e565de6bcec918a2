package tpm

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// answer is an Approver made of a function.
type answer func(ctx context.Context, c hsm.Challenge) (hsm.Answer, error)

func (f answer) Approve(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) { return f(ctx, c) }

// operating answers as the operator should.
func (p person) operating(t testing.TB) answer {
	return func(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
		if c.Kind != hsm.ChallengePolicy || c.Need != 1 || !slices.Equal(c.Keys, []signature.PublicKey{p.public}) || c.Statement != nil || attest.CheckOperatorPreimage(c.Preimage, c.Digest) != nil {
			t.Errorf("challenge %+v", c)
		}
		return hsm.Answer{Approvals: []hsm.Approval{{Key: p.public, Signature: p.sign(t, c.Digest)}}}, nil
	}
}

func coldDevice(t testing.TB) (*Device, person, []byte) {
	t.Helper()
	s := emulator(t)
	operator := newPerson(t)
	d := opened(t, provisioned(t, s, "&operator="+operator.public.String()))
	blob, err := d.Seal(t.Context(), hsm.ClassCold, 1, []byte("cold share"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	return d, operator, blob
}

func TestColdKey(t *testing.T) {
	d, operator, blob := coldDevice(t)
	if i := d.Info(); i.PerUse != hsm.GradeSoftware || !slices.Contains(i.Suites, hsm.HasPerUse) {
		t.Errorf("per use is %v, suites %q", i.PerUse, i.Suites)
	}
	for range 2 {
		if got, err := d.Unseal(t.Context(), blob, []byte("aad"), operator.operating(t)); err != nil || string(got) != "cold share" {
			t.Fatalf("authorised: %q, %v", got, err)
		}
	}
	var last hsm.Approval
	record := answer(func(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
		a, err := operator.operating(t)(ctx, c)
		last = a.Approvals[0]
		return a, err
	})
	if _, err := d.Unseal(t.Context(), blob, []byte("aad"), record); err != nil {
		t.Fatal(err)
	}
	stranger := newPerson(t)
	ctx, cancel := context.WithCancel(t.Context())
	for name, tc := range map[string]struct {
		ap   hsm.Approver
		kind hsm.Kind
	}{
		"nobody":          {nil, hsm.ErrApproval},
		"an empty answer": {answer(func(context.Context, hsm.Challenge) (hsm.Answer, error) { return hsm.Answer{}, nil }), hsm.ErrApproval},
		"the last answer": {answer(func(context.Context, hsm.Challenge) (hsm.Answer, error) {
			return hsm.Answer{Approvals: []hsm.Approval{last}}, nil
		}), hsm.ErrApproval},
		"an error": {answer(func(context.Context, hsm.Challenge) (hsm.Answer, error) { return hsm.Answer{}, errors.New("no") }), hsm.ErrApproval},
		"a stranger": {answer(func(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
			return hsm.Answer{Approvals: []hsm.Approval{{Key: stranger.public, Signature: stranger.sign(t, c.Digest)}}}, nil
		}), hsm.ErrApproval},
		"a caller who left": {answer(func(context.Context, hsm.Challenge) (hsm.Answer, error) {
			cancel()
			return hsm.Answer{}, context.Canceled
		}), hsm.ErrApproval},
	} {
		if got, err := d.Unseal(ctx, blob, []byte("aad"), tc.ap); !errors.Is(err, tc.kind) || got != nil {
			t.Errorf("%s: %q, %v; want %v", name, got, err, tc.kind)
		}
		ctx, cancel = context.WithCancel(t.Context())
		healthy(t, d) // no session is left
	}
	cancel()
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), operator.operating(t)); err != nil || string(got) != "cold share" {
		t.Fatalf("after all refusals: %q, %v", got, err)
	}
}

// TestColdKeyWaitsAlone: while the operator thinks, the device signs and opens, and a
// TPM that fills up is cleared without ending the operator's session.
func TestColdKeyWaitsAlone(t *testing.T) {
	d, operator, blob := coldDevice(t)
	state, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := answer(func(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
		if got, err := d.Unseal(ctx, state, nil, nil); err != nil || string(got) != "share" {
			t.Errorf("meanwhile: %q, %v", got, err)
		}
		if _, err := d.Sign(ctx, hsm.RoleDecision, signature.Statement{Domain: "coffer/test/v1"}, nil); err != nil {
			t.Errorf("meanwhile: %v", err)
		}
		litter(t, d)
		if got, err := d.Unseal(ctx, state, nil, nil); err != nil || string(got) != "share" {
			t.Errorf("meanwhile, with a full TPM: %q, %v", got, err)
		}
		// A second cold use waits for the first.
		late, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := d.Unseal(late, blob, []byte("aad"), operator.operating(t)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("a second cold use: %v, want ErrUnavailable", err)
		}
		return operator.operating(t)(ctx, c)
	})
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), slow); err != nil || !bytes.Equal(got, []byte("cold share")) {
		t.Fatalf("%q, %v", got, err)
	}
	healthy(t, d)
	// The emulator is restarted meanwhile: the session is gone, which is said.
	lost := answer(func(ctx context.Context, c hsm.Challenge) (hsm.Answer, error) {
		err := d.conn.do(ctx, "flush", func(tp transport.TPM) error {
			for h := range d.conn.kept {
				if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(tp); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return operator.operating(t)(ctx, c)
	})
	if _, err := d.Unseal(t.Context(), blob, []byte("aad"), lost); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("with the session lost: %v, want ErrUnavailable", err)
	}
	healthy(t, d)
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), operator.operating(t)); err != nil || string(got) != "cold share" {
		t.Fatalf("afterwards: %q, %v", got, err)
	}
}

// TestColdEnforcedByTPM: what root on the host can say to the TPM.
func TestColdEnforcedByTPM(t *testing.T) {
	d, operator, blob := coldDevice(t)
	parts, err := hsm.DecodeBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	another, err := d.Seal(t.Context(), hsm.ClassCold, 1, []byte("another"), nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := hsm.DecodeBlob(another)
	if err != nil {
		t.Fatal(err)
	}
	k := d.seal[sealID{hsm.ClassCold, 1}]
	cp, err := attest.ExchangeHash(k.name(), parts.Enc)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newPerson(t)
	thief := &Device{conn: d.conn, device: d.device, parent: d.parent}
	thief.device.operator = &stranger.public
	for _, tc := range []struct {
		name string
		try  func(tp transport.TPM, s tpm2.Session, nonce []byte) error
		enc  []byte
		say  string
	}{
		{"no operator", func(tp transport.TPM, s tpm2.Session, _ []byte) error { return d.belowLimit(tp, s, k.limit) }, parts.Enc, "TPM_RC_POLICY_FAIL"},
		{"operator without the counter", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			sig := operator.sign(t, attest.OperatorDigest(nonce, operatorTime, cp))
			return withVerifier(tp, operator.public, func(h tpm2.NamedHandle) error {
				_, err := tpm2.PolicySigned{AuthObject: h, PolicySession: s.Handle(), NonceTPM: tpm2.TPM2BNonce{Buffer: nonce},
					CPHashA: tpm2.TPM2BDigest{Buffer: cp[:]}, PolicyRef: tpm2.TPM2BNonce{Buffer: attest.OperatorRef()}, Expiration: operatorTime, Auth: curved(sig)}.Execute(tp)
				return err
			})
		}, parts.Enc, "TPM_RC_POLICY_FAIL"},
		{"another operator", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			return thief.coldPolicy(tp, s, k, cp, nonce, stranger.sign(t, attest.OperatorDigest(nonce, operatorTime, cp)))
		}, parts.Enc, "TPM_RC_POLICY_FAIL"},
		{"another blob than the operator saw", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			return d.coldPolicy(tp, s, k, cp, nonce, operator.sign(t, attest.OperatorDigest(nonce, operatorTime, cp)))
		}, other.Enc, "TPM_RC_POLICY_FAIL"},
		{"a signature for another session", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			old := bytes.Repeat([]byte{7}, len(nonce))
			return d.coldPolicy(tp, s, k, cp, nonce, operator.sign(t, attest.OperatorDigest(old, operatorTime, cp)))
		}, parts.Enc, "TPM_RC_SIGNATURE"},
		{"another session's nonce", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			old := bytes.Repeat([]byte{7}, len(nonce))
			return d.coldPolicy(tp, s, k, cp, old, operator.sign(t, attest.OperatorDigest(old, operatorTime, cp)))
		}, parts.Enc, "TPM_RC_"},
		{"a longer time than was signed", func(tp transport.TPM, s tpm2.Session, nonce []byte) error {
			return d.coldPolicy(tp, s, k, cp, nonce, operator.sign(t, attest.OperatorDigest(nonce, 0, cp)))
		}, parts.Enc, "TPM_RC_SIGNATURE"},
	} {
		err := d.conn.do(t.Context(), "try", func(tp transport.TPM) error {
			return withPolicy(tp, func(s tpm2.Session) error {
				err := tc.try(tp, s, s.NonceTPM().Buffer)
				if err == nil {
					_, err = d.exchange(tp, s, k, tc.enc)
				}
				return err
			})
		})
		if err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v, want the TPM to answer %s", tc.name, err, tc.say)
		}
	}
	if got, err := d.Unseal(t.Context(), blob, []byte("aad"), operator.operating(t)); err != nil || string(got) != "cold share" {
		t.Fatalf("afterwards: %q, %v", got, err)
	}
	healthy(t, d)
}
