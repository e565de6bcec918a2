package vole

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Equal columns at two positions have different pads.
func TestPitfall15_PadBindsColumn(t *testing.T) {
	dsid := [32]byte{15}
	x := otext.Column{1, 2, 3}
	seen := map[[32]byte]string{}
	for j := range uint32(1000) { // beyond ξ: j is global over a batch
		var v [slots]secp256k1.Scalar
		newPadder(&dsid).expand(&v, j, &x)
		for s := range v {
			b := v[s].Bytes()
			name := fmt.Sprintf("(%d, %d)", j, s)
			if other, ok := seen[b]; ok {
				t.Fatalf("pads %s and %s are equal", name, other)
			}
			seen[b] = name
		}
	}
	for name, other := range map[string]func(v *[slots]secp256k1.Scalar){
		"dsid":   func(v *[slots]secp256k1.Scalar) { newPadder(&[32]byte{16}).expand(v, 0, &x) },
		"column": func(v *[slots]secp256k1.Scalar) { newPadder(&dsid).expand(v, 0, &otext.Column{1, 2, 4}) },
	} {
		var v [slots]secp256k1.Scalar
		other(&v)
		if at, ok := seen[v[0].Bytes()]; ok {
			t.Errorf("another %s: the pad is that of %s", name, at)
		}
	}
}

// The columns of a batch are counted through: equal columns of two signatures
// have different pads, on both sides.
func TestPitfall15_PadBindsColumnOfABatch(t *testing.T) {
	x := newBatch(t, 35, 2)
	q := &otext.SenderOutput{Q: make([]otext.Column, 2*xi)} // all equal
	alpha := cells(newMessage2(2, zeros(Message2Size(2))), q, x.seeds, &x.dsid, make([]inputs, 2))
	for s := range slots {
		if alpha[s][0].Equal(&alpha[s][xi]) == 1 {
			t.Errorf("pads (0, %d) of both signatures are equal for Alice", s)
		}
	}
	out := &otext.ReceiverOutput{Beta: make([]byte, 2*xi/8), T: q.Q} // β = 0: d = γ
	cols, err := columnsOf(out, x.m2, newTheta(&x.dsid, x.m2.A), newPadder(&x.dsid), newChecksum())
	if err != nil {
		t.Fatal(err)
	}
	for w := range ell {
		if cols[w][0].Equal(&cols[w][xi]) == 1 {
			t.Errorf("pads (0, %d) of both signatures are equal for Bob", w)
		}
		if cols[w][xi].Equal(&alpha[w][xi]) != 1 {
			t.Errorf("pad (%d, %d) differs between the sides", xi, w)
		}
	}
}

// Every signature of a batch has its own η and its own hiding â.
func TestPitfall26_BatchInputsAreHiddenOneByOne(t *testing.T) {
	x := newBatch(t, 36, 3)
	theta := newTheta(&x.dsid, x.m2.A)
	seen := map[[32]byte]bool{}
	for i := range x.a {
		for k := range rho {
			var eta, bare secp256k1.Scalar
			if err := eta.SetBytes(x.m2.Eta[i][k][:]); err != nil {
				t.Fatal(err)
			}
			theta.combine(&bare, k, x.a[i][0], x.a[i][1], secp256k1.NewScalar())
			mask := eta.Sub(&eta, &bare).Bytes()
			if seen[mask] {
				t.Errorf("η_%d of signature %d is hidden by an â that was used before", k, i)
			}
			seen[mask] = true
		}
	}
	for i := range x.a {
		m := x.message()
		bump(t, m.Eta[i][1][:])
		if _, err := x.finish(m); !errors.Is(err, ErrCheck) {
			t.Errorf("η of signature %d: got %v, want ErrCheck", i, err)
		}
	}
}

