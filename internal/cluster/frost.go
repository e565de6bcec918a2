package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
)

// FROSTShare is what a vault answers an attempt with a FROST key: its signature
// share, and its own R0, by which a coordinator names those whose shares are wrong.
// Only a vault's own R0 counts: what it says of another's is hearsay.
type FROSTShare struct {
	Share       []byte
	Commitments []byte
}

const frostShareVersion = 1

// Encode is the canonical encoding (docs/spec/cluster.md).
func (s *FROSTShare) Encode() []byte {
	return wire.NewWriter(frostShareVersion).Var(s.Share).Var(s.Commitments).Bytes()
}

// DecodeFROSTShare is the inverse of Encode.
func DecodeFROSTShare(b []byte) (*FROSTShare, error) {
	r := wire.NewReader(b, frostShareVersion)
	s := &FROSTShare{Share: r.Var("share", 1<<16), Commitments: r.Var("commitments", 1<<17)}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode FROST share: %w", err)
	}
	return s, nil
}
