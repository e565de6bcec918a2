package session

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Version is the version of every message and of the context.
const Version = 1

// Protocol separates the protocols on the wire and in the context.
type Protocol uint8

// The registered protocols. Numbers are never reused.
const (
	DKG    Protocol = 1
	DKLS23 Protocol = 2

	Redistribution Protocol = 8 // refresh and reshare
	Repair         Protocol = 9
)

// Bounds of fields that a caller names.
const (
	MaxPurpose  = 64
	MaxIdentity = 1024
)

// Context is everything that a session is about and that its parties must agree
// on before they say anything else.
type Context struct {
	Suite       mpc.Suite
	Protocol    Protocol
	KeyID       []byte // 32 bytes, or empty in a DKG
	Epoch       uint64
	PublicKey   []byte // a point, or empty in a DKG
	FeldmanHash []byte // 32 bytes, or empty in a DKG
	RosterHash  [32]byte
	N, T        int
	Set         []mpc.ID // S, ascending
	Purpose     string
}

// Encode is the context's canonical encoding.
func (c *Context) Encode() []byte {
	w := wire.NewWriter(Version).
		String(string(c.Suite)).
		Uint8(uint8(c.Protocol)).
		Var(c.KeyID).
		Uint64(c.Epoch).
		Var(c.PublicKey).
		Var(c.FeldmanHash).
		Fixed(c.RosterHash[:]).
		Uint16(uint16(c.N)).
		Uint16(uint16(c.T)).
		Count(len(c.Set))
	for _, id := range c.Set {
		w.Uint16(uint16(id))
	}
	return w.String(c.Purpose).Bytes()
}

// Hash is ctx, the form in which the parties compare the context.
func (c *Context) Hash() [32]byte { return transcript.Sum(transcript.TagCtx, c.Encode()) }

// CheckPurpose bounds the purpose that a caller chooses.
func CheckPurpose(p string) error {
	if len(p) == 0 || len(p) > MaxPurpose {
		return fmt.Errorf("purpose has %d bytes, want 1 to %d", len(p), MaxPurpose)
	}
	return nil
}

// RosterHash binds the ids to the identity keys of their parties.
func RosterHash(parties []mpc.ID, keys map[mpc.ID][]byte) ([32]byte, error) {
	if len(keys) != len(parties) {
		return [32]byte{}, fmt.Errorf("%d identity keys for %d parties", len(keys), len(parties))
	}
	items := make([][]byte, 0, 2*len(parties))
	for _, id := range parties {
		key := keys[id]
		if len(key) == 0 || len(key) > MaxIdentity {
			return [32]byte{}, fmt.Errorf("identity key of participant %d has %d bytes, want 1 to %d", id, len(key), MaxIdentity)
		}
		items = append(items, transcript.Uint16(uint16(id)), key)
	}
	return transcript.Sum(transcript.TagDKGRoster, items...), nil
}

// SID is the session id. Every party adds a fresh nonce, so that no other party
// can make it repeat. nonces are in the order of the context's set.
func SID(ctx [32]byte, attempt [16]byte, job []byte, nonces [][32]byte) [32]byte {
	items := make([][]byte, 0, 3+len(nonces))
	items = append(items, ctx[:], attempt[:], job)
	for i := range nonces {
		items = append(items, nonces[i][:])
	}
	return transcript.Sum(transcript.TagSID, items...)
}

// Echo is h_r over all broadcasts of a round, by id, one's own included.
func Echo(sid [32]byte, round uint8, broadcasts [][]byte) [32]byte {
	items := make([][]byte, 0, 2+len(broadcasts))
	items = append(items, sid[:], transcript.Uint16(uint16(round)))
	items = append(items, broadcasts...)
	return transcript.Sum(transcript.TagEcho, items...)
}
