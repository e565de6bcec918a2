package dkls23

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
	"github.com/cofferhq/coffer/mpc/vole"
)

// run is one signer's part in a session of n slots, whatever comes of a slot: a
// signature or a presignature. Its rounds are called once, in order.
type run struct {
	protocol session.Protocol
	layout   layout
	key      *dkg.KeyShare
	signers  []mpc.ID
	setups   map[mpc.ID]*pair.Setup
	attempt  [16]byte
	request  [32]byte // zero in presigning
	job      [32]byte

	self  mpc.ID
	peers []mpc.ID // signers without self
	rand  io.Reader
	order session.Order

	ctx   [32]byte
	sid   [32]byte
	sent  [3][]byte   // own broadcasts
	echo  [3][32]byte // h₀ h₁ h₂
	nonce [32]byte
	mine  *multiplicand
	slots []*slot
	links map[mpc.ID]*link
}

// multiplicand is this signer's part of the key in this session, which all slots
// share. As secrets, it is behind a pointer.
type multiplicand struct {
	sk      secp256k1.Scalar // skᵢ = λᵢ·sᵢ + ζᵢ
	public  secp256k1.Point  // pkᵢ
	encoded [33]byte         // the same
}

// slot is one signature, or one presignature, of a session. Each has its own r,
// φ, β, χ and commitments: the reuse of χ or φ over two signatures gives the key
// away.
type slot struct {
	sid         [32]byte
	secret      *secrets
	point       *secp256k1.Point    // Rᵢ
	encoded     [33]byte            // the same
	commitments map[mpc.ID][32]byte // Cⱼ
	total       *secp256k1.Point    // R, once it is known
	totalBytes  [33]byte            // its encoding
	late        map[mpc.ID][33]byte // Γ^u_{i→j}, which presigning V1 keeps back in R2
}

// secrets are behind a pointer of the slot: a struct that holds a session in an
// unexported field may be printed with %v without showing them.
type secrets struct {
	r, phi secp256k1.Scalar // rᵢ, φᵢ
	u, v   secp256k1.Scalar // uᵢ, vᵢ, without any tweak
	salt   [32]byte         // hides Rᵢ until it is opened
}

// link is what a signer holds for one peer.
type link struct {
	bob *vole.Receiver // this party as Bob of the peer: χ_{i,j}, by slot
	c   []vole.C       // this party as Alice: c^u_{i→j}, c^v_{i→j}, by slot
	d   []vole.D       // d^u_{i,j}, d^v_{i,j}, by slot
}

func (l *link) destroy() {
	l.bob.Destroy()
	clear(l.c)
	clear(l.d)
}

// frame is what a session of any kind is about.
type frame struct {
	protocol session.Protocol
	key      *dkg.KeyShare
	signers  []mpc.ID
	setups   map[mpc.ID]*pair.Setup
	attempt  [16]byte
	request  [32]byte
	job      [32]byte
	purpose  string
	slots    int
}

// newRun checks what does not depend on the kind of the session.
func newRun(f frame, rand io.Reader) (*run, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if rand == nil {
		return nil, errors.New("no source of randomness")
	}
	r := &run{
		order:    session.NewOrder("dkls23"),
		protocol: f.protocol,
		layout:   layoutOf(f.protocol),
		key:      f.key,
		signers:  slices.Clone(f.signers),
		setups:   f.setups,
		attempt:  f.attempt,
		request:  f.request,
		job:      f.job,
		self:     f.key.ID,
		rand:     rand,
		mine:     new(multiplicand),
		slots:    make([]*slot, f.slots),
		links:    make(map[mpc.ID]*link),
	}
	r.layout.slots = f.slots
	for k := range r.slots {
		r.slots[k] = &slot{secret: new(secrets), commitments: make(map[mpc.ID][32]byte), late: make(map[mpc.ID][33]byte)}
	}
	r.peers = without(r.signers, r.self)
	r.ctx = f.context()
	return r, nil
}

// without is the set without one member.
func without(set []mpc.ID, id mpc.ID) []mpc.ID {
	return slices.DeleteFunc(slices.Clone(set), func(x mpc.ID) bool { return x == id })
}

func (f *frame) context() [32]byte {
	ctx := session.Context{
		Suite:       f.key.Suite,
		Protocol:    f.protocol,
		KeyID:       f.key.KeyID[:],
		Epoch:       f.key.Epoch,
		PublicKey:   f.key.PublicKey.Encode(),
		FeldmanHash: f.key.FeldmanHash[:],
		RosterHash:  f.key.RosterHash,
		N:           len(f.key.Parties),
		T:           f.key.Threshold,
		Set:         f.signers,
		Purpose:     f.purpose,
	}
	return ctx.Hash()
}

