package dkg_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// layout is of the messages of an honest 2-of-3 key generation of a suite: where
// their fields begin.
type layout struct {
	suite mpc.Suite
	point int // bytes of a point
	// In D2.
	vector, nonce, proof, chain, salt, seeds, sizeD2 int
	// In D3.
	share, seed, signature int
}

func layoutOf(suite mpc.Suite) *layout {
	c, err := group.OfSuite(suite)
	if err != nil {
		panic(err)
	}
	l := &layout{suite: suite, point: c.PointSize()}
	l.vector = mpctest.OffEchoBody
	l.nonce = l.vector + 4 + 2*l.point
	l.proof = l.nonce + l.point
	l.chain = l.proof + 32
	l.salt = l.chain + 32
	l.seeds = l.salt + 32
	l.sizeD2 = l.seeds
	l.share = mpctest.OffEchoBody
	l.seed = l.share + 32
	l.signature = l.seed
	if suite.ZeroShares() {
		l.sizeD2 += 4 + 2*32
		l.signature += 64
	}
	return l
}

func (l *layout) curve() group.Curve {
	c, _ := group.OfSuite(l.suite)
	return c
}

// onEachSuite runs a test over all suites; under the race detector over one of
// each curve.
func onEachSuite(t *testing.T, f func(t *testing.T, l *layout)) {
	suites := mpc.Suites()
	if raceEnabled {
		suites = []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519}
	}
	for _, suite := range suites {
		t.Run(string(suite), func(t *testing.T) { f(t, layoutOf(suite)) })
	}
}

// start runs rounds 0 … r of an honest 2-of-3 key generation for DKLs23.
func start(t testing.TB, r int) *mpctest.DKG {
	t.Helper()
	return layoutOf(mpc.DKLS23Secp256k1).start(t, "pitfall", r)
}

func (l *layout) start(t testing.TB, label string, r int) *mpctest.DKG {
	t.Helper()
	d, err := mpctest.NewDKGOf(l.suite, label, mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	for k := range r + 1 {
		if err := d.Round(k); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestPitfall03_DKGSplitViewBlamesNobody(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		// Party 1 shows 3 another D1 or D2; the private part is spoilt besides.
		d := l.start(t, "pitfall", 1)
		split := mpctest.Flip(d.Broadcast[1][1], mpctest.OffEchoBody)
		d.Broadcast[2] = make(map[mpc.ID][]byte)
		for _, id := range d.Parties {
			in := mpctest.Except(d.Broadcast[1], id)
			if id == 3 {
				in[1] = split
			}
			var err error
			if d.Broadcast[2][id], err = d.Sessions[id].Round2(in); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []mpc.ID{2, 3} {
			_, err := d.Sessions[id].Round3(mpctest.Except(d.Broadcast[2], id))
			mpctest.WantAbort(t, err, mpc.Benign)
		}

		d = l.start(t, "pitfall", 3)
		in := mpctest.Inbound(d.Private, 2)
		in[3] = mpctest.Flip(in[3], mpctest.OffEcho) // 3 saw another D2
		in[1] = mpctest.Flip(in[1], l.share+31)      // a wrong share
		_, err := d.Sessions[2].Finish(in)
		mpctest.WantAbort(t, err, mpc.Benign)
	})
}

func TestPitfall04_DKGReplayIsBenign(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		old := l.start(t, "pitfall", 3)
		fresh := func(r int) *mpctest.DKG {
			d, err := mpctest.NewDKGOf(l.suite, "pitfall again", mpctest.IDs(3), 2)
			if err != nil {
				t.Fatal(err)
			}
			for k := range r + 1 {
				if err := d.Round(k); err != nil {
					t.Fatal(err)
				}
			}
			return d
		}
		d := fresh(1)
		d.Broadcast[1][2] = old.Broadcast[1][2]
		_, err := d.Sessions[1].Round2(mpctest.Except(d.Broadcast[1], 1))
		mpctest.WantAbort(t, err, mpc.Benign)
		d = fresh(2)
		d.Broadcast[2][2] = old.Broadcast[2][2]
		_, err = d.Sessions[1].Round3(mpctest.Except(d.Broadcast[2], 1))
		mpctest.WantAbort(t, err, mpc.Benign)
		d = fresh(3)
		in := mpctest.Inbound(d.Private, 1)
		in[2] = old.Private[2][1]
		_, err = d.Sessions[1].Finish(in)
		mpctest.WantAbort(t, err, mpc.Benign)
		d = fresh(3)
		in = mpctest.Inbound(d.Private, 1)
		in[2] = d.Private[2][3] // to someone else
		_, err = d.Sessions[1].Finish(in)
		mpctest.WantAbort(t, err, mpc.Benign)
	})
}

