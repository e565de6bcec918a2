package refmodel

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
)

// Dealer is one party of a key generation.
type Dealer struct {
	ID, T       int
	IDs         []int // all n, ascending
	Identities  map[int][]byte
	Attempt     []byte
	Purpose     string
	SessionKey  ed25519.PrivateKey
	SessionKeys map[int]ed25519.PublicKey
	Rand        *Stream

	frame
	ctx        []byte
	sent       [3][]byte
	echo       [3][]byte
	f          []*big.Int // a_{i,k}
	k          *big.Int
	cc, salt   []byte
	seed       map[int][2][]byte // seed_{i→j} and its salt
	commitment map[int][]byte
	opened     map[int]opening
	sum        []Point // A_k
	x          []Point // public shares
	chain      []byte
}

// opening is what a D2 opens.
type opening struct {
	a        []Point
	k        Point
	z        *big.Int
	cc, salt []byte
	seeds    [][]byte // M_{j→·}, ascending
}

// Generated is the outcome of a key generation.
type Generated struct {
	Share  *KeyShare // pending
	Body   []byte    // of the certificate
	Digest []byte
}

// Round0 gives D0.
func (d *Dealer) Round0() []byte {
	peers := slices.DeleteFunc(slices.Clone(d.IDs), func(j int) bool { return j == d.ID })
	d.frame = frame{protocolDKG, 1, d.ID, peers, cat(d.Attempt, make([]byte, 16))}
	d.ctx = Context{
		Protocol: protocolDKG, Epoch: 1, Roster: rosterHash(d.Identities), N: len(d.IDs), T: d.T, S: d.IDs, Purpose: d.Purpose,
	}.Hash()
	d.sent[0] = cat(d.message(0, 0), d.ctx, d.Rand.Bytes(32))
	return d.sent[0]
}

func (d *Dealer) all(round int, of map[int][]byte) map[int][]byte {
	out := map[int][]byte{d.self: d.sent[round]}
	for j, m := range of {
		out[j] = m
	}
	return out
}

// SID is the session id, from round 1 on.
func (d *Dealer) SID() []byte { return d.session }

// Round1 takes all D0 and gives D1.
func (d *Dealer) Round1(d0 map[int][]byte) ([]byte, error) {
	if err := d.check(0, incoming{d0, 0, nil}); err != nil {
		return nil, err
	}
	nonces := map[int][]byte{}
	differs := false
	for _, j := range d.IDs {
		r := &parser{b: d.all(0, d0)[j][headerLen:]}
		ctx := r.take(32)
		nonces[j] = r.take(32)
		if err := r.end(); err != nil {
			return nil, blame(j, err.Error())
		}
		differs = differs || !bytes.Equal(ctx, d.ctx)
	}
	if differs {
		return nil, benign("ctx differs")
	}
	d.session = sessionID(d.ctx, d.Attempt, nil, nonces)
	d.echo[0] = echoHash(d.session, 0, d.all(0, d0))
	for range d.T {
		d.f = append(d.f, d.Rand.Scalar())
	}
	d.k = d.Rand.Scalar()
	d.cc, d.salt = d.Rand.Bytes(32), d.Rand.Bytes(32)
	d.seed = map[int][2][]byte{}
	for _, j := range d.peers {
		d.seed[j] = [2][]byte{d.Rand.Bytes(32), d.Rand.Bytes(32)}
	}
	own := d.own()
	d.sent[1] = cat(d.message(1, 0), d.echo[0], d.commit(d.self, own))
	return d.sent[1], nil
}

// own is the party's own opening.
func (d *Dealer) own() opening {
	o := opening{k: Base(d.k), cc: d.cc, salt: d.salt}
	for _, a := range d.f {
		o.a = append(o.a, Base(a))
	}
	o.z = add(d.k, mul(d.challenge(d.self, o), d.f[0]))
	for _, j := range d.peers {
		o.seeds = append(o.seeds, d.seedCommit(d.self, j, d.seed[j][0], d.seed[j][1]))
	}
	return o
}

// commit is Cᵢ.
func (d *Dealer) commit(i int, o opening) []byte {
	items := append([][]byte{d.session, u16(i)}, encodeAll(o.a)...)
	return RO("dkg-com", 32, append(items, o.k.Bytes(), o.cc, o.salt)...)
}

