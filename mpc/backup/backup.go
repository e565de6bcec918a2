package backup

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
)

// What Open's errors are about, beside those of the certificate.
var (
	// ErrRecoveryKey says that the backup is not encrypted to this recovery key.
	ErrRecoveryKey = errors.New("backup is not encrypted to this recovery key")
	// ErrForeign says that it is a backup of another cluster, key or party.
	ErrForeign = errors.New("backup is of something else")
	// ErrCorrupt says that the bytes are not those that Seal wrote.
	ErrCorrupt = errors.New("backup is corrupt")
)

const (
	headerVersion  = 1
	bodyVersion    = 1
	maxCertificate = 32 << 10
	maxBody        = 1 + 4 + maxCertificate + 32 + 32 + chacha20poly1305.Overhead
)

// MaxRecipients bounds the recovery keys of a backup.
const MaxRecipients = 16

// Subject is what a backup is of.
type Subject struct {
	Cluster [32]byte // whatever names the caller's cluster
	KeyID   [32]byte
	Party   mpc.ID
}

// Header is what a backup says in clear.
type Header struct {
	Subject
	Epoch       uint64
	Certificate [32]byte    // its digest
	Recipients  []Recipient // ascending
}

// header is Header with what encryption needs.
type header struct {
	Header
	ephemeral [32]byte
	check     [32]byte   // commits to the file key
	wrapped   [][48]byte // the file key, by recipient
	nonce     [24]byte   // of the body
	body      []byte     // ciphertext
}

// clear are the bytes that name subject and recipients: the associated data of
// every wrapped key.
func (h *header) clear() *wire.Writer {
	w := wire.NewWriter(headerVersion).
		Fixed(h.Cluster[:]).
		Fixed(h.KeyID[:]).
		Uint16(uint16(h.Party)).
		Uint64(h.Epoch).
		Fixed(h.Certificate[:]).
		Fixed(h.ephemeral[:]).
		Fixed(h.check[:]).
		Count(len(h.Recipients))
	for i := range h.Recipients {
		w.Fixed(h.Recipients[i][:])
	}
	return w
}

// associated are the bytes before the ciphertext: the associated data of the body.
func (h *header) associated() *wire.Writer {
	w := h.clear()
	for i := range h.wrapped {
		w.Fixed(h.wrapped[i][:])
	}
	return w.Fixed(h.nonce[:])
}

func decode(b []byte) (*header, error) {
	r := wire.NewReader(b, headerVersion)
	h := new(header)
	r.Into("cluster", h.Cluster[:])
	r.Into("key id", h.KeyID[:])
	h.Party = mpc.ID(r.Uint16("party"))
	h.Epoch = r.Uint64("epoch")
	r.Into("certificate digest", h.Certificate[:])
	r.Into("ephemeral key", h.ephemeral[:])
	r.Into("check value", h.check[:])
	h.Recipients = make([]Recipient, r.Count("recipients", MaxRecipients, 32+48))
	for i := range h.Recipients {
		r.Into("recipient", h.Recipients[i][:])
	}
	h.wrapped = make([][48]byte, len(h.Recipients))
	for i := range h.wrapped {
		r.Into("wrapped key", h.wrapped[i][:])
	}
	r.Into("nonce", h.nonce[:])
	h.body = r.Var("body", maxBody)
	if r.Err() == nil && h.Party == 0 {
		r.Failf("party 0, want 1 to 65535")
	}
	if r.Err() == nil {
		if err := checkRecipients(h.Recipients); err != nil {
			r.Fail(err)
		}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: couldn't decode it: %w", ErrCorrupt, err)
	}
	return h, nil
}

func checkRecipients(rs []Recipient) error {
	if len(rs) == 0 || len(rs) > MaxRecipients {
		return fmt.Errorf("%d recovery keys, want 1 to %d", len(rs), MaxRecipients)
	}
	for i := 1; i < len(rs); i++ {
		if bytes.Compare(rs[i-1][:], rs[i][:]) >= 0 {
			return errors.New("recovery keys are not ascending without repetition")
		}
	}
	return nil
}

// Inspect returns what a backup says in clear. Nothing of it is authenticated
// before Open.
func Inspect(b []byte) (*Header, error) {
	h, err := decode(b)
	if err != nil {
		return nil, err
	}
	return &h.Header, nil
}

