package vaultshell

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/remote"
	"github.com/cofferhq/coffer/internal/signature"
)

// rsaDevice signs by RSA, as devices without elliptic curves do.
type rsaDevice struct {
	remote.Device
	keys map[hsm.Role]*rsa.PrivateKey
}

// Info leaves the ratchet out, which the embedded interface hides.
func (d *rsaDevice) Info() hsm.Info {
	i := d.Device.Info()
	i.Suites = slices.DeleteFunc(slices.Clone(i.Suites), func(s string) bool { return s == hsm.HasRatchet })
	return i
}

func (d *rsaDevice) Public(ctx context.Context, role hsm.Role) (signature.PublicKey, error) {
	if d.keys[role] == nil {
		return d.Device.Public(ctx, role)
	}
	return signature.ParsePublicKey(signature.RSA3072, d.keys[role].N.Bytes())
}

func (d *rsaDevice) Sign(_ context.Context, role hsm.Role, st signature.Statement, _ hsm.Approver) (signature.Signature, error) {
	digest := st.Digest()
	raw, err := rsa.SignPKCS1v15(nil, d.keys[role], crypto.SHA256, digest[:])
	return signature.Signature{Algorithm: signature.RSA3072, Bytes: raw}, err
}

// TestRSADevices: every signature of a device, wherever it stands (hello, card,
// checkpoint, decision, certificate of a key), may be one of RSA.
func TestRSADevices(t *testing.T) {
	s := startSiteOn(t, 3, nil, func(d remote.Device) remote.Device {
		wrapped := &rsaDevice{Device: d, keys: map[hsm.Role]*rsa.PrivateKey{}}
		for _, role := range hsm.Roles() {
			key, err := rsa.GenerateKey(rand.Reader, 3072)
			if err != nil {
				t.Fatal(err)
			}
			wrapped.keys[role] = key
		}
		return wrapped
	})
	s.ready(1, 2, 3)
	s.keygen()
	s.sign(1, 2)
	for _, p := range s.parties {
		p.down()
	}
	s.logs()
	if a := s.world.Genesis.Enrolments[0].Vault.Decision.Algorithm; a != signature.RSA3072 {
		t.Fatalf("the cluster ran on %v", a)
	}
}
