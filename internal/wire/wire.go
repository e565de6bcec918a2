package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxMessage bounds any one encoded message. Frames above it are refused before
// they are read.
const MaxMessage = 4 << 20

// ErrTruncated, ErrTrailing and ErrTooLong say in which way bytes are not an
// encoding. Errors from a Reader wrap one of them or name the field's own rule.
var (
	ErrTruncated = errors.New("message ends early")
	ErrTrailing  = errors.New("bytes after the end of the message")
	ErrTooLong   = errors.New("length above the bound")
)

// Writer appends fields. Its zero value is ready. Lengths above 2³²−1 cannot be
// built from values that a Reader accepted, so Writer panics on them.
type Writer struct{ buf []byte }

// NewWriter returns a Writer whose first byte is the version of the type.
func NewWriter(version uint8) *Writer { return new(Writer).Uint8(version) }

// Bytes returns what was written. The caller owns it.
func (w *Writer) Bytes() []byte { return w.buf }

// Uint8 appends one byte.
func (w *Writer) Uint8(v uint8) *Writer { w.buf = append(w.buf, v); return w }

// Bool appends 0 or 1.
func (w *Writer) Bool(v bool) *Writer {
	if v {
		return w.Uint8(1)
	}
	return w.Uint8(0)
}

// Uint16 appends two bytes, big-endian.
func (w *Writer) Uint16(v uint16) *Writer {
	w.buf = binary.BigEndian.AppendUint16(w.buf, v)
	return w
}

// Uint32 appends four bytes, big-endian.
func (w *Writer) Uint32(v uint32) *Writer {
	w.buf = binary.BigEndian.AppendUint32(w.buf, v)
	return w
}

// Uint64 appends eight bytes, big-endian.
func (w *Writer) Uint64(v uint64) *Writer {
	w.buf = binary.BigEndian.AppendUint64(w.buf, v)
	return w
}

// Count appends the number of items of a list.
func (w *Writer) Count(n int) *Writer {
	if n < 0 || n > math.MaxUint32 {
		panic("wire: count out of range")
	}
	return w.Uint32(uint32(n))
}

// Fixed appends bytes whose length both sides know.
func (w *Writer) Fixed(b []byte) *Writer { w.buf = append(w.buf, b...); return w }

// Var appends a byte string with its length.
func (w *Writer) Var(b []byte) *Writer { return w.Count(len(b)).Fixed(b) }

// String appends a string with its length.
func (w *Writer) String(s string) *Writer {
	w.Count(len(s))
	w.buf = append(w.buf, s...)
	return w
}

// Reader takes fields off a message. The first error sticks: every later read
// returns zero values, and Done reports it, so that a decoder reads all its
// fields and checks once.
type Reader struct {
	rest []byte
	err  error
}

// NewReader starts at the version byte and refuses any version but this one.
func NewReader(b []byte, version uint8) *Reader {
	r := &Reader{rest: b}
	if len(b) > MaxMessage {
		r.Fail(fmt.Errorf("message of %d bytes, at most %d: %w", len(b), MaxMessage, ErrTooLong))
		return r
	}
	if v := r.Uint8("version"); r.err == nil && v != version {
		r.Fail(fmt.Errorf("version %d, want %d", v, version))
	}
	return r
}

// Fail records the first error. Decoders use it for rules of their own.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
		r.rest = nil
	}
}

// Failf is Fail with a message.
func (r *Reader) Failf(format string, args ...any) { r.Fail(fmt.Errorf(format, args...)) }

// Err returns the first error so far. A decoder that loops checks it.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or ErrTrailing when bytes are left.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) != 0 {
		r.Fail(fmt.Errorf("%d %w", len(r.rest), ErrTrailing))
	}
	return r.err
}

func (r *Reader) take(field string, n int) []byte {
	if r.err != nil {
		return nil
	}
	if len(r.rest) < n {
		r.Fail(fmt.Errorf("%s: %w: %d bytes wanted, %d left", field, ErrTruncated, n, len(r.rest)))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Uint8 reads one byte.
func (r *Reader) Uint8(field string) uint8 {
	if b := r.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

// Bool reads 0 or 1; any other byte is an error.
func (r *Reader) Bool(field string) bool {
	v := r.Uint8(field)
	if v > 1 {
		r.Fail(fmt.Errorf("%s: byte %d is not a boolean", field, v))
	}
	return v == 1
}

// Uint16 reads two bytes, big-endian.
func (r *Reader) Uint16(field string) uint16 {
	if b := r.take(field, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads four bytes, big-endian.
func (r *Reader) Uint32(field string) uint32 {
	if b := r.take(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads eight bytes, big-endian.
func (r *Reader) Uint64(field string) uint64 {
	if b := r.take(field, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Count reads the number of items of a list, at most max. itemSize is the least
// that one item takes, so that a huge count fails before it allocates.
func (r *Reader) Count(field string, max, itemSize int) int {
	n := int64(r.Uint32(field))
	if r.err != nil {
		return 0
	}
	if n > int64(max) {
		r.Fail(fmt.Errorf("%s: %d items, at most %d: %w", field, n, max, ErrTooLong))
		return 0
	}
	if n*int64(itemSize) > int64(len(r.rest)) {
		r.Fail(fmt.Errorf("%s: %w: %d items do not fit in %d bytes", field, ErrTruncated, n, len(r.rest)))
		return 0
	}
	return int(n)
}

// Fixed reads n bytes into a copy.
func (r *Reader) Fixed(field string, n int) []byte {
	b := r.take(field, n)
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, n), b...)
}

// Into fills dst.
func (r *Reader) Into(field string, dst []byte) { copy(dst, r.take(field, len(dst))) }

// Var reads a byte string of at most max bytes into a copy. An empty string is
// nil.
func (r *Reader) Var(field string, max int) []byte {
	n := r.Count(field, max, 1)
	if r.err != nil || n == 0 {
		return nil
	}
	return r.Fixed(field, n)
}

// Rest reads all that is left, at most max bytes, into a copy: the last field of a
// message that cannot spare a length. Nothing left is nil.
func (r *Reader) Rest(field string, max int) []byte {
	n := len(r.rest)
	if r.err != nil || n == 0 {
		return nil
	}
	if n > max {
		r.Fail(fmt.Errorf("%s: %d bytes, at most %d: %w", field, n, max, ErrTooLong))
		return nil
	}
	return r.Fixed(field, n)
}

// String reads a string of at most max bytes.
func (r *Reader) String(field string, max int) string { return string(r.Var(field, max)) }

// Hash is SHA-256 over the domain tag and the items, each with its length, so
// that no two (tag, items) give the same input:
//
//	SHA-256( u8 len(tag) ‖ tag ‖ u32 count ‖ Π (u64 len(xᵢ) ‖ xᵢ) )
func Hash(tag string, items ...[]byte) [32]byte {
	if len(tag) == 0 || len(tag) > 255 {
		panic("wire: tag must have 1 to 255 bytes")
	}
	h := sha256.New()
	var n [8]byte
	h.Write([]byte{uint8(len(tag))})
	h.Write([]byte(tag))
	binary.BigEndian.PutUint32(n[:4], uint32(len(items)))
	h.Write(n[:4])
	for _, x := range items {
		binary.BigEndian.PutUint64(n[:], uint64(len(x)))
		h.Write(n[:])
		h.Write(x)
	}
	var out [32]byte
	h.Sum(out[:0])
	return out
}
