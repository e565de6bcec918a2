package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileMost bounds every file that a command line names: policies, rosters,
// genesis files and cards are far below it, and /dev/zero has no end.
const fileMost = 8 << 20

// readFile is os.ReadFile with a bound.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileMost+1))
	if err == nil && len(b) > fileMost {
		err = fmt.Errorf("%s is above %d MiB, which no file of this kind is", path, fileMost>>20)
	}
	return b, err
}

// claim makes dir this process's own until the returned file is closed. A second
// cluster in one directory would overwrite the first one's chain and
// configuration; a directory of something else would be written over.
func claim(dir string) (*os.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("couldn't read the cluster's directory: %w", err)
	}
	ours := len(entries) == 0
	for _, e := range entries {
		ours = ours || e.Name() == "dev.lock" || e.Name() == "api.port"
	}
	if !ours {
		return nil, withHint(fmt.Errorf("--keep: %s holds something else than a cluster of coffer dev", dir), "an empty folder, or one that does not exist yet")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the cluster's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "dev.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the cluster's directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, withHint(fmt.Errorf("another coffer dev runs in %s", dir), "stop it first, or give this one another folder: coffer dev --keep DIR")
	}
	return lock, nil
}
