package vole

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc/baseot"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/otext"
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

// Pads are 48 bytes a scalar, reduced: computed here from the specification with
// math/big.
func TestPitfall16_WideReduction(t *testing.T) {
	q, ok := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	if !ok {
		t.Fatal("bad q")
	}
	dsid := [32]byte{16}
	key := transcript.Sum(transcript.TagPad, dsid[:])
	p := newPadder(&dsid)
	for j := range uint32(50) {
		x := otext.Column{byte(j), 15: 0x80}
		var stream []byte
		for b := range byte(6) {
			in := append(key[:len(key):len(key)], binary.BigEndian.AppendUint32(nil, j)...)
			h := sha256.Sum256(append(append(in, b), x[:]...))
			stream = append(stream, h[:]...)
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
	out   otext.ReceiverOutput
	dsid  [32]byte
	chi   *secp256k1.Scalar
	m1    *Message1
	m2    *Message2
	a     [2]*secp256k1.Scalar
	c     [2]secp256k1.Scalar
	seeds *baseot.ReceiverOutput
}

func newExchange(t *testing.T, seed uint64) *exchange {
	t.Helper()
	rand := stream(seed)
	bobSeeds, aliceSeeds := dealt(rand)
	x := &exchange{dsid: [32]byte{byte(seed)}, seeds: aliceSeeds}
	bob, m1, err := Receive(rand, bobSeeds, x.dsid)
	if err != nil {
		t.Fatal(err)
	}
	x.out, x.chi, x.m1 = *bob.out, bob.chi, m1
	x.a = [2]*secp256k1.Scalar{scalar(t, rand), scalar(t, rand)}
	if x.c, x.m2, err = Send(rand, aliceSeeds, x.dsid, m1, x.a); err != nil {
		t.Fatal(err)
	}
	return x
}

// finish runs Bob on m from the same state.
func (x *exchange) finish(m *Message2) ([2]secp256k1.Scalar, error) {
	out := x.out
	r := &Receiver{dsid: x.dsid, out: &out, chi: x.chi}
	return r.Finish(m)
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
	x := newExchange(t, 18)
	base := *newTheta(&x.dsid, &x.m2.A)
	for j := range xi {
		for s := range slots {
			m := *x.m2
			bump(t, m.cell(j, s))
			if *newTheta(&x.dsid, &m.A) == base {
				t.Fatalf("cell %d,%d: θ is the same", j, s)
			}
			if s != j%slots || j%7 != 0 {
				continue
			}
			if _, err := x.finish(&m); !errors.Is(err, ErrCheck) {
				t.Errorf("cell %d,%d, β = %d: got %v, want ErrCheck", j, s, choice(&x.out.Beta, j), err)
			}
		}
	}
	other := [32]byte{19}
	if *newTheta(&other, &x.m2.A) == base {
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
		m := *x.m2
		bump(t, m.Eta[k][:])
		if _, err := x.finish(&m); !errors.Is(err, ErrCheck) {
			t.Errorf("η_%d: got %v, want ErrCheck", k, err)
		}
	}
	for n := range x.m2.Mu {
		m := *x.m2
		m.Mu[n] ^= 1 << (n % 8)
		if _, err := x.finish(&m); !errors.Is(err, ErrCheck) {
			t.Errorf("byte %d of μ: got %v, want ErrCheck", n, err)
		}
	}
	// After a failure the receiver is dead, and gave nothing.
	out := x.out
	r := &Receiver{dsid: x.dsid, out: &out, chi: x.chi}
	m := *x.m2
	m.Mu[0] ^= 1
	d, err := r.Finish(&m)
	if !errors.Is(err, ErrCheck) || d[0].IsZero() != 1 || d[1].IsZero() != 1 {
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
	theta := newTheta(&x.dsid, &x.m2.A)
	var hidden [rho]secp256k1.Scalar
	for k := range rho {
		var eta, bare secp256k1.Scalar
		if err := eta.SetBytes(x.m2.Eta[k][:]); err != nil {
			t.Fatal(err)
		}
		v := [slots]secp256k1.Scalar{*x.a[0], *x.a[1]}
		theta.combine(&bare, k, &v)
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
	good := least(x.m2)
	for _, j := range []int{0, xi / 2, xi - 1} {
		m := *x.m2
		bump(t, m.cell(j, 0))
		if got := least(&m); got != good {
			t.Errorf("fault in column %d: %v allocations, an honest run has %v", j, got, good)
		}
	}
	theta, pads := newTheta(&x.dsid, &x.m2.A), newPadder(&x.dsid)
	for _, eta := range []bool{false, true} {
		m := *x.m2
		if eta {
			bump(t, m.Eta[0][:])
		}
		sum := newChecksum()
		if _, err := columnsOf(&x.out, &m, theta, pads, sum); err != nil {
			t.Fatal(err)
		}
		if len(sum.buf) != xi*rho*32 {
			t.Errorf("%d bytes go into μ, want %d", len(sum.buf), xi*rho*32)
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
		bob, m1, err := Receive(rand, bobSeeds, dsid)
		if err != nil {
			t.Fatal(err)
		}
		j, slot := 10*n, n%slots
		m2 := cheatInColumn(t, rand, aliceSeeds, dsid, m1, a, j, slot)
		beta := choice(&bob.out.Beta, j)
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
func cheatInColumn(t *testing.T, rand io.Reader, seeds *baseot.ReceiverOutput, dsid [32]byte, m1 *Message1, a [2]*secp256k1.Scalar, j, slot int) *Message2 {
	t.Helper()
	q, err := otext.Send(seeds, dsid, (*otext.Message)(m1))
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInputs(rand, a)
	if err != nil {
		t.Fatal(err)
	}
	m := new(Message2)
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
			if err := new(Message2).UnmarshalBinary(bad); err == nil {
				t.Errorf("%s at byte %d was accepted", name, at)
			}
		}
	}
	m := *x.m2
	copy(m.cell(7, 1), q)
	if _, err := x.finish(&m); err == nil || errors.Is(err, ErrCheck) {
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
	for j, g := range transcript.Scalars(416, transcript.TagGadget, []byte("DKLS23-SECP256K1-B1"), []byte("secp256k1")) {
		if x.out.Beta[j/8]>>(j%8)&1 == 1 {
			want.Add(want, &g)
		}
	}
	if want.Equal(x.chi) != 1 {
		t.Error("χ is not the product of gadget and choices")
	}
}

func FuzzDecodeMessage1(f *testing.F) {
	b, _ := new(Message1).MarshalBinary()
	f.Add(b)
	f.Add(b[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message1
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

func FuzzDecodeMessage2(f *testing.F) {
	b, _ := new(Message2).MarshalBinary()
	f.Add(b)
	f.Add(append(b, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message2
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if got, _ := m.MarshalBinary(); !bytes.Equal(got, b) {
			t.Fatal("decoded and encoded differ")
		}
	})
}

func TestStrictSizes(t *testing.T) {
	b1, _ := new(Message1).MarshalBinary()
	b2, _ := new(Message2).MarshalBinary()
	for name, c := range map[string]struct {
		b    []byte
		into interface{ UnmarshalBinary([]byte) error }
	}{
		"1 empty":   {nil, new(Message1)},
		"1 short":   {b1[:len(b1)-1], new(Message1)},
		"1 long":    {append(bytes.Clone(b1), 0), new(Message1)},
		"1 version": {append([]byte{2}, b1[1:]...), new(Message1)},
		"2 empty":   {nil, new(Message2)},
		"2 short":   {b2[:len(b2)-1], new(Message2)},
		"2 long":    {append(bytes.Clone(b2), 0), new(Message2)},
		"2 version": {append([]byte{0}, b2[1:]...), new(Message2)},
	} {
		if c.into.UnmarshalBinary(c.b) == nil {
			t.Errorf("message %s was accepted", name)
		}
	}
}
