package secp256k1

// step is one line of an addition chain: r[dst] = r[src]^(2^squares) * r[mul].
type step struct{ dst, src, squares, mul uint8 }

// The registers of the chains. x2 .. x223 hold the argument to powers whose
// exponents are runs of so many ones.
const (
	rArg = iota
	x2
	x3
	x6
	x9
	x11
	x22
	x44
	x88
	x223 // and the result
	registers
)

// The exponents p-2, (p+1)/4 and (p-3)/4 begin alike: 223 ones, a zero, 22
// ones. The chains are constants, the same for every argument.
var (
	chainCommon = [...]step{
		{x2, rArg, 1, rArg},
		{x3, x2, 1, rArg},
		{x6, x3, 3, x3},
		{x9, x6, 3, x3},
		{x11, x9, 2, x2},
		{x22, x11, 11, x11},
		{x44, x22, 22, x22},
		{x88, x44, 44, x44},
		{x223, x88, 88, x88},  // 176 ones
		{x223, x223, 44, x44}, // 220 ones
		{x223, x223, 3, x3},   // 223 ones
		{x223, x223, 23, x22},
	}
	// p-2 goes on with 0000101101.
	chainInvert = [...]step{{x223, x223, 5, rArg}, {x223, x223, 3, x2}, {x223, x223, 2, rArg}}
	// (p+1)/4 goes on with 00001100, two squarings being left over.
	chainSqrt = [...]step{{x223, x223, 6, x2}}
	// (p-3)/4 goes on with 00001011.
	chainP34 = [...]step{{x223, x223, 5, rArg}, {x223, x223, 3, x2}}
)

// run goes through the steps.
func run(r *[registers]fe, steps []step) {
	for _, s := range steps {
		var t fe
		t.sqrN(&r[s.src], int(s.squares))
		r[s.dst].mul(&t, &r[s.mul])
	}
}

// run2 does the same for two arguments, turn and turn about: a squaring waits
// for the one before it, and the processor has room for another meanwhile.
func run2(r, q *[registers]fe, steps []step) {
	for _, s := range steps {
		t, u := r[s.src], q[s.src]
		for range s.squares {
			t.sqr(&t)
			u.sqr(&u)
		}
		r[s.dst].mul(&t, &r[s.mul])
		q[s.dst].mul(&u, &q[s.mul])
	}
}

// invert sets z = a^(p-2), which is 1/a, and 0 for 0.
func (z *fe) invert(a *fe) {
	r := [registers]fe{rArg: *a}
	run(&r, chainCommon[:])
	run(&r, chainInvert[:])
	*z = r[x223]
}

// sqrt sets z = a^((p+1)/4), a square root of a if a has one, and returns all
// ones if so, else zero.
func (z *fe) sqrt(a *fe) uint64 {
	r := [registers]fe{rArg: *a}
	run(&r, chainCommon[:])
	run(&r, chainSqrt[:])
	z.sqrN(&r[x223], 2)
	var check fe
	check.sqr(z)
	check.sub(&check, &r[rArg])
	return check.isZeroMask()
}

// powP34 raises both elements of z to the power (p-3)/4, which the square root
// of a ratio needs.
func powP34(z *[2]fe) {
	r, q := [registers]fe{rArg: z[0]}, [registers]fe{rArg: z[1]}
	run2(&r, &q, chainCommon[:])
	run2(&r, &q, chainP34[:])
	z[0], z[1] = r[x223], q[x223]
}
