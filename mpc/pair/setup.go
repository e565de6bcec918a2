package pair

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/pprf"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const steps = 5

type digest = [sha256.Size]byte

func digestOf(b []byte) digest { return sha256.Sum256(b) }

// Setup is what a pair shares until either vault stops: in memory only. It
// serves all keys and sessions of the pair; each use has a dsid of its own, which
// contains Hash. Not safe for concurrent use.
type Setup struct {
	Self, Peer mpc.ID
	Bob        *pprf.Full      // with Self as Bob
	Alice      *pprf.Punctured // with Self as Alice
	Hash       [32]byte        // of the transcript, equal on both sides

	served map[[16]byte]struct{}
}

// MaxUses bounds how often a Setup is used, so that what it remembers stays
// below 64 MB. After that the pair makes a new one.
const MaxUses = 1 << 20

// ErrServed and ErrExhausted are the refusals of Claim.
var (
	ErrServed    = errors.New("this dsid was used before")
	ErrExhausted = fmt.Errorf("the pair setup was used %d times: make a new one", MaxUses)
	errDestroyed = errors.New("the pair setup was destroyed")
)

// Claim marks a dsid as used, before its first use. The same dsid under the same
// seeds would repeat every pad, so a second Claim is refused.
func (s *Setup) Claim(dsid [32]byte) error {
	if s.Bob == nil || s.Alice == nil {
		return errDestroyed
	}
	k := [16]byte(dsid[:16]) // an output of RO: half of it tells two apart
	if _, ok := s.served[k]; ok {
		return ErrServed
	}
	if len(s.served) >= MaxUses {
		return ErrExhausted
	}
	if s.served == nil {
		s.served = make(map[[16]byte]struct{})
	}
	s.served[k] = struct{}{}
	return nil
}

// Destroy overwrites the leaves and Δ. The Setup cannot be used any more.
func (s *Setup) Destroy() {
	if s == nil {
		return
	}
	s.Bob.Destroy()
	s.Alice.Destroy()
	s.Bob, s.Alice, s.served = nil, nil, nil
}

// Format writes the participants only, whatever the verb.
func (s Setup) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pair.Setup(%d with %d)", s.Self, s.Peer)
}

// Format writes the participants only, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pair.Session(%d with %d)", s.cfg.Self, s.cfg.Peer)
}

var errNoMarshal = errors.New("pair setup refuses to be encoded: it must never leave this process")

// MarshalText refuses.
func (s Setup) MarshalText() ([]byte, error) { return nil, errNoMarshal }

// MarshalJSON refuses.
func (s Setup) MarshalJSON() ([]byte, error) { return nil, errNoMarshal }

// MarshalBinary refuses.
func (s Setup) MarshalBinary() ([]byte, error) { return nil, errNoMarshal }

// GobEncode refuses.
func (s Setup) GobEncode() ([]byte, error) { return nil, errNoMarshal }

// newPSID binds the run: both vaults, both boots, both nonces, both keys.
func (s *Session) newPSID(peer *message1) [32]byte {
	lo, hi := side{s.cfg.Self, &s.cfg.SelfNonce, &s.nonce, s.ot.Y()}, side{s.cfg.Peer, &s.cfg.PeerNonce, &peer.Nonce, peer.OT.Y}
	if hi.id < lo.id {
		lo, hi = hi, lo
	}
	return transcript.Sum(transcript.TagPairSID, []byte(mpc.DKLS23Secp256k1), s.cfg.Context[:],
		transcript.Uint16(uint16(lo.id)), transcript.Uint16(uint16(hi.id)),
		lo.boot[:], hi.boot[:], lo.nonce[:], hi.nonce[:], lo.y[:], hi.y[:])
}

type side struct {
	id          mpc.ID
	boot, nonce *[32]byte
	y           [33]byte
}

// transcriptHash covers messages 1 to 4 of both sides.
func (s *Session) transcriptHash() [32]byte {
	lo, hi := &s.sent, &s.got
	if s.cfg.Peer < s.cfg.Self {
		lo, hi = hi, lo
	}
	items := [][]byte{s.psid[:]}
	for i := range steps - 1 {
		items = append(items, lo[i][:], hi[i][:])
	}
	return transcript.Sum(transcript.TagPairSetup, items...)
}
