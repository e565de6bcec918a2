package otext

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// chunk is how much of a row is expanded under one cipher key: five blocks, a
// row of one signature.
const (
	chunkBlocks = 5
	chunkSize   = chunkBlocks * aes.BlockSize
)

// prg expands leaves under one dsid. The ciphers' keys are public: block b of a
// chunk is AES_K(s ⊕ b) ⊕ s for the secret leaf s (docs/spec/random-oracle.md).
type prg struct {
	key    [32]byte
	chunks int
	cipher []cipher.Block // of the tree in hand, by chunk
	leaf   [pprf.Leaves][]byte
}

func newPRG(dsid *[32]byte, n int) *prg {
	g := &prg{key: transcript.Sum(transcript.TagPRG, dsid[:]), chunks: (rowSize(n) + chunkSize - 1) / chunkSize}
	g.cipher = make([]cipher.Block, g.chunks)
	buf := make([]byte, pprf.Leaves*g.chunks*chunkSize)
	for x := range g.leaf {
		g.leaf[x] = buf[x*g.chunks*chunkSize : (x+1)*g.chunks*chunkSize]
	}
	return g
}

// tree takes up tree i: another key for each of its chunks.
func (g *prg) tree(i int) {
	var in [36]byte
	copy(in[:], g.key[:])
	binary.BigEndian.PutUint16(in[32:], uint16(i))
	for c := range g.cipher {
		binary.BigEndian.PutUint16(in[34:], uint16(c))
		k := sha256.Sum256(in[:])
		b, err := aes.NewCipher(k[:16])
		if err != nil {
			panic(fmt.Sprintf("otext: %v", err)) // the key has the length that AES takes
		}
		g.cipher[c] = b
	}
}

// expand fills g.leaf[x].
func (g *prg) expand(x int, seed *[baseot.SeedSize]byte) {
	s0, s1 := binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])
	for c, block := range g.cipher {
		buf := (*[chunkSize]byte)(g.leaf[x][c*chunkSize:])
		for b := range chunkBlocks {
			binary.LittleEndian.PutUint64(buf[16*b:], s0)
			binary.LittleEndian.PutUint64(buf[16*b+8:], s1^uint64(b)<<56) // the last byte
		}
		for b := range chunkBlocks {
			p := buf[16*b : 16*b+16]
			block.Encrypt(p, p)
		}
		for b := range chunkBlocks {
			binary.LittleEndian.PutUint64(buf[16*b:], binary.LittleEndian.Uint64(buf[16*b:])^s0)
			binary.LittleEndian.PutUint64(buf[16*b+8:], binary.LittleEndian.Uint64(buf[16*b+8:])^s1)
		}
	}
}

// fold leaves Σ r_x in leaf[0] and Σ x_b·r_x, the bit b of x, in leaf[1 << b].
func (g *prg) fold() {
	for b := depth - 1; b >= 0; b-- {
		h := 1 << b
		// The upper half goes into the lower; its sum is the value of bit b.
		for x := range h {
			subtle.XORBytes(g.leaf[x], g.leaf[x], g.leaf[h+x])
		}
		for x := 1; x < h; x++ {
			subtle.XORBytes(g.leaf[h], g.leaf[h], g.leaf[h+x])
		}
	}
}

func (g *prg) destroy() {
	for x := range g.leaf {
		clear(g.leaf[x])
	}
}
