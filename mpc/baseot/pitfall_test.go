package baseot

import (
	"bytes"
	"crypto/rand"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
)

// stream is SHAKE256(seed) as an endless reader, as in the vectors.
func stream(seed string) io.Reader {
	h := sha3.NewSHAKE256()
	h.Write([]byte(seed))
	return h
}

// Identical pairs for all indices give distinct keys.
func TestPitfall08_KeyBindsIndex(t *testing.T) {
	s, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m2.T {
		m2.T[i] = m2.T[0]
	}
	out, err := s.Finish(testInstance, m2)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[SeedSize]byte]string{}
	for i := range N {
		for c, k := range [][SeedSize]byte{out.K0[i], out.K1[i]} {
			name := fmt.Sprintf("(%d, %d)", i, c)
			if other, ok := seen[k]; ok {
				t.Fatalf("keys %s and %s are equal", name, other)
			}
			seen[k] = name
		}
	}
	// The index stands in the hash to the group and again in the key itself.
	var y, p [pointSize]byte
	if testInstance.key(3, 1, &y, &m2.T[0], &p) == testInstance.key(4, 1, &y, &m2.T[0], &p) {
		t.Error("RO(bot) does not take the index")
	}
	if testInstance.key(3, 0, &y, &m2.T[0], &p) == testInstance.key(3, 1, &y, &m2.T[0], &p) {
		t.Error("RO(bot) does not take the choice")
	}
	// So do Bob's key, both points of the pair and the shared point.
	base, pair := testInstance.key(3, 0, &y, &m2.T[0], &p), m2.T[0]
	other := [pointSize]byte{1}
	for name, k := range map[string][SeedSize]byte{
		"Y":                testInstance.key(3, 0, &other, &pair, &p),
		"T_0":              testInstance.key(3, 0, &y, &Pair{other, pair[1]}, &p),
		"T_1":              testInstance.key(3, 0, &y, &Pair{pair[0], other}, &p),
		"T_0 and T_1":      testInstance.key(3, 0, &y, &Pair{pair[1], pair[0]}, &p),
		"the shared point": testInstance.key(3, 0, &y, &pair, &other),
	} {
		if k == base {
			t.Errorf("RO(bot) does not take %s", name)
		}
	}
	h := newHasher(&testInstance)
	if h.point(3, 1, &p).Equal(h.point(4, 1, &p)) == 1 {
		t.Error("the hash to the group does not take the index")
	}
	if h.point(3, 0, &p).Equal(h.point(3, 1, &p)) == 1 {
		t.Error("the hash to the group does not take the choice")
	}
	if h.oblivious(3, new([32]byte)).Equal(h.oblivious(4, new([32]byte))) == 1 {
		t.Error("the sampling does not take the index")
	}
}

