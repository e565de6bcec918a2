package baseot

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
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
	y   *secp256k1.Scalar
	enc [pointSize]byte // Y
}

var errUsed = errors.New("base OT sender was already used")

// Start draws Bob's key: Y = yG.
func Start(rand io.Reader) (*Sender, *Message1, error) {
	y, err := drawScalar(rand)
	if err != nil {
		return nil, nil, err
	}
	p := secp256k1.NewPoint().ScalarBaseMult(y)
	if isIdentity(p) {
		return nil, nil, errors.New("the randomness reader gave the scalar zero")
	}
	s := &Sender{y: y, enc: p.Bytes()}
	return s, &Message1{Y: s.enc}, nil
}

// Y returns the encoding of Bob's public key of this run.
func (s *Sender) Y() [pointSize]byte { return s.enc }

// Destroy overwrites y.
func (s *Sender) Destroy() {
	if s != nil && s.y != nil {
		s.y.Destroy()
		s.y = nil
	}
}

// receiver is Alice's work on all OTs; it goes through them step by step, so that
// the points of each step are encoded with one inversion.
type receiver struct {
	h       *hasher
	delta   [N / 8]byte
	z       [N]secp256k1.Scalar
	sampled [N]*secp256k1.Point // S_i
	chosen  [N]*secp256k1.Point // T_{i,c}
	product [N]*secp256k1.Point // z_i·Y
}

// Receive is Alice: it draws Δ and answers m1.
func Receive(rand io.Reader, inst Instance, m1 *Message1) (*ReceiverOutput, *Message2, error) {
	y, err := decodePoint(&m1.Y)
	if err != nil {
		return nil, nil, fmt.Errorf("base OT sender's Y: %w", err)
	}
	r := &receiver{h: newHasher(&inst)}
	defer r.destroy()
	if err := r.draw(rand); err != nil {
		return nil, nil, err
	}
	m2 := new(Message2)
	r.makePairs(m2)
	out, err := r.makeKeys(&inst, &m1.Y, y, m2)
	if err != nil {
		return nil, nil, fmt.Errorf("base OT key: %w", err)
	}
	return out, m2, nil
}

// draw reads Δ, and for every OT the bytes of S_i and z_i.
func (r *receiver) draw(rand io.Reader) error {
	if _, err := io.ReadFull(rand, r.delta[:]); err != nil {
		return fmt.Errorf("couldn't read randomness for the correlation: %w", err)
	}
	var u [32]byte
	defer clear(u[:])
	for i := range N {
		if _, err := io.ReadFull(rand, u[:]); err != nil {
			return fmt.Errorf("couldn't read randomness for a point: %w", err)
		}
		if err := r.z[i].SetRandom(rand); err != nil {
			return err
		}
		r.sampled[i] = r.h.oblivious(uint16(i), &u)
	}
	return nil
}

// choice returns Δ_i, 0 or 1.
func (r *receiver) choice(i int) int { return int(r.delta[i/8]>>(i%8)) & 1 }

// makePairs fills in, for the secret choice c of every OT,
//
//	T_{1−c} = S, obliviously sampled;   T_c = zG − H(i, c, S)
func (r *receiver) makePairs(m2 *Message2) {
	others := secp256k1.EncodePoints(r.sampled[:])
	for i := range N {
		p := secp256k1.NewPoint().ScalarBaseMult(&r.z[i])
		r.chosen[i] = p.Sub(p, r.h.pointSecret(uint16(i), r.choice(i), &others[i]))
	}
	chosen := secp256k1.EncodePoints(r.chosen[:])
	for i := range N {
		// c = 0: (T_0, T_1) = (chosen, other); c = 1: (other, chosen).
		c, t := r.choice(i), &m2.T[i]
		t[0], t[1] = chosen[i], others[i]
		subtle.ConstantTimeCopy(c, t[0][:], others[i][:])
		subtle.ConstantTimeCopy(c, t[1][:], chosen[i][:])
	}
	// Beside the message that was sent, either of them tells Δ.
	clear(others)
	clear(chosen)
}

// makeKeys computes k_{i,c} from z_i·Y.
func (r *receiver) makeKeys(inst *Instance, enc *[pointSize]byte, y *secp256k1.Point, m2 *Message2) (*ReceiverOutput, error) {
	table, err := secp256k1.NewTable(y) // pays from about 20 products on
	if err != nil {
		return nil, err
	}
	for i := range N {
		r.product[i] = secp256k1.NewPoint().ScalarTableMult(&r.z[i], table)
	}
	p := secp256k1.EncodePoints(r.product[:])
	out := &ReceiverOutput{Delta: r.delta}
	for i := range N {
		out.K[i] = inst.key(uint16(i), uint8(r.choice(i)), enc, &m2.T[i], &p[i])
	}
	clear(p)
	return out, nil
}

func (r *receiver) destroy() {
	clear(r.delta[:])
	for i := range N {
		r.z[i].Destroy()
		for _, p := range []*secp256k1.Point{r.sampled[i], r.chosen[i], r.product[i]} {
			if p != nil {
				p.Destroy()
			}
		}
	}
}

// Finish is Bob again: E_c = T_c + H(i, c, T_{1−c}), seeds from y·E_c. It may be
// called once.
func (s *Sender) Finish(inst Instance, m2 *Message2) (*SenderOutput, error) {
	if s.y == nil {
		return nil, errUsed
	}
	defer s.Destroy()
	h := newHasher(&inst)
	products := make([]*secp256k1.Point, 0, 2*N)
	for i := range N {
		for c := range 2 {
			e, err := decodePoint(&m2.T[i][c])
			if err != nil {
				return nil, fmt.Errorf("base OT %d, point %d: %w", i, c, err)
			}
			e.Add(e, h.point(uint16(i), uint8(c), &m2.T[i][1-c]))
			if isIdentity(e) {
				return nil, fmt.Errorf("base OT %d, point %d: T + H: %w", i, c, errIdentity)
			}
			products = append(products, e.ScalarMult(s.y, e))
		}
	}
	p := secp256k1.EncodePoints(products)
	out := new(SenderOutput)
	for i := range N {
		out.K0[i] = inst.key(uint16(i), 0, &s.enc, &m2.T[i], &p[2*i])
		out.K1[i] = inst.key(uint16(i), 1, &s.enc, &m2.T[i], &p[2*i+1])
	}
	for i := range p {
		products[i].Destroy()
		clear(p[i][:])
	}
	return out, nil
}

// key is k_{i,c} = RO("bot", …). Every item that makes it another OT is in it:
// the setup, the direction, the index, the choice and all public elements.
func (inst *Instance) key(i uint16, c uint8, y *[pointSize]byte, t *Pair, p *[pointSize]byte) (k [SeedSize]byte) {
	h := transcript.Sum(transcript.TagBaseOTKey, inst.PSID[:],
		transcript.Uint16(uint16(inst.Sender)), transcript.Uint16(uint16(inst.Receiver)),
		transcript.Uint16(i), []byte{c}, y[:], t[0][:], t[1][:], p[:])
	copy(k[:], h[:])
	clear(h[:])
	return k
}
