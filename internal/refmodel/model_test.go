package refmodel

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// modelVector is a run of the model alone, for mpc/ to replay. It reaches what
// the vectors of mpc/ do not: three signers, ids above 255, a message hash
// which is not below q, no tweak, no attachment, an s that had to be negated,
// the evidence of a wrong share.
type modelVector struct {
	Note              []string          `json:"note"`
	Suite             string            `json:"suite"`
	Parties           []int             `json:"parties"`
	Threshold         int               `json:"threshold"`
	DKGPurpose        string            `json:"dkg_purpose"`
	DKGAttempt        string            `json:"dkg_attempt_id"`
	Identities        map[int]string    `json:"identities"`
	SessionKeySeeds   map[int]string    `json:"session_key_seeds_ed25519"`
	DKGSID            string            `json:"dkg_sid"`
	DKGMessages       map[string]string `json:"dkg_messages_sha256"`
	CertificateDigest string            `json:"certificate_digest"`
	Evidence          string            `json:"evidence_of_share_plus_1_from_7_to_1"`
	KeySharesActive   map[int]string    `json:"key_shares_active"`
	Signers           []int             `json:"signers"`
	SetupHashes       map[string]string `json:"setup_hashes"`
	Attempt           string            `json:"attempt_id"`
	RequestHash       string            `json:"request_hash"`
	MessageHash       string            `json:"message_hash"`
	Tweak             string            `json:"tweak"`
	Purpose           string            `json:"purpose"`
	SID               string            `json:"sid"`
	Messages          map[string]string `json:"messages_sha256"`
	FinalShares       map[int]string    `json:"final_shares"`
	Negated           bool              `json:"s_was_negated"`
	SignatureRSRecid  string            `json:"signature_r_s_recid"`
}

func (tr transcript) hashes() map[string]string {
	out := map[string]string{}
	for r, b := range tr.broadcast {
		for i, m := range b {
			out[fmt.Sprintf("round %d from %d", r, i)] = hex.EncodeToString(H256(m))
		}
	}
	for r, p := range tr.private {
		for i, to := range p {
			for j, m := range to {
				out[fmt.Sprintf("round %d from %d to %d", r, i, j)] = hex.EncodeToString(H256(m))
			}
		}
	}
	return out
}

func TestModelVector(t *testing.T) {
	v := modelVector{
		Note: []string{
			"made by internal/refmodel, from docs/spec alone",
			"dealer i reads SHAKE256 of \"coffer/test/refmodel dkg/i\", signer i of \"coffer/test/refmodel sign/i\", i in decimal",
			"the trees with Bob b and Alice a are dealt by SHAKE256 of \"bob b alice a\": Δ, then r_{i,x} for i = 0 … 31, x = 0 … 15",
			"attachments are empty",
		},
		Suite: Suite, Parties: []int{1, 7, 300, 65535}, Threshold: 3, DKGPurpose: "test", Signers: []int{7, 300, 65535}, Purpose: "test",
		Identities: map[int]string{}, SessionKeySeeds: map[int]string{}, KeySharesActive: map[int]string{},
		SetupHashes: map[string]string{}, FinalShares: map[int]string{},
	}
	keys, ds, tr := generate(t, v.Parties, v.Threshold)
	v.DKGAttempt, v.DKGSID = hex.EncodeToString(ds[1].Attempt), hex.EncodeToString(ds[1].SID())
	v.DKGMessages = tr.hashes()
	v.CertificateDigest = hex.EncodeToString(keys[1].Certificate)
	for i, k := range keys {
		v.Identities[i] = hex.EncodeToString(ds[i].Identities[i])
		v.SessionKeySeeds[i] = hex.EncodeToString(ds[i].SessionKey.Seed())
		v.KeySharesActive[i] = hex.EncodeToString(k.Encode())
	}
	v.Evidence = hex.EncodeToString(convict(t, ds[7], 1))

	ss := team(keys, v.Signers, new(big.Int))
	for _, i := range v.Signers {
		ss[i].Items[0].MessageHash = bytes.Repeat([]byte{0xff}, 32) // not below q
		ss[i].Attempt[15] = modelAttempt
		for j, s := range ss[i].Setups {
			v.SetupHashes[fmt.Sprintf("%d %d", min(i, j), max(i, j))] = hex.EncodeToString(s.Hash)
		}
	}
	first := ss[7]
	shares, tr, errs := play(ss, v.Signers, func(int) {})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	v.Attempt, v.RequestHash = hex.EncodeToString(first.Attempt), hex.EncodeToString(first.RequestHash)
	v.MessageHash, v.Tweak = hex.EncodeToString(first.Items[0].MessageHash), hex.EncodeToString(enc(first.Items[0].Tweak))
	v.SID, v.Messages = hex.EncodeToString(first.SID()), tr.hashes()
	u, w := new(big.Int), new(big.Int)
	for k, i := range v.Signers {
		v.FinalShares[i] = hex.EncodeToString(shares[k])
		u, w = add(u, ss[i].slots[0].u), add(w, ss[i].slots[0].w)
	}
	v.Negated = mul(w, inv(u)).Cmp(half) > 0
	if !v.Negated {
		t.Error("s was not negated: choose another modelAttempt")
	}
	pk := keys[7].PublicKey
	sig, err := Combine(pk, v.Signers, first.Items[0], shares)
	if err != nil {
		t.Fatal(err)
	}
	v.SignatureRSRecid = hex.EncodeToString(sig)
	if _, err := Combine(pk, v.Signers, first.Items[0], shares[1:]); err == nil {
		t.Error("two of three shares gave a signature")
	}
	frozen(t, "testdata/model-DKLS23-SECP256K1-B4.json", v)
}

// modelAttempt is the last byte of the attempt id, so chosen that s is negated.
const modelAttempt = 0

// convict gives the evidence against a dealer that adds 1 to the share of j.
func convict(t *testing.T, d *Dealer, j int) []byte {
	t.Helper()
	share, a := add(d.deal(j), big.NewInt(1)), d.opened[d.ID].a
	sig := ed25519.Sign(d.SessionKey, shareDigest(d.session, d.ID, j, share, a))
	b := evidence(d.session, d.ID, j, share, a, sig)
	if err := VerifyEvidence(b, d.SessionKeys[d.ID]); err != nil {
		t.Fatal(err)
	}
	return b
}

func frozen(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	same(t, file, b, want)
}
