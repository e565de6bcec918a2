package governance

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/refusal"
)

// Witnesses is how many vaults must show when they adopted a change before a vault
// that hears of it late takes their word: more than half of all.
func (st *State) Witnesses() int { return len(st.Vaults)/2 + 1 }

// AdoptedAt says from when on a change waits, by the proofs of vaults that adopted it:
// the time at which Witnesses of them had, each by its own signed log. Proofs beyond
// that number can only make it earlier. The error is a *refusal.Refusal that says
// which proof is wrong, or how many are missing.
func AdoptedAt(st *State, seq uint64, change [32]byte, proofs []audit.AdoptionProof) (uint64, error) {
	var times []uint64
	for i := range proofs {
		p := &proofs[i]
		id := p.Checkpoint.Vault
		card, ok := st.Vault(id)
		if !ok {
			return 0, refusal.Newf("change.adopted", "proofs by vaults of this cluster", "adoption of change %d: there is no vault %d", seq, id)
		}
		for j := range i {
			if proofs[j].Checkpoint.Vault == id {
				return 0, refusal.Newf("change.adopted", "one proof a vault", "adoption of change %d: vault %d comes twice", seq, id)
			}
		}
		at, err := p.Verify(audit.Keys{Cluster: st.Cluster, Vault: id, Decision: card.Decision, Log: card.Log}, seq, change)
		if err != nil {
			return 0, refusal.Newf("change.adopted", "", "adoption of change %d: %v", seq, err)
		}
		times = append(times, at)
	}
	if want := st.Witnesses(); len(times) < want {
		return 0, refusal.Newf("change.adopted", fmt.Sprintf("proofs by %d vaults", want), "adoption of change %d: %d vaults show when they adopted it", seq, len(times))
	}
	return nth(times, st.Witnesses()), nil
}

// nth is the n-th smallest, from 1.
func nth(times []uint64, n int) uint64 {
	for _, t := range times {
		below, same := 0, 0
		for _, u := range times {
			if u < t {
				below++
			} else if u == t {
				same++
			}
		}
		if below < n && n <= below+same {
			return t
		}
	}
	return ^uint64(0)
}
