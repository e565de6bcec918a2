package frost

import (
	"bytes"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
)

// Commitment is what a participant publishes of a nonce: D = d·G, the hiding
// nonce commitment, and E = e·G, the binding one. One that exists is in form:
// two points of the group, not the identity, each in its only encoding.
type Commitment struct {
	id   mpc.ID
	enc  []byte // D ‖ E
	d, e group.Point
}

// DecodeCommitment decodes D ‖ E strictly.
func DecodeCommitment(name mpc.Suite, id mpc.ID, b []byte) (*Commitment, error) {
	s, err := suiteOf(name)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	c, err := s.commitment(id, b)
	if err != nil {
		return nil, fmt.Errorf("frost: couldn't decode commitment: %w", err)
	}
	return c, nil
}

func (s *suite) commitment(id mpc.ID, b []byte) (*Commitment, error) {
	size := s.curve.PointSize()
	if len(b) != 2*size {
		return nil, fmt.Errorf("%d bytes, want %d", len(b), 2*size)
	}
	c := &Commitment{id: id, enc: bytes.Clone(b), d: s.curve.NewPoint(), e: s.curve.NewPoint()}
	if err := c.d.Decode(b[:size]); err != nil {
		return nil, fmt.Errorf("hiding nonce commitment: %w", err)
	}
	if err := c.e.Decode(b[size:]); err != nil {
		return nil, fmt.Errorf("binding nonce commitment: %w", err)
	}
	return c, nil
}

// ID is the participant whose commitment this is.
func (c *Commitment) ID() mpc.ID { return c.id }

// Bytes returns D ‖ E.
func (c *Commitment) Bytes() []byte { return bytes.Clone(c.enc) }

// encodeList is encode_group_commitment_list of RFC 9591 §4.3: for each
// participant its id as a scalar, D and E.
func (s *suite) encodeList(list []*Commitment) []byte {
	out := make([]byte, 0, len(list)*(32+2*s.curve.PointSize()))
	for _, c := range list {
		out = append(out, s.id(c.id)...)
		out = append(out, c.enc...)
	}
	return out
}

func (s *suite) id(id mpc.ID) []byte { return s.curve.NewScalar().SetUint64(uint64(id)).Encode() }

// bindingInputs are the inputs of H1, one a participant (§4.4):
// Q ‖ H4(m) ‖ H5(encoded list) ‖ id.
func (s *suite) bindingInputs(q, m []byte, list []*Commitment) [][]byte {
	prefix := append([]byte(nil), q...)
	prefix = append(prefix, s.h4(m)...)
	prefix = append(prefix, s.h5(s.encodeList(list))...)
	out := make([][]byte, len(list))
	for i, c := range list {
		out[i] = append(append(make([]byte, 0, len(prefix)+32), prefix...), s.id(c.id)...)
	}
	return out
}

// checkList is what B must be: t to n of the key's parties, ascending, none
// twice, none zero, all of one suite.
func (p *Public) checkList(list []*Commitment) error {
	set := make([]mpc.ID, len(list))
	for i, c := range list {
		if c == nil {
			return fmt.Errorf("commitment %d is missing", i)
		}
		set[i] = c.id
	}
	if err := p.checkSigners(set); err != nil {
		return err
	}
	for _, c := range list {
		if c.d.Curve().Name() != p.PublicKey.Curve().Name() {
			return fmt.Errorf("commitment of participant %d is on %s, the key on %s", c.id, c.d.Curve().Name(), p.PublicKey.Curve().Name())
		}
	}
	return nil
}
