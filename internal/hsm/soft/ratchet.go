package soft

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/hsm"
)

// sealName names a seal key: seal.key and cold.key of epoch 1, seal-2.key and so on.
type sealName struct {
	class hsm.Class
	epoch uint64
}

// parseName is the inverse of String; other files are no seal keys.
func parseName(file string) (sealName, bool) {
	base, ok := strings.CutSuffix(file, ".key")
	if !ok {
		return sealName{}, false
	}
	name, number, numbered := strings.Cut(base, "-")
	n := sealName{hsm.ClassState, 1}
	if name == "cold" {
		n.class = hsm.ClassCold
	}
	if numbered {
		var err error
		if n.epoch, err = strconv.ParseUint(number, 10, 64); err != nil {
			return sealName{}, false
		}
	}
	return n, n.epoch != 0 && n.String() == base
}

// list returns the seal keys that are there, old ones first.
func list(dir string) ([]sealName, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't list the seal keys: %w", err)
	}
	var names []sealName
	for _, e := range entries {
		if n, ok := parseName(e.Name()); ok {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b sealName) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.class, b.class))
	})
	return names, nil
}

// newest is the last epoch that has a state key, which is made after the cold one.
// It is zero where there is none.
func newest(dir string) (uint64, error) {
	names, err := list(dir)
	if err != nil {
		return 0, err
	}
	var epoch uint64
	for _, n := range names {
		if n.class == hsm.ClassState {
			epoch = max(epoch, n.epoch)
		}
	}
	return epoch, nil
}

// provisionEpoch makes the keys of an epoch that are missing.
func provisionEpoch(dir string, epoch uint64) error {
	for _, class := range []hsm.Class{hsm.ClassCold, hsm.ClassState} {
		if err := provisionKey(dir, sealName{class, epoch}.String()); err != nil {
			return err
		}
	}
	return nil
}

// sealKey returns a seal key. One whose file another process erased is forgotten.
func (d *Device) sealKey(class hsm.Class, epoch uint64) (*ecdh.PrivateKey, error) {
	if err := hsm.CheckSealKey(class, epoch); err != nil {
		return nil, err
	}
	n := sealName{class, epoch}
	path := keyFile(d.dir, n.String())
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		delete(d.seal, n)
		if _, derr := os.Lstat(d.dir); derr != nil {
			return nil, hsm.Errorf(hsm.ErrUnavailable, "bring the directory back", "software HSM %s is not there", d.dir)
		}
		return nil, hsm.Errorf(hsm.ErrInput, "", "software HSM %s has no %v seal key of epoch %d: it was erased, or not made yet", d.dir, class, epoch)
	}
	if key := d.seal[n]; key != nil {
		return key, nil
	}
	signing, err := readKey(path)
	if err != nil {
		return nil, err
	}
	key, err := signing.ECDH()
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrDevice, "", "couldn't use the %v seal key of epoch %d: %w", class, epoch, err)
	}
	d.seal[n] = key
	return key, nil
}

// SealEpoch returns the newest epoch.
func (d *Device) SealEpoch(ctx context.Context) (uint64, error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	return d.newest()
}

func (d *Device) newest() (uint64, error) {
	epoch, err := newest(d.dir)
	if err == nil && epoch == 0 {
		err = hsm.Errorf(hsm.ErrUnavailable, "bring the files back", "software HSM %s has no seal key any more", d.dir)
	}
	return epoch, err
}

// Advance makes the seal keys of the next epoch.
func (d *Device) Advance(ctx context.Context) (uint64, error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	epoch, err := d.newest()
	if err != nil {
		return 0, err
	}
	if err := provisionEpoch(d.dir, epoch+1); err != nil {
		return 0, err
	}
	return epoch + 1, nil
}

// Erase overwrites and removes the seal keys of the epochs below. On a file system
// that copies on write, or a disk that remaps, the old bytes may stay: grade none.
func (d *Device) Erase(ctx context.Context, below uint64) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.newest()
	if err != nil {
		return err
	}
	if below > now {
		return hsm.Errorf(hsm.ErrInput, "", "asked to erase the seal keys below epoch %d, the newest is %d and stays", below, now)
	}
	names, err := list(d.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.epoch >= below {
			continue
		}
		delete(d.seal, n)
		if err := eraseFile(filepath.Join(d.dir, n.String()+".key")); err != nil {
			return hsm.Errorf(hsm.ErrDevice, "call it again: it erases what is left", "couldn't erase the %v seal key of epoch %d: %w", n.class, n.epoch, err)
		}
	}
	if err := syncDir(d.dir); err != nil {
		return hsm.Errorf(hsm.ErrDevice, "", "couldn't erase seal keys: %w", err)
	}
	return nil
}

func eraseFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, fi.Size()))
	}
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}
