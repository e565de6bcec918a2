package keyfile

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

const (
	magic   = "coffer-key-v1"
	maxFile = 1024
)

// Key signs as one principal.
type Key struct {
	Principal string
	seed      secret.Bytes
	public    signature.PublicKey
}

// New makes a key from 32 bytes of rand.
func New(rand io.Reader, principal string) (*Key, error) {
	if err := wire.CheckName(principal); err != nil {
		return nil, err
	}
	seed, err := secret.Random(rand, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return of(principal, seed), nil
}

func of(principal string, seed secret.Bytes) *Key {
	private := ed25519.NewKeyFromSeed(seed.Reveal())
	defer secret.Wipe(private)
	public := signature.PublicKey{Algorithm: signature.Ed25519, Key: string(private.Public().(ed25519.PublicKey))}
	return &Key{principal, seed, public}
}

// Public is what the roster lists.
func (k *Key) Public() signature.PublicKey { return k.public }

// Sign signs a statement.
func (k *Key) Sign(st signature.Statement) signature.Signature {
	private := ed25519.NewKeyFromSeed(k.seed.Reveal())
	defer secret.Wipe(private)
	d := st.Digest()
	return signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(private, d[:])}
}

// Destroy wipes the key.
func (k *Key) Destroy() { k.seed.Destroy() }

// Write stores the key in a new file with mode 0600. It never overwrites one.
func (k *Key) Write(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("couldn't write key: %w", err)
		}
	}()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	line := k.line()
	defer secret.Wipe(line)
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
	line := []byte(fmt.Sprintf("%s %s ed25519 ", magic, k.Principal))
	return append(base64.RawURLEncoding.AppendEncode(line, k.seed.Reveal()), '\n')
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read reads a key's file, which other users must not be able to read.
func Read(path string) (*Key, error) {
	k, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("couldn't read key %s: %w", path, err)
	}
	return k, nil
}

func read(path string) (*Key, error) {
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
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	defer secret.Wipe(b)
	if err != nil {
		return nil, err
	}
	return parse(b)
}

// parse never quotes what it reads: a mistyped file may hold a secret.
func parse(b []byte) (*Key, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("more than %d bytes, want one line that begins with %s", maxFile, magic)
	}
	fields := strings.Split(strings.TrimSuffix(string(b), "\n"), " ")
	if len(fields) != 4 || fields[0] != magic {
		return nil, fmt.Errorf("want one line: %s NAME ed25519 SEED", magic)
	}
	if err := wire.CheckName(fields[1]); err != nil {
		return nil, err
	}
	if fields[2] != "ed25519" {
		return nil, errors.New("unknown algorithm, want ed25519")
	}
	seed, err := base64.RawURLEncoding.Strict().DecodeString(fields[3])
	if err != nil || len(seed) != ed25519.SeedSize {
		secret.Wipe(seed)
		return nil, fmt.Errorf("the seed is not %d bytes in base64url without padding", ed25519.SeedSize)
	}
	return of(fields[1], secret.New(seed)), nil
}
