package refmodel

import (
	"bytes"
	"errors"
	"maps"
	"math/big"
	"slices"
)

// Presignature is what a signer keeps of one slot (dkls23-presign.md).
type Presignature struct {
	ID    []byte
	Kind  int // the offline protocol
	Key   *KeyShare
	S     []int
	slot  *slot // its id; u, v, φ; in V2 R; in V1 r, salt, c, d and commitments
	chi   map[int]*big.Int
	Spent bool
}

// Presign takes all R2 of the offline part.
func (s *Signer) Presign(r2, p2 map[int][]byte) ([]*Presignature, error) {
	if err := s.takeR2(r2, p2); err != nil {
		return nil, err
	}
	var out []*Presignature
	for k, x := range s.slots {
		ps := &Presignature{
			ID:   RO("presig-id", 32, s.session, s.echo[2], u64(k)),
			Kind: s.Protocol, Key: s.Key, S: s.S, slot: x, chi: map[int]*big.Int{},
		}
		for _, j := range s.peers {
			ps.chi[j] = s.bob[j].Chi[k]
		}
		out = append(out, ps)
	}
	return out, nil
}

// Online is one party of the online part.
type Online struct {
	Pre         *Presignature
	RequestHash []byte
	Item        Item
	Attachment  []byte
	Rand        *Stream

	frame
	job, sent []byte
	all       map[int][]byte // A broadcasts, one's own among them
	peer      map[int]onlineA
	nonce     []byte
	R         Point // R*
}

// onlineA is an A, decoded.
type onlineA struct {
	r     Point
	salt  []byte
	gamma Point
	nonce []byte
}

func (o *Online) v1() bool { return o.Pre.Kind == protocolV1 }

// Round0 gives A, the broadcast and the private messages, of which V2 has none.
func (o *Online) Round0() ([]byte, map[int][]byte, error) {
	if err := o.Item.validate(o.Pre.Key); err != nil {
		return nil, nil, err
	}
	if o.Pre.Spent {
		return nil, nil, errors.New("the presignature was used")
	}
	o.Pre.Spent = true
	protocol, key, x := protocolOnlineV2, o.Pre.Key, o.Pre.slot
	if o.v1() {
		protocol = protocolOnlineV1
	}
	peers := slices.DeleteFunc(slices.Clone(o.Pre.S), func(j int) bool { return j == key.ID })
	o.frame = frame{protocol, key.Epoch, key.ID, peers, o.Pre.ID}
	o.job = o.Item.job(o.RequestHash)
	if !o.v1() {
		o.nonce = o.Rand.Bytes(32)
		o.sent = cat(o.message(0, 0), o.job, o.nonce, o.Attachment)
		return o.sent, nil, nil
	}
	private := map[int][]byte{}
	for _, j := range peers {
		private[j] = cat(o.message(0, j), Base(x.c[j][0]).Bytes())
	}
	o.sent = cat(o.message(0, 0), o.job, Base(x.r).Bytes(), x.salt, o.Attachment)
	return o.sent, private, nil
}

// Round1 takes all A and gives the echo, nil for two signers.
func (o *Online) Round1(a, private map[int][]byte) ([]byte, error) {
	kinds := []incoming{{a, 0, nil}}
	if o.v1() {
		kinds = append(kinds, incoming{private, o.self, nil})
	}
	if err := o.check(0, kinds...); err != nil {
		return nil, err
	}
	o.peer = map[int]onlineA{}
	var noted, differs error
	for _, j := range o.peers {
		r := &parser{b: a[j][headerLen:]}
		job := r.take(32)
		var got onlineA
		if o.v1() {
			got.r, got.salt = r.point(), r.take(32)
		} else {
			got.nonce = r.take(32)
		}
		if r.err == nil && len(r.b) > 1<<20 {
			r.err = errors.New("the attachment is too long")
		}
		if r.err != nil {
			noted = cmpOr(noted, blame(j, r.err.Error()))
		} else if !bytes.Equal(job, o.job) {
			differs = benign("another job")
		}
		if o.v1() {
			pr := &parser{b: private[j][headerLen:]}
			got.gamma = pr.point()
			if err := pr.end(); err != nil {
				noted = cmpOr(noted, blame(j, err.Error()))
			}
		}
		o.peer[j] = got
	}
	if err := cmpOr(differs, noted); err != nil {
		return nil, err
	}
	o.all = maps.Clone(a)
	o.all[o.self] = o.sent
	o.session = RO("online", 32, append([][]byte{o.Pre.ID}, byID(o.all)...)...)
	if len(o.Pre.S) < 3 {
		return nil, nil
	}
	return o.message(1, 0), nil
}

