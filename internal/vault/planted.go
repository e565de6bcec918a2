package vault

import (
	"bytes"
	"io"

	"golang.org/x/crypto/sha3"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/vault/planted"
)

// What the planted bugs do. None of it is reached in a build without their tags
// (package planted).

// sessionRand is the randomness of a signing session.
func (v *Vault) sessionRand() io.Reader {
	if planted.Bug == planted.Nonce {
		// Fresh for the session id, which would give it away; then always the same.
		return io.MultiReader(io.LimitReader(v.rand, 32), bytes.NewReader(bytes.Repeat([]byte{7}, 4096)), v.rand)
	}
	return v.rand
}

// plantedOrder holds this step's writes back until the next step.
func (v *Vault) plantedOrder(out Ready) Ready {
	held := v.held
	v.held = Ready{Writes: out.Writes, Entries: out.Entries, Checkpoint: out.Checkpoint}
	out.Writes, out.Entries, out.Checkpoint = held.Writes, held.Entries, held.Checkpoint
	return out
}

// plantedDigest hashes whatever bytes it is handed, and decides by the request.
func plantedDigest(codec chain.Codec, q *request.Request, unsigned []byte, methods []chain.Method) (*chain.Prepared, error) {
	e, err := codec.Intent(q.Chain, q.Sender, q.Intent, q.MaxFee, methods)
	if err != nil {
		return nil, err
	}
	h := sha3.NewLegacyKeccak256()
	h.Write(unsigned)
	return &chain.Prepared{Effects: e, Canonical: unsigned, Digests: [][32]byte{[32]byte(h.Sum(nil))}, Slots: []string{"any"}}, nil
}

// plantedRelease gives the allowance back though the share has left.
func (v *Vault) plantedRelease(attempt [16]byte) {
	if planted.Bug == planted.LateRelease {
		v.release(attempt)
	}
}
