package vault

import "github.com/cofferhq/coffer/mpc"

// What tests reach into. Nothing of it is in the product.

// CorruptPair makes this vault a cheater towards a peer: its base-OT seeds no
// longer fit, as if it sent a U of its own making.
func (v *Vault) CorruptPair(id mpc.ID) {
	// All rows: a cheat on one row passes half of the time, as it should.
	for i := range v.peers[id].setup.Bob.K0 {
		v.peers[id].setup.Bob.K0[i][0] ^= 1
	}
}

// PairReady says whether the pair setup with a peer is done.
func (v *Vault) PairReady(id mpc.ID) bool { return v.peers[id] != nil && v.peers[id].setup != nil }

// PairHash is the hash of the pair setup's transcript.
func (v *Vault) PairHash(id mpc.ID) [32]byte { return v.peers[id].setup.Hash }

// Delta is this vault's secret of a pair setup, for proving that no two are
// alike.
func (v *Vault) Delta(id mpc.ID) [16]byte { return v.peers[id].setup.Alice.Delta }

// Quarantined says whether the pair is halted.
func (v *Vault) Quarantined(id mpc.ID) bool { return v.peers[id].quarantined }

// LedgerSeq is how far this vault knows a party's ledger.
func (v *Vault) LedgerSeq(id mpc.ID) uint64 { return v.ledgers[id].head().Seq }

// SessionCount is how many sessions run.
func (v *Vault) SessionCount() int { return len(v.signs) + len(v.keygens) }

// MaxEarly bounds waiting frames.
const MaxEarly = maxEarly

// EarlyCount is how many frames wait for their command.
func (v *Vault) EarlyCount() int { return len(v.early) }
