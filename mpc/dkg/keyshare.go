package dkg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const (
	keyShareVersion = 1

	statePending        = 1
	stateActive         = 2
	stateDormant        = 3
	stateDormantPending = 4
)

// KeyShare is one party's part of a key. Its exported fields are public and must
// not be changed; the share, the chain code and the zero-share seeds come from
// methods. It prints as a placeholder and refuses every encoder but Encode.
type KeyShare struct {
	Suite           mpc.Suite
	ID              mpc.ID
	Threshold       int
	Parties         []mpc.ID // ascending
	Purpose         string
	KeyID           [32]byte
	Epoch           uint64
	PublicKey       group.Point
	PublicShares    map[mpc.ID]group.Point
	FeldmanHash     [32]byte
	RosterHash      [32]byte
	CertificateHash [32]byte

	// Behind two pointers: in a struct that holds a KeyShare in an unexported
	// field fmt does not call Format, and follows one pointer for a verb that does
	// not suit it.
	secret **keySecret
}

func hold(s *keySecret) **keySecret { return &s }

func (k *KeyShare) private() *keySecret { return *k.secret }

type keySecret struct {
	active    bool // certified
	dormant   bool // does not sign, nor has zero-share seeds
	share     group.Scalar
	chainCode [32]byte
	zero      map[mpc.ID]*[32]byte // by peer; none if the suite has no zero shares
}

// Active reports whether the share may sign: all n parties have certified it, and
// it is not Dormant.
func (k *KeyShare) Active() bool { return k.private().active && !k.private().dormant }

// Curve is the suite's.
func (k *KeyShare) Curve() group.Curve { return k.PublicKey.Curve() }

// Share returns a copy of the secret share; the caller must Destroy it.
func (k *KeyShare) Share() group.Scalar {
	return k.Curve().NewScalar().Set(k.private().share)
}

// ChainCode returns the BIP-32 chain code, which hosts must not see.
func (k *KeyShare) ChainCode() [32]byte { return k.private().chainCode }

// ZeroSeed returns the seed that this party shares with a peer. The caller must
// wipe it.
func (k *KeyShare) ZeroSeed(peer mpc.ID) ([32]byte, error) {
	if !k.Suite.ZeroShares() {
		return [32]byte{}, fmt.Errorf("a key of suite %s has no zero-share seeds", k.Suite)
	}
	z := k.private().zero[peer]
	if z == nil {
		return [32]byte{}, fmt.Errorf("participant %d has no zero-share seed with %d, want a peer among %v", k.ID, peer, k.Parties)
	}
	return *z, nil
}

// zeroPeers are the peers with whom the share has a zero-share seed, ascending.
func (k *KeyShare) zeroPeers() []mpc.ID {
	if !k.Suite.ZeroShares() || k.private().dormant {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(k.Parties), func(id mpc.ID) bool { return id == k.ID })
}

// Activate makes a pending share ready to sign, given the certificate with the
// valid signatures of all n parties. The caller stores the share again.
func (k *KeyShare) Activate(c *Certificate, verify func(id mpc.ID, digest [32]byte, sig []byte) bool) error {
	digest := c.Digest()
	if digest != k.CertificateHash {
		return fmt.Errorf("certificate %x is of another key than this share's, %x", digest, k.CertificateHash)
	}
	if err := c.complete(digest, verify); err != nil {
		return err
	}
	k.private().active = true
	return nil
}

// Destroy wipes the secrets. The share is useless afterwards.
func (k *KeyShare) Destroy() {
	k.private().active = false
	if k.private().share != nil {
		k.private().share.Destroy()
	}
	clear(k.private().chainCode[:])
	for _, z := range k.private().zero {
		clear(z[:])
	}
}

// Encode returns the share with all its secrets. The caller seals the bytes and
// wipes them.
func (k *KeyShare) Encode() []byte {
	share := k.private().share.Encode()
	defer clear(share)
	w := wire.NewWriter(keyShareVersion).
		String(string(k.Suite)).
		String(k.Purpose).
		Uint8(k.state()).
		Fixed(k.KeyID[:]).
		Uint64(k.Epoch).
		Uint16(uint16(k.ID)).
		Uint16(uint16(k.Threshold))
	points := make([]group.Point, 0, len(k.Parties)+1)
	for _, id := range k.Parties {
		points = append(points, k.PublicShares[id])
	}
	encoded := group.EncodePoints(append(points, k.PublicKey))
	writeShares(w, k.Parties, encoded[:len(k.Parties)])
	w.Fixed(encoded[len(k.Parties)]).
		Fixed(k.FeldmanHash[:]).
		Fixed(k.RosterHash[:]).
		Fixed(k.CertificateHash[:])
	// Secrets go into a buffer that never moves: it would leave a copy behind.
	out := make([]byte, 0, len(w.Bytes())+32+32+4+32*len(k.Parties))
	out = append(out, w.Bytes()...)
	out = append(out, k.private().chainCode[:]...)
	out = append(out, share...)
	if !k.Suite.ZeroShares() {
		return out
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(k.zeroPeers())))
	for _, id := range k.zeroPeers() {
		out = append(out, k.private().zero[id][:]...)
	}
	return out
}

