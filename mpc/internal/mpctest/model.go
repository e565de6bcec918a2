package mpctest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

// Model is a run that internal/refmodel made from docs/spec alone: its notes say
// from which byte streams. The packages replay it.
type Model struct {
	Note              []string       `json:"note"`
	Suite             string         `json:"suite"`
	Parties           []mpc.ID       `json:"parties"`
	Threshold         int            `json:"threshold"`
	DKGPurpose        string         `json:"dkg_purpose"`
	DKGAttempt        Hex            `json:"dkg_attempt_id"`
	Identities        map[mpc.ID]Hex `json:"identities"`
	SessionSeeds      map[mpc.ID]Hex `json:"session_key_seeds_ed25519"`
	DKGSID            Hex            `json:"dkg_sid"`
	DKGMessages       map[string]Hex `json:"dkg_messages_sha256"`
	CertificateDigest Hex            `json:"certificate_digest"`
	Evidence          Hex            `json:"evidence_of_share_plus_1_from_7_to_1"`
	KeyShares         map[mpc.ID]Hex `json:"key_shares_active"`
	Signers           []mpc.ID       `json:"signers"`
	SetupHashes       map[string]Hex `json:"setup_hashes"`
	Attempt           Hex            `json:"attempt_id"`
	RequestHash       Hex            `json:"request_hash"`
	MessageHash       Hex            `json:"message_hash"`
	Tweak             Hex            `json:"tweak"`
	Purpose           string         `json:"purpose"`
	SID               Hex            `json:"sid"`
	Messages          map[string]Hex `json:"messages_sha256"`
	FinalShares       map[mpc.ID]Hex `json:"final_shares"`
	Negated           bool           `json:"s_was_negated"`
	Signature         Hex            `json:"signature_r_s_recid"`
}

// LoadModel reads the model's run. A field that it does not know is an error:
// nothing that the model states goes uncompared unseen.
func LoadModel(t testing.TB, path string) *Model {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("couldn't read the reference model's run: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	m := new(Model)
	if err := d.Decode(m); err != nil {
		t.Fatalf("couldn't decode %s: %v", path, err)
	}
	return m
}

// UnmarshalText decodes h.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Sent names every message of a run as the model does, with its SHA-256.
// broadcast is by round and author, private by round, author and recipient.
func Sent(broadcast []map[mpc.ID][]byte, private []map[mpc.ID]map[mpc.ID][]byte) map[string]Hex {
	out := make(map[string]Hex)
	put := func(name string, m []byte) {
		h := sha256.Sum256(m)
		out[name] = h[:]
	}
	for r := range broadcast {
		for from, m := range broadcast[r] {
			put(fmt.Sprintf("round %d from %d", r, from), m)
		}
	}
	for r := range private {
		for from, to := range private[r] {
			for j, m := range to {
				put(fmt.Sprintf("round %d from %d to %d", r, from, j), m)
			}
		}
	}
	return out
}

// SameMessages demands the same messages, none more and none fewer. It names
// what differs by round: what follows a difference differs too.
func SameMessages(t testing.TB, got, want map[string]Hex) {
	t.Helper()
	if len(want) == 0 {
		t.Error("the model has no messages")
	}
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: SHA-256 %x, the model has %x", name, got[name], want[name])
		}
	}
}

// Same demands equal bytes.
func Same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%s: %x, the model has %x", what, got, want)
	}
}