func TestPitfall12_DKGInvalidPoints(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		cert := mustKeysOf(t, l.suite)
		for name, bad := range mpctest.BadPointsOf(l.curve()) {
			for field, at := range map[string]int{"A0": l.vector + 4, "A1": l.vector + 4 + l.point, "K": l.nonce} {
				t.Run(field+"/"+name, func(t *testing.T) {
					d := l.start(t, "pitfall", 2)
					d.Broadcast[2][2] = mpctest.Put(d.Broadcast[2][2], at, bad)
					_, err := d.Sessions[1].Round3(mpctest.Except(d.Broadcast[2], 1))
					mpctest.WantAbort(t, err, mpc.Attributed, 2)
				})
			}
			b := cert.Encode()
			for i := range 5 { // three public shares, two points of the vector
				at := l.certPoint(i)
				if _, err := dkg.DecodeCertificate(mpctest.Put(b, at, bad)); err == nil {
					t.Errorf("certificate with point %d %s decodes", i, name)
				}
			}
		}
	})
}

// certPoint is the offset of a point in the certificate of a 2-of-3 key.
func (l *layout) certPoint(i int) int {
	shares := 1 + 4 + len(l.suite) + 4 + len(mpctest.Purpose) + 1 + 3*32 + 8 + 2 + 4
	if i < 3 {
		return shares + i*(2+l.point) + 2
	}
	return shares + 3*(2+l.point) + 4 + (i-3)*l.point
}

func mustKeys(t testing.TB) *dkg.Certificate { return mustKeysOf(t, mpc.DKLS23Secp256k1) }

func mustKeysOf(t testing.TB, suite mpc.Suite) *dkg.Certificate {
	t.Helper()
	_, cert, err := mpctest.KeysOf(suite, "pitfall keys", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Party 2 copies party 1's commitment and opening, to make a key that 1 alone
// determines, or to claim 1's proof.
func TestPitfall24_DKGCommitmentNamesItsSender(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		d := l.start(t, "pitfall", 1)
		d.Broadcast[1][2] = mpctest.Put(d.Broadcast[1][2], mpctest.OffEchoBody, d.Broadcast[1][1][mpctest.OffEchoBody:])
		// Round 2 opens to all who saw the copy; then 2 sends 1's opening as its own.
		if err := d.Round(2); err != nil {
			t.Fatal(err)
		}
		copied := mpctest.From(d.Broadcast[2][1], 2, 0)
		_, err := d.Sessions[3].Round3(map[mpc.ID][]byte{1: d.Broadcast[2][1], 2: copied})
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		if err == nil || !strings.Contains(err.Error(), "commitment") {
			t.Errorf("got %v, want a refusal of the commitment", err)
		}
	})
}

