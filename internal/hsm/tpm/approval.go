package tpm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
)

// ask has ap answer and returns c.Need signatures that verify, in the order of c.Keys.
func ask(ctx context.Context, ap hsm.Approver, c hsm.Challenge) ([]signature.Signature, error) {
	picked, err := pick(ctx, ap, c)
	if err != nil {
		return nil, err
	}
	var out []signature.Signature
	for _, p := range picked {
		out = append(out, p.sig)
	}
	return out, nil
}

// approved is the signature of the approver at a place of the challenge's keys.
type approved struct {
	at  int
	sig signature.Signature
}

func pick(ctx context.Context, ap hsm.Approver, c hsm.Challenge) ([]approved, error) {
	answer, err := hsm.Ask(ctx, ap, c)
	if err != nil {
		return nil, err
	}
	answer.PIN.Destroy() // not asked for
	var good []approved
	for at, k := range c.Keys {
		for _, a := range answer.Approvals {
			if a.Key == k && signature.VerifyDigest(k, c.Digest, a.Signature) == nil {
				good = append(good, approved{at, a.Signature})
				break
			}
		}
	}
	if len(good) < c.Need {
		return nil, hsm.Errorf(hsm.ErrApproval, "have more approvers sign",
			"%s: %d of the signatures are good for it, want %d of %d approvers", c.Use, len(good), c.Need, len(c.Keys))
	}
	return good[:c.Need], nil
}

// signApproved signs with the approval key. What is checked here only makes the
// refusal readable: the TPM checks it all, for whoever holds it.
func (d *Device) signApproved(ctx context.Context, k key, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	in, err := load(dir(d.conn.uri.Dir), fileApprovers, decodeInstalled)
	if errors.Is(err, hsm.ErrNotProvisioned) {
		return signature.Signature{}, hsm.Errorf(hsm.ErrNotProvisioned, "install an approver set that the authority signed",
			"the TPM device in %s has no approvers yet", d.conn.uri.Dir)
	}
	if err != nil {
		return signature.Signature{}, err
	}
	digest, err := attest.ApprovalDigest(k.blob.public, st)
	if err != nil {
		return signature.Signature{}, hsm.Errorf(hsm.ErrConfig, "", "couldn't use the approval key: %w", err)
	}
	good, err := pick(ctx, ap, hsm.Challenge{
		Kind: hsm.ChallengePolicy, Use: fmt.Sprintf("sign %q with the approval key", st.Domain),
		Statement: &st, Digest: digest, Keys: in.set.Keys, Need: in.set.Need,
	})
	if err != nil {
		return signature.Signature{}, err
	}
	var sig signature.Signature
	err = d.conn.do(ctx, "sign with approval", func(t transport.TPM) error {
		return withPolicy(t, func(s tpm2.Session) error {
			if err := d.approvalPolicy(t, s, in, attest.SignHash(k.blob.public, st), good); err != nil {
				return err
			}
			name := k.name()
			sig, err = sign(t, tpm2.AuthHandle{Handle: k.handle, Name: tpm2.TPM2BName{Buffer: name[:]}, Auth: s}, st.Digest())
			return err
		})
	})
	return sig, refused(err)
}

// refused says in our words that the TPM did not let an approval pass.
func refused(err error) error {
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCPolicyFail, tpm2.TPMRCPolicy, tpm2.TPMRCSignature, tpm2.TPMRCCPHash, tpm2.TPMRCValue} {
		if errors.Is(err, rc) {
			return hsm.Errorf(hsm.ErrApproval, "ask the authority for the approver set in force, and its approvers to sign", "the TPM refuses the approvals: %w", err)
		}
	}
	return err
}

// approvalPolicy is the way to the approval key: the approvers of one subset, the ORs
// above it, the generation, and the authority's word that this is the policy.
func (d *Device) approvalPolicy(t transport.TPM, s tpm2.Session, in installed, cp [32]byte, good []approved) error {
	var subset []int
	for _, g := range good {
		subset = append(subset, g.at)
		err := withVerifier(t, in.set.Keys[g.at], func(h tpm2.NamedHandle) error {
			_, err := tpm2.PolicySigned{AuthObject: h, PolicySession: s.Handle(), CPHashA: tpm2.TPM2BDigest{Buffer: cp[:]},
				PolicyRef: tpm2.TPM2BNonce{Buffer: attest.ApproverRef()}, Auth: curved(g.sig)}.Execute(t)
			return err
		})
		if err != nil {
			return fmt.Errorf("approver %d: %w", g.at+1, err)
		}
	}
	path, err := in.set.Path(subset)
	if err != nil {
		return err
	}
	for _, or := range path {
		var list tpm2.TPMLDigest
		for _, b := range or {
			list.Digests = append(list.Digests, tpm2.TPM2BDigest{Buffer: slices.Clone(b[:])})
		}
		if _, err := (tpm2.PolicyOr{PolicySession: s.Handle(), PHashList: list}).Execute(t); err != nil {
			return fmt.Errorf("choice of approvers: %w", err)
		}
	}
	index := d.conn.uri.index(nvGeneration)
	_, err = tpm2.PolicyNV{
		AuthHandle:    auth(tpm2.TPMHandle(index), counterName(index).Buffer, d.device.auth.Reveal()),
		NVIndex:       tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: counterName(index)},
		PolicySession: s.Handle(), OperandB: operand(in.set.Generation), Operation: tpm2.TPMEOEq,
	}.Execute(t)
	if err != nil {
		return fmt.Errorf("approver set of generation %d: %w", in.set.Generation, err)
	}
	return d.authorize(t, s, in)
}