// Seal encrypts a share that is certified, with its complete certificate, to the
// recovery keys. The share is read and not changed. verify checks the identity
// signatures on the certificate.
func Seal(cluster [32]byte, share *dkg.KeyShare, certificate *dkg.Certificate, verify func(id mpc.ID, digest [32]byte, sig []byte) bool, recipients []Recipient, rand io.Reader) ([]byte, error) {
	if share == nil || certificate == nil || rand == nil {
		return nil, errors.New("backup: a share, its certificate and a source of randomness are needed")
	}
	recipients = slices.Clone(recipients)
	slices.SortFunc(recipients, func(a, b Recipient) int { return bytes.Compare(a[:], b[:]) })
	if err := checkRecipients(recipients); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	h := &header{Header: Header{Subject{cluster, share.KeyID, share.ID}, share.Epoch, certificate.Digest(), recipients}}
	switch {
	case h.Certificate != share.CertificateHash:
		return nil, fmt.Errorf("backup: certificate %x is not that of the share, %x", h.Certificate, share.CertificateHash)
	case !share.Certified():
		return nil, errors.New("backup: share is pending: its certificate lacks signatures")
	}
	if err := certificate.Complete(verify); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	plain := encodeBody(share, certificate)
	defer clear(plain)
	if err := h.seal(plain, rand); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return h.associated().Var(h.body).Bytes(), nil
}

// Open decrypts a backup of want with a recovery key, and checks it against the
// certificate inside and the signatures of all its parties. The share is dormant:
// it does not sign before the next refresh or reshare.
func Open(b []byte, key *Key, want Subject, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) (*dkg.KeyShare, *dkg.Certificate, error) {
	h, err := decode(b)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case h.Cluster != want.Cluster:
		return nil, nil, fmt.Errorf("%w: it is of cluster %x, want %x", ErrForeign, h.Cluster, want.Cluster)
	case h.KeyID != want.KeyID:
		return nil, nil, fmt.Errorf("%w: it is of key %x, want %x", ErrForeign, h.KeyID, want.KeyID)
	case h.Party != want.Party:
		return nil, nil, fmt.Errorf("%w: it is of party %d, want %d", ErrForeign, h.Party, want.Party)
	}
	plain, err := h.open(key)
	if err != nil {
		return nil, nil, err
	}
	defer clear(plain)
	share, certificate, err := decodeBody(plain, h)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := share.Activate(certificate, verify); err != nil {
		share.Destroy()
		return nil, nil, fmt.Errorf("couldn't restore backup: %w", err)
	}
	return share, certificate, nil
}

// encodeBody writes into a buffer that never moves: it would leave a copy behind.
func encodeBody(share *dkg.KeyShare, certificate *dkg.Certificate) []byte {
	public := wire.NewWriter(bodyVersion).Var(certificate.Encode()).Bytes()
	secret := share.Share()
	defer secret.Destroy()
	b, chain := secret.Encode(), share.ChainCode()
	defer clear(b)
	defer clear(chain[:])
	out := make([]byte, 0, len(public)+len(b)+len(chain))
	out = append(out, public...)
	out = append(out, b...)
	return append(out, chain[:]...)
}

func decodeBody(plain []byte, h *header) (*dkg.KeyShare, *dkg.Certificate, error) {
	r := wire.NewReader(plain, bodyVersion)
	encoded := r.Var("certificate", maxCertificate)
	scalar := r.Fixed("share", 32)
	var chain [32]byte
	defer clear(chain[:])
	r.Into("chain code", chain[:])
	if err := r.Done(); err != nil {
		return nil, nil, fmt.Errorf("couldn't decode its body: %w", err)
	}
	c, err := dkg.DecodeCertificate(encoded)
	if err != nil {
		return nil, nil, err
	}
	if digest := c.Digest(); digest != h.Certificate || c.KeyID() != h.KeyID || c.Epoch != h.Epoch {
		return nil, nil, fmt.Errorf("certificate %x of epoch %d is not the one that the header names, %x of epoch %d", digest, c.Epoch, h.Certificate, h.Epoch)
	}
	curve, err := group.OfSuite(c.Suite)
	if err != nil {
		return nil, nil, err
	}
	s := curve.NewScalar()
	defer s.Destroy()
	if err := s.Decode(scalar); err != nil {
		return nil, nil, fmt.Errorf("share: %w", err)
	}
	share, err := dkg.Rebuild(c, h.Party, s, chain)
	return share, c, err
}

// x25519 is the shared secret, refused when the peer's point is of small order.
func x25519(own *ecdh.PrivateKey, peer [32]byte) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return nil, err
	}
	return own.ECDH(p)
}
