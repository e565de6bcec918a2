package pprf

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Parameters of SoftSpokenOT with k = 4.
const (
	Depth  = 4 // k
	Leaves = 1 << Depth
	Trees  = baseot.N / Depth // κ_OT / k

	seedSize  = baseot.SeedSize
	checkSize = 32
)

// What a node of the tree is hashed for: its children at level 2, 3, 4; as a leaf
// for the output and for the check.
const (
	forOutput = Depth + 1
	forCheck  = Depth + 2
)

type seed = [seedSize]byte

// ErrCheck: Bob's message is not that of honest trees. Bits of Δ may have been
// tested: throw the pair setup away.
var ErrCheck = errors.New("punctured trees: the consistency check failed")

// Full is Bob's: Leaf[i][x] for every tree i and every x. Secret, in memory only.
// A struct that keeps one in an unexported field holds a pointer; so for
// Punctured.
type Full struct {
	Leaf [Trees][Leaves]seed
}

// Destroy overwrites the leaves.
func (o *Full) Destroy() {
	if o != nil {
		*o = Full{}
	}
}

// Punctured is Alice's. Bits 4i … 4i+3 of Delta, LSB first, are Δ_i, the leaf of
// tree i that she lacks. Leaf[i][z] is the leaf x = z ⊕ Δ_i, so that the missing
// one stands at z = 0, where there are zeroes. Secret, in memory only.
type Punctured struct {
	Delta [baseot.N / 8]byte
	Leaf  [Trees][Leaves]seed
}

// Destroy overwrites Δ and the leaves.
func (o *Punctured) Destroy() {
	if o != nil {
		*o = Punctured{}
	}
}

// hasher hashes nodes: one SHA-256 compression each, keyed by RO for one
// direction of one pair setup.
type hasher struct {
	inst baseot.Instance
	in   [32 + 3 + seedSize]byte
}

func newHasher(inst baseot.Instance) *hasher {
	h := &hasher{inst: inst}
	k := transcript.Sum(transcript.TagGGM, inst.PSID[:],
		transcript.Uint16(uint16(inst.Sender)), transcript.Uint16(uint16(inst.Receiver)))
	copy(h.in[:], k[:])
	return h
}

// node is SHA-256(K ‖ u8 tree ‖ u8 use ‖ u8 index ‖ node).
func (h *hasher) node(tree, use, index int, node *seed) [sha256.Size]byte {
	h.in[32], h.in[33], h.in[34] = byte(tree), byte(use), byte(index)
	copy(h.in[35:], node[:])
	return sha256.Sum256(h.in[:])
}

// sum is S, over the check values of all trees in order.
func (h *hasher) sum(checks []byte) [32]byte {
	sum := sha256.Sum256(checks)
	return transcript.Sum(transcript.TagGGMCheck, h.inst.PSID[:],
		transcript.Uint16(uint16(h.inst.Sender)), transcript.Uint16(uint16(h.inst.Receiver)), sum[:])
}

func (h *hasher) destroy() { clear(h.in[:]) }

// base is the number of the base OT that opens level d (1 … 4) of a tree: the bit
// of x that the level decides, the highest first.
func base(tree, d int) int { return Depth*tree + Depth - d }

func xor(dst *seed, a []byte) { subtle.XORBytes(dst[:], dst[:], a) }

// Expand is Bob: all leaves, and the message that lets Alice compute all but one.
func Expand(inst baseot.Instance, seeds *baseot.SenderOutput) (*Full, *Message) {
	out, m, h := new(Full), new(Message), newHasher(inst)
	defer h.destroy()
	checks := make([]byte, 0, Trees*Leaves*checkSize)
	for i := range Trees {
		level := grow(h, i, seeds, m)
		for x := range level {
			r := h.node(i, forOutput, x, &level[x])
			copy(out.Leaf[i][x][:], r[:])
			t := h.node(i, forCheck, x, &level[x])
			subtle.XORBytes(m.T[i][:], m.T[i][:], t[:])
			checks = append(checks, t[:]...)
		}
		clear(level[:])
	}
	m.S = h.sum(checks)
	clear(checks)
	return out, m
}

// grow makes tree i down to its leaves and fills in C. The key that Alice has by
// the choice c opens the child 1−c, so that she lacks the child c.
func grow(h *hasher, i int, seeds *baseot.SenderOutput, m *Message) (level [Leaves]seed) {
	level[0], level[1] = seeds.K1[base(i, 1)], seeds.K0[base(i, 1)]
	for d := 2; d <= Depth; d++ {
		parents := level
		c := &m.C[i][d-2]
		c[0], c[1] = seeds.K1[base(i, d)], seeds.K0[base(i, d)]
		for p := range 1 << (d - 1) {
			children := h.node(i, d, p, &parents[p])
			for b := range 2 {
				child := children[seedSize*b : seedSize*(b+1)]
				copy(level[2*p+b][:], child)
				xor(&c[b], child)
			}
		}
		clear(parents[:])
	}
	return level
}