// authorize has the TPM verify the authority's signature and puts the authority's
// policy in the place of the one that it approved.
func (d *Device) authorize(t transport.TPM, s tpm2.Session, in installed) error {
	policy, err := in.set.Policy()
	if err != nil {
		return err
	}
	digest := sha256.Sum256(append(policy[:], attest.AuthorityRef()...))
	return withVerifier(t, *d.device.authority, func(h tpm2.NamedHandle) error {
		ticket, err := tpm2.VerifySignature{KeyHandle: h, Digest: tpm2.TPM2BDigest{Buffer: digest[:]}, Signature: curved(in.by)}.Execute(t)
		if err != nil {
			return fmt.Errorf("authority: %w", err)
		}
		_, err = tpm2.PolicyAuthorize{PolicySession: s.Handle(), ApprovedPolicy: tpm2.TPM2BDigest{Buffer: policy[:]},
			PolicyRef: tpm2.TPM2BDigest{Buffer: attest.AuthorityRef()}, KeySign: h.Name, CheckTicket: ticket.Validation}.Execute(t)
		if err != nil {
			return fmt.Errorf("authority: %w", err)
		}
		return nil
	})
}

// Generation returns the Name of the generation counter and its value. The next
// approver set is of the value plus one.
func (d *Device) Generation(ctx context.Context) (attest.Name, uint64, error) {
	if _, err := d.key(ctx, hsm.RoleApproval); err != nil {
		return attest.Name{}, 0, err
	}
	index := d.conn.uri.index(nvGeneration)
	var v uint64
	err := d.conn.do(ctx, "read the generation", func(t transport.TPM) (err error) {
		v, err = readCounter(t, index, d.device.auth.Reveal())
		return err
	})
	return attest.NameOf(attest.CounterArea(index)), v, err
}

// maxStep bounds by how much one approver set may raise the generation: each step is a
// write to the TPM's flash.
const maxStep = 64

// InstallApprovers puts an approver set of the authority in force. From then on the TPM
// takes no approval under an earlier one.
func (d *Device) InstallApprovers(ctx context.Context, set attest.Approvers, by signature.Signature) error {
	k, err := d.key(ctx, hsm.RoleApproval)
	if err != nil {
		return err
	}
	if err := attest.CheckApprovers(k.blob.public, *d.device.authority, set, by); err != nil {
		return hsm.Errorf(hsm.ErrApproval, "have the authority sign this set for this device", "couldn't install the approver set: %w", err)
	}
	return d.conn.do(ctx, "install an approver set", func(t transport.TPM) error {
		index := d.conn.uri.index(nvGeneration)
		if want := attest.NameOf(attest.CounterArea(index)); set.Counter != want {
			return hsm.Errorf(hsm.ErrInput, "", "the approver set is for counter %v, this device's is %v", set.Counter, want)
		}
		now, err := readCounter(t, index, d.device.auth.Reveal())
		if err != nil {
			return err
		}
		if set.Generation <= now || set.Generation > now+maxStep {
			return hsm.Errorf(hsm.ErrInput, fmt.Sprintf("have the authority sign it as generation %d", now+1),
				"the approver set is of generation %d, and the device is at %d already", set.Generation, now)
		}
		if err := dir(d.conn.uri.Dir).write(fileApprovers, installed{set, by}.encode()); err != nil {
			return err
		}
		return d.settle(t)
	})
}

// settle raises the generation to that of the set that is written: after a crash
// between the two it is done when the device is opened.
func (d *Device) settle(t transport.TPM) error {
	in, err := load(dir(d.conn.uri.Dir), fileApprovers, decodeInstalled)
	if err != nil {
		return err
	}
	index := d.conn.uri.index(nvGeneration)
	now, err := readCounter(t, index, d.device.auth.Reveal())
	if err != nil {
		return err
	}
	if in.set.Generation > now+maxStep {
		return hsm.Errorf(hsm.ErrConfig, "", "the approver set is of generation %d, the device at %d: more than %d apart", in.set.Generation, now, maxStep)
	}
	return raise(t, index, d.device.auth.Reveal(), in.set.Generation)
}

func (d *Device) settleApprovers(t transport.TPM) error {
	there, err := dir(d.conn.uri.Dir).has(fileApprovers)
	k, ok := d.keys[hsm.RoleApproval]
	if err != nil || !there || !ok {
		return err
	}
	in, err := load(dir(d.conn.uri.Dir), fileApprovers, decodeInstalled)
	if err != nil {
		return err
	}
	if err := attest.CheckApprovers(k.blob.public, *d.device.authority, in.set, in.by); err != nil {
		return hsm.Errorf(hsm.ErrConfig, "install the approver set again", "the approver set in %s: %w", d.conn.uri.Dir, err)
	}
	return d.settle(t)
}

// Approvers returns the set in force, and the authority's signature over it.
func (d *Device) Approvers(ctx context.Context) (attest.Approvers, signature.Signature, error) {
	if _, err := d.key(ctx, hsm.RoleApproval); err != nil {
		return attest.Approvers{}, signature.Signature{}, err
	}
	in, err := load(dir(d.conn.uri.Dir), fileApprovers, decodeInstalled)
	return in.set, in.by, err
}