// DecodeKeyShare is strict, and checks that the share is the one that its public
// share commits to. The caller wipes b.
func DecodeKeyShare(b []byte) (*KeyShare, error) {
	r := wire.NewReader(b, keyShareVersion)
	k := &KeyShare{secret: hold(&keySecret{zero: make(map[mpc.ID]*[32]byte)})}
	var c group.Curve
	k.Suite, c = readSuite(r)
	k.Purpose = r.String("purpose", session.MaxPurpose)
	if err := k.setState(r.Uint8("state")); err != nil {
		r.Fail(err)
	}
	r.Into("key id", k.KeyID[:])
	k.Epoch = r.Uint64("epoch")
	k.ID = mpc.ID(r.Uint16("id"))
	k.Threshold = int(r.Uint16("threshold"))
	k.Parties, k.PublicShares = readShares(r, c)
	k.PublicKey = readPoint(r, c, "public key")
	r.Into("feldman hash", k.FeldmanHash[:])
	r.Into("roster hash", k.RosterHash[:])
	r.Into("certificate digest", k.CertificateHash[:])
	r.Into("chain code", k.private().chainCode[:])
	k.private().share = readScalar(r, c, "share")
	if k.Suite.ZeroShares() {
		if n := r.Count("zero-share seeds", mpc.MaxParties-1, 32); r.Err() == nil && n != len(k.zeroPeers()) {
			r.Failf("%d zero-share seeds for %d parties, want one a peer, and none in a dormant share", n, len(k.Parties))
		}
		for _, id := range k.zeroPeers() {
			k.private().zero[id] = new([32]byte)
			r.Into("zero-share seed", k.private().zero[id][:])
		}
	}
	err := r.Done()
	if err == nil {
		err = k.check()
	}
	if err != nil {
		k.Destroy()
		return nil, fmt.Errorf("couldn't decode key share: %w", err)
	}
	return k, nil
}

func (k *KeyShare) check() error {
	if err := session.CheckPurpose(k.Purpose); err != nil {
		return err
	}
	if err := sharing.CheckThreshold(k.Threshold, len(k.Parties)); err != nil {
		return err
	}
	if !sharing.Contains(k.Parties, k.ID) {
		return fmt.Errorf("id %d is not one of the parties %v", k.ID, k.Parties)
	}
	// The first t−1 public shares and the key fix the polynomial; every other one
	// lies on it exactly when it gives the key together with those.
	for _, id := range k.Parties[k.Threshold-1:] {
		set := append(slices.Clone(k.Parties[:k.Threshold-1]), id)
		key, err := sharing.InterpolatePoint(k.Curve(), set, k.PublicShares)
		if err != nil {
			return err
		}
		if key.Equal(k.PublicKey) != 1 {
			return fmt.Errorf("public shares of %v do not interpolate to the public key", set)
		}
	}
	return k.checkShare()
}

// checkShare: the share is the one that its public share commits to.
func (k *KeyShare) checkShare() error {
	if k.Curve().NewPoint().ScalarBaseMult(k.private().share).Equal(k.PublicShares[k.ID]) != 1 {
		return errors.New("share does not match its public share")
	}
	return nil
}

// ChainCommitment is what a certificate says of the chain code. It hides it: the
// chain code has 256 bits of entropy.
func ChainCommitment(sid, chainCode [32]byte) [32]byte {
	return transcript.Sum(transcript.TagChainCommit, sid[:], chainCode[:])
}

const redacted = "[key share]"

var errSecret = errors.New("key share: refuses to be encoded; use Encode and seal the bytes")

// Format answers every verb of fmt.
func (k KeyShare) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String hides the share.
func (k KeyShare) String() string { return redacted }

// GoString hides the share.
func (k KeyShare) GoString() string { return redacted }

// MarshalText refuses.
func (k KeyShare) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalJSON refuses.
func (k KeyShare) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalBinary refuses.
func (k KeyShare) MarshalBinary() ([]byte, error) { return nil, errSecret }

// GobEncode refuses.
func (k KeyShare) GobEncode() ([]byte, error) { return nil, errSecret }