// Puncture is Alice on Bob's message. Her time does not depend on Δ: she hashes
// every node, the one she lacks as zeroes, and places and drops by masks.
func Puncture(inst baseot.Instance, seeds *baseot.ReceiverOutput, m *Message) (*Punctured, error) {
	out, h := &Punctured{Delta: seeds.Delta}, newHasher(inst)
	defer h.destroy()
	checks := make([]byte, 0, Trees*Leaves*checkSize)
	for i := range Trees {
		level, off := climb(h, i, seeds, m)
		values := checkValues(h, i, &level, &off, &m.T[i])
		for x := range level {
			r := h.node(i, forOutput, x, &level[x])
			masked(&out.Leaf[i][x], r[:seedSize], ^off[x])
			checks = append(checks, values[x][:]...)
		}
		align(&out.Leaf[i], seeds, i)
		clear(level[:])
		clear(off[:])
		clear(values[:])
	}
	s := h.sum(checks)
	clear(checks)
	if subtle.ConstantTimeCompare(s[:], m.S[:]) != 1 {
		out.Destroy()
		return nil, ErrCheck
	}
	return out, nil
}

// bitMask is 0xff if bit n of Δ is one, else 0.
func bitMask(seeds *baseot.ReceiverOutput, n int) byte { return -(seeds.Delta[n/8] >> (n % 8) & 1) }

// masked adds a where mask is 0xff.
func masked(dst *seed, a []byte, mask byte) {
	for k := range dst {
		dst[k] ^= a[k] & mask
	}
}

// climb makes the leaves of tree i, save the one at Δ_i, which stays zero and
// where off is 0xff.
func climb(h *hasher, i int, seeds *baseot.ReceiverOutput, m *Message) (level [Leaves]seed, off [Leaves]byte) {
	c := bitMask(seeds, base(i, 1))
	masked(&level[0], seeds.K[base(i, 1)][:], c)
	masked(&level[1], seeds.K[base(i, 1)][:], ^c)
	off[0], off[1] = ^c, c
	for d := 2; d <= Depth; d++ {
		parents, above := level, off
		clear(level[:])
		clear(off[:])
		c := bitMask(seeds, base(i, d))
		// have is the child that she lacks by its parent, but is owed: its side is
		// 1−c. It is the masked sum of that side without all the others.
		have := seeds.K[base(i, d)]
		masked(&have, m.C[i][d-2][0][:], c)
		masked(&have, m.C[i][d-2][1][:], ^c)
		for p := range 1 << (d - 1) {
			children := h.node(i, d, p, &parents[p])
			for b := range 2 {
				side := ^c // 0xff where b is 1−c
				if b == 0 {
					side = c
				}
				masked(&level[2*p+b], children[seedSize*b:seedSize*(b+1)], ^above[p])
				masked(&have, level[2*p+b][:], side)
				off[2*p+b] = above[p] &^ side
			}
		}
		for p := range 1 << (d - 1) {
			masked(&level[2*p], have[:], above[p]&c)
			masked(&level[2*p+1], have[:], above[p]&^c)
		}
		clear(parents[:])
		clear(have[:])
	}
	return level, off
}

// checkValues are the check values of all leaves of a tree; the missing one is
// what the sum leaves.
func checkValues(h *hasher, i int, level *[Leaves]seed, off *[Leaves]byte, sum *[checkSize]byte) (values [Leaves][checkSize]byte) {
	missing := *sum
	for x := range values {
		t := h.node(i, forCheck, x, &level[x])
		for k := range t {
			values[x][k] = t[k] &^ off[x]
			missing[k] ^= values[x][k]
		}
	}
	for x := range values {
		for k := range missing {
			values[x][k] |= missing[k] & off[x]
		}
	}
	return values
}

// align moves leaf x to x ⊕ Δ_i: one conditional exchange for each bit.
func align(leaf *[Leaves]seed, seeds *baseot.ReceiverOutput, i int) {
	for b := range Depth {
		mask := bitMask(seeds, Depth*i+b)
		for x := range leaf {
			other := x | 1<<b
			if x == other {
				continue
			}
			for k := range leaf[x] {
				d := (leaf[x][k] ^ leaf[other][k]) & mask
				leaf[x][k] ^= d
				leaf[other][k] ^= d
			}
		}
	}
}