// Pads are 48 bytes a scalar, reduced: computed here from the specification with
// math/big.
func TestPitfall16_WideReduction(t *testing.T) {
	q, ok := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	if !ok {
		t.Fatal("bad q")
	}
	dsid := [32]byte{16}
	key, keys := transcript.Sum(transcript.TagPad, dsid[:]), transcript.Sum(transcript.TagPadKey, dsid[:])
	p := newPadder(&dsid)
	columns := []uint32{415, 416, 424, 832, 128*416 - 1} // beyond ξ: j is global
	for j := range uint32(40) {
		columns = append(columns, j)
	}
	for _, j := range columns {
		x := otext.Column{byte(j), 15: 0x80}
		in := append(key[:len(key):len(key)], binary.BigEndian.AppendUint32(nil, j)...)
		h := sha256.Sum256(append(in, x[:]...))
		k := sha256.Sum256(append(keys[:len(keys):len(keys)], binary.BigEndian.AppendUint32(nil, j/8)...))
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			t.Fatal(err)
		}
		var stream []byte
		for b := range byte(12) {
			c := bytes.Clone(h[:16])
			c[15] ^= b
			block.Encrypt(c, c)
			subtle.XORBytes(c, c, h[16:])
			stream = append(stream, c...)
		}
		var v [slots]secp256k1.Scalar
		p.expand(&v, j, &x)
		for s := range v {
			want := new(big.Int).SetBytes(stream[48*s : 48*s+48])
			want.Mod(want, q)
			got := v[s].Bytes()
			if new(big.Int).SetBytes(got[:]).Cmp(want) != 0 {
				t.Fatalf("pad %d,%d = %x, want %x", j, s, got, want)
			}
			narrow := new(big.Int).SetBytes(stream[48*s : 48*s+32])
			if narrow.Mod(narrow, q).Cmp(want) == 0 {
				t.Fatalf("pad %d,%d is what 32 bytes give", j, s)
			}
		}
	}
}

// exchange is one honest run, kept so that tests can alter Alice's message.
type exchange struct {
	out   *otext.ReceiverOutput
	dsid  [32]byte
	chi   []secp256k1.Scalar
	m1    *Message1
	m2    *Message2
	a     [][2]*secp256k1.Scalar
	c     []C
	seeds *pprf.Punctured
}

func newExchange(t *testing.T, seed uint64) *exchange { return newBatch(t, seed, 1) }

func newBatch(t *testing.T, seed uint64, n int) *exchange {
	t.Helper()
	rand := stream(seed)
	bobSeeds, aliceSeeds := dealt(rand)
	x := &exchange{dsid: [32]byte{byte(seed)}, seeds: aliceSeeds}
	bob, m1, err := Receive(rand, bobSeeds, x.dsid, n)
	if err != nil {
		t.Fatal(err)
	}
	x.out, x.chi, x.m1 = bob.out, bob.chi, m1
	for range n {
		x.a = append(x.a, [2]*secp256k1.Scalar{scalar(t, rand), scalar(t, rand)})
	}
	if x.c, x.m2, err = Send(rand, aliceSeeds, x.dsid, m1, x.a); err != nil {
		t.Fatal(err)
	}
	return x
}

// finish runs Bob on m from the same state.
func (x *exchange) finish(m *Message2) ([]D, error) { return x.receiver().Finish(m) }

func (x *exchange) receiver() *Receiver {
	return &Receiver{dsid: x.dsid, n: len(x.a), out: copyOf(x.out), chi: x.chi}
}

// message is a copy of Alice's message, to be altered.
func (x *exchange) message() *Message2 {
	m := *x.m2
	m.A, m.Eta = bytes.Clone(m.A), slices.Clone(m.Eta)
	return &m
}

// bump adds one to an encoded scalar.
func bump(t *testing.T, b []byte) {
	t.Helper()
	var s, one secp256k1.Scalar
	if err := s.SetBytes(b); err != nil {
		t.Fatal(err)
	}
	e := s.Add(&s, one.SetUint64(1)).Bytes()
	copy(b, e[:])
}

// θ depends on every cell of Ã, and so the check fails when one is changed, also
// where β_j = 0 and Bob does not use the cell.
func TestPitfall18_ThetaCoversAllCells(t *testing.T) {
	t.Run("one signature", func(t *testing.T) { thetaCoversAllCells(t, newExchange(t, 18)) })
	t.Run("a batch", func(t *testing.T) { thetaCoversAllCells(t, newBatch(t, 28, 2)) })
}

