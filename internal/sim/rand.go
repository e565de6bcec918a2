package sim

import (
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/rand/v2"
	"strings"

	"github.com/cofferhq/coffer/internal/signature"
)

const hashOpts = crypto.SHA256

var asn1Unmarshal = asn1.Unmarshal

type publicKey = signature.PublicKey

func compare(a, b string) int { return strings.Compare(a, b) }

// Seed derives an independent seed for a part of the world.
func derive(seed uint64, part string, n int) [32]byte {
	b := binary.BigEndian.AppendUint64([]byte("coffer/sim/"+part+"/"), seed)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(n)))
}

// stream is a deterministic source of randomness for one vault's start.
func stream(seed uint64, part string, n int) *rand.ChaCha8 {
	return rand.NewChaCha8(derive(seed, part, n))
}
