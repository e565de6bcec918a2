// Package attest verifies what devices say of themselves: the evidence of a TPM 2.0
// that a vault's keys live in it and can't leave it, what the machine booted, and what
// a hardware counter stands at (docs/spec/attestation.md); and it computes what people
// sign so that a TPM lets its approval key be used (docs/spec/tpm.md).
//
// It is pure: it parses the few structures of the TPM library that evidence has, with
// its own strict parser, and talks to no device. Package hsm/tpm makes the evidence.
//
// A prover must not be trusted in anything: the nonce is the verifier's, the binding is
// to the channel, every byte of evidence is under the attestation key's signature. What
// evidence can't say is that the attestation key itself is in a TPM: a program that
// plays a TPM signs as well. That is why a Policy lists attestation keys that somebody
// vouches for (after checking the TPM's endorsement certificate, hsm/tpm), and why
// without such a list a result is worth as much as the host's word.
//
// # A second kind
//
// The seam is for enclaves too (SEV-SNP, TDX, Nitro). A second kind of evidence needs:
// a number (KindTPM is 1; numbers are never reused), a canonical encoding with a
// decoder and a fuzz target, a case in Verify that fills Result from a report whose
// user data is Qualify's hash of nonce and binding, a mapping of its measurement to
// Measurement.Digest (launch digest, MRTD, PCR0) with Mask as the kind defines it, and
// a check that refuses debug launches (Policy.Emulators accepts them). The vendor's
// certificate chain takes crypto/x509, which is outside the boundary: verify it where
// an admin vouches, as for TPMs, or have its root keys in the policy.
package attest
