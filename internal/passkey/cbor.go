package passkey

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Attestation objects and COSE keys are CBOR (RFC 8949). This reads the part of it
// that CTAP2 uses: integers, strings, arrays, maps and booleans of definite length
// in their shortest form. Map keys are integers or text.

const maxCBORDepth = 8

type cborReader struct {
	rest  []byte
	depth int
}

var errCBOR = errors.New("not the CBOR of an authenticator")

// cborMap has int64 and string keys.
type cborMap map[any]any

// item reads one item: int64, []byte, string, bool, nil, []any or cborMap.
func (r *cborReader) item() (any, error) {
	if r.depth++; r.depth > maxCBORDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", errCBOR, maxCBORDepth)
	}
	defer func() { r.depth-- }()
	major, n, err := r.head()
	if err != nil {
		return nil, err
	}
	switch major {
	case 0, 1:
		if n > math.MaxInt64 {
			return nil, fmt.Errorf("%w: an integer above 63 bits", errCBOR)
		}
		if major == 1 {
			return -1 - int64(n), nil
		}
		return int64(n), nil
	case 2, 3:
		if n > uint64(len(r.rest)) {
			return nil, fmt.Errorf("%w: a string of %d bytes, %d are left", errCBOR, n, len(r.rest))
		}
		b := r.rest[:n]
		r.rest = r.rest[n:]
		if major == 3 {
			return string(b), nil
		}
		return b, nil
	case 4:
		return r.array(n)
	case 5:
		return r.dict(n)
	case 7:
		switch n {
		case 20, 21:
			return n == 21, nil
		case 22:
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%w: major type %d with value %d", errCBOR, major, n)
}

// head reads a type and its argument in the shortest form.
func (r *cborReader) head() (major byte, n uint64, err error) {
	if len(r.rest) == 0 {
		return 0, 0, fmt.Errorf("%w: it ends early", errCBOR)
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	major, info := b>>5, b&31
	if info < 24 {
		return major, uint64(info), nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(r.rest) < size {
		return 0, 0, fmt.Errorf("%w: byte %#02x", errCBOR, b)
	}
	var buf [8]byte
	copy(buf[8-size:], r.rest)
	r.rest = r.rest[size:]
	n = binary.BigEndian.Uint64(buf[:])
	if shortest := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; n < shortest || major == 7 {
		return 0, 0, fmt.Errorf("%w: %d is not in its shortest form", errCBOR, n)
	}
	return major, n, nil
}

func (r *cborReader) array(n uint64) (any, error) {
	if n > uint64(len(r.rest)) {
		return nil, fmt.Errorf("%w: an array of %d items in %d bytes", errCBOR, n, len(r.rest))
	}
	var out []any
	for range n {
		x, err := r.item()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func (r *cborReader) dict(n uint64) (any, error) {
	if n > uint64(len(r.rest)) {
		return nil, fmt.Errorf("%w: a map of %d pairs in %d bytes", errCBOR, n, len(r.rest))
	}
	out := make(cborMap)
	for range n {
		k, err := r.item()
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case int64, string:
		default:
			return nil, fmt.Errorf("%w: a map's key of type %T", errCBOR, k)
		}
		if _, twice := out[k]; twice {
			return nil, fmt.Errorf("%w: the key %v stands twice", errCBOR, k)
		}
		if out[k], err = r.item(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
