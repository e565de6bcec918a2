package soft

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
)

const (
	pemType    = "PRIVATE KEY"
	maxKeyFile = 4 << 10
)

func keyFile(dir, name string) string { return filepath.Join(dir, name+".key") }

// Provision makes the directory and the keys that are missing in it. It never
// replaces a key; after a crash between two keys it makes the rest.
func Provision(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't make the software HSM's directory: %w", err)
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	for _, role := range hsm.Roles() {
		if err := ctx.Err(); err != nil {
			return hsm.Errorf(hsm.ErrUnavailable, "run it again: it makes what is missing",
				"couldn't make all keys in %s: %w", dir, err)
		}
		if err := provisionKey(dir, role.String()); err != nil {
			return err
		}
	}
	epoch, err := newest(dir)
	if err != nil {
		return err
	}
	return provisionEpoch(dir, max(epoch, 1))
}

func provisionKey(dir, name string) error {
	path := keyFile(dir, name)
	if _, err := os.Lstat(path); err == nil {
		_, err = readKey(path)
		return err
	}
	contents, err := generate()
	if err != nil {
		return err
	}
	defer contents.Destroy()
	f, err := os.CreateTemp(dir, name+".key.new-*") // mode 0600
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't write the %s key: %w", name, err)
	}
	_, err = f.Write(contents.Reveal())
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		// A link, not a rename: of two that provision at once, one key wins and
		// neither replaces the other's.
		if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err = errors.Join(err, os.Remove(f.Name()), syncDir(dir)); err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't write the %s key: %w", name, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func checkDir(dir string) error {
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hsm.Errorf(hsm.ErrUnavailable, "bring the directory back, or provision a new device",
			"software HSM %s is not there", dir)
	case err != nil:
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't open the software HSM: %w", err)
	case !fi.IsDir():
		return hsm.Errorf(hsm.ErrConfig, "", "software HSM %s is a file, want a directory", dir)
	case fi.Mode().Perm()&0o077 != 0:
		return hsm.Errorf(hsm.ErrConfig, "chmod 700 "+dir,
			"software HSM %s has mode %04o, want 0700: others could take its keys", dir, fi.Mode().Perm())
	}
	return nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hsm.Errorf(hsm.ErrNotProvisioned, "provision the device", "key file %s is not there", path)
	case err != nil:
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't read a key: %w", err)
	case !fi.Mode().IsRegular() || fi.Size() > maxKeyFile:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "key file %s is not a regular file of at most %d bytes", path, maxKeyFile)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, hsm.Errorf(hsm.ErrConfig, "chmod 600 "+path, "key file %s has mode %04o, want 0600", path, fi.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't read a key: %w", err)
	}
	defer secret.Wipe(raw)
	return decodeKey(path, raw)
}

func encodeKey(key *ecdsa.PrivateKey) (secret.Bytes, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return secret.Bytes{}, hsm.Errorf(hsm.ErrDevice, "", "couldn't encode a key: %w", err)
	}
	defer secret.Wipe(der)
	return secret.New(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})), nil
}

func decodeKey(path string, raw []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != pemType || len(rest) != 0 {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "key file %s: want one PEM block %q", path, pemType)
	}
	defer secret.Wipe(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "key file %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "key file %s: want a P-256 key", path)
	}
	return key, nil
}
