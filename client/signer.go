package client

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/keyfile"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Signer signs as one person or service, with a key from a file or an External one.
type Signer struct {
	principal string
	keys      []signature.PublicKey // it signs with one of them
	key       *keyfile.Key          // nil: external signs
	external  *External
}

func fromFile(k *keyfile.Key) *Signer {
	return &Signer{principal: k.Principal, keys: []signature.PublicKey{k.Public()}, key: k}
}

// NewSigner makes a key for a principal and stores it in a new file (mode 0600).
func NewSigner(principal, path string) (*Signer, error) {
	k, err := keyfile.New(rand.Reader, principal)
	if err != nil {
		return nil, err
	}
	if err := k.Write(path); err != nil {
		return nil, err
	}
	return fromFile(k), nil
}

// NewP256Signer is NewSigner for a key of ECDSA over P-256, which devices take as an
// approver's.
func NewP256Signer(principal, path string) (*Signer, error) {
	k, err := keyfile.NewP256(rand.Reader, principal)
	if err != nil {
		return nil, err
	}
	if err := k.Write(path); err != nil {
		return nil, err
	}
	return fromFile(k), nil
}

// LoadSigner reads a key's file. It refuses one that other users can read.
func LoadSigner(path string) (*Signer, error) {
	k, err := keyfile.Read(path)
	if err != nil {
		return nil, err
	}
	return fromFile(k), nil
}

// Principal is whose key it is.
func (s *Signer) Principal() string { return s.principal }

// PublicKey is what a roster lists: "ed25519:BASE64URL". Of an External with several it
// is the first.
func (s *Signer) PublicKey() string { return s.keys[0].String() }

// P256 says that it is a key that devices take as an approver's.
func (s *Signer) P256() bool { return s.keys[0].Algorithm == signature.P256 }

// Fingerprint names the key to people.
func (s *Signer) Fingerprint() string { return s.keys[0].Fingerprint() }

// Close wipes the key.
func (s *Signer) Close() {
	if s.key != nil {
		s.key.Destroy()
	} else if s.external.Close != nil {
		s.external.Close()
	}
}

// sign signs a statement, and says with which key.
func (s *Signer) sign(st signature.Statement) (signature.PublicKey, signature.Signature, error) {
	if s.key != nil {
		return s.keys[0], s.key.Sign(st), nil
	}
	return s.outside(st.Digest(), func(k signature.PublicKey, sig signature.Signature) error { return signature.Verify(k, st, sig) })
}

// Propose makes the signer the draft's initiator and signs it.
func (s *Signer) Propose(d *Draft) (*Proposal, error) {
	q := d.request
	q.Initiator = s.principal
	if err := q.Check(); err != nil {
		return nil, err
	}
	key, sig, err := s.sign(request.ProposeStatement(q.ID()))
	if err != nil {
		return nil, err
	}
	return &Proposal{Request: encode(q.Encode()), Key: key.String(), Signature: encode(sig.Bytes)}, nil
}

// Approve says yes or no to exactly the request that was decoded. A yes counts
// for validity (0: as long as the request lives).
func (s *Signer) Approve(r *Decoded, yes bool, validity time.Duration) (approval string, err error) {
	now := uint64(time.Now().UnixMilli())
	a := request.Approval{
		Request: r.request.ID(), Principal: s.principal, Approve: yes, Time: now, Expires: r.request.Expires,
	}
	if validity > 0 {
		a.Expires = min(a.Expires, now+uint64(validity.Milliseconds()))
	}
	if a.Expires <= now {
		return "", fmt.Errorf("the request expired at %s", request.Instant(r.request.Expires))
	}
	if a.Key, a.Signature, err = s.sign(a.Statement()); err != nil {
		return "", err
	}
	return encode(a.Encode()), nil
}

// ApproveDevices signs, for each vault whose card has an approval key, that its device
// may use that key for exactly the request that was decoded. The signer's key must be
// a P-256 one; c says which vaults there are. A false card misleads nobody but the
// device that it names: what is signed names cluster, vault and request.
func (s *Signer) ApproveDevices(r *Decoded, c *Cluster) (out []DeviceApproval, err error) {
	for _, v := range c.Vaults {
		if v.Approval == "" {
			continue
		}
		area, err := decode(v.ApprovalArea)
		if err != nil {
			return nil, fmt.Errorf("vault %d's card: its approval area is not base64url", v.ID)
		}
		digest, err := attest.ApprovalDigest(area, audit.ApprovedStatement(r.request.Cluster, uint16(v.ID), r.request.ID()))
		if err != nil {
			return nil, fmt.Errorf("vault %d's card: %w", v.ID, err)
		}
		sig, err := s.signDevice(digest)
		if err != nil {
			return nil, err
		}
		out = append(out, DeviceApproval{Vault: v.ID, Key: s.PublicKey(), Signature: encode(sig.Bytes)})
	}
	return out, nil
}

// Cancel takes a request back.
func (s *Signer) Cancel(r *Decoded) (cancellation string, err error) {
	c := request.Cancellation{Request: r.request.ID(), Principal: s.principal, Time: uint64(time.Now().UnixMilli())}
	if c.Key, c.Signature, err = s.sign(c.Statement()); err != nil {
		return "", err
	}
	return encode(c.Encode()), nil
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
	// Faults is how many corrupt vaults spending limits must withstand: 0 to Threshold − 1.
	// More vaults must then be up for every signature.
	Faults int
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
	if k.Faults < 0 || k.Faults >= max(k.Threshold, 1) {
		return "", fmt.Errorf("faults %d: want 0 to %d, below the threshold", k.Faults, max(k.Threshold, 1)-1)
	}
	vaults := k.Vaults
	o := governance.KeygenOrder{
		Name: k.Name, Threshold: uint16(k.Threshold), Purpose: cmp.Or(k.Purpose, governance.PurposeECDSA), Tier: tier, Insist: k.Insist, Faults: uint16(k.Faults),
		Created: uint64(time.Now().UnixMilli()), Author: s.principal,
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
	if o.Key, o.Signature, err = s.sign(o.Statement()); err != nil {
		return "", err
	}
	return encode(o.Encode()), nil
}

// SignChange signs exactly the change that was decoded.
func (s *Signer) SignChange(c *DecodedChange) (*ChangeSignature, error) {
	key, sig, err := s.sign(c.change.Statement())
	if err != nil {
		return nil, err
	}
	return &ChangeSignature{Principal: s.principal, Key: key.String(), Signature: encode(sig.Bytes)}, nil
}

// ChangeSignature is one admin's signature of a change.
type ChangeSignature struct {
	Principal string `json:"principal"`
	Key       string `json:"key" doc:"ed25519:BASE64URL or p256:BASE64URL."`
	Signature string `json:"signature" doc:"Over the change (domain coffer/change/v1): 64 bytes, base64url."`
}
