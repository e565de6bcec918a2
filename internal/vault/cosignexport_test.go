package vault

import (
	"crypto/ed25519"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// SealCosignature sends a peer a cosignature of its checkpoint of a size.
func (v *Vault) SealCosignature(to mpc.ID, size uint64, c *audit.Cosignature) []byte {
	return v.Seal(to, innerHeads, [16]byte{}, headsCosign, nil, wire.NewWriter(1).Uint64(size).Var(c.Encode()).Bytes())
}

// Cosign is this vault's cosignature of a text.
func (v *Vault) Cosign(text string) *audit.Cosignature {
	c := &audit.Cosignature{Name: audit.Origin(v.clusterID(), uint16(v.cfg.ID)), Time: 7}
	c.Signature = [64]byte(ed25519.Sign(v.logKey, audit.Cosigned(text, 7)))
	return c
}

// ForgetCosignatures forgets what the peers cosigned.
func (v *Vault) ForgetCosignatures() { v.cosigned = nil }

// Cosignatures counts those of all checkpoints that are kept.
func (v *Vault) Cosignatures() (n int) {
	for i := range v.cosigned {
		n += len(v.cosigned[i].by)
	}
	return n
}

// Newest is the newest checkpoint.
func (v *Vault) Newest() *audit.SignedCheckpoint { return v.checkpoint }