func thetaCoversAllCells(t *testing.T, x *exchange) {
	base := *newTheta(&x.dsid, x.m2.A)
	m := x.message()
	for j := range len(x.a) * xi {
		for s := range slots {
			copy(m.A, x.m2.A)
			bump(t, m.cell(j, s))
			if *newTheta(&x.dsid, m.A) == base {
				t.Fatalf("cell %d,%d: θ is the same", j, s)
			}
			if s != j%slots || j%7 != 0 {
				continue
			}
			if _, err := x.finish(m); !errors.Is(err, ErrCheck) {
				t.Errorf("cell %d,%d, β = %d: got %v, want ErrCheck", j, s, choice(x.out.Beta, j), err)
			}
		}
	}
	other := [32]byte{19}
	if *newTheta(&other, x.m2.A) == base {
		t.Error("θ does not depend on dsid")
	}
	for k := range base {
		for w := range base[k] {
			for n := range rho * ell {
				if n != k*ell+w && base[k][w].Equal(&base[n/ell][n%ell]) == 1 {
					t.Errorf("θ_%d,%d equals another coefficient", k, w)
				}
			}
		}
	}
}

// η and μ are checked in every part, and a failed instance cannot be tried again.
func TestPitfall19_MuAndEtaAreChecked(t *testing.T) {
	x := newExchange(t, 19)
	if _, err := x.finish(x.m2); err != nil {
		t.Fatal(err)
	}
	for k := range rho {
		m := x.message()
		bump(t, m.Eta[0][k][:])
		if _, err := x.finish(m); !errors.Is(err, ErrCheck) {
			t.Errorf("η_%d: got %v, want ErrCheck", k, err)
		}
	}
	for n := range x.m2.Mu {
		m := x.message()
		m.Mu[n] ^= 1 << (n % 8)
		if _, err := x.finish(m); !errors.Is(err, ErrCheck) {
			t.Errorf("byte %d of μ: got %v, want ErrCheck", n, err)
		}
	}
	// After a failure the receiver is dead, and gave nothing.
	r := x.receiver()
	m := x.message()
	m.Mu[0] ^= 1
	d, err := r.Finish(m)
	if !errors.Is(err, ErrCheck) || d != nil {
		t.Errorf("failed Finish: %v, with an output", err)
	}
	if _, err := r.Finish(x.m2); !errors.Is(err, errFinished) {
		t.Errorf("Finish after a failure: got %v, want %v", err, errFinished)
	}
}

// μ takes dsid and every m by itself, and η hides the inputs: without â it would
// be θ·a, two equations for the two secrets of the signer.
func TestPitfall19_MuTakesEverythingAndEtaHides(t *testing.T) {
	dsid := [32]byte{19}
	mu := func(dsid [32]byte, last, at int) [32]byte {
		sum := newChecksum()
		for n := range last {
			v := secp256k1.NewScalar().SetUint64(uint64(n))
			if n == at {
				v.SetUint64(1 << 40)
			}
			sum.add(v)
		}
		return sum.mu(&dsid)
	}
	base := mu(dsid, xi*rho, -1)
	if mu([32]byte{20}, xi*rho, -1) == base {
		t.Error("μ does not depend on dsid")
	}
	for _, at := range []int{0, 1, xi, xi*rho - 2, xi*rho - 1} {
		if mu(dsid, xi*rho, at) == base {
			t.Errorf("μ does not depend on m number %d", at)
		}
	}
	x := newExchange(t, 29)
	theta := newTheta(&x.dsid, x.m2.A)
	var hidden [rho]secp256k1.Scalar
	for k := range rho {
		var eta, bare secp256k1.Scalar
		if err := eta.SetBytes(x.m2.Eta[0][k][:]); err != nil {
			t.Fatal(err)
		}
		v := [slots]secp256k1.Scalar{*x.a[0][0], *x.a[0][1]}
		theta.combine(&bare, k, &v[0], &v[1], &v[ell+k])
		if hidden[k].Sub(&eta, &bare).IsZero() == 1 {
			t.Errorf("η_%d shows θ·a", k)
		}
	}
	if hidden[0].Equal(&hidden[1]) == 1 {
		t.Error("both η are hidden by one â")
	}
}

