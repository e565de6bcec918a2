package ecdsa

// SignedDigits is for tests.
func SignedDigits(weight [16]byte) (out [130]int8) {
	signedDigits(&out, weight, 5)
	return out
}
