package refmodel

import (
	"crypto/aes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"math/big"
)

// Suite names the parameters.
const Suite = "DKLS23-SECP256K1-B4"

// Stream is a deterministic source of randomness, SHAKE256 of a seed.
type Stream struct{ xof *sha3.SHAKE }

// NewStream gives the stream of the seed's bytes.
func NewStream(seed string) *Stream {
	x := sha3.NewSHAKE256()
	_, _ = x.Write([]byte(seed))
	return &Stream{x}
}

// Bytes draws n bytes.
func (s *Stream) Bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = s.xof.Read(b)
	return b
}

// Scalar draws a scalar: 48 bytes mod q.
func (s *Stream) Scalar() *big.Int { return wide(s.Bytes(48)) }

func u8(v int) []byte      { return []byte{byte(v)} }
func u16(v int) []byte     { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func u32(v int) []byte     { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
func u64(v int) []byte     { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
func vary(b []byte) []byte { return cat(u32(len(b)), b) }

// cat joins byte strings.
func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// bit is bit n of b, the least significant bit of a byte first.
func bit(b []byte, n int) int { return int(b[n/8]>>(n%8)) & 1 }

// xor is a ⊕ b.
func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range a {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// wide reads a wide scalar.
func wide(b []byte) *big.Int { return mod(new(big.Int).SetBytes(b)) }

// enc is the encoding of a scalar, 32 bytes.
func enc(k *big.Int) []byte { return k.FillBytes(make([]byte, 32)) }

// RO is the random oracle: length bytes for the tag and its items.
func RO(tag string, length int, items ...[]byte) []byte {
	in := u32(len(items))
	for _, x := range items {
		in = cat(in, u64(len(x)), x)
	}
	h := sha3.NewCSHAKE256(nil, []byte("coffer/mpc/v1/"+tag))
	_, _ = h.Write(in)
	out := make([]byte, length)
	_, _ = h.Read(out)
	return out
}

// ROScalar is RO read as one wide scalar.
func ROScalar(tag string, items ...[]byte) *big.Int {
	return wide(RO(tag, 48, items...))
}

// ROScalars is RO cut into n wide scalars.
func ROScalars(n int, tag string, items ...[]byte) []*big.Int {
	b := RO(tag, 48*n, items...)
	out := make([]*big.Int, n)
	for i := range out {
		out[i] = wide(b[48*i : 48*i+48])
	}
	return out
}

// H256 is SHA-256 of the parts, joined.
func H256(parts ...[]byte) []byte {
	h := sha256.Sum256(cat(parts...))
	return h[:]
}

// evenMansour is E(K, s, s', 0) ‖ E(K, s, s', 1) ‖ …, n blocks.
func evenMansour(key, s, s2 []byte, n int) []byte {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has 16 bytes
	}
	var out []byte
	for b := range n {
		e := make([]byte, 16)
		c.Encrypt(e, xor(s, cat(make([]byte, 15), u8(b))))
		out = append(out, xor(e, s2)...)
	}
	return out
}

// prg expands a leaf of tree i to length bytes.
func prg(r, dsid []byte, i, length int) []byte {
	bulk := RO("prg", 32, dsid)
	var out []byte
	for c := 0; len(out) < length; c++ {
		key := H256(bulk, u16(i), u16(c))[:16]
		out = append(out, evenMansour(key, r, r, 5)...)
	}
	return out[:length]
}

// pad hashes column j, of 16 bytes, to four scalars.
func pad(dsid []byte, j int, column []byte) [4]*big.Int {
	s := H256(RO("pad", 32, dsid), u32(j), column)
	key := H256(RO("pad-key", 32, dsid), u32(j/8))[:16]
	p := evenMansour(key, s[:16], s[16:], 12)
	var out [4]*big.Int
	for v := range out {
		out[v] = wide(p[48*v : 48*v+48])
	}
	return out
}
