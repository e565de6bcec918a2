package dkg

import (
	"io"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
)

// What the tests of a dishonest dealer need.

// ReplacePolynomial makes it deal other shares than it committed to.
func (s *Session) ReplacePolynomial(rand io.Reader) (err error) {
	s.polynomial, err = sharing.NewPolynomial(s.curve, rand, s.cfg.Threshold)
	return err
}

// ReplaceThreshold makes it commit to a polynomial of another degree than it
// agreed to.
func (s *Session) ReplaceThreshold(t int) { s.cfg.Threshold = t }

// ReencodeD2 and ReencodeD3 decode a message and encode what they decoded.
func ReencodeD2(suite mpc.Suite, b []byte) ([]byte, error) {
	c, err := group.OfSuite(suite)
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	var echo [32]byte
	r.Into("echo", echo[:])
	if err := r.Err(); err != nil {
		return nil, err
	}
	o, err := readOpening(r, c, suite)
	if err != nil {
		return nil, err
	}
	w := h.Writer().Fixed(echo[:])
	o.write(w, suite)
	return w.Bytes(), nil
}

// ReencodeD3 is ReencodeD2 for D3.
func ReencodeD3(suite mpc.Suite, b []byte) ([]byte, error) {
	c, err := group.OfSuite(suite)
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	var echo [32]byte
	r.Into("echo", echo[:])
	if err := r.Err(); err != nil {
		return nil, err
	}
	d, err := readDeal(r, c, suite)
	if err != nil {
		return nil, err
	}
	w := h.Writer().Fixed(echo[:])
	d.write(w, suite)
	return w.Bytes(), nil
}