func TestPitfall32_FeldmanVectorLength(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		for _, n := range []int{0, 1, 3, 16, 17} {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				d := l.start(t, "pitfall", 2)
				b := d.Broadcast[2][2]
				long := binary.BigEndian.AppendUint32(slices.Clone(b[:l.vector]), uint32(n))
				for i := range n {
					at := l.vector + 4 + l.point*(i%2)
					long = append(long, b[at:at+l.point]...)
				}
				d.Broadcast[2][2] = append(long, b[l.nonce:]...)
				_, err := d.Sessions[1].Round3(mpctest.Except(d.Broadcast[2], 1))
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
			})
		}
		// A dealer that really commits to a polynomial of another degree, with a right
		// commitment and a right proof: only its length gives it away.
		for _, threshold := range []int{1, 3} {
			d := l.start(t, "pitfall", 0)
			d.Sessions[2].ReplaceThreshold(threshold)
			for r := 1; r < 3; r++ {
				if err := d.Round(r); err != nil {
					t.Fatal(err)
				}
			}
			_, err := d.Sessions[1].Round3(mpctest.Except(d.Broadcast[2], 1))
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
	})
}

func TestPitfall33_DKGIDs(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		for name, parties := range map[string][]mpc.ID{
			"zero":       {0, 1, 2},
			"duplicate":  {1, 1, 2},
			"descending": {2, 1, 3},
			"without me": {2, 3, 4},
			"seventeen":  mpctest.IDs(17),
			"none":       nil,
		} {
			if _, err := dkg.New(mpctest.DKGConfigOf(l.suite, 1, parties, 2), mpctest.Reader("p33")); err == nil {
				t.Errorf("%s: parties %v are accepted", name, parties)
			}
		}
		for _, threshold := range []int{-1, 0, 1, 4} {
			if _, err := dkg.New(mpctest.DKGConfigOf(l.suite, 1, mpctest.IDs(3), threshold), mpctest.Reader("p33")); err == nil {
				t.Errorf("threshold %d of 3 is accepted", threshold)
			}
		}
		for _, from := range []mpc.ID{0, 1, 3, 9} {
			d := l.start(t, "pitfall", 0)
			d.Broadcast[0][2] = mpctest.From(d.Broadcast[0][2], from, 0)
			_, err := d.Sessions[1].Round1(mpctest.Except(d.Broadcast[0], 1))
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		}
		// In a certificate.
		b := mustKeysOf(t, l.suite).Encode()
		for i, id := range []uint16{0, 2, 3} { // the first id becomes 0, 2 (twice), 3 (twice)
			bad := slices.Clone(b)
			binary.BigEndian.PutUint16(bad[l.certPoint(0)-2:], id)
			if _, err := dkg.DecodeCertificate(bad); err == nil {
				t.Errorf("case %d: certificate with first id %d decodes", i, id)
			}
		}
	})
}

func TestPitfall34_ProofIsNotOptional(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		// A wrong proof; no proof; empty lists; no signature on the share.
		alter := func(name string, change func(b []byte) []byte) {
			t.Run(name, func(t *testing.T) {
				d := l.start(t, "pitfall", 2)
				d.Broadcast[2][2] = change(d.Broadcast[2][2])
				_, err := d.Sessions[1].Round3(mpctest.Except(d.Broadcast[2], 1))
				mpctest.WantAbort(t, err, mpc.Attributed, 2)
			})
		}
		alter("wrong proof", func(b []byte) []byte { return mpctest.Flip(b, l.proof+31) })
		alter("zero proof", func(b []byte) []byte { return mpctest.Put(b, l.proof, make([]byte, 32)) })
		alter("no proof", func(b []byte) []byte { return append(slices.Clone(b[:l.proof]), b[l.chain:]...) })
		if l.suite.ZeroShares() {
			alter("no seed commitments", func(b []byte) []byte { return append(slices.Clone(b[:l.seeds]), 0, 0, 0, 0) })
			alter("one seed commitment", func(b []byte) []byte {
				return append(append(slices.Clone(b[:l.seeds]), 0, 0, 0, 1), b[l.seeds+4:l.seeds+36]...)
			})
		}
		alter("nothing opened", func(b []byte) []byte { return b[:mpctest.OffEchoBody] })
		t.Run("no signature on the share", func(t *testing.T) {
			d := l.start(t, "pitfall", 3)
			in := mpctest.Inbound(d.Private, 1)
			in[2] = append(slices.Clone(in[2][:l.signature]), 0, 0, 0, 0)
			_, err := d.Sessions[1].Finish(in)
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
		})
	})
}

