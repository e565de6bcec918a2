package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/cofferhq/coffer/internal/signature"
)

// Constants of the TPM 2.0 library, part 2.
const (
	algSHA256 = 0x000b // TPM_ALG_SHA256
	algNull   = 0x0010 // TPM_ALG_NULL
	algECDSA  = 0x0018 // TPM_ALG_ECDSA
	algECC    = 0x0023 // TPM_ALG_ECC
	curveP256 = 0x0003 // TPM_ECC_NIST_P256

	attrFixedTPM        = 1 << 1
	attrFixedParent     = 1 << 4
	attrDataOrigin      = 1 << 5
	attrUserWithAuth    = 1 << 6
	attrAdminWithPolicy = 1 << 7
	attrNoDA            = 1 << 10
	attrRestricted      = 1 << 16
	attrDecrypt         = 1 << 17
	attrSign            = 1 << 18

	magic          = 0xff544347 // TPM_GENERATED_VALUE
	attestNV       = 0x8014     // TPM_ST_ATTEST_NV
	attestQuote    = 0x8018     // TPM_ST_ATTEST_QUOTE
	attestCreation = 0x801a     // TPM_ST_ATTEST_CREATION

	nvAttrAuthWrite = 1 << 2
	nvAttrCounter   = 1 << 4 // TPM_NT_COUNTER in the field of bits 4 to 7
	nvAttrTypeMask  = 0xf << 4
	nvAttrAuthRead  = 1 << 18
	nvAttrNoDA      = 1 << 25
	nvAttrWritten   = 1 << 29
)

// NameSize is the length of the Name of a key or an NV index: u16 algorithm ‖ SHA-256.
const NameSize = 34

// Name is what a TPM calls a key or an NV index: the hash of its public area, and so
// of its attributes and its policy.
type Name [NameSize]byte

// NameOf is the Name of the public area of a key or an NV index.
func NameOf(area []byte) Name {
	var n Name
	binary.BigEndian.PutUint16(n[:], algSHA256)
	h := sha256.Sum256(area)
	copy(n[2:], h[:])
	return n
}

// String is the hash in hex.
func (n Name) String() string { return fmt.Sprintf("%x", n[2:]) }

// fields reads a TPM's structures: big-endian, byte strings with a length of 16 bits.
// The first error sticks.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) failf(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
	f.rest = nil
}

func (f *fields) take(field string, n int) []byte {
	if f.err != nil || len(f.rest) < n {
		f.failf("%s: %d bytes wanted, %d left", field, n, len(f.rest))
		return make([]byte, n)
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) uint8(field string) uint8   { return f.take(field, 1)[0] }
func (f *fields) uint16(field string) uint16 { return binary.BigEndian.Uint16(f.take(field, 2)) }
func (f *fields) uint32(field string) uint32 { return binary.BigEndian.Uint32(f.take(field, 4)) }
func (f *fields) uint64(field string) uint64 { return binary.BigEndian.Uint64(f.take(field, 8)) }

// sized reads a TPM2B of exactly want bytes.
func (f *fields) sized(field string, want int) []byte {
	if n := int(f.uint16(field)); f.err == nil && n != want {
		f.failf("%s of %d bytes, want %d", field, n, want)
	}
	return f.take(field, want)
}

func (f *fields) name(field string) Name {
	n := Name(f.sized(field, NameSize))
	if alg := binary.BigEndian.Uint16(n[:]); f.err == nil && alg != algSHA256 {
		f.failf("%s: hash algorithm 0x%04x, want SHA-256", field, alg)
	}
	return n
}

func (f *fields) want16(field string, want uint16) {
	if v := f.uint16(field); f.err == nil && v != want {
		f.failf("%s 0x%04x, want 0x%04x", field, v, want)
	}
}

func (f *fields) done() error {
	if f.err == nil && len(f.rest) != 0 {
		f.failf("%d bytes after the end", len(f.rest))
	}
	return f.err
}

// Area is a TPMT_PUBLIC: the public area of a P-256 key that signs with ECDSA and
// SHA-256. Any other kind of key is refused.
type Area struct {
	Attributes uint32
	Policy     []byte // authPolicy: empty or 32 bytes
	Key        signature.PublicKey
}

// DecodeArea is the inverse of Encode.
func DecodeArea(b []byte) (Area, error) {
	f := &fields{rest: b}
	var a Area
	f.want16("type", algECC)
	f.want16("name algorithm", algSHA256)
	a.Attributes = f.uint32("attributes")
	if n := f.uint16("policy"); f.err == nil && n != 0 {
		if n != sha256.Size {
			f.failf("policy of %d bytes, want none or 32", n)
		}
		a.Policy = append([]byte(nil), f.take("policy", sha256.Size)...)
	}
	f.want16("symmetric algorithm", algNull)
	f.want16("scheme", algECDSA)
	f.want16("scheme's hash", algSHA256)
	f.want16("curve", curveP256)
	f.want16("key derivation", algNull)
	point := append([]byte{4}, f.sized("x", 32)...)
	point = append(point, f.sized("y", 32)...)
	if err := f.done(); err != nil {
		return Area{}, fmt.Errorf("couldn't decode a TPM key's public area: %w", err)
	}
	var err error
	if a.Key, err = signature.ParsePublicKey(signature.P256, point); err != nil {
		return Area{}, fmt.Errorf("couldn't decode a TPM key's public area: %w", err)
	}
	return a, nil
}

// Encode is the TPM's own encoding.
func (a Area) Encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, algECC)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = binary.BigEndian.AppendUint32(b, a.Attributes)
	b = appendSized(b, a.Policy)
	for _, v := range []uint16{algNull, algECDSA, algSHA256, curveP256, algNull} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = appendSized(b, []byte(a.Key.Key[1:33]))
	return appendSized(b, []byte(a.Key.Key[33:65]))
}

