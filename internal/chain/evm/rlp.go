package evm

import (
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
)

// rlpDecoder reads the items of one RLP list, strictly: every item has exactly
// one encoding, and any other is refused. The first error sticks and is shared
// with the decoders of the lists inside, so that a caller reads all fields and
// asks once.
type rlpDecoder struct {
	rest []byte
	err  *error
}

// newRLPDecoder starts at bytes that are one list and nothing else.
func newRLPDecoder(b []byte) *rlpDecoder {
	d := &rlpDecoder{rest: b, err: new(error)}
	inner := d.list("transaction")
	if len(d.rest) != 0 {
		d.failf("%d bytes after the end of the transaction", len(d.rest))
	}
	return inner
}

func (d *rlpDecoder) failf(format string, args ...any) {
	if *d.err == nil {
		*d.err = fmt.Errorf(format, args...)
	}
	d.rest = nil
}

// more says whether the list has another item.
func (d *rlpDecoder) more() bool { return *d.err == nil && len(d.rest) > 0 }

// done returns the first error, or one that says that the list is too long.
func (d *rlpDecoder) done() error {
	if d.more() {
		d.failf("the list has more fields than its type allows")
	}
	return *d.err
}

// next takes one item off the list.
func (d *rlpDecoder) next(field string) (isList bool, payload []byte) {
	if *d.err != nil {
		return false, nil
	}
	isList, payload, rest, err := splitRLP(d.rest)
	if err != nil {
		d.failf("%s: %w", field, err)
		return false, nil
	}
	d.rest = rest
	return isList, payload
}

var (
	errRLPShort  = errors.New("rlp item ends early")
	errRLPSingle = errors.New("rlp byte below 0x80 written with a length, want the byte alone")
	errRLPLong   = errors.New("rlp length below 56 in the long form, want the short form")
	errRLPZero   = errors.New("rlp length with a leading zero")
)

// splitRLP separates the first item from what follows it.
func splitRLP(b []byte) (isList bool, payload, rest []byte, err error) {
	if len(b) == 0 {
		return false, nil, nil, errRLPShort
	}
	head := b[0]
	if head < 0x80 {
		return false, b[:1], b[1:], nil
	}
	isList, offset := head >= 0xc0, byte(0x80)
	if isList {
		offset = 0xc0
	}
	size, body := uint64(head-offset), b[1:]
	if size > 55 {
		n := int(size - 55) // bytes of the length itself: 1 to 8
		if len(body) < n {
			return false, nil, nil, errRLPShort
		}
		if body[0] == 0 {
			return false, nil, nil, errRLPZero
		}
		size = 0
		for _, x := range body[:n] {
			size = size<<8 | uint64(x)
		}
		if size < 56 {
			return false, nil, nil, errRLPLong
		}
		body = body[n:]
	}
	if uint64(len(body)) < size {
		return false, nil, nil, errRLPShort
	}
	payload, rest = body[:size], body[size:]
	if !isList && size == 1 && payload[0] < 0x80 {
		return false, nil, nil, errRLPSingle
	}
	return isList, payload, rest, nil
}

// list enters a list.
func (d *rlpDecoder) list(field string) *rlpDecoder {
	isList, payload := d.next(field)
	if *d.err == nil && !isList {
		d.failf("%s: a byte string where a list belongs", field)
		payload = nil
	}
	return &rlpDecoder{rest: payload, err: d.err}
}

// str reads a byte string. The result aliases the input.
func (d *rlpDecoder) str(field string) []byte {
	isList, payload := d.next(field)
	if *d.err == nil && isList {
		d.failf("%s: a list where a byte string belongs", field)
		return nil
	}
	return payload
}

// integer reads an unsigned integer of at most size bytes without leading zeros.
func (d *rlpDecoder) integer(field string, size int) []byte {
	b := d.str(field)
	if len(b) > size {
		d.failf("%s: integer of %d bytes, at most %d", field, len(b), size)
		return nil
	}
	if len(b) > 0 && b[0] == 0 {
		d.failf("%s: integer with a leading zero", field)
		return nil
	}
	return b
}

func (d *rlpDecoder) uint64(field string) uint64 {
	var v uint64
	for _, x := range d.integer(field, 8) {
		v = v<<8 | uint64(x)
	}
	return v
}

func (d *rlpDecoder) amount(field string) chain.Amount {
	var a chain.Amount
	a.SetBytes(d.integer(field, 32))
	return a
}

// rlpEncoder appends items; wrap makes what was appended one list.
type rlpEncoder struct{ buf []byte }

func rlpHead(buf []byte, offset byte, size int) []byte {
	if size <= 55 {
		return append(buf, offset+byte(size))
	}
	var be []byte
	for v := size; v > 0; v >>= 8 {
		be = append([]byte{byte(v)}, be...)
	}
	return append(append(buf, offset+55+byte(len(be))), be...)
}

func (e *rlpEncoder) str(b []byte) *rlpEncoder {
	if len(b) != 1 || b[0] >= 0x80 {
		e.buf = rlpHead(e.buf, 0x80, len(b))
	}
	e.buf = append(e.buf, b...)
	return e
}

func (e *rlpEncoder) list(inner *rlpEncoder) *rlpEncoder {
	e.buf = append(rlpHead(e.buf, 0xc0, len(inner.buf)), inner.buf...)
	return e
}

func (e *rlpEncoder) uint64(v uint64) *rlpEncoder {
	var a chain.Amount
	return e.amount(a.SetUint64(v))
}

func (e *rlpEncoder) amount(a *chain.Amount) *rlpEncoder { return e.str(a.Bytes()) }

// wrap returns prefix followed by everything appended, as one list.
func (e *rlpEncoder) wrap(prefix ...byte) []byte {
	return append(rlpHead(prefix, 0xc0, len(e.buf)), e.buf...)
}
