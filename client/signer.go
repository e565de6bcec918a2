package client

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/wire"
)

// Signer signs as one person or service, with an Ed25519 key from a file.
type Signer struct{ key *keyfile.Key }

// NewSigner makes a key for a principal and stores it in a new file (mode 0600).
func NewSigner(principal, path string) (*Signer, error) {
	k, err := keyfile.New(rand.Reader, principal)
	if err != nil {
		return nil, err
	}
	if err := k.Write(path); err != nil {
		return nil, err
	}
	return &Signer{k}, nil
}

// LoadSigner reads a key's file. It refuses one that other users can read.
func LoadSigner(path string) (*Signer, error) {
	k, err := keyfile.Read(path)
	if err != nil {
		return nil, err
	}
	return &Signer{k}, nil
}

// Principal is whose key it is.
func (s *Signer) Principal() string { return s.key.Principal }

// PublicKey is what a roster lists: "ed25519:BASE64URL".
func (s *Signer) PublicKey() string { return s.key.Public().String() }

// Fingerprint names the key to people.
func (s *Signer) Fingerprint() string { return s.key.Public().Fingerprint() }

// Close wipes the key.
func (s *Signer) Close() { s.key.Destroy() }

// Propose makes the signer the draft's initiator and signs it.
func (s *Signer) Propose(d *Draft) (*Proposal, error) {
	q := d.request
	q.Initiator = s.key.Principal
	if err := q.Check(); err != nil {
		return nil, err
	}
	sig := s.key.Sign(request.ProposeStatement(q.ID()))
	return &Proposal{Request: encode(q.Encode()), Key: s.PublicKey(), Signature: encode(sig.Bytes)}, nil
}

// Approve says yes or no to exactly the request that was decoded. A yes counts
// for validity (0: as long as the request lives).
func (s *Signer) Approve(r *Decoded, yes bool, validity time.Duration) (approval string, err error) {
	now := uint64(time.Now().UnixMilli())
	a := request.Approval{
		Request: r.request.ID(), Principal: s.key.Principal, Approve: yes, Time: now, Expires: r.request.Expires, Key: s.key.Public(),
	}
	if validity > 0 {
		a.Expires = min(a.Expires, now+uint64(validity.Milliseconds()))
	}
	if a.Expires <= now {
		return "", fmt.Errorf("the request expired at %s", request.Instant(r.request.Expires))
	}
	a.Signature = s.key.Sign(a.Statement())
	return encode(a.Encode()), nil
}

// Cancel takes a request back.
func (s *Signer) Cancel(r *Decoded) (cancellation string) {
	c := request.Cancellation{Request: r.request.ID(), Principal: s.key.Principal, Time: uint64(time.Now().UnixMilli()), Key: s.key.Public()}
	c.Signature = s.key.Sign(c.Statement())
	return encode(c.Encode())
}

// OrderWallet orders a key for ECDSA over secp256k1 from the named vaults (nil:
// all), of which threshold sign together. The signer must be an admin.
func (s *Signer) OrderWallet(c *Cluster, name string, threshold int, vaults []int) (order string, err error) {
	return s.OrderKey(c, name, governance.PurposeECDSA, threshold, vaults)
}

// PurposeEd25519 is the purpose of keys for Solana.
const PurposeEd25519 = governance.PurposeEd25519

// OrderKey is OrderWallet for a key of any purpose: "ecdsa-secp256k1", "ed25519",
// "bip340-taproot".
func (s *Signer) OrderKey(c *Cluster, name, purpose string, threshold int, vaults []int) (order string, err error) {
	return s.Order(c, KeyOptions{Name: name, Purpose: purpose, Threshold: threshold, Vaults: vaults})
}

// KeyOptions say what key is wanted.
type KeyOptions struct {
	Name      string // of the wallet
	Purpose   string // default: ecdsa-secp256k1
	Threshold int
	Vaults    []int  // default: all
	Tier      string // of custody: "hot" (default), "warm" or "cold"
	// Insist waives that the vaults' devices must differ: one flaw of a model that
	// holds a threshold of shares can then be enough to sign.
	Insist bool
}

// Order orders a key. The signer must be an admin.
func (s *Signer) Order(c *Cluster, k KeyOptions) (order string, err error) {
	if err := wire.CheckName(k.Name); err != nil {
		return "", fmt.Errorf("wallet name: %w", err)
	}
	tier, err := governance.ParseTier(cmp.Or(k.Tier, "hot"))
	if err != nil {
		return "", err
	}
	vaults := k.Vaults
	o := governance.KeygenOrder{
		Name: k.Name, Threshold: uint16(k.Threshold), Purpose: cmp.Or(k.Purpose, governance.PurposeECDSA), Tier: tier, Insist: k.Insist,
		Created: uint64(time.Now().UnixMilli()), Author: s.key.Principal, Key: s.key.Public(),
	}
	if o.Cluster, err = clusterID(c); err != nil {
		return "", err
	}
	if vaults == nil {
		for _, v := range c.Vaults {
			vaults = append(vaults, v.ID)
		}
	}
	for _, v := range vaults {
		o.Parties = append(o.Parties, uint16(v))
	}
	o.Signature = s.key.Sign(o.Statement())
	return encode(o.Encode()), nil
}

// SignChange signs exactly the change that was decoded.
func (s *Signer) SignChange(c *DecodedChange) *ChangeSignature {
	sig := s.key.Sign(c.change.Statement())
	return &ChangeSignature{Principal: s.key.Principal, Key: s.PublicKey(), Signature: encode(sig.Bytes)}
}

// ChangeSignature is one admin's signature of a change.
type ChangeSignature struct {
	Principal string `json:"principal"`
	Key       string `json:"key" doc:"ed25519:BASE64URL or p256:BASE64URL."`
	Signature string `json:"signature" doc:"Over the change (domain coffer/change/v1): 64 bytes, base64url."`
}