// A dealer that signs a wrong share is convicted by evidence that a third party
// can verify; nothing else convicts anybody.
func TestWrongShareIsEvidence(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		d := l.start(t, "pitfall", 2)
		if err := d.Sessions[2].ReplacePolynomial(mpctest.Reader("another polynomial")); err != nil {
			t.Fatal(err)
		}
		if err := d.Round(3); err != nil {
			t.Fatal(err)
		}
		_, err := d.Finish(1)
		mpctest.WantAbort(t, err, mpc.Attributed, 2)
		evidence := dkg.Evidence(err)
		if len(evidence) != 1 {
			t.Fatalf("%d pieces of evidence, want 1", len(evidence))
		}
		verify := mpctest.Verify("session")
		if id, err := dkg.VerifyEvidence(evidence[0], verify); err != nil || id != 2 {
			t.Errorf("evidence convicts %d, %v, want 2", id, err)
		}
		// Any other bytes convict nobody.
		for at := range evidence[0] {
			if id, err := dkg.VerifyEvidence(mpctest.Flip(evidence[0], at), verify); err == nil {
				t.Errorf("evidence with byte %d changed convicts %d", at, id)
			}
		}
		for _, bad := range [][]byte{nil, evidence[0][:40], append(slices.Clone(evidence[0]), 0)} {
			if _, err := dkg.VerifyEvidence(bad, verify); err == nil {
				t.Errorf("%d bytes convict somebody", len(bad))
			}
		}
		// A right share, rightly signed, convicts nobody either.
		honest := l.start(t, "pitfall", 3)
		if id, err := dkg.VerifyEvidence(l.evidenceOf(honest, 2, 1), verify); err == nil {
			t.Errorf("a right share convicts %d", id)
		}
	})
}

// evidenceOf frames a dealer with the share that it really dealt.
func (l *layout) evidenceOf(d *mpctest.DKG, from, to mpc.ID) []byte {
	m, open := d.Private[from][to], d.Broadcast[2][from]
	b := []byte{2}
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.suite)))
	b = append(b, l.suite...)
	b = append(b, m[mpctest.OffSession:mpctest.OffSession+32]...)
	b = binary.BigEndian.AppendUint16(b, uint16(from))
	b = binary.BigEndian.AppendUint16(b, uint16(to))
	b = append(b, m[l.share:l.share+32]...)
	b = append(b, open[l.vector:l.nonce]...)
	return append(b, m[l.signature:]...)
}

