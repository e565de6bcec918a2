package mpctest

import (
	"fmt"
	"maps"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/frost"
)

// Frost is a run of FROST, message by message. A test may alter what lies in the
// maps between two rounds.
type Frost struct {
	Signers  []mpc.ID
	Sessions map[mpc.ID]*frost.Session
	Configs  map[mpc.ID]frost.Config
	// Broadcast[r][from]: R0, the exchanges, and last the shares.
	Broadcast []map[mpc.ID][]byte
	// Seen[r][to][from], where set, is what a signer gets instead.
	Seen []map[mpc.ID]map[mpc.ID][]byte
	// Errors of the last round, by signer.
	Errors map[mpc.ID]error
	// Bare leaves out the attachments.
	Bare bool
}

// FrostTerms are the terms of one signature over "message".
func FrostTerms(signers []mpc.ID) frost.Terms {
	return frost.Terms{
		Signers:     signers,
		AttemptID:   [16]byte{2},
		RequestHash: [32]byte{3},
		Jobs:        []frost.Job{{Message: []byte("message")}},
	}
}

// NewFrost makes the sessions; signer i draws from Reader(label/i). edit may
// change a configuration.
func NewFrost(label string, keys map[mpc.ID]*dkg.KeyShare, terms frost.Terms, edit func(*frost.Config)) (*Frost, error) {
	f := &Frost{
		Signers:  terms.Signers,
		Sessions: make(map[mpc.ID]*frost.Session),
		Configs:  make(map[mpc.ID]frost.Config),
	}
	for range terms.Exchanges + 2 {
		f.Broadcast = append(f.Broadcast, make(map[mpc.ID][]byte))
		f.Seen = append(f.Seen, make(map[mpc.ID]map[mpc.ID][]byte))
	}
	for _, id := range terms.Signers {
		cfg := frost.Config{Terms: terms, Key: keys[id], Purpose: keys[id].Purpose}
		if edit != nil {
			edit(&cfg)
		}
		s, err := frost.New(cfg, Reader("%s/%d", label, id))
		if err != nil {
			return nil, err
		}
		f.Sessions[id], f.Configs[id] = s, cfg
	}
	return f, nil
}

// Last is the round of the shares.
func (f *Frost) Last() int { return len(f.Broadcast) - 1 }

// Inbox is what a signer gets of a round.
func (f *Frost) Inbox(round int, id mpc.ID) map[mpc.ID][]byte {
	in := Except(f.Broadcast[round], id)
	maps.Copy(in, f.Seen[round][id])
	return in
}

// Round runs round r at every signer and returns the first error, by id.
func (f *Frost) Round(r int) error {
	f.Errors = make(map[mpc.ID]error)
	var first error
	for _, id := range f.Signers {
		b, err := f.step(r, id)
		if err == nil {
			f.Broadcast[r][id] = b
		}
		f.Errors[id] = err
		if err != nil && first == nil {
			first = fmt.Errorf("signer %d: %w", id, err)
		}
	}
	return first
}

func (f *Frost) step(r int, id mpc.ID) ([]byte, error) {
	var attachment []byte
	if !f.Bare {
		attachment = fmt.Appendf(nil, "attachment %d of %d", r, id)
	}
	switch s := f.Sessions[id]; r {
	case 0:
		return s.Round0(attachment)
	case f.Last():
		return s.Share(f.Inbox(r-1, id))
	default:
		return s.Exchange(f.Inbox(r-1, id), attachment)
	}
}

// Run runs all rounds, and combines outside and at every signer.
func (f *Frost) Run() ([][]byte, error) {
	for r := range f.Broadcast {
		if err := f.Round(r); err != nil {
			return nil, err
		}
	}
	out, err := f.Combine()
	if err != nil {
		return nil, err
	}
	for _, id := range f.Signers {
		own, err := f.Sessions[id].Combine(f.Inbox(f.Last(), id))
		if err != nil {
			return nil, fmt.Errorf("signer %d: %w", id, err)
		}
		for k := range out {
			if string(own[k]) != string(out[k]) {
				return nil, fmt.Errorf("signer %d combines job %d to %x, want %x", id, k, own[k], out[k])
			}
		}
	}
	return out, nil
}

// Public is what everybody knows of the key.
func (f *Frost) Public() *frost.Public { return frost.PublicOf(f.Configs[f.Signers[0]].Key) }

// Combine combines what was broadcast.
func (f *Frost) Combine() ([][]byte, error) {
	return frost.Combine(f.Public(), f.Configs[f.Signers[0]].Terms, f.Broadcast[0], f.Broadcast[f.Last()])
}
