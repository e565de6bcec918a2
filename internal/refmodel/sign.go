package refmodel

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
)

// Setup is a pair setup, as one side holds it.
type Setup struct {
	Bob, Alice Trees
	Hash       []byte
}

// Item is what one signature is of.
type Item struct {
	MessageHash []byte
	Tweak       *big.Int
	Path        []byte
}

// job is that of a single signature.
func (it Item) job(request []byte) []byte {
	items := [][]byte{request, it.MessageHash, enc(it.Tweak)}
	if len(it.Path) > 0 {
		items = append(items, it.Path)
	}
	return RO("job", 32, items...)
}

// validate is what dkls23.md asks of an item.
func (it Item) validate(k *KeyShare) error {
	switch {
	case wide(it.MessageHash).Sign() == 0:
		return errors.New("h is zero")
	case k.PublicKey.Add(Base(it.Tweak)).IsIdentity():
		return errors.New("the child key is O")
	case len(it.Path) > 1024:
		return errors.New("the path is too long")
	}
	return nil
}

// Signer is one party of a signing session: of one signature, of a batch, or
// of presignatures (the offline part).
type Signer struct {
	Protocol    int
	Key         *KeyShare
	S           []int // ascending
	Setups      map[int]Setup
	Attempt     []byte
	RequestHash []byte // 32 zero bytes for presignatures
	Items       []Item // none for presignatures
	N           int    // slots
	Purpose     string
	Attachments [3][]byte
	Rand        *Stream

	frame
	ctx, job, nonce []byte
	sent            [3][]byte // broadcasts
	echo            [3][]byte
	setupHash       map[[2]int][]byte // by pair, as stated
	bob             map[int]*VOLEBob
	sk              *big.Int
	slots           []*slot
}

// slot is what a signature has of its own.
type slot struct {
	id          []byte // sid, for a single signature
	r, phi      *big.Int
	salt        []byte
	commitments map[int][]byte
	c, d        map[int][2]*big.Int
	bigR        Point
	psi         *big.Int // φᵢ + Σψ
	u, v, w     *big.Int
}

// presigns says that the session makes presignatures.
func (s *Signer) presigns() bool { return s.Protocol == protocolV1 || s.Protocol == protocolV2 }

// validate is what dkls23.md asks of the inputs.
func (s *Signer) validate() error {
	switch {
	case len(s.S) != s.Key.T || !slices.Contains(s.S, s.Key.ID) || !slices.IsSorted(s.S):
		return errors.New("the signers are not t parties in order")
	case s.Purpose != s.Key.Purpose:
		return errors.New("the purpose is not the key's")
	case s.Key.State != Active:
		return errors.New("the key share is pending")
	case s.N < 1 || s.N > 64 || s.Protocol == protocolSign && s.N != 1:
		return errors.New("a wrong number of slots")
	case s.presigns() && len(s.Items) != 0 || !s.presigns() && len(s.Items) != s.N:
		return errors.New("a wrong number of items")
	}
	for _, it := range s.Items {
		if err := it.validate(s.Key); err != nil {
			return err
		}
	}
	return nil
}

// makeJob is job, by the protocol.
func (s *Signer) makeJob() []byte {
	var jobs [][]byte
	for _, it := range s.Items {
		jobs = append(jobs, it.job(s.RequestHash))
	}
	switch {
	case s.presigns():
		return RO("presign", 32, u64(s.N))
	case s.Protocol == protocolBatch:
		return RO("jobs", 32, jobs...)
	default:
		return jobs[0]
	}
}

// list joins what is by slot: with its count, but for a single signature.
func (s *Signer) list(of func(k int, x *slot) []byte) []byte {
	var out []byte
	if s.Protocol != protocolSign {
		out = u32(len(s.slots))
	}
	for k, x := range s.slots {
		out = cat(out, of(k, x))
	}
	return out
}

// bySlot reads a list by slot.
func (s *Signer) bySlot(r *parser, item func(k int)) {
	if s.Protocol != protocolSign && r.u32() != s.N && r.err == nil {
		r.err = errors.New("a count that is not that of the slots")
	}
	for k := range s.N {
		item(k)
	}
}

