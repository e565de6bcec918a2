package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cofferhq/coffer/internal/vaultlink"
	"github.com/cofferhq/coffer/internal/wire"
)

// journal is a file of fixed size, written before it is used, so that making a
// change durable touches no metadata of the file system: one write in place and
// one fdatasync. It holds the changes since the last one that was applied to
// log and records.
//
// A record begins at a multiple of blockSize:
//
//	u64 number of the change ‖ u32 length ‖ u32 CRC-32C(number ‖ length ‖ change) ‖ change
//
// Numbers never repeat, so what an earlier round left behind a record is not its
// successor.
type journal struct {
	file   *os.File
	offset int64 // of the next record
}

const (
	journalFile = "journal"
	journalSize = 12 << 20
	blockSize   = 4096
	recordHead  = 8 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens dir's journal, which it makes when there is none.
func openJournal(dir string) (*journal, error) {
	path := filepath.Join(dir, journalFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createJournal(path); err != nil {
			return nil, fmt.Errorf("couldn't make the journal: %w", err)
		}
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't open the journal: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != journalSize {
		err = fmt.Errorf("%s has %d bytes, want %d: restore the whole directory, never single files", path, info.Size(), journalSize)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("couldn't open the journal: %w", err)
	}
	return &journal{file: f}, nil
}

func createJournal(path string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for n := 0; n < journalSize && err == nil; n += len(zeros) {
		_, err = f.Write(zeros)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// room says whether a change of n encoded bytes fits behind the others.
func (j *journal) room(n int) bool { return j.offset+int64(recordHead+n) <= journalSize }

// append makes a change durable. When it fails, what the disk holds is unknown.
func (j *journal) append(number uint64, change []byte) error {
	if !j.room(len(change)) {
		return fmt.Errorf("couldn't write the journal: %d bytes at %d of %d", len(change), j.offset, journalSize)
	}
	size := (recordHead + len(change) + blockSize - 1) / blockSize * blockSize
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, number)
	binary.BigEndian.PutUint32(b[8:], uint32(len(change)))
	copy(b[recordHead:], change)
	binary.BigEndian.PutUint32(b[12:], checksum(b[:12], change))
	if _, err := j.file.WriteAt(b, j.offset); err != nil {
		return fmt.Errorf("couldn't write the journal: %w", err)
	}
	if err := syscall.Fdatasync(int(j.file.Fd())); err != nil {
		return fmt.Errorf("couldn't sync the journal: %w", err)
	}
	j.offset += int64(size)
	return nil
}

func checksum(head, change []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, change)
}

// reset lets the next change overwrite the first one: all are applied.
func (j *journal) reset() { j.offset = 0 }

// replay returns the changes after the applied one. A record that a crash cut
// short ends them; a whole one behind a damaged one is an error, since it was
// durable and so was that.
func (j *journal) replay(applied uint64) ([]*vaultlink.Persist, error) {
	b := make([]byte, journalSize)
	if _, err := io.ReadFull(io.NewSectionReader(j.file, 0, journalSize), b); err != nil {
		return nil, fmt.Errorf("couldn't read the journal: %w", err)
	}
	var out []*vaultlink.Persist
	want := uint64(0)
	at := 0
	for at < len(b) {
		number, change, ok := recordAt(b[at:])
		if !ok || want != 0 && number != want {
			break
		}
		want = number + 1
		if number > applied {
			m, err := vaultlink.Decode(change)
			p, isPersist := m.(*vaultlink.Persist)
			if err != nil || !isPersist {
				return nil, fmt.Errorf("couldn't read the journal: change %d is none: %w", number, errors.Join(err, errDamaged))
			}
			out = append(out, p)
		}
		at += (recordHead + len(change) + blockSize - 1) / blockSize * blockSize
	}
	if want > 0 && len(out) > 0 && want-uint64(len(out)) != applied+1 {
		return nil, fmt.Errorf("couldn't read the journal: it begins with change %d, records.db ends with %d: %w", want-uint64(len(out)), applied, errDamaged)
	}
	last := applied + uint64(len(out))
	for ; at < len(b); at += blockSize {
		if number, _, ok := recordAt(b[at:]); ok && number > last {
			return nil, fmt.Errorf("couldn't read the journal: change %d is damaged, but %d is there: %w", last+1, number, errDamaged)
		}
	}
	return out, nil
}

var errDamaged = errors.New("restore the whole directory from a copy, or start this vault anew")

// recordAt reads the record at the start of b.
func recordAt(b []byte) (number uint64, change []byte, ok bool) {
	if len(b) < recordHead {
		return 0, nil, false
	}
	n := binary.BigEndian.Uint32(b[8:])
	if n == 0 || n > wire.MaxMessage || int(n) > len(b)-recordHead {
		return 0, nil, false
	}
	change = b[recordHead : recordHead+int(n)]
	if binary.BigEndian.Uint32(b[12:]) != checksum(b[:12], change) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), change, true
}
