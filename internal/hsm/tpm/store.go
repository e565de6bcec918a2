package tpm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/google/go-tpm/tpm2"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// The files of a device's directory. Each is written whole or not at all, and only
// approvers is ever replaced.
const (
	fileDevice    = "device"   // device
	fileBase      = "epochs"   // base
	fileIdentity  = "identity" // blob
	fileDecision  = "decision"
	fileApproval  = "approval"
	fileApprovers = "approvers" // installed
	maxFile       = 8 << 10
)

const fileVersion = 1

// device is made first and says which keys are meant.
type device struct {
	id   [32]byte     // of the primary keys; not secret
	auth secret.Bytes // authorisation value of keys and counters

	operator, authority *signature.PublicKey
}

func (d device) encode() []byte {
	w := wire.NewWriter(fileVersion).Fixed(d.id[:]).Fixed(d.auth.Reveal())
	for _, k := range []*signature.PublicKey{d.operator, d.authority} {
		w.Bool(k != nil)
		if k != nil {
			signature.WriteKey(w, *k)
		}
	}
	return w.Bytes()
}

func decodeDevice(b []byte) (device, error) {
	r := wire.NewReader(b, fileVersion)
	var d device
	r.Into("id", d.id[:])
	d.auth = secret.New(r.Fixed("authorisation value", 32))
	for _, k := range []**signature.PublicKey{&d.operator, &d.authority} {
		if r.Bool("key") {
			key := signature.ReadKey(r, "key")
			*k = &key
		}
	}
	return d, r.Done()
}

// base is written when the counters are made: on which TPM that was, and where its
// erase counter stood at epoch 1.
type base struct {
	parent, attest attest.Name
	erase          uint64
}

func (b base) encode() []byte {
	return wire.NewWriter(fileVersion).Fixed(b.parent[:]).Fixed(b.attest[:]).Uint64(b.erase).Bytes()
}

func decodeBase(p []byte) (base, error) {
	r := wire.NewReader(p, fileVersion)
	var b base
	r.Into("storage key", b.parent[:])
	r.Into("attestation key", b.attest[:])
	b.erase = r.Uint64("counter")
	if r.Err() == nil && b.erase == 0 {
		r.Failf("counter 0, a written one is above")
	}
	return b, r.Done()
}

// blob is a key as the TPM gave it out: only the TPM can read the private half.
type blob struct {
	public, private []byte
	hash            []byte // of the creation data
	ticket          tpm2.TPMTTKCreation
	limit           uint64 // seal keys: the erase counter must not be above it
}

func (k blob) encode() []byte {
	return wire.NewWriter(fileVersion).Var(k.public).Var(k.private).Var(k.hash).Var(tpm2.Marshal(k.ticket)).Uint64(k.limit).Bytes()
}

func decodeBlob(b []byte) (blob, error) {
	r := wire.NewReader(b, fileVersion)
	k := blob{public: r.Var("public area", 512), private: r.Var("private area", 1024), hash: r.Var("creation hash", 32)}
	ticket := r.Var("ticket", 128)
	k.limit = r.Uint64("limit")
	if err := r.Done(); err != nil {
		return blob{}, err
	}
	t, err := tpm2.Unmarshal[tpm2.TPMTTKCreation](ticket)
	if err != nil {
		return blob{}, fmt.Errorf("ticket: %w", err)
	}
	k.ticket = *t
	return k, nil
}

func (k blob) name() attest.Name { return attest.NameOf(k.public) }

func (k blob) area() (*tpm2.TPMTPublic, error) { return tpm2.Unmarshal[tpm2.TPMTPublic](k.public) }

// installed is the approver set in force, with the authority's signature.
type installed struct {
	set attest.Approvers
	by  signature.Signature
}

func (a installed) encode() []byte {
	w := wire.NewWriter(fileVersion).Var(a.set.Encode())
	signature.WriteSignature(w, a.by)
	return w.Bytes()
}