// ID is the signature id, from round 1 on.
func (o *Online) ID() []byte { return o.session }

// Round2 takes all echoes, none for two signers, and gives B.
func (o *Online) Round2(echoes map[int][]byte) ([]byte, error) {
	if len(o.Pre.S) >= 3 {
		if err := o.check(1, incoming{echoes, 0, nil}); err != nil {
			return nil, err
		}
		for _, j := range o.peers {
			if len(echoes[j]) != headerLen {
				return nil, blame(j, "bytes after the header of an echo")
			}
		}
	}
	x := o.Pre.slot
	u := x.u
	if o.v1() {
		if err := o.open(); err != nil {
			return nil, err
		}
	} else {
		delta := o.delta()
		o.R, u = x.bigR.Add(Base(delta)), add(u, mul(delta, x.phi))
	}
	if noNonce(o.R) {
		return nil, unattributed("R* is no nonce")
	}
	w := add(mul(wide(o.Item.MessageHash), x.phi), mul(mod(o.R.X), add(x.v, mul(o.Item.Tweak, x.phi))))
	return cat(o.message(2, 0), enc(w), enc(u)), nil
}

// open is what V1 put off: the openings and Γ^u.
func (o *Online) open() error {
	x := o.Pre.slot
	for _, j := range o.peers {
		if !bytes.Equal(x.commitments[j], x.commitment(j, o.peer[j].r, o.peer[j].salt)) {
			return blame(j, "the opening is not that of the commitment")
		}
	}
	o.R = Base(x.r)
	for _, j := range o.peers {
		if !gammaHolds(o.Pre.chi[j], o.peer[j].r, o.peer[j].gamma, x.d[j][0]) {
			return quarantine(j, "Γ^u")
		}
		o.R = o.R.Add(o.peer[j].r)
	}
	return nil
}

// delta is δ of V2.
func (o *Online) delta() *big.Int {
	child := o.Pre.Key.PublicKey.Add(Base(o.Item.Tweak))
	var set []byte
	nonces := map[int][]byte{o.self: o.nonce}
	for _, j := range o.Pre.S {
		set = cat(set, u16(j))
		if j != o.self {
			nonces[j] = o.peer[j].nonce
		}
	}
	items := [][]byte{o.Pre.slot.bigR.Bytes(), child.Bytes(), enc(wide(o.Item.MessageHash)), enc(o.Item.Tweak), set, o.Pre.ID, o.job}
	return ROScalar("rerandom-R", append(items, byID(nonces)...)...)
}

// CombineOnline gives the signature of all B.
func CombineOnline(pk, bigR Point, set []int, it Item, shares [][]byte) ([]byte, error) {
	w, u := new(big.Int), new(big.Int)
	var from []int
	var common [][]byte
	for _, m := range shares {
		r := &parser{b: m}
		head := r.take(43)
		author, to := r.u16(), r.u16()
		w, u = add(w, r.scalar()), add(u, r.scalar())
		if err := r.end(); err != nil {
			return nil, err
		}
		if head[0] != 1 || head[1] != protocolOnlineV1 && head[1] != protocolOnlineV2 || head[2] != 2 || author == 0 || to != 0 {
			return nil, errors.New("not a final share")
		}
		from, common = append(from, author), append(common, head)
	}
	if err := authors(set, from); err != nil {
		return nil, err
	}
	for _, head := range common {
		if !bytes.Equal(head, common[0]) {
			return nil, benign("the shares are not of one signature")
		}
	}
	return finish(pk, bigR, it, w, u)
}
