// Package mpctest runs whole protocols among parties in one process, for the
// tests of the packages above. It uses exported functions only.
package mpctest

import (
	"crypto/ed25519"
	"crypto/sha3"
	"fmt"
	"io"
	"sync"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Reader is the byte stream SHAKE256("coffer/test/" ‖ label): the same for the
// same label, and easy to reproduce elsewhere.
func Reader(format string, args ...any) io.Reader {
	h := sha3.NewSHAKE256()
	fmt.Fprint(h, "coffer/test/")
	fmt.Fprintf(h, format, args...)
	return h
}

// Key is the Ed25519 key of a party in the role "identity" or "session"; its
// seed is 32 bytes of Reader(role/id).
func Key(role string, id mpc.ID) ed25519.PrivateKey {
	name := fmt.Sprintf("%s/%d", role, id)
	if k, ok := keys.Load(name); ok {
		return k.(ed25519.PrivateKey)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(Reader("%s", name), seed); err != nil {
		panic(err)
	}
	k := ed25519.NewKeyFromSeed(seed)
	keys.Store(name, k)
	return k
}

var keys sync.Map // name → ed25519.PrivateKey

// Verify checks a signature made with Key.
func Verify(role string) func(mpc.ID, [32]byte, []byte) bool {
	return func(id mpc.ID, digest [32]byte, sig []byte) bool {
		return ed25519.Verify(Key(role, id).Public().(ed25519.PublicKey), digest[:], sig)
	}
}

// IDs is 1 … n.
func IDs(n int) []mpc.ID {
	ids := make([]mpc.ID, n)
	for i := range ids {
		ids[i] = mpc.ID(i + 1)
	}
	return ids
}

// DKGConfig is the configuration of one party, for a key of DKLs23.
func DKGConfig(self mpc.ID, parties []mpc.ID, t int) dkg.Config {
	return DKGConfigOf(mpc.DKLS23Secp256k1, self, parties, t)
}

// Purpose is what Keys makes keys for.
const Purpose = "ecdsa"

// DKGConfigOf is DKGConfig for a suite.
func DKGConfigOf(suite mpc.Suite, self mpc.ID, parties []mpc.ID, t int) dkg.Config {
	identities := make(map[mpc.ID][]byte, len(parties))
	for _, id := range parties {
		identities[id] = Key("identity", id).Public().(ed25519.PublicKey)
	}
	return dkg.Config{
		Suite:      suite,
		Self:       self,
		Parties:    parties,
		Threshold:  t,
		Purpose:    Purpose,
		AttemptID:  [16]byte{1},
		Identities: identities,
		Sign:       func(digest [32]byte) []byte { return ed25519.Sign(Key("session", self), digest[:]) },
		Verify:     Verify("session"),
	}
}

// Except returns the messages of everyone but id.
func Except(messages map[mpc.ID][]byte, id mpc.ID) map[mpc.ID][]byte {
	out := make(map[mpc.ID][]byte, len(messages))
	for from, m := range messages {
		if from != id {
			out[from] = m
		}
	}
	return out
}

// Inbound returns what the peers sent to id: private[from][to].
func Inbound(private map[mpc.ID]map[mpc.ID][]byte, id mpc.ID) map[mpc.ID][]byte {
	out := make(map[mpc.ID][]byte, len(private))
	for from, m := range private {
		if from != id {
			out[from] = m[id]
		}
	}
	return out
}

// DKG is a run of the protocol, message by message. A test may alter what lies
// in the maps between two rounds.
type DKG struct {
	Parties   []mpc.ID
	Sessions  map[mpc.ID]*dkg.Session
	Broadcast [3]map[mpc.ID][]byte
	Private   map[mpc.ID]map[mpc.ID][]byte
}

// NewDKG makes the sessions, for a key of DKLs23; party i draws from
// Reader(label/i).
func NewDKG(label string, parties []mpc.ID, t int) (*DKG, error) {
	return NewDKGOf(mpc.DKLS23Secp256k1, label, parties, t)
}

// NewDKGOf is NewDKG for a suite.
func NewDKGOf(suite mpc.Suite, label string, parties []mpc.ID, t int) (*DKG, error) {
	d := &DKG{Parties: parties, Sessions: make(map[mpc.ID]*dkg.Session)}
	for _, id := range parties {
		s, err := dkg.New(DKGConfigOf(suite, id, parties, t), Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		d.Sessions[id] = s
	}
	return d, nil
}

// Round runs round r at every party and returns the first error, by id.
func (d *DKG) Round(r int) error {
	next := make(map[mpc.ID][]byte)
	if r == 3 {
		d.Private = make(map[mpc.ID]map[mpc.ID][]byte)
	}
	var first error
	for _, id := range d.Parties {
		var err error
		switch s := d.Sessions[id]; r {
		case 0:
			next[id], err = s.Round0()
		case 1:
			next[id], err = s.Round1(Except(d.Broadcast[0], id))
		case 2:
			next[id], err = s.Round2(Except(d.Broadcast[1], id))
		case 3:
			d.Private[id], err = s.Round3(Except(d.Broadcast[2], id))
		}
		if err != nil && first == nil {
			first = fmt.Errorf("party %d: %w", id, err)
		}
	}
	if r < 3 {
		d.Broadcast[r] = next
	}
	return first
}

// Finish ends the protocol at one party.
func (d *DKG) Finish(id mpc.ID) (*dkg.Output, error) {
	return d.Sessions[id].Finish(Inbound(d.Private, id))
}

// Keys runs a whole key generation, for DKLs23, and activates the shares.
func Keys(label string, parties []mpc.ID, t int) (map[mpc.ID]*dkg.KeyShare, *dkg.Certificate, error) {
	return KeysOf(mpc.DKLS23Secp256k1, label, parties, t)
}

// KeysOf is Keys for a suite.
func KeysOf(suite mpc.Suite, label string, parties []mpc.ID, t int) (map[mpc.ID]*dkg.KeyShare, *dkg.Certificate, error) {
	d, err := NewDKGOf(suite, label, parties, t)
	if err != nil {
		return nil, nil, err
	}
	cert, shares, err := d.Complete()
	return shares, cert, err
}

// Complete runs all rounds; every party signs the certificate, and activates its
// share with all the signatures.
func (d *DKG) Complete() (cert *dkg.Certificate, shares map[mpc.ID]*dkg.KeyShare, err error) {
	for r := range 4 {
		if err := d.Round(r); err != nil {
			return nil, nil, err
		}
	}
	shares = make(map[mpc.ID]*dkg.KeyShare)
	for _, id := range d.Parties {
		out, err := d.Finish(id)
		if err != nil {
			return nil, nil, err
		}
		shares[id], cert = out.Share, out.Certificate
	}
	digest := cert.Digest()
	for _, id := range d.Parties {
		if err := cert.AddSignature(id, SignDigest("identity", id, digest)); err != nil {
			return nil, nil, err
		}
	}
	for _, id := range d.Parties {
		if err := shares[id].Activate(cert, Verify("identity")); err != nil {
			return nil, nil, err
		}
	}
	return cert, shares, nil
}

// SignDigest signs with Key.
func SignDigest(role string, id mpc.ID, digest [32]byte) []byte {
	return ed25519.Sign(Key(role, id), digest[:])
}