func decodeInstalled(b []byte) (installed, error) {
	r := wire.NewReader(b, fileVersion)
	raw := r.Var("approver set", 2048)
	a := installed{by: signature.ReadSignature(r, "authority's signature")}
	if err := r.Done(); err != nil {
		return installed{}, err
	}
	var err error
	a.set, err = attest.DecodeApprovers(raw)
	return a, err
}

// dir is a device's directory.
type dir string

func (d dir) check() error {
	fi, err := os.Stat(string(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hsm.Errorf(hsm.ErrNotProvisioned, "bring the directory back, or provision a new device", "the TPM device's directory %s is not there", string(d))
	case err != nil:
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't open the TPM device's directory: %w", err)
	case !fi.IsDir():
		return hsm.Errorf(hsm.ErrConfig, "", "%s is a file, want a directory", string(d))
	case fi.Mode().Perm()&0o077 != 0:
		return hsm.Errorf(hsm.ErrConfig, "chmod 700 "+string(d), "directory %s has mode %04o, want 0700: others could use its keys", string(d), fi.Mode().Perm())
	}
	return nil
}

// read returns a file's contents, or ErrNotProvisioned.
func (d dir) read(name string) ([]byte, error) {
	path := filepath.Join(string(d), name)
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hsm.Errorf(hsm.ErrNotProvisioned, "provision the device", "file %s is not there", path)
	case err != nil:
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't read a key's blob: %w", err)
	case !fi.Mode().IsRegular() || fi.Size() > maxFile:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "%s is not a regular file of at most %d bytes", path, maxFile)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, hsm.Errorf(hsm.ErrConfig, "chmod 600 "+path, "file %s has mode %04o, want 0600", path, fi.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't read a key's blob: %w", err)
	}
	return b, nil
}

func load[T any](d dir, name string, decode func([]byte) (T, error)) (T, error) {
	b, err := d.read(name)
	if err != nil {
		var zero T
		return zero, err
	}
	defer secret.Wipe(b)
	v, err := decode(b)
	if err != nil {
		return v, hsm.Errorf(hsm.ErrConfig, "bring the directory back from a copy", "file %s is damaged: %w", filepath.Join(string(d), name), err)
	}
	return v, nil
}

func (d dir) has(name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't look for a key's blob: %w", err)
	}
	return true, nil
}

// write makes a file, durably. The caller holds the lock, so nobody else makes it.
func (d dir) write(name string, contents []byte) error {
	defer secret.Wipe(contents)
	path := filepath.Join(string(d), name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(contents)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't write %s: %w", path, err)
	}
	return nil
}

func (d dir) remove(name string) error {
	if err := os.Remove(filepath.Join(string(d), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hsm.Errorf(hsm.ErrConfig, "", "couldn't remove a key's blob: %w", err)
	}
	return d.sync()
}

func (d dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sealFile names the blob of a seal key.
func sealFile(class hsm.Class, epoch uint64) string { return fmt.Sprintf("%v-%d", class, epoch) }

var sealPattern = regexp.MustCompile(`^(state|cold)-([1-9][0-9]{0,19})$`)

// epochs lists the epochs that have a blob of each class, and the names of all blobs
// by epoch. A state key is made last, so an epoch with one is whole.
func (d dir) epochs() (names map[uint64][]string, newest uint64, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, 0, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't list the seal keys: %w", err)
	}
	names = make(map[uint64][]string)
	for _, e := range entries {
		m := sealPattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		epoch, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			continue // above 2⁶⁴: not ours
		}
		names[epoch] = append(names[epoch], e.Name())
		if m[1] == hsm.ClassState.String() {
			newest = max(newest, epoch)
		}
	}
	return names, newest, nil
}

func newDevice(u URI) (device, error) {
	d := device{operator: u.Operator, authority: u.Authority}
	rand.Read(d.id[:])
	var err error
	d.auth, err = secret.Random(rand.Reader, 32)
	return d, err
}
