package lifecycle_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/binary"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// The frozen runs, checked against docs/spec/lifecycle.md by code that shares
// nothing with the package but the curves: what is hashed, in which order, where it
// stands in a message, and what the new shares are.

// ro is the random oracle of docs/spec/session.md.
func ro(tag string, items ...[]byte) []byte {
	h := sha3.NewCSHAKE256(nil, []byte("coffer/mpc/v1/"+tag))
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(items))))
	for _, x := range items {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(x))))
		_, _ = h.Write(x)
	}
	out := make([]byte, 32)
	_, _ = h.Read(out)
	return out
}

func u16(n mpc.ID) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func list(ids []mpc.ID) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(ids)))
	for _, id := range ids {
		b = append(b, u16(id)...)
	}
	return b
}

func text(s []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// taker takes fields off a message.
type taker struct {
	t *testing.T
	b []byte
}

func (r *taker) take(n int) []byte {
	r.t.Helper()
	if len(r.b) < n {
		r.t.Fatalf("%d bytes wanted, %d left", n, len(r.b))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *taker) count() int { return int(binary.BigEndian.Uint32(r.take(4))) }

func (r *taker) points(size int) (out [][]byte) {
	for range r.count() {
		out = append(out, r.take(size))
	}
	return out
}

// model is one run, as far as the page says.
type model struct {
	*testing.T
	v            *vector
	curve        group.Curve
	old          *dkg.Certificate
	participants []mpc.ID
	dealers      []mpc.ID
	parties      []mpc.ID
	threshold    int
	seeds        bool
	sid, job     []byte
}

func load(t *testing.T, suite mpc.Suite, kind string) *model {
	t.Helper()
	b, err := os.ReadFile(file(suite, kind))
	if err != nil {
		t.Fatal(err)
	}
	m := &model{T: t, v: new(vector)}
	if err := json.Unmarshal(b, m.v); err != nil {
		t.Fatal(err)
	}
	if m.old, err = dkg.DecodeCertificate(m.v.OldCertificate); err != nil {
		t.Fatal(err)
	}
	m.curve, m.sid = m.old.PublicKey().Curve(), m.v.SID
	m.dealers, m.parties, m.threshold = m.v.Dealers, m.v.Parties, m.v.Threshold
	if kind == "refresh" {
		m.dealers, m.parties, m.threshold = m.old.Parties, m.old.Parties, m.old.Threshold
	}
	m.participants = mpctest.Union(m.dealers, m.parties)
	m.seeds = m.old.Suite == mpc.DKLS23Secp256k1
	return m
}

func (m *model) same(what string, got, want []byte) {
	m.Helper()
	if !bytes.Equal(got, want) {
		m.Errorf("%s is %x, want %x", what, got, want)
	}
}

func (m *model) signed(what string, id mpc.ID, digest, sig []byte) {
	m.Helper()
	key := ed25519.NewKeyFromSeed(m.v.SessionSeeds[id]).Public().(ed25519.PublicKey)
	if !ed25519.Verify(key, digest, sig) {
		m.Errorf("%s of %d is not signed as the page says", what, id)
	}
}

// header is taken off a message and compared.
func (m *model) header(b []byte, round byte, session []byte, epoch uint64, from, to mpc.ID) *taker {
	m.Helper()
	want := append([]byte{1, 8, round}, session...)
	want = binary.BigEndian.AppendUint64(want, epoch)
	want = append(append(want, u16(from)...), u16(to)...)
	r := &taker{m.T, b}
	m.same("header", r.take(47), want)
	return r
}

func (m *model) echo(round uint16) []byte {
	items := [][]byte{m.sid, binary.BigEndian.AppendUint16(nil, round)}
	for _, id := range m.participants {
		items = append(items, m.v.Broadcast[round][id])
	}
	return ro("echo", items...)
}

// opened is what a participant said in R1 and R2.
type opened struct {
	vector, seeds [][]byte
}

func TestFrozenRunsAreAsThePageSays(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		for kind, number := range map[string]byte{"refresh": 1, "reshare": 2} {
			t.Run(string(suite)+"/"+kind, func(t *testing.T) { load(t, suite, kind).run(number) })
		}
	}
}

func (m *model) run(kind byte) {
	digest := ro("dkg-cert", m.old.Encode()[:len(m.old.Encode())-4-3*(2+4+64)])
	epoch := m.old.Epoch + 1
	body := append([]byte{1}, digest...)
	body = append(binary.BigEndian.AppendUint64(body, epoch), kind)
	body = append(append(body, list(m.dealers)...), byte(m.threshold>>8), byte(m.threshold))
	m.job = ro("life-job", append(body, list(m.parties)...))
	m.rounds(kind, epoch)
	if !m.Failed() {
		m.outcome(kind, digest, epoch)
	}
}

func (m *model) context(epoch uint64) []byte {
	roster := m.roster(m.participants)
	keyID := m.old.KeyID()
	var feldman [][]byte
	for _, a := range m.old.Feldman {
		feldman = append(feldman, a.Encode())
	}
	c := append([]byte{1}, text([]byte(m.old.Suite))...)
	c = append(append(c, 8), text(keyID[:])...)
	c = binary.BigEndian.AppendUint64(c, epoch)
	c = append(c, text(m.old.PublicKey().Encode())...)
	c = append(c, text(ro("dkg-feldman", feldman...))...)
	c = append(append(c, roster...), 0, byte(len(m.parties)), 0, byte(m.threshold))
	c = append(append(c, list(m.participants)...), text([]byte(m.old.Purpose))...)
	return ro("ctx", c)
}

func (m *model) roster(ids []mpc.ID) []byte {
	var items [][]byte
	for _, id := range ids {
		items = append(items, u16(id), mpctest.Key("identity", id).Public().(ed25519.PublicKey))
	}
	return ro("dkg-roster", items...)
}

// rounds checks R0 … R3.
func (m *model) rounds(kind byte, epoch uint64) {
	ctx, attempt := m.context(epoch), append(slices.Clone(m.v.AttemptID), make([]byte, 16)...)
	items := [][]byte{ctx, m.v.AttemptID, m.job}
	for _, id := range m.participants {
		r := m.header(m.v.Broadcast[0][id], 0, attempt, epoch, id, 0)
		m.same("ctx", r.take(32), ctx)
		m.same("job", r.take(32), m.job)
		items = append(items, r.take(32))
	}
	m.same("sid", ro("sid", items...), m.sid)

	all := make(map[mpc.ID]*opened)
	for _, id := range m.participants {
		r1 := m.header(m.v.Broadcast[1][id], 1, m.sid, epoch, id, 0)
		m.same("h0", r1.take(32), m.echo(0))
		r2 := m.header(m.v.Broadcast[2][id], 2, m.sid, epoch, id, 0)
		m.same("h1", r2.take(32), m.echo(1))
		all[id] = m.opening(kind, id, r1, r2)
	}
	for _, i := range m.participants {
		for _, j := range m.participants {
			if i != j {
				m.private(kind, epoch, i, j, all[i])
			}
		}
	}
}

func (m *model) opening(kind byte, id mpc.ID, r1, r2 *taker) *opened {
	o := new(opened)
	if slices.Contains(m.dealers, id) {
		o.vector = r2.points(m.curve.PointSize())
		want := m.threshold
		if kind == 1 {
			want--
		}
		if len(o.vector) != want {
			m.Fatalf("vector of %d points", len(o.vector))
		}
		salt := r2.take(32)
		items := append([][]byte{m.sid, u16(id)}, o.vector...)
		m.same("commitment", r1.take(32), ro("life-com", append(items, salt)...))
		items = append([][]byte{m.sid, m.job, u16(id)}, o.vector...)
		m.signed("vector", id, ro("life-vector", items...), r2.take(r2.count()))
	}
	if m.seeds && slices.Contains(m.parties, id) {
		o.seeds = r2.points(32)
	}
	if len(r1.b)+len(r2.b) != 0 {
		m.Error("R1 or R2 has more than the page says")
	}
	return o
}

func (m *model) private(kind byte, epoch uint64, i, j mpc.ID, o *opened) {
	r := m.header(m.v.Private[0][i][j], 3, m.sid, epoch, i, j)
	m.same("h2", r.take(32), m.echo(2))
	receives := slices.Contains(m.parties, j)
	if receives && slices.Contains(m.dealers, i) {
		share, chain := r.take(32), r.take(32)
		c := ro("cc-com", m.old.SID[:], chain)
		m.same("chain commitment", c, m.old.ChainCommitment[:])
		m.signed("share", i, ro("life-share", m.sid, m.job, u16(i), u16(j), share, c, ro("dkg-feldman", o.vector...)), r.take(r.count()))
	}
	if m.seeds && receives && slices.Contains(m.parties, i) {
		k := 0
		for _, p := range m.parties {
			if p != i && p < j {
				k++
			}
		}
		m.same("seed commitment", o.seeds[k], ro("life-seed", m.sid, u16(i), u16(j), r.take(32), r.take(32)))
	}
	if len(r.b) != 0 {
		m.Errorf("R3 of %d to %d has more than the page says", i, j)
	}
}

// dealt is the share that i sent to j, and the seed.
func (m *model) dealt(i, j mpc.ID) (share group.Scalar, seed []byte) {
	r := &taker{m.T, m.v.Private[0][i][j][79:]}
	share = m.curve.NewScalar()
	if slices.Contains(m.dealers, i) {
		if err := share.Decode(r.take(32)); err != nil {
			m.Fatal(err)
		}
		r.take(32)
		r.take(r.count())
	}
	if m.seeds && slices.Contains(m.parties, i) {
		seed = r.take(32)
	}
	return share, seed
}

// outcome checks certificate, shares and seeds. A dealer's share for itself is not
// on the wire: it follows from the others' by the vector's sum, and is checked by
// the public share.
func (m *model) outcome(kind byte, previous []byte, epoch uint64) {
	c, err := dkg.DecodeCertificate(m.v.Certificate)
	if err != nil {
		m.Fatal(err)
	}
	keyID := m.old.KeyID()
	want := append([]byte{m.v.OldCertificate[0]}, text([]byte(m.old.Suite))...)
	want = append(append(want, text([]byte(m.old.Purpose))...), kind+2)
	want = append(append(append(want, keyID[:]...), previous...), m.sid...)
	want = append(binary.BigEndian.AppendUint64(want, epoch), 0, byte(m.threshold))
	m.same("certificate's beginning", m.v.Certificate[:len(want)], want)
	unsigned := m.v.OldCertificate
	for _, id := range m.old.Parties {
		unsigned = unsigned[:len(unsigned)-2-4-len(m.old.Signature(id))]
	}
	first := text(unsigned[:len(unsigned)-4]) // the old epoch is the first
	end := m.v.Certificate[:len(m.v.Certificate)-4]
	m.same("first certificate in this one", end[len(end)-len(first):], first)
	m.same("roster hash", c.RosterHash[:], m.roster(m.parties))
	m.same("echo in the certificate", c.Echo[:], m.echo(2))
	for _, j := range m.parties {
		k, err := dkg.DecodeKeyShare(m.v.Shares[j])
		if err != nil {
			m.Fatal(err)
		}
		chain := k.ChainCode()
		m.same("new chain commitment", c.ChainCommitment[:], ro("cc-com", m.sid, chain[:]))
		if !slices.Contains(m.dealers, j) { // one that only receives
			sum := m.curve.NewScalar()
			for _, i := range m.dealers {
				share, _ := m.dealt(i, j)
				sum.Add(sum, share)
			}
			m.same("share", k.Share().Encode(), sum.Encode())
		}
		for _, i := range m.parties {
			if !m.seeds || i >= j {
				continue
			}
			_, low := m.dealt(i, j)
			_, high := m.dealt(j, i)
			seed, err := k.ZeroSeed(i)
			if err != nil {
				m.Fatal(err)
			}
			m.same("zero-share seed", seed[:], ro("life-zero", m.sid, u16(i), u16(j), low, high))
		}
	}
}
