package vault

import (
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/handover"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Rounds of repair frames.
const (
	InnerRepair = innerRepair
	RepairAsk   = repairAsk
	RepairBegin = repairBegin
)

// Peers is how many peers this vault has a channel with.
func (v *Vault) Peers() (n int) {
	for _, p := range v.peers {
		if p.send != nil {
			n++
		}
	}
	return n
}

// Connected says whether there is a channel with a peer.
func (v *Vault) Connected(id mpc.ID) bool { return v.peers[id].send != nil }

// RepairCount is how many repairs run.
func (v *Vault) RepairCount() int { return len(v.repairs) }

// Begin asks for the repair of this vault's share of a wallet.
func (v *Vault) Begin(name string, helpers ...mpc.ID) []byte {
	k := v.keyNamed(name)
	return (&begin{key: k.id, cert: k.cert.Digest(), helpers: helpers}).encode()
}

// signer is a device.
type signer interface {
	Sign(hsm.Role, signature.Statement) (signature.Signature, error)
}

// HelloOf is a hello of this vault's start under another number, by its device.
func (v *Vault) HelloOf(to mpc.ID, boot uint64, d signer) []byte {
	return v.Hello(to, boot, [32]byte{byte(boot)}, nil, func(st signature.Statement) signature.Signature {
		s, err := d.Sign(hsm.RoleIdentity, st)
		if err != nil {
			panic(err)
		}
		return s
	})
}

// SealedFor is a genuine frame on a channel that this vault has.
func (v *Vault) SealedFor(to mpc.ID) []byte {
	return v.Seal(to, innerPing, [16]byte{}, 0, nil, []byte("x"))
}

// KindOf is the kind of a frame that this vault has sealed for a peer.
func (v *Vault) KindOf(to mpc.ID, frame []byte) uint8 {
	if in := v.openOwn(to, frame); in != nil {
		return in.Kind
	}
	return 0
}

// AbortOf is a bundle with a party's ABORT of the newest plan for a wallet, signed by a
// device.
func (v *Vault) AbortOf(name string, id mpc.ID, d signer) []byte {
	ps := v.machines[v.keyNamed(name).id].Progress()
	p := ps[len(ps)-1].Plan
	x := handover.Vote{Kind: handover.Abort, From: id}
	sig, err := d.Sign(hsm.RoleIdentity, VoteStatement(x.Kind, x.Digest(p.ID())))
	if err != nil {
		panic(err)
	}
	x.Signature = sig.Encode()
	return (&handover.Bundle{Plan: p, Votes: []handover.Vote{x}}).Encode()
}

// PlanAborted says whether the newest plan for a wallet is given up.
func (v *Vault) PlanAborted(name string) bool {
	ps := v.machines[v.keyNamed(name).id].Progress()
	return ps[len(ps)-1].Aborted
}

// LieInRepair is a frame that this vault has sealed, changed if it is of a round of a
// repair: in P1 other parts than those of its share, signed; in P3 another sum.
func (v *Vault) LieInRepair(to mpc.ID, frame []byte, round uint8) (lie []byte, ok bool) {
	in := v.openOwn(to, frame)
	if in == nil || in.Kind != innerRepair || in.Round != round {
		return nil, false
	}
	if round == 1 {
		return v.Seal(to, in.Kind, in.Attempt, 1, v.otherParts(v.repairs[in.Attempt], in.Broadcast), nil), true
	}
	b := append([]byte(nil), in.Private...)
	b[47+31] ^= 1
	return v.Seal(to, in.Kind, in.Attempt, round, nil, b), true
}

// otherParts is P1 with another first part, signed by this vault.
func (v *Vault) otherParts(s *repairSession, p1 []byte) []byte {
	const head = 47 + 32 + 4
	curve := s.cert.PublicKey().Curve()
	var parts [][]byte
	b := append([]byte(nil), p1[:head]...)
	for i := range s.helpers {
		p, n := curve.NewPoint(), curve.PointSize()
		if err := p.Decode(p1[head+n*i : head+n*(i+1)]); err != nil {
			panic(err)
		}
		if i == 0 {
			p.Add(p, curve.Generator())
		}
		parts = append(parts, p.Encode())
		b = append(b, p.Encode()...)
	}
	digest := s.cert.Digest()
	w := wire.NewWriter(1).Fixed(digest[:]).Uint64(s.cert.Epoch).Uint16(uint16(s.lost))
	writeParties(w, s.helpers)
	job := transcript.Sum(transcript.TagRepairJob, w.Bytes())
	sid := s.run.SID()
	items := append([][]byte{sid[:], job[:], transcript.Uint16(uint16(v.cfg.ID))}, parts...)
	sig := v.signSession(dkgStatement(transcript.Sum(transcript.TagRepairParts, items...))).Bytes
	return append(b, wire.NewWriter(1).Var(sig).Bytes()[1:]...)
}

// OtherTier is a frame in which this vault tells a newcomer a key's custody tier,
// changed.
func (v *Vault) OtherTier(to mpc.ID, frame []byte) (lie []byte, ok bool) {
	in := v.openOwn(to, frame)
	if in == nil || in.Kind != innerHandover || in.Round != roundTier {
		return nil, false
	}
	return v.Seal(to, in.Kind, in.Attempt, in.Round, nil, []byte{2, in.Private[1] ^ 3, 0, 0}), true
}

// LieInOffers is a frame with this vault's offers, each changed.
func (v *Vault) LieInOffers(to mpc.ID, frame []byte, what string) (lie []byte, ok bool) {
	in := v.openOwn(to, frame)
	if in == nil || in.Kind != innerRepair || in.Round != repairOffers {
		return nil, false
	}
	os, last, err := decodeOffers(in.Private)
	if err != nil {
		panic(err)
	}
	for i := range os {
		switch what {
		case "tier":
			os[i].made.tier = 4 - os[i].made.tier
		case "name":
			os[i].name = "other"
		case "later epoch":
			os[i].cert.Epoch++
		}
	}
	return v.Seal(to, in.Kind, in.Attempt, in.Round, nil, encodeOffers(os, last)), true
}

// OpenPlans counts the plans of a key that are neither committed nor aborted.
func (v *Vault) OpenPlans(name string) (n int) {
	m := v.machines[v.keyNamed(name).id]
	if m == nil {
		return 0
	}
	for _, p := range m.Progress() {
		if !p.Committed && !p.Aborted {
			n++
		}
	}
	return n
}