func appendSized(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
}

// VerifierArea is the public area under which a TPM knows a key of somebody else (an
// approver, an authority), and so what its Name is made of.
func VerifierArea(k signature.PublicKey) (Area, error) {
	if k.Algorithm != signature.P256 || len(k.Key) != 65 {
		return Area{}, fmt.Errorf("key %v: a TPM takes approvals under P-256 keys only", k)
	}
	return Area{Attributes: attrUserWithAuth | attrSign, Key: k}, nil
}

// CounterArea is a TPMS_NV_PUBLIC of a written counter, as this module defines them.
func CounterArea(index uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, index)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = binary.BigEndian.AppendUint32(b, CounterAttributes|nvAttrWritten)
	b = appendSized(b, nil)                    // no policy
	return binary.BigEndian.AppendUint16(b, 8) // data size
}

// CounterAttributes are those of every counter that this module defines: read and
// written with the index's authorisation, no dictionary-attack lockout.
const CounterAttributes uint32 = nvAttrAuthWrite | nvAttrCounter | nvAttrAuthRead | nvAttrNoDA

// clockInfo is a TPMS_CLOCK_INFO.
type clockInfo struct {
	Clock          uint64
	Reset, Restart uint32
	Safe           uint8
}

// attested is a TPMS_ATTEST, of one of the three kinds that evidence has.
type attested struct {
	Type     uint16
	Signer   Name // the qualified name of the attestation key
	Extra    [32]byte
	Clock    clockInfo
	Firmware uint64

	Mask   uint32   // quote: which PCRs of the SHA-256 bank
	Digest [32]byte // quote: SHA-256 of their values
	Object Name     // creation, NV: what is certified
	Hash   [32]byte // creation: of the creation data
	Value  uint64   // NV: the counter
}

func decodeAttested(b []byte, kind uint16) (attested, error) {
	f := &fields{rest: b}
	var a attested
	if m := f.uint32("magic"); f.err == nil && m != magic {
		f.failf("magic 0x%08x, want 0x%08x: no TPM made this", m, uint32(magic))
	}
	f.want16("kind", kind)
	a.Type = kind
	a.Signer = f.name("signer")
	a.Extra = [32]byte(f.sized("qualifying data", 32))
	a.Clock = clockInfo{f.uint64("clock"), f.uint32("resets"), f.uint32("restarts"), f.uint8("safe")}
	if f.err == nil && a.Clock.Safe > 1 {
		f.failf("safe is %d, want 0 or 1", a.Clock.Safe)
	}
	a.Firmware = f.uint64("firmware")
	switch kind {
	case attestQuote:
		if n := f.uint32("PCR banks"); f.err == nil && n != 1 {
			f.failf("%d PCR banks, want 1", n)
		}
		f.want16("PCR bank", algSHA256)
		if n := f.uint8("PCR selection"); f.err == nil && n != 3 {
			f.failf("PCR selection of %d bytes, want 3", n)
		}
		s := f.take("PCR selection", 3)
		a.Mask = uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16
		a.Digest = [32]byte(f.sized("PCR digest", 32))
	case attestCreation:
		a.Object = f.name("object")
		a.Hash = [32]byte(f.sized("creation hash", 32))
	case attestNV:
		a.Object = f.name("index")
		f.want16("offset", 0)
		a.Value = binary.BigEndian.Uint64(f.sized("counter", 8))
	}
	return a, f.done()
}
