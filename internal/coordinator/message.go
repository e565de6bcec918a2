package coordinator

import (
	"strings"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/request"
)

// A request may ask for the signature of a message (EIP-712). No node is asked
// about it and nothing is sent: with the signature it has reached its end.

// isMessage says that a request is one of those.
func isMessage(q *request.Request) bool {
	return strings.HasPrefix(q.Chain, evm.Namespace+":") && evm.IsMessage(q.Intent)
}

// messageVersion is the one version that there is of a message.
func messageVersion(q *request.Request) (*version, error) {
	m, err := evm.DecodeTypedData(q.Intent)
	if err != nil {
		return nil, err
	}
	return &version{stored: m.Unsigned()}, nil
}

// signedMessage ends the reason of a message that is signed.
const signedMessage = "; a message is not sent: coffer export prints the signature"

// Ended says that nothing happens to a request any more.
func Ended(s State, reason string) bool {
	return s.Final() || s == Signed && strings.HasSuffix(reason, signedMessage)
}
