package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	magic   = "coffer-key-v1"
	maxFile = 1024 + pkcs11uri.MaxLength
)

// seedSize is the length of an Ed25519 seed, and of a P-256 scalar.
const seedSize = 32

// Key signs as one principal.
type Key struct {
	Principal string
	seed      secret.Bytes // Ed25519: the seed; P-256: the private scalar
	public    signature.PublicKey
}

// New makes an Ed25519 key from 32 bytes of rand.
func New(rand io.Reader, principal string) (*Key, error) {
	return newKey(rand, principal, signature.Ed25519)
}

// NewP256 makes a key for ECDSA over P-256, which devices take as an approver's too.
func NewP256(rand io.Reader, principal string) (*Key, error) {
	return newKey(rand, principal, signature.P256)
}

func newKey(rand io.Reader, principal string, a signature.Algorithm) (*Key, error) {
	if err := wire.CheckName(principal); err != nil {
		return nil, err
	}
	for range maxDraws {
		seed, err := secret.Random(rand, seedSize)
		if err != nil {
			return nil, err
		}
		if k, err := of(principal, a, seed); err == nil {
			return k, nil
		}
		seed.Destroy()
	}
	return nil, errors.New("couldn't draw a key: the randomness gives nothing but numbers above the order of P-256")
}

// maxDraws bounds the draws of a scalar. One in four billion lies above the order.
const maxDraws = 8

func of(principal string, a signature.Algorithm, seed secret.Bytes) (*Key, error) {
	if a == signature.P256 {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed.Reveal())
		if err != nil {
			return nil, errors.New("the scalar is not one of P-256, want 1 to the group's order - 1")
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		return &Key{principal, seed, signature.PublicKey{Algorithm: a, Key: string(point)}}, nil
	}
	private := ed25519.NewKeyFromSeed(seed.Reveal())
	defer secret.Wipe(private)
	return &Key{principal, seed, signature.PublicKey{Algorithm: a, Key: string(private.Public().(ed25519.PublicKey))}}, nil
}

// Public is what the roster lists.
func (k *Key) Public() signature.PublicKey { return k.public }

// Sign signs a statement.
func (k *Key) Sign(st signature.Statement) signature.Signature {
	d := st.Digest()
	if k.public.Algorithm == signature.P256 {
		return k.signP256(d)
	}
	private := ed25519.NewKeyFromSeed(k.seed.Reveal())
	defer secret.Wipe(private)
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(private, d[:])}
}

// Approve signs a device's challenge (hsm.Challenge.Digest), which is no Statement's
// digest. Devices take that of P-256 keys only.
func (k *Key) Approve(digest [32]byte) (signature.Signature, error) {
	if k.public.Algorithm != signature.P256 {
		return signature.Signature{}, fmt.Errorf("%s's key is %v: devices take approvals by p256 keys only (coffer user create NAME --p256)", k.Principal, k.public.Algorithm)
	}
	return k.signP256(digest), nil
}

// signP256 makes the signature of RFC 6979, which needs no randomness.
func (k *Key) signP256(digest [32]byte) signature.Signature {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.seed.Reveal())
	if err != nil {
		panic("keyfile: a key that was parsed is none: " + err.Error())
	}
	der, err := private.Sign(nil, digest[:], crypto.SHA256)
	var sig struct{ R, S *big.Int }
	if err == nil {
		_, err = asn1.Unmarshal(der, &sig)
	}
	if err != nil {
		panic("keyfile: couldn't sign: " + err.Error()) // the digest has the right length, and there is no other input
	}
	raw := make([]byte, 64)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	out, err := signature.NormalizeP256(raw)
	if err != nil {
		panic("keyfile: couldn't sign: " + err.Error())
	}
	return out
}

// Destroy wipes the key.
func (k *Key) Destroy() { k.seed.Destroy() }

// Write stores the key in a new file with mode 0600. It never overwrites one.
func (k *Key) Write(path string) error {
	line := k.line()
	defer secret.Wipe(line)
	return writeNew(path, line)
}

func writeNew(path string, line []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("couldn't write key: %w", err)
		}
	}()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

// line is the content of the file.
func (k *Key) line() []byte {
	line := []byte(fmt.Sprintf("%s %s %v ", magic, k.Principal, k.public.Algorithm))
	return append(base64.RawURLEncoding.AppendEncode(line, k.seed.Reveal()), '\n')
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read reads the file of a key that stands in it. Other users must not be able to
// read it.
func Read(path string) (*Key, error) {
	k, c, err := Open(path)
	if err == nil && c != nil {
		return nil, fmt.Errorf("couldn't read key %s: it is on a smart card (%s), which only people's verbs of coffer use", path, c.URI)
	}
	return k, err
}

// Open reads a key's file, which other users must not be able to read: it holds a key,
// or names the card that does.
func Open(path string) (*Key, *Card, error) {
	b, err := read(path)
	defer secret.Wipe(b)
	var k *Key
	var c *Card
	if err == nil {
		k, c, err = parse(b)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("couldn't read key %s: %w", path, err)
	}
	return k, c, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			return nil, p.Err
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("its mode is %04o and other users may read it, want 0600 (chmod 600 %s)", perm, path)
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// parse never quotes what it reads: a mistyped file may hold a secret.
func parse(b []byte) (*Key, *Card, error) {
	if len(b) > maxFile {
		return nil, nil, fmt.Errorf("more than %d bytes, want one line that begins with %s", maxFile, magic)
	}
	fields := strings.Split(strings.TrimSuffix(string(b), "\n"), " ")
	onCard := len(fields) == 5 && fields[2] == cardWord
	if fields[0] != magic || len(fields) != 4 && !onCard {
		return nil, nil, fmt.Errorf("want one line: %s NAME ed25519 SEED, or p256 for ed25519, or %[1]s NAME %s PUBLIC-KEY URI", magic, cardWord)
	}
	if err := wire.CheckName(fields[1]); err != nil {
		return nil, nil, err
	}
	if onCard {
		c, err := parseCard(fields[1], fields[3], fields[4])
		return nil, c, err
	}
	k, err := parseKey(fields)
	return k, nil, err
}

func parseKey(fields []string) (*Key, error) {
	algorithm := signature.Ed25519
	switch fields[2] {
	case signature.Ed25519.String():
	case signature.P256.String():
		algorithm = signature.P256
	default:
		return nil, errors.New("unknown algorithm, want ed25519 or p256")
	}
	seed, err := base64.RawURLEncoding.Strict().DecodeString(fields[3])
	if err != nil || len(seed) != seedSize {
		secret.Wipe(seed)
		return nil, fmt.Errorf("the seed is not %d bytes in base64url without padding", seedSize)
	}
	return of(fields[1], algorithm, secret.New(seed))
}
