// Package tpm is an HSM in a TPM 2.0 (docs/spec/tpm.md), spoken to directly: the
// machine's own by its resource manager, or an emulator by its socket.
//
// Identity and decision keys, and the attestation key, lie in the TPM at handles of
// their own. Seal keys are blobs in a directory that only the TPM can read, and their
// policy bears an NV counter: Erase has the counter pass it, after which no copy of the
// directory opens them. The cold seal key wants its operator's signature over the TPM's
// own nonce for each use. The approval key wants the signatures of m of n approvers over
// exactly the one digest; the TPM checks them, so that root on the host can't sign
// without, and an authority's signature changes who they are without a new key.
//
// Whoever has the directory and may use the TPM may use the identity, decision and
// state keys, as the vault may: file modes and the group of /dev/tpmrm0 keep others
// away. What a seal key's use gives crosses the wires to the TPM encrypted; the
// authorisation value does not, so someone who taps them and has the directory can use
// the TPM too. A TPM's grade is hardware by its maker's name only; Attest and package
// attest are how others check.
package tpm
