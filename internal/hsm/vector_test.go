package hsm_test

import (
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

// vector is one blob with the keys that open it: a scalar for HPKE, AES ‖ MAC keys,
// or a PKCS#8 RSA key.
type vector struct {
	Suite     hsm.Suite `json:"suite"`
	Class     hsm.Class `json:"class"`
	Epoch     uint64    `json:"epoch"`
	SealKey   string    `json:"seal_key"`
	AAD       string    `json:"aad"`
	Plaintext string    `json:"plaintext"`
	KeyID     string    `json:"key_id"`
	Blob      string    `json:"blob"`
}

const vectors = "testdata/seal-v2.json"

// private is the seal key as it stands in a vector.
func (d *memory) private() ([]byte, error) {
	switch d.key.Suite {
	case hsm.SuiteHPKE:
		return d.ecdh.Bytes(), nil
	case hsm.SuiteOAEP1, hsm.SuiteOAEP256:
		return x509.MarshalPKCS8PrivateKey(d.rsa)
	}
	return append(append([]byte(nil), d.aes...), d.mac...), nil
}

func (v vector) device() (*memory, error) {
	d := &memory{key: hsm.SealKey{Suite: v.Suite, Class: v.Class, Epoch: v.Epoch}}
	raw, err := hex.DecodeString(v.SealKey)
	if err != nil {
		return nil, err
	}
	switch v.Suite {
	case hsm.SuiteHPKE:
		d.ecdh, err = ecdh.P256().NewPrivateKey(raw)
	case hsm.SuiteOAEP1, hsm.SuiteOAEP256:
		var key any
		key, err = x509.ParsePKCS8PrivateKey(raw)
		d.rsa, _ = key.(*rsa.PrivateKey)
	default:
		d.aes, d.mac = raw[:32], raw[32:]
	}
	if err == nil {
		if d.aes == nil {
			d.aes = make([]byte, 32)
		}
		d.name()
	}
	return d, err
}

// TestVectors opens blobs that an earlier version sealed: state on disks must stay
// readable. A new version of the format gets a file of its own. With
// COFFER_WRITE_VECTORS=1 it writes the file.
func TestVectors(t *testing.T) {
	if os.Getenv("COFFER_WRITE_VECTORS") != "" {
		writeVectors(t)
	}
	raw, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(suites()) {
		t.Errorf("%d vectors, want one a suite", len(list))
	}
	for _, v := range list {
		d, err1 := v.device()
		blob, err2 := hex.DecodeString(v.Blob)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		got, err := hsm.OpenWith(t.Context(), d, blob, []byte(v.AAD), nil)
		if err != nil || string(got) != v.Plaintext {
			t.Errorf("%v: opened %q, %v; want %q", v.Suite, got, err, v.Plaintext)
		}
		parts, err := hsm.DecodeBlob(blob)
		if err != nil || parts.Epoch != v.Epoch || hex.EncodeToString(parts.KeyID[:]) != v.KeyID {
			t.Errorf("%v: parts are %+v, %v", v.Suite, parts, err)
		}
	}
}

func writeVectors(t *testing.T) {
	var list []vector
	for _, suite := range suites() {
		d := memoryOf(t, suite)
		d.key.Epoch, d.key.Class = 3, hsm.ClassState
		if suite == hsm.SuiteOAEP1 {
			d.key.Class = hsm.ClassCold
		}
		v := vector{Suite: suite, Class: d.key.Class, Epoch: 3, AAD: "vault 1", Plaintext: "a key share"}
		blob, err := hsm.SealWith(t.Context(), d, v.Class, 3, []byte(v.Plaintext), []byte(v.AAD))
		if err != nil {
			t.Fatal(err)
		}
		private, err := d.private()
		if err != nil {
			t.Fatal(err)
		}
		id := d.key.ID()
		v.SealKey, v.KeyID, v.Blob = hex.EncodeToString(private), hex.EncodeToString(id[:]), hex.EncodeToString(blob)
		list = append(list, v)
	}
	raw, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectors, append(raw, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
