package refmodel

import (
	"bytes"
	"errors"
)

// Trees of ot-extension.md.
const (
	trees  = 32 // of leaves leaves, for k = 4 bits of Δ each
	leaves = 16
	depth  = 4

	treesLen = 1 + trees*3*2*16 + trees*32 + 32
)

// Trees are one direction's punctured trees, as far as one party knows them:
// Bob has Leaves, Alice Δ and Shifted.
type Trees struct {
	Leaves  [][][]byte // r_{i,x}
	Delta   []byte
	Shifted [][][]byte // r'_{i,z} = r_{i,z⊕Δ_i}, zeroes at z = 0
}

// block is Δ_i.
func block(delta []byte, i int) int {
	v := 0
	for b := range depth {
		v |= bit(delta, 4*i+b) << b
	}
	return v
}

func base(i, d int) int { return 4*i + 4 - d }

// node is N(i, use, index, s).
func (in OTInstance) node(i, use, index int, s []byte) []byte {
	k := RO("ggm", 32, in.PSID, u16(in.Sender), u16(in.Receiver))
	return H256(k, u8(i), u8(use), u8(index), s)
}

// leaf is r_{i,x} and t_{i,x}.
func (in OTInstance) leaf(i, x int, s []byte) (r, t []byte) {
	return in.node(i, 5, x, s)[:16], in.node(i, 6, x, s)
}

// treesCheck is S.
func (in OTInstance) treesCheck(all [][]byte) []byte {
	return RO("ggm-check", 32, in.PSID, u16(in.Sender), u16(in.Receiver), H256(all...))
}

// sum is ⊕ of byte strings of one length.
func sum(parts ...[]byte) []byte {
	out := make([]byte, len(parts[0]))
	for _, p := range parts {
		out = xor(out, p)
	}
	return out
}

// PlantTrees is Bob's step: the leaves, and the trees' message.
func PlantTrees(in OTInstance, k Seeds) (Trees, []byte) {
	var out Trees
	var corrections, totals []byte
	var all [][]byte // t
	for i := range trees {
		level := [][]byte{k.K1[base(i, 1)], k.K0[base(i, 1)]}
		for d := 2; d <= depth; d++ {
			var next, even, odd [][]byte
			for p, s := range level {
				two := in.node(i, d, p, s)
				next = append(next, two[:16], two[16:])
				even, odd = append(even, two[:16]), append(odd, two[16:])
			}
			corrections = cat(corrections, xor(k.K1[base(i, d)], sum(even...)), xor(k.K0[base(i, d)], sum(odd...)))
			level = next
		}
		var rs, ts [][]byte
		for x, s := range level {
			r, t := in.leaf(i, x, s)
			rs, ts = append(rs, r), append(ts, t)
		}
		out.Leaves = append(out.Leaves, rs)
		all = append(all, ts...)
		totals = cat(totals, sum(ts...))
	}
	return out, cat(u8(1), corrections, totals, in.treesCheck(all))
}

// GrowTrees is Alice's step.
func GrowTrees(in OTInstance, k Seeds, message []byte) (Trees, error) {
	out := Trees{Delta: k.Delta}
	if len(message) != treesLen || message[0] != 1 {
		return out, errors.New("not a trees' message")
	}
	correction := func(i, d, side int) []byte { // C_{i,d,side}
		at := 1 + 16*(6*i+2*(d-2)+side)
		return message[at : at+16]
	}
	var all [][]byte
	for i := range trees {
		lacks := bit(k.Delta, base(i, 1)) // the node of this level that she lacks
		level := make([][]byte, 2)
		level[1-lacks] = k.K[base(i, 1)]
		for d := 2; d <= depth; d++ {
			c := bit(k.Delta, base(i, d))
			next := make([][]byte, 2*len(level))
			sibling := xor(k.K[base(i, d)], correction(i, d, 1-c))
			for p, s := range level {
				if p == lacks {
					continue
				}
				two := in.node(i, d, p, s)
				next[2*p], next[2*p+1] = two[:16], two[16:]
				sibling = xor(sibling, next[2*p+1-c])
			}
			next[2*lacks+1-c] = sibling
			level, lacks = next, 2*lacks+c
		}
		rs, ts := make([][]byte, leaves), make([][]byte, leaves)
		at := 1 + trees*3*2*16 + 32*i
		rest := message[at : at+32] // T_i
		for x, s := range level {
			if x != lacks {
				rs[x^lacks], ts[x] = in.leaf(i, x, s)
				rest = xor(rest, ts[x])
			}
		}
		rs[0], ts[lacks] = make([]byte, 16), rest
		out.Shifted = append(out.Shifted, rs)
		all = append(all, ts...)
	}
	if !bytes.Equal(in.treesCheck(all), message[treesLen-32:]) {
		return Trees{}, errCheck
	}
	return out, nil
}