// challenge is eᵢ.
func (d *Dealer) challenge(i int, o opening) *big.Int {
	items := append([][]byte{d.session, u16(i)}, encodeAll(o.a)...)
	return ROScalar("dkg-pok", append(items, o.k.Bytes())...)
}

// seedCommit is M_{i→j}.
func (d *Dealer) seedCommit(i, j int, seed, salt []byte) []byte {
	return RO("dkg-seed", 32, d.session, u16(i), u16(j), seed, salt)
}

// Round2 takes all D1 and gives D2.
func (d *Dealer) Round2(d1 map[int][]byte) ([]byte, error) {
	if err := d.check(1, incoming{d1, 0, d.echo[0]}); err != nil {
		return nil, err
	}
	d.commitment = map[int][]byte{}
	for _, j := range d.peers {
		r := &parser{b: d1[j][headerLen+32:]}
		d.commitment[j] = r.take(32)
		if err := r.end(); err != nil {
			return nil, blame(j, err.Error())
		}
	}
	d.echo[1] = echoHash(d.session, 1, d.all(1, d1))
	o := d.own()
	m := cat(d.message(2, 0), d.echo[1], u32(len(o.a)), cat(encodeAll(o.a)...), o.k.Bytes(), enc(o.z), o.cc, o.salt)
	d.sent[2] = cat(m, u32(len(o.seeds)), cat(o.seeds...))
	return d.sent[2], nil
}

// Round3 takes all D2 and gives D3.
func (d *Dealer) Round3(d2 map[int][]byte) (map[int][]byte, error) {
	if err := d.check(2, incoming{d2, 0, d.echo[1]}); err != nil {
		return nil, err
	}
	d.opened = map[int]opening{}
	for _, j := range d.IDs {
		r := &parser{b: d.all(2, d2)[j][headerLen+32:]}
		o := opening{a: r.points(16), k: r.point(), z: r.scalar(), cc: r.take(32), salt: r.take(32)}
		for range r.count(16) {
			o.seeds = append(o.seeds, r.take(32))
		}
		if err := r.end(); err != nil {
			return nil, blame(j, err.Error())
		}
		d.opened[j] = o
	}
	d.echo[2] = echoHash(d.session, 2, d.all(2, d2))
	for _, j := range d.peers {
		o := d.opened[j]
		switch {
		case len(o.a) != d.T || len(o.seeds) != len(d.IDs)-1:
			return nil, blame(j, "a wrong number of coefficients or seed commitments")
		case !bytes.Equal(d.commitment[j], d.commit(j, o)):
			return nil, blame(j, "the opening is not that of the commitment")
		case !Base(o.z).Equal(o.k.Add(o.a[0].Mul(d.challenge(j, o)))):
			return nil, blame(j, "the proof of possession is wrong")
		}
	}
	if err := d.addUp(); err != nil {
		return nil, err
	}
	out := map[int][]byte{}
	for _, j := range d.peers {
		share := d.deal(j)
		sig := ed25519.Sign(d.SessionKey, shareDigest(d.session, d.self, j, share, d.opened[d.self].a))
		out[j] = cat(d.message(3, j), d.echo[2], enc(share), d.seed[j][0], d.seed[j][1], vary(sig))
	}
	return out, nil
}

// addUp makes the sum vector, the public shares and the chain code.
func (d *Dealer) addUp() error {
	d.sum = make([]Point, d.T)
	items := [][]byte{d.session}
	for _, j := range d.IDs {
		for k, a := range d.opened[j].a {
			d.sum[k] = d.sum[k].Add(a)
		}
		items = append(items, d.opened[j].cc)
	}
	d.chain = RO("cc", 32, items...)
	for _, i := range d.IDs {
		d.x = append(d.x, evalPoints(d.sum, i))
	}
	if slices.ContainsFunc(slices.Concat(d.sum, d.x), Point.IsIdentity) {
		return unattributed("O in the sum vector or among the public shares")
	}
	return nil
}

// deal is fᵢ(j).
func (d *Dealer) deal(j int) *big.Int {
	sum := new(big.Int)
	for k := d.T - 1; k >= 0; k-- {
		sum = add(mul(sum, big.NewInt(int64(j))), d.f[k])
	}
	return sum
}

// shareDigest is what the dealer i signs for j.
func shareDigest(sid []byte, i, j int, share *big.Int, a []Point) []byte {
	return RO("dkg-share", 32, sid, u16(i), u16(j), enc(share), feldmanHash(a))
}