func (f *frame) check() error {
	if err := checkSigners(f.key, f.signers); err != nil {
		return err
	}
	for _, id := range f.signers {
		if id == f.key.ID {
			continue
		}
		switch p := f.setups[id]; {
		case p == nil:
			return fmt.Errorf("no pair setup with signer %d", id)
		case p.Self != f.key.ID || p.Peer != id:
			return fmt.Errorf("pair setup of %d with %d, want of %d with %d", p.Self, p.Peer, f.key.ID, id)
		}
	}
	if f.slots < 1 || f.slots > MaxBatch {
		return fmt.Errorf("%d signatures in one session, want 1 to %d", f.slots, MaxBatch)
	}
	if f.purpose != f.key.Purpose {
		return fmt.Errorf("session is for purpose %q, the key for %q", f.purpose, f.key.Purpose)
	}
	return nil
}

// checkSigners demands an active share and, as signers, exactly t of its parties,
// its own among them.
func checkSigners(key *dkg.KeyShare, signers []mpc.ID) error {
	if key == nil {
		return errors.New("no key share")
	}
	if _, err := publicKey(key); err != nil {
		return err
	}
	if !key.Active() {
		return key.CheckActive()
	}
	if err := sharing.CheckIDs(signers); err != nil {
		return err
	}
	if len(signers) != key.Threshold {
		return fmt.Errorf("%d signers %v, want exactly the threshold, %d", len(signers), signers, key.Threshold)
	}
	if !sharing.Contains(signers, key.ID) {
		return fmt.Errorf("participant %d holds the share but is not one of the signers %v", key.ID, signers)
	}
	for _, id := range signers {
		if !sharing.Contains(key.Parties, id) {
			return fmt.Errorf("signer %d is not one of the key's parties %v", id, key.Parties)
		}
	}
	return nil
}

// SID returns the session id. It is zero before Round1.
func (r *run) SID() [32]byte { return r.sid }

// Echo returns h_k, over all broadcasts of round k ≤ 2, once round k+1 has run.
func (r *run) Echo(round int) [32]byte { return r.echo[round] }

// Destroy ends the session and wipes its secrets. It may be called at any time.
func (r *run) Destroy() {
	r.order.Close()
	*r.mine = multiplicand{}
	for _, s := range r.slots {
		*s.secret = secrets{}
	}
	for _, l := range r.links {
		l.destroy()
	}
	clear(r.links)
}

// want is the header of a message of another signer; to is 0 for a broadcast.
func (r *run) want(round uint8, to mpc.ID) session.Header {
	h := session.Header{Protocol: r.protocol, Round: round, Session: r.sid, Epoch: r.key.Epoch, To: to}
	if round == 0 {
		h.Session = session.Attempt(r.attempt)
	}
	return h
}

// header is of a message of this signer.
func (r *run) header(round uint8, to mpc.ID) *session.Header {
	h := r.want(round, to)
	h.From = r.self
	return &h
}

// hear computes h_k when all broadcasts of round k are there.
func (r *run) hear(round uint8, messages map[mpc.ID][]byte) {
	r.echo[round] = session.EchoOf(r.sid, round, r.signers, r.self, r.sent[round], messages)
}

// dsid names the VOLE in which bob sends the extension's message to alice.
func (r *run) dsid(bob, alice mpc.ID, number uint64) [32]byte {
	peer := bob
	if bob == r.self {
		peer = alice
	}
	hash := r.setups[peer].Hash
	return transcript.Sum(transcript.TagDSID, r.sid[:], transcript.Uint16(uint16(bob)),
		transcript.Uint16(uint16(alice)), transcript.Uint64(number), hash[:])
}

// nameSlots gives every slot its id. A session of one signature is its own slot.
func (r *run) nameSlots() {
	for k, s := range r.slots {
		s.sid = r.sid
		if r.layout.counted {
			s.sid = transcript.Sum(transcript.TagSlot, r.sid[:], transcript.Uint64(uint64(k)))
		}
	}
}

// rCommitment is Cᵢ = RO("R-com", sid, i, Rᵢ, saltᵢ).
func rCommitment(sid [32]byte, id mpc.ID, point *[33]byte, salt *[32]byte) [32]byte {
	return transcript.Sum(transcript.TagRCommit, sid[:], transcript.Uint16(uint16(id)), point[:], salt[:])
}

// zeroShare is ζᵢ = Σ_{j>i} F(kᵢⱼ) − Σ_{j<i} F(kᵢⱼ), F(k) = RO_q("zero-share", k, sid):
// the signers' ζ of one session add up to zero.
func (r *run) zeroShare() (*secp256k1.Scalar, error) {
	z := secp256k1.NewScalar()
	for _, j := range r.peers {
		seed, err := r.key.ZeroSeed(j)
		if err != nil {
			return nil, err
		}
		f := transcript.Scalar(transcript.TagZero, seed[:], r.sid[:])
		if j > r.self {
			z.Add(z, f)
		} else {
			z.Sub(z, f)
		}
		f.Destroy()
		clear(seed[:])
	}
	return z, nil
}
