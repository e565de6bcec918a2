package hsm_test

import (
	"context"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

// keyDevice is a seal key in memory.
type keyDevice struct{ key *ecdh.PrivateKey }

func (d keyDevice) SealKey(context.Context) (*ecdh.PublicKey, error) { return d.key.PublicKey(), nil }
func (d keyDevice) Exchange(_ context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	return d.key.ECDH(peer)
}

// TestVector opens a blob that an earlier version sealed: state on disks must stay
// readable. A new version of the format gets a file of its own.
func TestVector(t *testing.T) {
	raw, err := os.ReadFile("testdata/seal-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		SealKey   string `json:"seal_key"`
		Epoch     uint64 `json:"epoch"`
		AAD       string `json:"aad"`
		Plaintext string `json:"plaintext"`
		KeyID     string `json:"key_id"`
		Blob      string `json:"blob"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	scalar, err1 := hex.DecodeString(v.SealKey)
	blob, err2 := hex.DecodeString(v.Blob)
	key, err3 := ecdh.P256().NewPrivateKey(scalar)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	got, err := hsm.OpenWith(t.Context(), keyDevice{key}, blob, []byte(v.AAD))
	if err != nil || string(got) != v.Plaintext {
		t.Fatalf("opened %q, %v; want %q", got, err, v.Plaintext)
	}
	parts, err := hsm.DecodeBlob(blob)
	if err != nil || parts.Epoch != v.Epoch || hex.EncodeToString(parts.KeyID[:]) != v.KeyID {
		t.Fatalf("blob says epoch %d, key %x, %v; want %d, %s", parts.Epoch, parts.KeyID, err, v.Epoch, v.KeyID)
	}
}
