package governance

import (
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// CardNonce is for what a device makes the evidence on its vault's card. It names the
// keys that the card names; the channel is none (zeros). That the device still is
// what it was shows only when it is asked again, at every connection.
func CardNonce(identity, decision signature.PublicKey) [32]byte {
	return wire.Hash("coffer/card-evidence/v1", identity.Bytes(), decision.Bytes())
}
