package main

import (
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// controls are planted leaks: what they do, code that touches secrets must not.
// Each has to be found, or the measurement is blind.
func controls() []subject {
	return []subject{
		// A comparison that stops at the first difference.
		compared("planted-leak", 20000, func(a, b *[32]byte) {
			for i := range a {
				if a[i] != b[i] {
					sink++
					return
				}
			}
		}),
		// Double and add, with a branch on each bit.
		onScalar("planted-branch", 2000, func() (func(*secp256k1.Scalar), error) {
			g := secp256k1.Generator()
			return func(k *secp256k1.Scalar) {
				p := secp256k1.NewPoint()
				for _, b := range k.Bytes() {
					for bit := 7; bit >= 0; bit-- {
						p.Double(p)
						if b>>bit&1 == 1 {
							p.Add(p, g)
						}
					}
				}
			}, nil
		}),
	}
}