// All 416 columns are worked through before the verdict, wherever the fault is:
// as much is hashed and allocated. (The lint of package otext shows that no
// branch depends on β or a pad.)
func TestPitfall19_NoEarlyExit(t *testing.T) {
	x := newExchange(t, 20)
	// The count is of the whole process, where the runtime adds a few of its own
	// now and then: the least of several.
	least := func(m *Message2) float64 {
		n := math.Inf(1)
		for range 5 {
			n = min(n, testing.AllocsPerRun(1, func() { _, _ = x.finish(m) }))
		}
		return n
	}
	late := x.message() // the last thing that is compared
	late.Mu[31] ^= 1
	good := least(late)
	for _, j := range []int{0, xi / 2, xi - 1} {
		m := x.message()
		bump(t, m.cell(j, 0))
		if got := least(m); got != good {
			t.Errorf("fault in column %d: %v allocations, a fault in μ has %v", j, got, good)
		}
	}
	theta, pads := newTheta(&x.dsid, x.m2.A), newPadder(&x.dsid)
	for _, eta := range []bool{false, true} {
		m := x.message()
		if eta {
			bump(t, m.Eta[0][0][:])
		}
		sum := newChecksum()
		if _, err := columnsOf(x.out, m, theta, pads, sum); err != nil {
			t.Fatal(err)
		}
		if sum.n != xi*rho {
			t.Errorf("%d values go into μ, want %d", sum.n, xi*rho)
		}
	}
}

// Alice uses another a in one column, before θ is fixed, and is honest after: she
// passes exactly if β_j = 0. One bit of β leaks with probability one half.
func TestPitfall19_InconsistentInput(t *testing.T) {
	rand := stream(21)
	bobSeeds, aliceSeeds := dealt(rand)
	a := [2]*secp256k1.Scalar{scalar(t, rand), scalar(t, rand)}
	passed := 0
	for n := range 40 {
		dsid := [32]byte{byte(n), 21}
		bob, m1, err := Receive(rand, bobSeeds, dsid, 1)
		if err != nil {
			t.Fatal(err)
		}
		j, slot := 10*n, n%slots
		m2 := cheatInColumn(t, rand, aliceSeeds, dsid, m1, a, j, slot)
		beta := choice(bob.out.Beta, j)
		_, err = bob.Finish(m2)
		if (beta == 0) != (err == nil) {
			t.Fatalf("run %d, slot %d: β_j = %d, Finish gave %v", n, slot, beta, err)
		}
		if err == nil {
			passed++
		}
	}
	if passed < 8 || passed > 32 {
		t.Errorf("%d of 40 passed", passed)
	}
}

// cheatInColumn is Send with Ã_{j,slot} one too high.
func cheatInColumn(t *testing.T, rand io.Reader, seeds *pprf.Punctured, dsid [32]byte, m1 *Message1, a [2]*secp256k1.Scalar, j, slot int) *Message2 {
	t.Helper()
	q, err := otext.Send(seeds, dsid, (*otext.Message)(m1))
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInputs(rand, [][2]*secp256k1.Scalar{a})
	if err != nil {
		t.Fatal(err)
	}
	m := newMessage2(1, zeros(Message2Size(1)))
	alpha := cells(m, q, seeds, &dsid, in)
	bump(t, m.cell(j, slot))
	seal(m, &dsid, alpha, in)
	return m
}

// The fields that are scalars refuse q and above.
func TestPitfall12_ScalarRange(t *testing.T) {
	x := newExchange(t, 22)
	b, _ := x.m2.MarshalBinary()
	q, err := hex.DecodeString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{1, 1 + 32, 1 + cellsSize - 32, 1 + cellsSize, 1 + cellsSize + 32} {
		for name, v := range map[string][]byte{"q": q, "2²⁵⁶−1": bytes.Repeat([]byte{0xff}, 32)} {
			bad := bytes.Clone(b)
			copy(bad[at:], v)
			if _, err := DecodeMessage2(bad, 1); err == nil {
				t.Errorf("%s at byte %d was accepted", name, at)
			}
		}
	}
	m := x.message()
	copy(m.cell(7, 1), q)
	if _, err := x.finish(m); err == nil || errors.Is(err, ErrCheck) {
		t.Errorf("Finish with a scalar of q: got %v, want an error of form", err)
	}
}

