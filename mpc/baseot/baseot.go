package baseot

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/gtank/ristretto255"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// N is the number of OTs, κ_OT.
const N = 128

// SeedSize is the length of a seed. 128 bits, the level of Δ itself.
const SeedSize = 16

// Instance names one direction of one pair setup. It enters every key and every
// hash to the group, so that a message of another instance gives other keys.
type Instance struct {
	PSID     [32]byte // docs/spec/pair-setup.md
	Sender   mpc.ID   // Bob
	Receiver mpc.ID   // Alice
}

func (inst *Instance) bytes() []byte {
	b := make([]byte, 0, 36)
	b = append(b, inst.PSID[:]...)
	b = append(b, transcript.Uint16(uint16(inst.Sender))...)
	return append(b, transcript.Uint16(uint16(inst.Receiver))...)
}

// SenderOutput is Bob's: both seeds of every OT. Secret, in memory only. A struct
// that keeps one in an unexported field holds a pointer, since fmt reads such
// fields without asking their methods; so for ReceiverOutput.
type SenderOutput struct {
	K0, K1 [N][SeedSize]byte
}

// Destroy overwrites the seeds.
func (o *SenderOutput) Destroy() {
	if o != nil {
		*o = SenderOutput{}
	}
}

// ReceiverOutput is Alice's: bit i of Delta (LSB first) chose seed K[i]. Secret,
// in memory only.
type ReceiverOutput struct {
	Delta [N / 8]byte
	K     [N][SeedSize]byte
}

// Destroy overwrites Δ and the seeds.
func (o *ReceiverOutput) Destroy() {
	if o != nil {
		*o = ReceiverOutput{}
	}
}

// Sender is Bob between his message and Alice's.
type Sender struct {
	y   *ristretto255.Scalar
	enc [elementSize]byte // Y
}

var errUsed = errors.New("base OT sender was already used")

// Start draws Bob's key: Y = yG.
func Start(rand io.Reader) (*Sender, *Message1, error) {
	y, err := drawScalar(rand)
	if err != nil {
		return nil, nil, err
	}
	e := ristretto255.NewElement().ScalarBaseMult(y)
	if isIdentity(e) {
		return nil, nil, errors.New("the randomness reader gave the scalar zero")
	}
	s := &Sender{y: y, enc: encode(e)}
	return s, &Message1{Y: s.enc}, nil
}

// Destroy overwrites y.
func (s *Sender) Destroy() {
	if s != nil && s.y != nil {
		s.y.Zero()
		s.y = nil
	}
}

// Receive is Alice: it draws Δ and answers m1.
func Receive(rand io.Reader, inst Instance, m1 *Message1) (*ReceiverOutput, *Message2, error) {
	y, err := decodeElement(&m1.Y)
	if err != nil {
		return nil, nil, fmt.Errorf("base OT sender's Y: %w", err)
	}
	out, m2 := new(ReceiverOutput), new(Message2)
	if _, err := io.ReadFull(rand, out.Delta[:]); err != nil {
		return nil, nil, fmt.Errorf("couldn't read randomness for the correlation: %w", err)
	}
	h := newHasher(&inst)
	for i := range N {
		c := int(out.Delta[i/8]>>(i%8)) & 1
		p, err := receiveOne(rand, h, uint16(i), c, y, &m2.T[i])
		if err != nil {
			out.Destroy()
			return nil, nil, err
		}
		out.K[i] = inst.key(uint16(i), uint8(c), &m1.Y, &m2.T[i], &p)
		clear(p[:])
	}
	return out, m2, nil
}

// receiveOne makes the pair of OT i for the secret choice c and returns the
// encoding of z·Y:
//
//	T_{1−c} = S, obliviously sampled;   T_c = zG − H(i, c, S)
func receiveOne(rand io.Reader, h *hasher, i uint16, c int, y *ristretto255.Element, t *Pair) (p [elementSize]byte, err error) {
	s, err := drawElement(rand)
	if err != nil {
		return p, err
	}
	z, err := drawScalar(rand)
	if err != nil {
		return p, err
	}
	defer z.Zero()
	other := encode(s)
	e := ristretto255.NewElement().ScalarBaseMult(z)
	e.Subtract(e, h.pointSecret(i, c, &other))
	chosen := encode(e)
	// c = 0: (T_0, T_1) = (chosen, other); c = 1: (other, chosen).
	t[0], t[1] = chosen, other
	subtle.ConstantTimeCopy(c, t[0][:], other[:])
	subtle.ConstantTimeCopy(c, t[1][:], chosen[:])
	return encode(e.ScalarMult(z, y)), nil
}

// Finish is Bob again: E_c = T_c + H(i, c, T_{1−c}), seeds from y·E_c. It may be
// called once.
func (s *Sender) Finish(inst Instance, m2 *Message2) (*SenderOutput, error) {
	if s.y == nil {
		return nil, errUsed
	}
	defer s.Destroy()
	out := new(SenderOutput)
	h := newHasher(&inst)
	for i := range N {
		for c := range 2 {
			p, err := s.finishOne(h, uint16(i), c, &m2.T[i])
			if err != nil {
				out.Destroy()
				return nil, fmt.Errorf("base OT %d, element %d: %w", i, c, err)
			}
			k := inst.key(uint16(i), uint8(c), &s.enc, &m2.T[i], &p)
			clear(p[:])
			if c == 0 {
				out.K0[i] = k
			} else {
				out.K1[i] = k
			}
		}
	}
	return out, nil
}

// finishOne returns the encoding of y·E_c, for the public c.
func (s *Sender) finishOne(h *hasher, i uint16, c int, t *Pair) (p [elementSize]byte, err error) {
	e, err := decodeElement(&t[c])
	if err != nil {
		return p, err
	}
	e.Add(e, h.point(i, uint8(c), &t[1-c]))
	if isIdentity(e) {
		return p, fmt.Errorf("T + H: %w", errIdentity)
	}
	return encode(e.ScalarMult(s.y, e)), nil
}

// key is k_{i,c} = RO("bot", …). Every item that makes it another OT is in it:
// the setup, the direction, the index, the choice and all public elements.
func (inst *Instance) key(i uint16, c uint8, y *[elementSize]byte, t *Pair, p *[elementSize]byte) (k [SeedSize]byte) {
	h := transcript.Sum(transcript.TagBaseOTKey, inst.PSID[:],
		transcript.Uint16(uint16(inst.Sender)), transcript.Uint16(uint16(inst.Receiver)),
		transcript.Uint16(i), []byte{c}, y[:], t[0][:], t[1][:], p[:])
	copy(k[:], h[:])
	clear(h[:])
	return k
}

// Y returns the encoding of Bob's public key of this run.
func (s *Sender) Y() [elementSize]byte { return s.enc }