// Messages that are moved to another session, pair or direction give other keys.
func TestPitfall09_KeyBindsSessionPairAndDirection(t *testing.T) {
	_, m1, err := Start(stream("bob"))
	if err != nil {
		t.Fatal(err)
	}
	alice, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]func(*Instance){
		"session":   func(i *Instance) { i.PSID[31] ^= 1 },
		"sender":    func(i *Instance) { i.Sender = 7 },
		"receiver":  func(i *Instance) { i.Receiver = 7 },
		"direction": func(i *Instance) { i.Sender, i.Receiver = i.Receiver, i.Sender },
	}
	var y, p [pointSize]byte
	for name, change := range others {
		inst := testInstance
		change(&inst)
		bob, _, err := Start(stream("bob"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := bob.Finish(inst, m2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range N {
			if out.K0[i] == alice.K[i] || out.K1[i] == alice.K[i] {
				t.Errorf("another %s: key %d is the same", name, i)
			}
		}
		if inst.key(0, 0, &y, &m2.T[0], &p) == testInstance.key(0, 0, &y, &m2.T[0], &p) {
			t.Errorf("another %s: RO(bot) is the same", name)
		}
		if newHasher(&inst).point(0, 0, &p).Equal(newHasher(&testInstance).point(0, 0, &p)) == 1 {
			t.Errorf("another %s: the hash to the group is the same", name)
		}
	}
}

// countingReader hands out fixed choices and counts what is drawn.
type countingReader struct {
	delta byte
	n     int
	r     io.Reader
}

func (c *countingReader) Read(b []byte) (int, error) {
	defer func() { c.n += len(b) }()
	if c.n == 0 {
		for i := range b {
			b[i] = c.delta
		}
		return len(b), nil
	}
	return c.r.Read(b)
}

// Alice's work is the same for every choice: both hashes are evaluated for every
// OT, and as much is drawn and allocated.
func TestPitfall10_EqualWorkPerChoice(t *testing.T) {
	for _, delta := range []byte{0x00, 0xff} {
		r := &receiver{h: newHasher(&testInstance)}
		if err := r.draw(&countingReader{delta: delta, r: stream("alice")}); err != nil {
			t.Fatal(err)
		}
		r.makePairs(new(Message2))
		if r.h.counts != [2]int{N, N} {
			t.Errorf("all choices %d: H_0 and H_1 were evaluated %v times, want %d each", delta&1, r.h.counts, N)
		}
	}
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var drawn [2]int
	var allocs [2]float64
	for k, delta := range []byte{0x00, 0xff} {
		// The count is of the whole process: the runtime adds a few of its own now
		// and then, so the least of several runs is compared.
		allocs[k] = math.Inf(1)
		for range 5 {
			allocs[k] = min(allocs[k], testing.AllocsPerRun(1, func() {
				r := &countingReader{delta: delta, r: stream("alice")}
				if _, _, err := Receive(r, testInstance, m1); err != nil {
					t.Fatal(err)
				}
				drawn[k] = r.n
			}))
		}
	}
	if drawn[0] != drawn[1] || drawn[0] != 16+N*80 {
		t.Errorf("drawn bytes differ by choice: %v, want %d", drawn, 16+N*80)
	}
	if allocs[0] != allocs[1] {
		t.Errorf("allocations differ by choice: %v", allocs)
	}
}

// What Alice worked with is wiped: beside her message, the sampled points alone
// tell Δ.
func TestReceiverIsWiped(t *testing.T) {
	r := &receiver{h: newHasher(&testInstance)}
	if err := r.draw(stream("alice")); err != nil {
		t.Fatal(err)
	}
	r.makePairs(new(Message2))
	if r.sampled[0].IsIdentity() == 1 || r.chosen[0].IsIdentity() == 1 || r.delta == [N / 8]byte{} {
		t.Fatal("there is nothing to wipe")
	}
	r.destroy()
	if r.delta != [N / 8]byte{} {
		t.Error("destroy left Δ")
	}
	for i := range N {
		if r.z[i].IsZero() != 1 || r.sampled[i].IsIdentity() != 1 || r.chosen[i].IsIdentity() != 1 {
			t.Fatalf("destroy left a secret of OT %d", i)
		}
	}
}

// The point that Alice did not choose is the hash of fresh bytes, whose
// logarithm nobody knows, not a multiple that she computed.
func TestPitfall11_OtherPointIsObliviouslySampled(t *testing.T) {
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	alice, m2, err := Receive(stream("alice"), testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	r := stream("alice")
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(16), alice.Delta[:]) {
		t.Fatal("the correlation is not the first draw")
	}
	// The hash to the curve of the group's own package, with the tag written out:
	// docs/spec/base-ot.md.
	dst := append([]byte("coffer/mpc/v1/bot-s/secp256k1_XMD:SHA-256_SSWU_RO_"), testInstance.PSID[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(testInstance.Sender))
	dst = binary.BigEndian.AppendUint16(dst, uint16(testInstance.Receiver))
	for i := range N {
		u, z := read(32), read(48)
		c := alice.Delta[i/8] >> (i % 8) & 1
		other := m2.T[i][1-c]
		want, err := secp256k1.HashToCurve(binary.BigEndian.AppendUint16(dst[:len(dst):len(dst)], uint16(i)), u)
		if err != nil {
			t.Fatal(err)
		}
		if other != want.Bytes() {
			t.Fatalf("OT %d: the unchosen point is not the hash of the bytes drawn", i)
		}
		var uk, zk secp256k1.Scalar
		uk.SetReduced((*[32]byte)(u))
		zk.SetWide((*[48]byte)(z))
		for name, k := range map[string]*secp256k1.Scalar{"u": &uk, "z": &zk} {
			if other == secp256k1.NewPoint().ScalarBaseMult(k).Bytes() {
				t.Fatalf("OT %d: the unchosen point is %s·G", i, name)
			}
		}
	}
}

// badPoints are what SEC1 compressed form refuses.
var badPoints = map[string]string{
	"identity as zeros":   "000000000000000000000000000000000000000000000000000000000000000000",
	"prefix 00":           "0079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
	"prefix 04":           "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
	"prefix 05":           "0579be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
	"not on the curve":    "020000000000000000000000000000000000000000000000000000000000000005",
	"x = 0":               "020000000000000000000000000000000000000000000000000000000000000000",
	"x = p":               "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
	"x = p + 1, of x = 1": "02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
	"x of all ones":       "03ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func bad(t *testing.T, s string) (b [pointSize]byte) {
	t.Helper()
	if n, err := hex.Decode(b[:], []byte(s)); err != nil || n != pointSize {
		t.Fatalf("bad test point %q", s)
	}
	return b
}

// Every field that is a point refuses every encoding that is not canonical, the
// identity among them.
func TestPitfall12_InvalidPoints(t *testing.T) {
	s, m1, err := Start(stream("bob"))
	if err != nil {
		t.Fatal(err)
	}
	s.Destroy()
	_, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	finish := func(m *Message2) error {
		bob, _, err := Start(stream("bob"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = bob.Finish(testInstance, m)
		return err
	}
	if err := finish(m2); err != nil {
		t.Fatal(err)
	}
	for name, text := range badPoints {
		e := bad(t, text)
		want := errPoint
		if _, _, err := Receive(rand.Reader, testInstance, &Message1{Y: e}); !errors.Is(err, want) {
			t.Errorf("Y %s: got %v, want %v", name, err, want)
		}
		b, _ := (&Message1{Y: e}).MarshalBinary()
		if err := new(Message1).UnmarshalBinary(b); !errors.Is(err, want) {
			t.Errorf("Y %s on the wire: got %v, want %v", name, err, want)
		}
		for _, i := range []int{0, 1, 64, N - 1} {
			for c := range 2 {
				m := *m2
				m.T[i][c] = e
				if err := finish(&m); !errors.Is(err, want) {
					t.Errorf("T_%d,%d %s: got %v, want %v", i, c, name, err, want)
				}
			}
		}
	}
}

// E_c = T_c + H(T_{1−c}) = O would give Alice a key that she knows without z.
func TestPitfall12_IdentityAfterHash(t *testing.T) {
	_, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	for c := range 2 {
		m := *m2
		h := newHasher(&testInstance).point(5, uint8(c), &m.T[5][1-c])
		m.T[5][c] = h.Negate(h).Bytes()
		bob, _, err := Start(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Finish(testInstance, &m); !errors.Is(err, errIdentity) {
			t.Errorf("E_%d = O: got %v, want %v", c, err, errIdentity)
		}
	}
}

// Two runs have two correlations, and a finished or destroyed sender is dead.
func TestPitfall07_FreshCorrelation(t *testing.T) {
	_, a := run(t, testInstance)
	_, b := run(t, testInstance)
	if a.Delta == b.Delta {
		t.Error("two runs have the same correlation")
	}
	s, m1, err := Start(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, m2, err := Receive(rand.Reader, testInstance, m1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(testInstance, m2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(testInstance, m2); !errors.Is(err, errUsed) {
		t.Errorf("second Finish with the same y: got %v, want %v", err, errUsed)
	}
}
