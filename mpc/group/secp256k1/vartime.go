package secp256k1

// MultiScalarMultVartime sets p to the sum of ks[i]*ps[i]. Its time depends on
// the scalars: public data only. The slices must have the same length:
// anything else is a programmer's error, and panics.
func (p *Point) MultiScalarMultVartime(ks []*Scalar, ps []*Point) *Point {
	if len(ks) != len(ps) {
		panic("secp256k1: as many scalars as points are needed")
	}
	n := 2 * len(ks)
	tabs := make([]vartimeTab, n)
	nafs := make([][vartimeBits]int8, n)
	for i := range ks {
		v := ps[i].load()
		k1, k2 := splitGLV(ks[i])
		tabs[2*i].init(&v)
		for j := range tabs[2*i] {
			tabs[2*i+1][j] = tabs[2*i][j]
			tabs[2*i+1][j].x.mul(&tabs[2*i][j].x, &beta)
		}
		k1.wnafVartime(&nafs[2*i])
		k2.wnafVartime(&nafs[2*i+1])
	}
	acc := proj{y: feOne}
	started := false
	for bit := vartimeBits - 1; bit >= 0; bit-- {
		if started {
			acc.double(&acc)
		}
		for i := range nafs {
			d := nafs[i][bit]
			if d == 0 {
				continue
			}
			started = true
			if d > 0 {
				acc.add(&acc, &tabs[i][d/2])
				continue
			}
			e := tabs[i][-d/2]
			e.y.neg(&e.y)
			acc.add(&acc, &e)
		}
	}
	p.v = acc
	return p
}

const (
	vartimeWindow = 5
	vartimeBits   = 130
)

// vartimeTab holds 1P, 3P .. 15P.
type vartimeTab [1 << (vartimeWindow - 2)]proj

func (t *vartimeTab) init(p *proj) {
	var two proj
	two.double(p)
	t[0] = *p
	for i := 1; i < len(t); i++ {
		t[i].add(&t[i-1], &two)
	}
}

// wnafVartime recodes h in the non-adjacent form of width 5.
func (h *half) wnafVartime(d *[vartimeBits]int8) {
	lo, hi := h.abs[0], h.abs[1]
	for i := 0; lo|hi != 0; i++ {
		if lo&1 != 0 {
			w := int64(lo & (1<<vartimeWindow - 1))
			if w >= 1<<(vartimeWindow-1) {
				w -= 1 << vartimeWindow
			}
			v := int8(w)
			if h.neg != 0 {
				v = -v
			}
			d[i] = v
			// Subtract w.
			old := lo
			lo -= uint64(w)
			if w > 0 {
				if lo > old {
					hi--
				}
			} else if lo < old {
				hi++ // below 2^64: a half has fewer than 128 bits
			}
		}
		lo = lo>>1 | hi<<63
		hi >>= 1
	}
}
