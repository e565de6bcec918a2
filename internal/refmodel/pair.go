package refmodel

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
)

// PairSide is one of the two sides of a pair setup, in the plain order of
// messages.
type PairSide struct {
	Self, Peer int
	Context    []byte
	BootLo     []byte
	BootHi     []byte

	rnd          *Stream
	ot           *OTSender
	seeds        Seeds // as Alice
	psid         []byte
	vole         *VOLEBob
	mine, theirs [][]byte

	Bob, Alice Trees  // the outputs
	Hash       []byte // the setup hash
}

var pairLengths = [5]int{72, 8487, 6392, 53511, 70}

// NewPairSide starts a side; its first message is m1.
func NewPairSide(self, peer int, context, bootLo, bootHi []byte, rnd *Stream) (*PairSide, []byte, error) {
	s := &PairSide{Self: self, Peer: peer, Context: context, BootLo: bootLo, BootHi: bootHi, rnd: rnd}
	nonce := rnd.Bytes(32)
	ot, m, err := NewOTSender(OTInstance{nil, self, peer}, rnd)
	if err != nil {
		return nil, nil, err
	}
	s.ot = ot
	return s, s.send(cat(nonce, m)), nil
}

// send frames the body of the next message; from step 2 on, psid leads it.
func (s *PairSide) send(body []byte) []byte {
	step := len(s.mine) + 1
	m := cat(u8(1), u8(step), u16(s.Self), u16(s.Peer))
	if step > 1 {
		m = cat(m, s.psid)
	}
	m = cat(m, body)
	s.mine = append(s.mine, m)
	return m
}

// lohi orders what is one's own and the peer's.
func (s *PairSide) lohi(mine, theirs []byte) (lo, hi []byte) {
	if s.Self < s.Peer {
		return mine, theirs
	}
	return theirs, mine
}

func selfTest(psid []byte, bob, alice int) []byte {
	return RO("dsid", 32, psid, []byte("pair self-test"), u16(bob), u16(alice))
}

// errIgnored is a message that is dropped.
var errIgnored = errors.New("another psid: the message is ignored")

// Take reads the peer's next message and gives one's own next; after m5, nil.
// It ends with an Abort, or with errIgnored.
func (s *PairSide) Take(m []byte) ([]byte, error) {
	next, err := s.take(m)
	var a *Abort
	switch {
	case err == nil || errors.Is(err, errIgnored) || errors.As(err, &a):
		return next, err
	case errors.Is(err, errCheck):
		return nil, benign(err.Error())
	default:
		return nil, blame(s.Peer, err.Error())
	}
}

func (s *PairSide) take(m []byte) ([]byte, error) {
	step := len(s.theirs) + 1
	if step > 5 || len(m) != pairLengths[step-1] ||
		!bytes.Equal(m[:6], cat(u8(1), u8(step), u16(s.Peer), u16(s.Self))) {
		return nil, errors.New("not the message awaited")
	}
	body := m[6:]
	if step > 1 {
		if !bytes.Equal(m[6:38], s.psid) {
			return nil, errIgnored
		}
		body = m[38:]
	}
	s.theirs = append(s.theirs, m)
	switch step {
	case 1:
		return s.takeM1(body)
	case 2:
		seeds, err := s.ot.Finish(body)
		if err != nil {
			return nil, err
		}
		planted, m := PlantTrees(OTInstance{s.psid, s.Self, s.Peer}, seeds)
		s.Bob = planted
		vole, m1 := VOLEReceive(s.Bob, 1, selfTest(s.psid, s.Self, s.Peer), s.rnd)
		s.vole = vole
		return s.send(cat(m, m1)), nil
	case 3:
		grown, err := GrowTrees(OTInstance{s.psid, s.Peer, s.Self}, s.seeds, body[:treesLen])
		if err != nil {
			return nil, err
		}
		s.Alice = grown
		a := [][2]*big.Int{{s.rnd.Scalar(), s.rnd.Scalar()}}
		c, m2, err := VOLESend(s.Alice, selfTest(s.psid, s.Peer, s.Self), body[treesLen:], a, s.rnd)
		if err != nil {
			return nil, err
		}
		return s.send(cat(m2, enc(a[0][0]), enc(a[0][1]), enc(c[0][0]), enc(c[0][1]))), nil
	case 4:
		return s.takeM4(body)
	default:
		if !bytes.Equal(body, s.Hash) {
			return nil, benign("another setup hash")
		}
		return nil, nil
	}
}

func (s *PairSide) takeM1(body []byte) ([]byte, error) {
	lo, hi := s.lohi(s.mine[0][6:], body)
	ids := [2]int{min(s.Self, s.Peer), max(s.Self, s.Peer)}
	// A body of m1 is nonce (32) ‖ version (1) ‖ Y (33).
	s.psid = RO("psid", 32, []byte(Suite), s.Context, u16(ids[0]), u16(ids[1]), s.BootLo, s.BootHi,
		lo[:32], hi[:32], lo[33:], hi[33:])
	s.ot.in.PSID = s.psid
	m2, seeds, err := OTReceive(OTInstance{s.psid, s.Peer, s.Self}, body[32:], s.rnd)
	if err != nil {
		return nil, err
	}
	s.seeds = seeds
	return s.send(m2), nil
}

func (s *PairSide) takeM4(body []byte) ([]byte, error) {
	d, err := s.vole.Finish(body[:53345])
	if err != nil {
		return nil, err
	}
	var k [4]*big.Int // a_0, a_1, c_0, c_1
	for i := range k {
		if k[i], err = DecodeScalar(body[53345+32*i : 53377+32*i]); err != nil {
			return nil, err
		}
	}
	for w := range 2 {
		if add(k[2+w], d[0][w]).Cmp(mul(k[w], s.vole.Chi[0])) != 0 {
			return nil, benign(fmt.Sprintf("product %d of the self-test is wrong", w))
		}
	}
	items := [][]byte{s.psid}
	for step := range 4 {
		lo, hi := s.lohi(s.mine[step], s.theirs[step])
		items = append(items, H256(lo), H256(hi))
	}
	s.Hash = RO("pair-setup", 32, items...)
	return s.send(s.Hash), nil
}