// Round0 gives R0.
func (s *Signer) Round0() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	peers := slices.DeleteFunc(slices.Clone(s.S), func(j int) bool { return j == s.Key.ID })
	s.frame = frame{s.Protocol, s.Key.Epoch, s.Key.ID, peers, cat(s.Attempt, make([]byte, 16))}
	s.ctx = Context{
		Protocol: s.Protocol, KeyID: s.Key.KeyID, Epoch: s.Key.Epoch, PublicKey: s.Key.PublicKey.Bytes(), Feldman: s.Key.Feldman,
		Roster: s.Key.Roster, N: len(s.Key.IDs), T: s.Key.T, S: s.S, Purpose: s.Purpose,
	}.Hash()
	s.job = s.makeJob()
	s.nonce = s.Rand.Bytes(32)
	m := cat(s.message(0, 0), s.ctx, s.RequestHash, s.job, s.nonce, u32(len(peers)))
	for _, j := range peers {
		m = cat(m, s.Setups[j].Hash)
	}
	s.sent[0] = cat(m, vary(s.Attachments[0]))
	return s.sent[0], nil
}

// all are the broadcasts of a round with one's own.
func (s *Signer) all(round int, of map[int][]byte) map[int][]byte {
	out := map[int][]byte{s.self: s.sent[round]}
	for j, m := range of {
		out[j] = m
	}
	return out
}

// readR0 checks all R0 and gives the nonces.
func (s *Signer) readR0(r0 map[int][]byte) (map[int][]byte, error) {
	if err := s.check(0, incoming{r0, 0, nil}); err != nil {
		return nil, err
	}
	nonces := map[int][]byte{}
	stated := map[[2]int][]byte{}
	var differs, noted error
	for _, j := range s.S {
		m := s.all(0, r0)[j]
		r := &parser{b: m[headerLen:]}
		ctx, request, job := r.take(32), r.take(32), r.take(32)
		nonces[j] = r.take(32)
		n := r.count(15)
		var list [][]byte
		for range n {
			list = append(list, r.take(32))
		}
		r.vary(0, 1<<20)
		if err := r.end(); err != nil {
			noted = cmpOr(noted, blame(j, err.Error()))
			continue
		}
		if !bytes.Equal(ctx, s.ctx) || !bytes.Equal(request, s.RequestHash) || !bytes.Equal(job, s.job) {
			differs = benign("ctx, request hash or job differs")
		}
		if n != len(s.S)-1 {
			noted = cmpOr(noted, blame(j, "the list of setup hashes has a wrong length"))
			continue
		}
		at := 0
		for _, k := range s.S {
			if k != j {
				stated[[2]int{j, k}] = list[at]
				at++
			}
		}
	}
	for pair, h := range stated {
		if other, ok := stated[[2]int{pair[1], pair[0]}]; ok && !bytes.Equal(h, other) {
			differs = benign("a setup hash differs")
		}
	}
	s.setupHash = stated
	return nonces, cmpOr(differs, noted)
}

// dsid is that of bob → alice, slot 0.
func (s *Signer) dsid(bob, alice int) []byte {
	return RO("dsid", 32, s.session, u16(bob), u16(alice), u64(0), s.setupHash[[2]int{bob, alice}])
}

// SID is the session id, from round 1 on.
func (s *Signer) SID() []byte { return s.session }

// Echo is h_r.
func (s *Signer) Echo(r int) []byte { return s.echo[r] }

// commitment is C of party j.
func (x *slot) commitment(j int, r Point, salt []byte) []byte {
	return RO("R-com", 32, x.id, u16(j), r.Bytes(), salt)
}

// Round1 takes all R0 and gives R1: the broadcast and the private messages.
func (s *Signer) Round1(r0 map[int][]byte) ([]byte, map[int][]byte, error) {
	nonces, err := s.readR0(r0)
	if err != nil {
		return nil, nil, err
	}
	s.session = sessionID(s.ctx, s.Attempt, s.job, nonces)
	s.echo[0] = echoHash(s.session, 0, s.all(0, r0))
	s.slots = nil
	for k := range s.N {
		x := &slot{id: s.session}
		if s.Protocol != protocolSign {
			x.id = RO("slot", 32, s.session, u64(k))
		}
		x.r, x.phi, x.salt = s.Rand.Scalar(), s.Rand.Scalar(), s.Rand.Bytes(32)
		s.slots = append(s.slots, x)
	}
	private := map[int][]byte{}
	s.bob = map[int]*VOLEBob{}
	for _, j := range s.peers {
		bob, m1 := VOLEReceive(s.Setups[j].Bob, s.N, s.dsid(s.self, j), s.Rand)
		s.bob[j] = bob
		private[j] = cat(s.message(1, j), vary(m1))
	}
	c := s.list(func(_ int, x *slot) []byte { return x.commitment(s.self, Base(x.r), x.salt) })
	s.sent[1] = cat(s.message(1, 0), s.echo[0], c, vary(s.Attachments[1]))
	return s.sent[1], private, nil
}