// A cheating Bob is told from a malformed message, and costs no randomness.
func TestSendChecksFirst(t *testing.T) {
	x := newExchange(t, 23)
	m1 := *x.m1
	m1.TH[0] ^= 1
	_, m2, err := Send(strings.NewReader(""), x.seeds, x.dsid, &m1, x.a)
	if !errors.Is(err, ErrCheck) || !errors.Is(err, otext.ErrCheck) || m2 != nil {
		t.Errorf("got %v, want ErrCheck and no message", err)
	}
	_, m2, err = Send(strings.NewReader(""), x.seeds, x.dsid, x.m1, x.a)
	if err == nil || errors.Is(err, ErrCheck) || m2 != nil {
		t.Errorf("without randomness: got %v, want an error that is not ErrCheck", err)
	}
}

// χ = Σ β_j·g_j for the gadget of the specification.
func TestChi(t *testing.T) {
	x := newExchange(t, 24)
	want := secp256k1.NewScalar()
	for j, g := range transcript.Scalars(416, transcript.TagGadget, []byte("DKLS23-SECP256K1-B4"), []byte("secp256k1")) {
		if x.out.Beta[j/8]>>(j%8)&1 == 1 {
			want.Add(want, &g)
		}
	}
	if want.Equal(&x.chi[0]) != 1 {
		t.Error("χ is not the product of gadget and choices")
	}
}

func FuzzDecodeMessage1(f *testing.F) {
	f.Add(zeros(Message1Size(1)), 1)
	f.Add(zeros(Message1Size(2)), 2)
	f.Add(zeros(Message1Size(1)-1), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m, err := DecodeMessage1(b, n)
		if err != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

func FuzzDecodeMessage2(f *testing.F) {
	f.Add(zeros(Message2Size(1)), 1)
	f.Add(zeros(Message2Size(2)), 2)
	f.Add(zeros(Message2Size(1)+1), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		m, err := DecodeMessage2(b, n)
		if err != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

// zeros is a message of n bytes: the version and zeroes.
func zeros(n int) []byte { return append([]byte{version}, make([]byte, n-1)...) }

func TestStrictSizes(t *testing.T) {
	decode1 := func(b []byte, n int) error { _, err := DecodeMessage1(b, n); return err }
	decode2 := func(b []byte, n int) error { _, err := DecodeMessage2(b, n); return err }
	for name, c := range map[string]struct {
		decode func([]byte, int) error
		size   func(int) int
	}{"1": {decode1, Message1Size}, "2": {decode2, Message2Size}} {
		for _, n := range []int{1, 2, 3} {
			if err := c.decode(zeros(c.size(n)), n); err != nil {
				t.Fatalf("message %s of a batch of %d: %v", name, n, err)
			}
			b := zeros(c.size(n))
			b[0]++
			for what, bad := range map[string][]byte{
				"empty": {}, "short": zeros(c.size(n) - 1), "long": zeros(c.size(n) + 1),
				"version": b, "of another batch": zeros(c.size(n + 1)),
			} {
				if c.decode(bad, n) == nil {
					t.Errorf("message %s, %s, was accepted for a batch of %d", name, what, n)
				}
			}
		}
		for _, n := range []int{-1, 0, otext.MaxBatch + 1} {
			if c.decode(zeros(c.size(max(n, 0))), n) == nil {
				t.Errorf("message %s was accepted for a batch of %d", name, n)
			}
		}
	}
}

// The two sides must mean the same batch.
func TestBatchSizesDiffer(t *testing.T) {
	x, y := newBatch(t, 31, 2), newBatch(t, 32, 3)
	if _, _, err := Send(stream(1), x.seeds, x.dsid, x.m1, y.a); err == nil || errors.Is(err, ErrCheck) {
		t.Errorf("Send of three inputs for a batch of two: %v", err)
	}
	if _, err := x.finish(y.m2); err == nil || errors.Is(err, ErrCheck) {
		t.Errorf("Finish of two with a message for three: %v", err)
	}
	for _, n := range []int{-1, 0, otext.MaxBatch + 1} {
		bob, _ := dealt(stream(1))
		if _, _, err := Receive(stream(1), bob, x.dsid, n); err == nil {
			t.Errorf("Receive for a batch of %d", n)
		}
	}
}
