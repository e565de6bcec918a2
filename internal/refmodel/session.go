package refmodel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
)

// Protocols.
const (
	protocolDKG      = 1
	protocolSign     = 2
	protocolBatch    = 16
	protocolV1       = 17
	protocolV2       = 18
	protocolOnlineV1 = 19
	protocolOnlineV2 = 20
)

// Class is the class of an abort (aborts.md).
type Class string

// The four classes.
const (
	Benign       Class = "benign"
	Attributed   Class = "attributed"
	Quarantine   Class = "quarantine"
	Unattributed Class = "unattributed"
)

// Abort ends a session.
type Abort struct {
	Class    Class
	Culprit  int // 0 = nobody
	Why      string
	Evidence []byte // of a wrong DKG share
}

func (a *Abort) Error() string {
	return fmt.Sprintf("%s, culprit %d: %s", a.Class, a.Culprit, a.Why)
}

func benign(why string) error            { return &Abort{Class: Benign, Why: why} }
func blame(j int, why string) error      { return &Abort{Class: Attributed, Culprit: j, Why: why} }
func quarantine(j int, why string) error { return &Abort{Class: Quarantine, Culprit: j, Why: why} }
func unattributed(why string) error      { return &Abort{Class: Unattributed, Why: why} }

// Context is what a session is about.
type Context struct {
	Protocol  int
	KeyID     []byte
	Epoch     int
	PublicKey []byte
	Feldman   []byte
	Roster    []byte
	N, T      int
	S         []int
	Purpose   string
}

// Hash is ctx.
func (c Context) Hash() []byte {
	b := cat(u8(1), vary([]byte(Suite)), u8(c.Protocol), vary(c.KeyID), u64(c.Epoch), vary(c.PublicKey), vary(c.Feldman),
		c.Roster, u16(c.N), u16(c.T), u32(len(c.S)))
	for _, id := range c.S {
		b = cat(b, u16(id))
	}
	return RO("ctx", 32, cat(b, vary([]byte(c.Purpose))))
}

// rosterHash is over ids and identity keys, ascending.
func rosterHash(identities map[int][]byte) []byte {
	var items [][]byte
	for _, id := range slices.Sorted(maps.Keys(identities)) {
		items = append(items, u16(id), identities[id])
	}
	return RO("dkg-roster", 32, items...)
}

// encodeAll gives the encodings of the points, one item each.
func encodeAll(points []Point) [][]byte {
	var items [][]byte
	for _, pt := range points {
		items = append(items, pt.Bytes())
	}
	return items
}

// feldmanHash is H(A).
func feldmanHash(a []Point) []byte { return RO("dkg-feldman", 32, encodeAll(a)...) }

// byID gives the values of m, ascending by id.
func byID(m map[int][]byte) [][]byte {
	var out [][]byte
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

// sessionID is sid.
func sessionID(ctx, attempt, job []byte, nonces map[int][]byte) []byte {
	return RO("sid", 32, append([][]byte{ctx, attempt, job}, byID(nonces)...)...)
}

// echoHash is h_r of the broadcasts of all, one's own among them.
func echoHash(sid []byte, round int, broadcasts map[int][]byte) []byte {
	return RO("echo", 32, append([][]byte{sid, u16(round)}, byID(broadcasts)...)...)
}

// frame is the state of a session that headers name.
type frame struct {
	protocol, epoch, self int
	peers                 []int  // ascending
	session               []byte // attempt id ‖ 0…, later sid
}

const headerLen = 47

func (f frame) header(round, from, to int) []byte {
	return cat(u8(1), u8(f.protocol), u8(round), f.session, u64(f.epoch), u16(from), u16(to))
}

// message starts one of one's own messages.
func (f frame) message(round, to int) []byte { return f.header(round, f.self, to) }

// incoming are the messages of one kind of a round.
type incoming struct {
	by   map[int][]byte
	to   int    // 0 for broadcasts
	echo []byte // what must follow the header, nil if nothing
}

// check is steps 1 to 3 of the order of work.
func (f frame) check(round int, kinds ...incoming) error {
	for _, in := range kinds {
		if !slices.Equal(slices.Sorted(maps.Keys(in.by)), f.peers) {
			return benign("not one message of every peer")
		}
	}
	var fault error // the first that is attributed
	for _, in := range kinds {
		for _, j := range f.peers {
			m := in.by[j]
			switch want := f.header(round, j, in.to); {
			case len(m) < headerLen+len(in.echo):
				fault = cmpOr(fault, blame(j, "too short"))
			case m[0] != 1:
				fault = cmpOr(fault, blame(j, "another version"))
			case !bytes.Equal(m[1:43], want[1:43]) || !bytes.Equal(m[45:47], want[45:47]):
				return benign("a header of another session or round")
			case !bytes.Equal(m[43:45], want[43:45]):
				fault = cmpOr(fault, blame(j, "not the author"))
			}
		}
	}
	if fault != nil {
		return fault
	}
	for _, in := range kinds {
		for _, j := range f.peers {
			if !bytes.Equal(in.by[j][headerLen:headerLen+len(in.echo)], in.echo) {
				return benign("the echo differs")
			}
		}
	}
	return nil
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// parser reads the body of a message; the first fault stays.
type parser struct {
	b   []byte
	err error
}

func (r *parser) take(n int) []byte {
	if r.err == nil && len(r.b) < n {
		r.err = errors.New("too short")
	}
	if r.err != nil {
		return make([]byte, min(n, 64))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *parser) u16() int { return int(binary.BigEndian.Uint16(r.take(2))) }
func (r *parser) u32() int { return int(binary.BigEndian.Uint32(r.take(4))) }

// count reads a list's length, of most limit.
func (r *parser) count(limit int) int {
	n := r.u32()
	if n > limit && r.err == nil {
		r.err = errors.New("a list or string is too long")
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *parser) vary(least, most int) []byte {
	n := r.count(most)
	if n < least && r.err == nil {
		r.err = errors.New("a string is too short")
	}
	return r.take(n)
}

func (r *parser) point() Point {
	pt, err := DecodePoint(r.take(33))
	r.err = cmpOr(r.err, err)
	return pt
}

func (r *parser) points(most int) []Point {
	var out []Point
	for range r.count(most) {
		out = append(out, r.point())
	}
	return out
}

func (r *parser) scalar() *big.Int {
	k, err := DecodeScalar(r.take(32))
	if err != nil {
		k, r.err = new(big.Int), cmpOr(r.err, err)
	}
	return k
}

// end asks that nothing is left over.
func (r *parser) end() error {
	if r.err == nil && len(r.b) != 0 {
		r.err = errors.New("bytes left over")
	}
	return r.err
}
