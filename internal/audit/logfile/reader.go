package logfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer/internal/audit"
)

// Reader reads a log's entries one after another without holding them. The log may
// be a running vault's: after io.EOF or ErrTorn, Next may find more later.
type Reader struct {
	Header Header
	file   *os.File
	r      *reader
	stale  bool // the buffer may have stopped within an entry
}

// OpenReader opens the log in a folder at its first entry.
func OpenReader(dir string) (*Reader, error) {
	f, err := os.Open(filepath.Join(dir, EntriesFile))
	if err != nil {
		return nil, fmt.Errorf("couldn't open log: %w", err)
	}
	r, h, err := newReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("couldn't read log %s: %w", dir, err), f.Close())
	}
	return &Reader{Header: h, file: f, r: r}, nil
}

// Offset is where the next entry begins, for At.
func (r *Reader) Offset() int64 { return r.r.offset }

// Index is the number of the next entry.
func (r *Reader) Index() uint64 { return r.r.index }

// Next returns the next entry; io.EOF after the last whole one.
func (r *Reader) Next() ([]byte, error) {
	if r.stale {
		if _, err := r.file.Seek(r.r.offset, io.SeekStart); err != nil {
			return nil, fmt.Errorf("couldn't read log: %w", err)
		}
		r.r.r.Reset(r.file)
		r.stale = false
	}
	b, err := r.r.next()
	r.stale = err != nil
	return b, err
}

// At returns the entry that begins at an offset which Offset has told. Any goroutine
// may call it.
func (r *Reader) At(offset int64) ([]byte, error) {
	one := &reader{r: bufio.NewReaderSize(io.NewSectionReader(r.file, offset, frameSize+MaxEntry), 4<<10)}
	b, err := one.next()
	if err != nil {
		return nil, fmt.Errorf("couldn't read the entry at byte %d: %w", offset, err)
	}
	return b, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// ReadCheckpoint reads the newest checkpoint of the log in a folder; nil when there
// is none.
func ReadCheckpoint(dir string) ([]byte, error) { return readCheckpoint(dir) }

// ReadCosigned reads the checkpoint with others' cosignatures that a copy may have; nil
// when it has none. It does not verify.
func ReadCosigned(dir string) (*audit.CosignedCheckpoint, error) {
	b, err := readSmall(dir, CosignedFile, maxCosignedFile)
	if err != nil || b == nil {
		return nil, err
	}
	c, err := audit.DecodeCosignedCheckpoint(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", filepath.Join(dir, CosignedFile), err, ErrCorrupt)
	}
	return c, nil
}
