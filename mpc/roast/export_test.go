package roast

import "github.com/cofferhq/coffer/mpc/frost"

// Next is the nonce that the signer has offered.
func (s *Signer) Next() *frost.Nonce { return s.next }
