package dkls23

import (
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/transcript"
	"github.com/cofferhq/coffer/mpc/vole"
)

// product is c_w or d_w of one slot: w = 0 for r (u), w = 1 for sk (v).
type product = [2]secp256k1.Scalar

type receiver struct{ rs []*vole.Receiver }

func (r *receiver) Chi(k int) *secp256k1.Scalar { return r.rs[k].Chi() }
func (r *receiver) Destroy() {
	if r == nil {
		return
	}
	for _, x := range r.rs {
		x.Destroy()
	}
}

func sub(dsid [32]byte, k int) [32]byte {
	if k == 0 {
		return dsid
	}
	return transcript.Sum(transcript.TagDSID, dsid[:], transcript.Uint64(uint64(k)))
}

type message1 struct{ ms []*vole.Message1 }
type message2 struct{ ms []*vole.Message2 }

func message1Size(n int) int { return n * vole.Message1Size }
func message2Size(n int) int { return n * vole.Message2Size }

func (m *message1) MarshalBinary() (b []byte, err error) {
	for _, x := range m.ms {
		y, _ := x.MarshalBinary()
		b = append(b, y...)
	}
	return
}
func (m *message2) MarshalBinary() (b []byte, err error) {
	for _, x := range m.ms {
		y, _ := x.MarshalBinary()
		b = append(b, y...)
	}
	return
}
func decode1(b []byte, n int) (*message1, error) {
	if len(b) != message1Size(n) {
		return nil, fmt.Errorf("VOLE message 1: %d bytes", len(b))
	}
	m := new(message1)
	for range n {
		x := new(vole.Message1)
		if err := x.UnmarshalBinary(b[:vole.Message1Size]); err != nil {
			return nil, err
		}
		b = b[vole.Message1Size:]
		m.ms = append(m.ms, x)
	}
	return m, nil
}
func decode2(b []byte, n int) (*message2, error) {
	if len(b) != message2Size(n) {
		return nil, fmt.Errorf("VOLE message 2: %d bytes", len(b))
	}
	m := new(message2)
	for range n {
		x := new(vole.Message2)
		if err := x.UnmarshalBinary(b[:vole.Message2Size]); err != nil {
			return nil, err
		}
		b = b[vole.Message2Size:]
		m.ms = append(m.ms, x)
	}
	return m, nil
}

func voleReceive(rand io.Reader, seeds *baseot.SenderOutput, dsid [32]byte, n int) (*receiver, *message1, error) {
	r, m := new(receiver), new(message1)
	for k := range n {
		x, y, err := vole.Receive(rand, seeds, sub(dsid, k))
		if err != nil {
			return nil, nil, err
		}
		r.rs, m.ms = append(r.rs, x), append(m.ms, y)
	}
	return r, m, nil
}

func (r *receiver) Finish(m *message2) ([]product, error) {
	var d []product
	for k, x := range r.rs {
		y, err := x.Finish(m.ms[k])
		if err != nil {
			return nil, err
		}
		d = append(d, y)
	}
	return d, nil
}

func voleSend(rand io.Reader, seeds *baseot.ReceiverOutput, dsid [32]byte, m1 *message1, a [][2]*secp256k1.Scalar) (c []product, m2 *message2, err error) {
	m2 = new(message2)
	for k := range a {
		x, y, err := vole.Send(rand, seeds, sub(dsid, k), m1.ms[k], a[k])
		if err != nil {
			return nil, nil, err
		}
		c, m2.ms = append(c, x), append(m2.ms, y)
	}
	return c, m2, nil
}
