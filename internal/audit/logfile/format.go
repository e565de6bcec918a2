package logfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cofferhq/coffer/internal/audit"
)

// Header names the log. It stands at the start of the entries' file.
type Header struct {
	Cluster [32]byte
	Vault   uint16
}

// magic names format and version.
const magic = "coffer log 1\n"

const (
	headerSize = len(magic) + 32 + 2 + 4
	frameSize  = 4 + 4 // length, checksum
	// MaxEntry bounds one encoded entry.
	MaxEntry = audit.MaxBody + 14
)

// ErrTorn says that the file ends within an entry, as after a crash. ErrCorrupt
// says that bytes are not what was written.
var (
	ErrTorn    = errors.New("log file ends within an entry")
	ErrCorrupt = errors.New("log file is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h Header) encode() []byte {
	b := append([]byte(magic), h.Cluster[:]...)
	b = binary.BigEndian.AppendUint16(b, h.Vault)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHeader takes headerSize bytes.
func decodeHeader(b []byte) (Header, error) {
	var h Header
	copy(h.Cluster[:], b[len(magic):])
	h.Vault = binary.BigEndian.Uint16(b[len(magic)+32:])
	if string(h.encode()) != string(b) {
		return Header{}, fmt.Errorf("%w: want it to start with %q, the log's name and their checksum", ErrCorrupt, magic)
	}
	return h, nil
}

// appendFrame appends length ‖ CRC-32C(length ‖ entry) ‖ entry. The length is
// under the checksum, so that a run of zeros, as some file systems leave after a
// crash, is not an entry.
func appendFrame(b, entry []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entry)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, entry)
	return append(binary.BigEndian.AppendUint32(b, sum), entry...)
}

// reader takes entries off a file.
type reader struct {
	r      *bufio.Reader
	offset int64  // end of the last whole entry
	index  uint64 // of the next entry
}

// newReader reads the header.
func newReader(r io.Reader) (*reader, Header, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(br, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrTorn
		}
		return nil, Header{}, fmt.Errorf("couldn't read log header: %w", err)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, Header{}, err
	}
	return &reader{br, int64(headerSize), 0}, h, nil
}

// next returns the next entry; io.EOF after the last whole one.
func (r *reader) next() ([]byte, error) {
	var head [frameSize]byte
	if _, err := io.ReadFull(r.r, head[:]); err == io.EOF {
		return nil, io.EOF
	} else if err != nil {
		return nil, r.torn(err)
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n == 0 || n > MaxEntry {
		return nil, fmt.Errorf("entry %d: %w: length %d, want 1 to %d", r.index, ErrCorrupt, n, MaxEntry)
	}
	entry, err := readN(r.r, int(n))
	if err != nil {
		return nil, r.torn(err)
	}
	sum := crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, entry)
	if sum != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("entry %d: %w: its checksum doesn't match", r.index, ErrCorrupt)
	}
	r.offset += int64(frameSize) + int64(n)
	r.index++
	return entry, nil
}

// readN allocates as it reads, so that a damaged length costs no memory.
func readN(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		part := min(n-len(b), step)
		b = append(b, make([]byte, part)...)
		if _, err := io.ReadFull(r, b[len(b)-part:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *reader) torn(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = ErrTorn
	}
	return fmt.Errorf("entry %d: %w", r.index, err)
}
