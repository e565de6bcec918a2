package secp256k1

// Invert sets s = 1/a, and 0 for a = 0, as a^(q-2), with a fixed sequence of
// operations.
func (s *Scalar) Invert(a *Scalar) *Scalar {
	// Odd powers a^1 .. a^15 for the low half of the exponent, and runs of
	// ones for the high half: q-2 begins with 127 ones.
	var odd [8]Scalar
	var sq, t, x Scalar
	odd[0] = *a
	sq.Square(a)
	for i := 1; i < len(odd); i++ {
		odd[i].Mul(&odd[i-1], &sq)
	}
	var x8, x16, x32, x64 Scalar
	t.squareN(&odd[7], 4)
	x8.Mul(&t, &odd[7])
	t.squareN(&x8, 8)
	x16.Mul(&t, &x8)
	t.squareN(&x16, 16)
	x32.Mul(&t, &x16)
	t.squareN(&x32, 32)
	x64.Mul(&t, &x32)
	x.squareN(&x64, 32)
	x.Mul(&x, &x32) // 96
	x.squareN(&x, 16)
	x.Mul(&x, &x16) // 112
	x.squareN(&x, 8)
	x.Mul(&x, &x8) // 120
	x.squareN(&x, 4)
	x.Mul(&x, &odd[7]) // 124
	x.squareN(&x, 3)
	x.Mul(&x, &odd[3]) // 127
	for _, w := range invertTail {
		x.squareN(&x, int(w.squares))
		x.Mul(&x, &odd[w.odd])
	}
	*s = x
	return s
}

// invertTail is the low 129 bits of q-2 as a sliding-window exponent: square so
// many times, then multiply by a^(2*odd+1). It is a public constant.
var invertTail = [...]struct{ squares, odd uint8 }{
	{5, 5}, {3, 2}, {4, 2}, {4, 3}, {5, 6}, {2, 1}, {5, 3}, {6, 6},
	{5, 5}, {4, 6}, {3, 0}, {6, 2}, {10, 3}, {4, 3}, {5, 7}, {4, 7},
	{5, 4}, {6, 5}, {4, 6}, {5, 1}, {6, 6}, {10, 6}, {4, 4}, {9, 4},
	{4, 7}, {1, 0},
}
