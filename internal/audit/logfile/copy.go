package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer/internal/audit"
)

// Copy is what stands in a log's folder, for those who check it.
type Copy struct {
	Header     Header
	Entries    [][]byte
	Checkpoint []byte // as found; nil when there is none
	// Damage says why reading stopped before the end of the file.
	Damage error
}

// Read reads a folder without changing it. It may be that of a running vault:
// the checkpoint is taken first, and a log only grows.
func Read(dir string) (*Copy, error) {
	cp, err := readCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, EntriesFile))
	if err != nil {
		return nil, fmt.Errorf("couldn't open log: %w", err)
	}
	defer f.Close()
	c, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("couldn't read log %s: %w", dir, err)
	}
	c.Checkpoint = cp
	return c, nil
}

func read(src io.Reader) (*Copy, error) {
	r, h, err := newReader(src)
	if err != nil {
		return nil, err
	}
	c := &Copy{Header: h}
	for {
		e, err := r.next()
		switch {
		case err == io.EOF:
			return c, nil
		case errors.Is(err, ErrTorn) || errors.Is(err, ErrCorrupt):
			c.Damage = err
			return c, nil
		case err != nil:
			return nil, err
		}
		c.Entries = append(c.Entries, e)
	}
}

// Export writes a copy of the log in src to the new folder dst: the newest
// checkpoint and all whole entries, of which the checkpoint covers so many. Those
// behind it count, too: that a share was released stands there for a second, until a
// checkpoint covers it, and the signature may be in the other vaults' logs by then. src may
// be the folder of a running vault. What it exports is for internal/verify to judge.
func Export(src, dst string) (entries uint64, err error) {
	c, err := Read(src)
	if err != nil {
		return 0, err
	}
	if c.Checkpoint == nil {
		return 0, fmt.Errorf("couldn't export log %s: it has no checkpoint yet", src)
	}
	cp, err := audit.DecodeSignedCheckpoint(c.Checkpoint)
	if err != nil {
		return 0, fmt.Errorf("couldn't export log %s: %w", src, err)
	}
	if cp.Size > uint64(len(c.Entries)) {
		err := fmt.Errorf("couldn't export log %s: %d entries, its checkpoint covers %d", src, len(c.Entries), cp.Size)
		return 0, errors.Join(err, c.Damage)
	}
	if c.Damage != nil && !errors.Is(c.Damage, ErrTorn) { // torn: the vault writes just now
		return 0, fmt.Errorf("couldn't export log %s: %w", src, c.Damage)
	}
	l, err := Create(dst, c.Header)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(l.Append(c.Entries), l.SetCheckpoint(c.Checkpoint), l.Close()); err != nil {
		return 0, err
	}
	return uint64(len(c.Entries)), nil
}
