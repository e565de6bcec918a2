package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer/internal/audit"
)

// The files of a log's folder.
const (
	EntriesFile    = "entries.log"
	CheckpointFile = "checkpoint"
	// CosignedFile is in copies only: a checkpoint that others cosigned.
	CosignedFile = "cosigned"
	// ExportFile is in copies only: what was known when the copies of all logs were begun.
	ExportFile = "export"
)

const (
	maxCheckpointFile = 4 << 10
	maxCosignedFile   = 64 << 10
	maxExportFile     = 256
)

// Log is an open log. One goroutine owns it.
type Log struct {
	dir    string
	file   *os.File
	offset int64
	size   uint64
	broken error // a write that failed: what the disk holds is unknown until the next Open
}

// Create starts an empty log. The folder must not hold one yet.
func Create(dir string, h Header) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't create log folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, EntriesFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't create log: %w", err)
	}
	_, err = f.Write(h.encode())
	if err := errors.Join(err, f.Sync(), syncDir(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("couldn't write log header: %w", err), f.Close())
	}
	return &Log{dir: dir, file: f, offset: int64(headerSize)}, nil
}

// Open opens the log that h names and brings it back to the durable entries that
// the caller knows of: what a crash left behind them, whole or torn, is cut off.
// Fewer whole entries than that is an error: the disk lost what it had promised.
func Open(dir string, h Header, durable uint64) (*Log, error) {
	f, err := os.OpenFile(filepath.Join(dir, EntriesFile), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("couldn't open log: %w", err)
	}
	l := &Log{dir: dir, file: f}
	if err := l.recover(h, durable); err != nil {
		return nil, errors.Join(fmt.Errorf("couldn't open log %s: %w", dir, err), f.Close())
	}
	return l, nil
}

func (l *Log) recover(h Header, durable uint64) error {
	r, got, err := newReader(l.file)
	if err != nil {
		return err
	}
	if got != h {
		return fmt.Errorf("it is the log of %s, want %s", audit.Origin(got.Cluster, got.Vault), audit.Origin(h.Cluster, h.Vault))
	}
	for r.index < durable {
		if _, err := r.next(); err == io.EOF {
			return fmt.Errorf("%d whole entries, but %d were durable: %w", r.index, durable, ErrTorn)
		} else if err != nil {
			return fmt.Errorf("%d whole entries, but %d were durable: %w", r.index, durable, err)
		}
	}
	l.offset, l.size = r.offset, durable
	end, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end != l.offset {
		if err := errors.Join(l.file.Truncate(l.offset), l.file.Sync()); err != nil {
			return fmt.Errorf("couldn't cut off what a crash left: %w", err)
		}
	}
	return nil
}

// Size is the number of durable entries.
func (l *Log) Size() uint64 { return l.size }

// Append makes the entries durable, all of them or, when it fails, none that the
// next Open would keep. After a failure the log takes no more entries.
func (l *Log) Append(entries [][]byte) error {
	if l.broken != nil {
		return fmt.Errorf("couldn't append to log, an earlier write failed: %w", l.broken)
	}
	var b []byte
	for i, e := range entries {
		if len(e) == 0 || len(e) > MaxEntry {
			return fmt.Errorf("couldn't append entry %d: %d bytes, want 1 to %d", l.size+uint64(i), len(e), MaxEntry)
		}
		b = appendFrame(b, e)
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := l.file.WriteAt(b, l.offset); err != nil {
		return l.fail(err)
	}
	// After a failed fsync the kernel may drop the dirty pages and report success
	// the next time: only a new Open knows what is there.
	if err := l.file.Sync(); err != nil {
		return l.fail(err)
	}
	l.offset += int64(len(b))
	l.size += uint64(len(entries))
	return nil
}

func (l *Log) fail(err error) error {
	l.broken = err
	return fmt.Errorf("couldn't append to log: %w", err)
}

// Entries reads all entries.
func (l *Log) Entries() ([][]byte, error) {
	r, _, err := newReader(io.NewSectionReader(l.file, 0, l.offset))
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, l.size)
	for {
		e, err := r.next()
		if err == io.EOF {
			return entries, nil
		} else if err != nil {
			return nil, fmt.Errorf("couldn't read log: %w", err)
		}
		entries = append(entries, e)
	}
}

// SetCheckpoint replaces the newest checkpoint, an audit.SignedCheckpoint. It
// must come after the entries that it covers: a reader takes the checkpoint
// first and then finds them all.
func (l *Log) SetCheckpoint(encoded []byte) error {
	path := filepath.Join(l.dir, CheckpointFile)
	if err := replace(path, encoded); err != nil {
		return fmt.Errorf("couldn't replace checkpoint: %w", err)
	}
	return syncDir(l.dir)
}

// Checkpoint reads the newest checkpoint; nil when there is none yet.
func (l *Log) Checkpoint() ([]byte, error) { return readCheckpoint(l.dir) }

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

func replace(path string, b []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readCheckpoint(dir string) ([]byte, error) {
	return readSmall(dir, CheckpointFile, maxCheckpointFile)
}

func readSmall(dir, name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("couldn't read %s: above %d bytes: %w", name, limit, ErrCorrupt)
	}
	return b, nil
}