// Every field of every message to party 1: the class and the culprit.
func TestEveryFieldOfEveryMessage(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		d := l.start(t, "mutate", 3)
		field := func(name string, n int, class mpc.Class) mpctest.Field {
			return mpctest.Field{Name: name, Len: n, Class: class}
		}
		other := l.curve().NewPoint().ScalarBaseMult(l.curve().NewScalar().SetUint64(77)).Encode()
		point := func(name string) mpctest.Field {
			return mpctest.Field{Name: name, Len: l.point, Class: mpc.Attributed, Value: other}
		}
		seven := l.curve().NewScalar().SetUint64(7).Encode()
		scalar := func(name string) mpctest.Field {
			return mpctest.Field{Name: name, Len: 32, Class: mpc.Attributed, Value: seven}
		}
		open := []mpctest.Field{
			field("count of the vector", 4, mpc.Attributed), point("A0"), point("A1"), point("nonce of the proof"), scalar("proof"),
			field("chain code", 32, mpc.Attributed), field("salt", 32, mpc.Attributed),
		}
		deal := []mpctest.Field{scalar("share")}
		if l.suite.ZeroShares() {
			open = append(open, field("count of seeds", 4, mpc.Attributed), field("seed commitments", 64, mpc.Benign)) // h₂ differs
			deal = append(deal, field("seed", 32, mpc.Attributed), field("seed salt", 32, mpc.Attributed))
		}
		deal = append(deal, field("length of the signature", 4, mpc.Attributed), field("signature", 64, mpc.Attributed))
		for r, fields := range [][]mpctest.Field{
			mpctest.HeaderFields(field("context", 32, mpc.Benign), field("nonce", 32, mpc.Benign)),
			mpctest.EchoFields(field("commitment", 32, mpc.Benign)),
			mpctest.EchoFields(open...),
			mpctest.EchoFields(deal...),
		} {
			m := d.Private[2][1]
			if r < 3 {
				m = d.Broadcast[r][2]
			}
			mpctest.Attack(t, fmt.Sprintf("D%d", r), m, fields, 2, func(t *testing.T, change func([]byte) []byte) error {
				err := l.mutate(t, r, change)
				if dkg.Evidence(err) != nil {
					t.Error("a change on the way made evidence")
				}
				return err
			})
		}
	})
}

// mutate runs a key generation in which party 1 gets one message of party 2
// changed, and returns party 1's error.
func (l *layout) mutate(t *testing.T, round int, change func([]byte) []byte) error {
	t.Helper()
	d, err := mpctest.NewDKGOf(l.suite, "mutate", mpctest.IDs(3), 2)
	if err != nil {
		t.Fatal(err)
	}
	run := func(r int, in map[mpc.ID][]byte) error {
		var err error
		switch s := d.Sessions[1]; r {
		case 1:
			_, err = s.Round1(in)
		case 2:
			_, err = s.Round2(in)
		case 3:
			_, err = s.Round3(in)
		case 4:
			_, err = s.Finish(in)
		}
		return err
	}
	var in map[mpc.ID][]byte
	for r := range 4 {
		if err := d.Round(r); err != nil {
			return err
		}
		if r < 3 {
			in = mpctest.Except(d.Broadcast[r], 1)
		} else {
			in = mpctest.Inbound(d.Private, 1)
		}
		if r == round {
			in[2] = change(in[2])
			if r == 3 {
				return run(4, in)
			}
			d.Broadcast[r][2] = in[2]
		}
	}
	if round == 3 {
		t.Fatal("unreachable")
	}
	_, err = d.Finish(1)
	return err
}

func TestPitfall37_DKGNoPanicOnMalformedMessages(t *testing.T) {
	stride := 13
	if raceEnabled {
		stride = 53
	}
	onEachSuite(t, func(t *testing.T, l *layout) {
		for r, size := range []int{111, 111, l.sizeD2, l.signature + 68} {
			for n := 0; n < size; n += stride {
				for _, cut := range []int{n, size - 1 - n} {
					if err := l.mutate(t, r, func(b []byte) []byte { return b[:cut] }); mpc.AsAbort(err) == nil {
						t.Errorf("D%d of %d bytes: %v", r, cut, err)
					}
				}
				if err := l.mutate(t, r, func(b []byte) []byte { return mpctest.Put(b, n, []byte{0xff}) }); err != nil && mpc.AsAbort(err) == nil {
					t.Errorf("D%d with byte %d changed: %v", r, n, err)
				}
			}
			if err := l.mutate(t, r, func(b []byte) []byte { return append(slices.Clone(b), 0) }); err == nil {
				t.Errorf("D%d with a byte more is accepted", r)
			}
		}
	})
}

func TestSignatureOfAShareIsNotEmpty(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		d := l.start(t, "pitfall", 3)
		m := d.Private[2][1]
		if _, err := dkg.ReencodeD3(l.suite, append(slices.Clone(m[:l.signature]), 0, 0, 0, 0)); err == nil {
			t.Error("a share without a signature decodes")
		}
	})
}