// Finish takes all D3.
func (d *Dealer) Finish(d3 map[int][]byte) (*Generated, error) {
	if err := d.check(3, incoming{d3, d.self, d.echo[2]}); err != nil {
		return nil, err
	}
	type dealt struct {
		share           *big.Int
		seed, salt, sig []byte
	}
	got := map[int]dealt{}
	for _, j := range d.peers {
		r := &parser{b: d3[j][headerLen+32:]}
		got[j] = dealt{r.scalar(), r.take(32), r.take(32), r.vary(1, 256)}
		if err := r.end(); err != nil {
			return nil, blame(j, err.Error())
		}
	}
	s := d.deal(d.self)
	zero := map[int][]byte{}
	for _, j := range d.peers {
		m, o := got[j], d.opened[j]
		if !ed25519.Verify(d.SessionKeys[j], shareDigest(d.session, j, d.self, m.share, o.a), m.sig) {
			return nil, blame(j, "the signature on the share is wrong")
		}
		if !Base(m.share).Equal(evalPoints(o.a, d.self)) {
			return nil, &Abort{Attributed, j, "the share is not on the Feldman vector", evidence(d.session, j, d.self, m.share, o.a, m.sig)}
		}
		// j's commitments are to its peers, ascending, without j itself.
		at := slices.Index(slices.DeleteFunc(slices.Clone(d.IDs), func(k int) bool { return k == j }), d.self)
		if !bytes.Equal(o.seeds[at], d.seedCommit(j, d.self, m.seed, m.salt)) {
			return nil, blame(j, "the zero-share seed is not that of its commitment")
		}
		s = add(s, m.share)
		lo, hi := d.self, j
		seeds := [2][]byte{d.seed[j][0], m.seed}
		if j < d.self {
			lo, hi = hi, lo
			slices.Reverse(seeds[:])
		}
		zero[j] = RO("dkg-zero", 32, d.session, u16(lo), u16(hi), seeds[0], seeds[1])
	}
	if !Base(s).Equal(d.x[slices.Index(d.IDs, d.self)]) {
		return nil, unattributed("the own share is not that of the public share")
	}
	return d.outcome(s, zero), nil
}

func (d *Dealer) outcome(s *big.Int, zero map[int][]byte) *Generated {
	// Generated, a key id and a certificate before it: none.
	body := cat(u8(2), vary([]byte(Suite)), vary([]byte(d.Purpose)), u8(1), make([]byte, 32), make([]byte, 32), d.session, u64(1), u16(d.T), u32(len(d.IDs)))
	for i, id := range d.IDs {
		body = cat(body, u16(id), d.x[i].Bytes())
	}
	body = cat(body, u32(d.T), cat(encodeAll(d.sum)...), rosterHash(d.Identities), RO("cc-com", 32, d.session, d.chain), d.echo[2])
	digest := RO("dkg-cert", 32, body)
	return &Generated{
		Share: &KeyShare{
			Purpose: d.Purpose, State: Pending, KeyID: RO("key-id", 32, digest), Epoch: 1, ID: d.ID, T: d.T, IDs: d.IDs, X: d.x,
			PublicKey: d.sum[0], Feldman: feldmanHash(d.sum), Roster: rosterHash(d.Identities), Certificate: digest, ChainCode: d.chain,
			Share: s, Zero: zero,
		},
		Body: body, Digest: digest,
	}
}

func evidence(sid []byte, from, to int, share *big.Int, a []Point, sig []byte) []byte {
	return cat(u8(2), vary([]byte(Suite)), sid, u16(from), u16(to), enc(share), u32(len(a)), cat(encodeAll(a)...), vary(sig))
}

// VerifyEvidence says that the evidence proves the fault of the dealer that
// holds the key.
func VerifyEvidence(b []byte, key ed25519.PublicKey) error {
	r := &parser{b: b}
	version, suite, sid := r.take(1)[0], string(r.vary(1, 64)), r.take(32)
	from, to, share, a, sig := r.u16(), r.u16(), r.scalar(), r.points(16), r.vary(1, 256)
	if err := r.end(); err != nil {
		return err
	}
	switch {
	case version != 2 || suite != Suite || len(a) < 2 || from == 0 || to == 0:
		return errors.New("not evidence")
	case !ed25519.Verify(key, shareDigest(sid, from, to, share, a), sig):
		return errors.New("the dealer did not sign it")
	case Base(share).Equal(evalPoints(a, to)):
		return errors.New("the share is right")
	}
	return nil
}
