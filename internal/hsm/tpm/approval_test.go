package tpm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// person holds a P-256 key: an approver, an authority, an operator.
type person struct {
	key    *ecdsa.PrivateKey
	public signature.PublicKey
}

func newPerson(t testing.TB) person {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return person{k, signature.PublicKey{Algorithm: signature.P256, Key: string(raw)}}
}

func people(t testing.TB, n int) (out []person) {
	for range n {
		out = append(out, newPerson(t))
	}
	return out
}

func (p person) sign(t testing.TB, digest [32]byte) signature.Signature {
	t.Helper()
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	sig, err := signature.NormalizeP256(raw[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (p person) approve(t testing.TB, d *Device, st signature.Statement) hsm.Approval {
	t.Helper()
	area, err := d.PublicArea(t.Context(), hsm.RoleApproval)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := attest.ApprovalDigest(area, st)
	if err != nil {
		t.Fatal(err)
	}
	return hsm.Approval{Key: p.public, Signature: p.sign(t, digest)}
}

// install has the authority put need of the approvers in force.
func install(t testing.TB, d *Device, authority person, approvers []person, need int) installed {
	t.Helper()
	counter, now, err := d.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var keys []signature.PublicKey
	for _, p := range approvers {
		keys = append(keys, p.public)
	}
	set, err := attest.NewApprovers(keys, need, counter, now+1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	in := installed{set, authority.sign(t, digest)}
	if err := d.InstallApprovers(t.Context(), in.set, in.by); err != nil {
		t.Fatal(err)
	}
	return in
}

func approvalStatement(id byte) signature.Statement {
	return signature.Statement{Domain: "coffer/approved/v1", Body: append(make([]byte, 65), id)}
}

// TestApprovalKey: m of n, all shapes that nest the ORs differently.
func TestApprovalKey(t *testing.T) {
	s := emulator(t)
	authority := newPerson(t)
	d := opened(t, provisioned(t, s, "&authority="+authority.public.String()))
	area, err := d.PublicArea(t.Context(), hsm.RoleApproval)
	if err != nil {
		t.Fatal(err)
	}
	public, err := attest.CheckApprovalKey(area, authority.public)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := d.Public(t.Context(), hsm.RoleApproval); err != nil || k != public {
		t.Fatalf("approval key is %v, %v; its area has %v", k, err, public)
	}
	st := approvalStatement(1)
	if _, err := d.Sign(t.Context(), hsm.RoleApproval, st, hsm.Approvals{}); !errors.Is(err, hsm.ErrNotProvisioned) {
		t.Fatalf("without approvers: %v, want ErrNotProvisioned", err)
	}
	for _, shape := range []struct{ need, of int }{{1, 1}, {1, 2}, {2, 2}, {2, 3}, {1, 8}, {2, 5}, {4, 8}, {7, 8}, {8, 8}} {
		all := people(t, shape.of)
		install(t, d, authority, all, shape.need)
		var ap hsm.Approvals
		for _, i := range mathPerm(shape.of)[:shape.need] {
			ap = append(ap, all[i].approve(t, d, st))
		}
		sig, err := d.Sign(t.Context(), hsm.RoleApproval, st, ap)
		if err == nil {
			err = signature.Verify(public, st, sig)
		}
		if err != nil {
			t.Errorf("%d of %d: %v", shape.need, shape.of, err)
		}
		if _, err := d.Sign(t.Context(), hsm.RoleApproval, st, ap[1:]); !errors.Is(err, hsm.ErrApproval) {
			t.Errorf("%d of %d with one less: %v, want ErrApproval", shape.need, shape.of, err)
		}
	}
	if _, err := d.Sign(t.Context(), hsm.RoleApproval, st, nil); !errors.Is(err, hsm.ErrApproval) {
		t.Errorf("nobody at hand: %v, want ErrApproval", err)
	}
}

func mathPerm(n int) []int {
	out := make([]int, n)
	for i := range out {
		var b [1]byte
		rand.Read(b[:])
		j := int(b[0]) % (i + 1)
		out[i] = out[j]
		out[j] = i
	}
	return out
}

// attempt goes around our checks: it says to the TPM what root on the host could.
type attempt struct {
	in     installed // the set whose policy is claimed
	sigs   []approved
	cp     [32]byte // what the approvals are said to be for
	st     signature.Statement
	policy func(t transport.TPM, s tpm2.Session) error // instead of ours, if not nil
}

func (d *Device) attempt(ctx context.Context, a attempt) error {
	k := d.keys[hsm.RoleApproval]
	return d.conn.do(ctx, "try", func(t transport.TPM) error {
		return withPolicy(t, func(s tpm2.Session) error {
			policy := a.policy
			if policy == nil {
				policy = func(t transport.TPM, s tpm2.Session) error { return d.approvalPolicy(t, s, a.in, a.cp, a.sigs) }
			}
			if err := policy(t, s); err != nil {
				return err
			}
			name := k.name()
			_, err := sign(t, tpm2.AuthHandle{Handle: k.handle, Name: tpm2.TPM2BName{Buffer: name[:]}, Auth: s}, a.st.Digest())
			return err
		})
	})
}

// at finds a person's place in a set.
func (in installed) at(p person) int { return slices.Index(in.set.Keys, p.public) }

// TestApprovalEnforcedByTPM: every refusal here is the TPM's own.
func TestApprovalEnforcedByTPM(t *testing.T) {
	s := emulator(t)
	authority := newPerson(t)
	d := opened(t, provisioned(t, s, "&authority="+authority.public.String()))
	other := opened(t, provisioned(t, s, "&slot=1&authority="+authority.public.String()))
	old, all := people(t, 3), people(t, 3)
	oldSet := install(t, d, authority, old, 2)
	area := d.keys[hsm.RoleApproval].blob.public
	st, another := approvalStatement(1), approvalStatement(2)
	good := func(in installed, d *Device, st signature.Statement, who ...person) (out []approved) {
		for _, p := range who {
			out = append(out, approved{in.at(p), p.approve(t, d, st).Signature})
		}
		slices.SortFunc(out, func(a, b approved) int { return a.at - b.at })
		return out
	}
	cp := attest.SignHash(area, st)
	if err := d.attempt(t.Context(), attempt{in: oldSet, sigs: good(oldSet, d, st, old[0], old[1]), cp: cp, st: st}); err != nil {
		t.Fatalf("the old set, in force: %v", err)
	}
	in := install(t, d, authority, all, 2)
	install(t, other, authority, all, 2)
	genuine := attempt{in: in, sigs: good(in, d, st, all[0], all[2]), cp: cp, st: st}

	forged := newPerson(t)
	stranger := good(in, d, st, all[0], all[1])
	stranger[0].sig = newPerson(t).approve(t, d, st).Signature
	selfMade := in
	digest, err := in.set.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	own, err := attest.NewApprovers([]signature.PublicKey{forged.public}, 1, in.set.Counter, in.set.Generation)
	if err != nil {
		t.Fatal(err)
	}
	ownDigest, err := own.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	selfMade.set, selfMade.by = own, forged.sign(t, ownDigest)
	stolenWord := installed{own, in.by}
	twice := good(in, d, st, all[0])
	twice = append(twice, twice[0])
	fewer := in
	if fewer.set, err = attest.NewApprovers(in.set.Keys, 1, in.set.Counter, in.set.Generation); err != nil {
		t.Fatal(err)
	}
	relabelled := oldSet
	relabelled.set.Generation = in.set.Generation

	for _, tc := range []struct {
		name string
		a    attempt
		say  string
	}{
		{"no policy at all", attempt{st: st, policy: func(transport.TPM, tpm2.Session) error { return nil }}, "TPM_RC_POLICY_FAIL"},
		{"approvals of another digest, said as they were signed", attempt{in: in, sigs: good(in, d, another, all[0], all[1]), cp: attest.SignHash(area, another), st: st}, "TPM_RC_POLICY_FAIL"},
		{"approvals of another digest, said to be for this", attempt{in: in, sigs: good(in, d, another, all[0], all[1]), cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"a stranger's signature", attempt{in: in, sigs: stranger, cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"one approver too few", attempt{in: fewer, sigs: good(in, d, st, all[1]), cp: cp, st: st}, "TPM_RC_"},
		{"one approver twice", attempt{st: st, policy: func(tp transport.TPM, s tpm2.Session) error {
			return d.twicePolicy(tp, s, in, cp, twice)
		}}, "TPM_RC_VALUE"},
		{"another vault's approvals", attempt{in: in, sigs: good(in, other, st, all[0], all[1]), cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"another vault's approvals, said as they were signed", attempt{in: in, sigs: good(in, other, st, all[0], all[1]), cp: attest.SignHash(other.keys[hsm.RoleApproval].blob.public, st), st: st}, "TPM_RC_POLICY_FAIL"},
		{"the replaced set", attempt{in: oldSet, sigs: good(oldSet, d, st, old[0], old[1]), cp: cp, st: st}, "TPM_RC_POLICY"},
		{"the replaced set under the new generation", attempt{in: relabelled, sigs: good(oldSet, d, st, old[0], old[1]), cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"a set that the host made", attempt{in: selfMade, sigs: []approved{{0, forged.approve(t, d, st).Signature}}, cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"a set under the authority's signature of another", attempt{in: stolenWord, sigs: []approved{{0, forged.approve(t, d, st).Signature}}, cp: cp, st: st}, "TPM_RC_SIGNATURE"},
		{"the policy of one's own authority", attempt{st: st, policy: func(tp transport.TPM, s tpm2.Session) error {
			return d.foreignAuthority(tp, s, selfMade, forged, cp, approved{0, forged.approve(t, d, st).Signature})
		}}, "TPM_RC_POLICY_FAIL"},
	} {
		err := d.attempt(t.Context(), tc.a)
		if err == nil || !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v, want the TPM to answer %s", tc.name, err, tc.say)
		}
		if err := d.attempt(t.Context(), genuine); err != nil {
			t.Fatalf("after %s the genuine approvals no longer pass: %v", tc.name, err)
		}
	}
	if ad, err := in.set.AuthorityDigest(); err != nil || ad != digest {
		t.Fatalf("the attempts changed the set: %v", err)
	}
	// Nor does the key take the device's authorisation value, or any password.
	k := d.keys[hsm.RoleApproval]
	name := k.name()
	for _, value := range [][]byte{d.device.auth.Reveal(), nil} {
		err := d.conn.do(t.Context(), "try", func(tp transport.TPM) error {
			_, err := sign(tp, auth(k.handle, name[:], value), st.Digest())
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "TPM_RC_AUTH_UNAVAILABLE") {
			t.Errorf("by password: %v, want the TPM to answer TPM_RC_AUTH_UNAVAILABLE", err)
		}
	}
	healthy(t, d)
}

// twicePolicy runs one approver's authorisation twice.
func (d *Device) twicePolicy(t transport.TPM, s tpm2.Session, in installed, cp [32]byte, sigs []approved) error {
	for _, g := range sigs {
		err := withVerifier(t, in.set.Keys[g.at], func(h tpm2.NamedHandle) error {
			_, err := tpm2.PolicySigned{AuthObject: h, PolicySession: s.Handle(), CPHashA: tpm2.TPM2BDigest{Buffer: cp[:]},
				PolicyRef: tpm2.TPM2BNonce{Buffer: attest.ApproverRef()}, Auth: curved(g.sig)}.Execute(t)
			return err
		})
		if err != nil {
			return err
		}
	}
	path, err := in.set.Path([]int{0, 1})
	if err != nil {
		return err
	}
	var list tpm2.TPMLDigest
	for _, b := range path[0] {
		list.Digests = append(list.Digests, tpm2.TPM2BDigest{Buffer: slices.Clone(b[:])})
	}
	_, err = tpm2.PolicyOr{PolicySession: s.Handle(), PHashList: list}.Execute(t)
	return err
}

// foreignAuthority runs everything in order, with an authority of the host's own.
func (d *Device) foreignAuthority(t transport.TPM, s tpm2.Session, in installed, authority person, cp [32]byte, g approved) error {
	impostor := &Device{conn: d.conn, device: d.device}
	impostor.device.authority = &authority.public
	return impostor.approvalPolicy(t, s, in, cp, []approved{g})
}

// healthy: nothing is loaded in the TPM, it isn't in lockout, and it works.
func healthy(t *testing.T, d *Device) {
	t.Helper()
	err := d.conn.do(t.Context(), "look", func(tp transport.TPM) error {
		for _, first := range []uint32{transientFirst, hmacFirst, policyFirst} {
			got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(tp)
			if err != nil {
				return err
			}
			list, err := got.CapabilityData.Data.Handles()
			if err != nil {
				return err
			}
			if len(list.Handle) != 0 {
				return fmt.Errorf("left in the TPM: %x", list.Handle)
			}
		}
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTLockoutCounter), PropertyCount: 1}.Execute(tp)
		if err != nil {
			return err
		}
		list, err := got.CapabilityData.Data.TPMProperties()
		if err != nil {
			return err
		}
		if n := list.TPMProperty[0].Value; n != 0 {
			return fmt.Errorf("lockout counter is %d", n)
		}
		return nil
	})
	if err != nil {
		t.Errorf("the TPM is not as it was: %v", err)
	}
	st := signature.Statement{Domain: "coffer/test/v1"}
	if _, err := d.Sign(t.Context(), hsm.RoleDecision, st, nil); err != nil {
		t.Errorf("the TPM no longer signs: %v", err)
	}
}

// TestFailedApprovals: 100 of them leave the device healthy.
func TestFailedApprovals(t *testing.T) {
	s := emulator(t)
	authority := newPerson(t)
	d := opened(t, provisioned(t, s, "&authority="+authority.public.String()))
	all := people(t, 3)
	in := install(t, d, authority, all, 2)
	st := approvalStatement(1)
	cp := attest.SignHash(d.keys[hsm.RoleApproval].blob.public, st)
	for i := range 100 {
		bad := []approved{{0, all[0].approve(t, d, st).Signature}, {1, all[0].approve(t, d, st).Signature}}
		if err := d.attempt(t.Context(), attempt{in: in, sigs: bad, cp: cp, st: st}); err == nil {
			t.Fatalf("attempt %d passed", i)
		}
	}
	healthy(t, d)
	ap := hsm.Approvals{all[0].approve(t, d, st), all[1].approve(t, d, st)}
	if _, err := d.Sign(t.Context(), hsm.RoleApproval, st, ap); err != nil {
		t.Errorf("after 100 failed approvals: %v", err)
	}
}
