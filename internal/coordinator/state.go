package coordinator

import "fmt"

// State is where a request stands.
type State string

// The states of ARCHITECTURE.md §2.
const (
	Draft            State = "draft"
	Screening        State = "screening"
	AwaitingApproval State = "awaiting_approval"
	Signing          State = "signing"
	Signed           State = "signed"
	Broadcast        State = "broadcast"
	Confirmed        State = "confirmed"

	Denied    State = "denied"    // policy or a person said no
	Rejected  State = "rejected"  // the chain's node did not take the transaction
	Expired   State = "expired"   // before it was signed
	Cancelled State = "cancelled" // by its initiator or an admin
	Failed    State = "failed"    // on the chain: reverted
)

// States lists all of them.
var States = []State{Draft, Screening, AwaitingApproval, Signing, Signed, Broadcast, Confirmed, Denied, Rejected, Expired, Cancelled, Failed}

// Final says that nothing happens any more.
func (s State) Final() bool {
	switch s {
	case Confirmed, Denied, Rejected, Expired, Cancelled, Failed:
		return true
	}
	return false
}

// frees says that the request ended without a transaction on the chain.
func (s State) frees() bool {
	switch s {
	case Denied, Rejected, Expired, Cancelled:
		return true
	}
	return false
}

// unsigned says that there is no signature yet.
func (s State) unsigned() bool {
	switch s {
	case Draft, Screening, AwaitingApproval, Signing:
		return true
	}
	return false
}

// transitions are the only ones that the store accepts. A request that needs
// nobody's approval goes from screening to signing at once.
var transitions = map[State][]State{
	Draft:            {Screening, Expired, Cancelled},
	Screening:        {AwaitingApproval, Signing, Expired, Cancelled},
	AwaitingApproval: {Signing, Screening, Expired, Cancelled},
	Signing:          {Signed, Denied, Expired, Cancelled, AwaitingApproval, Screening},
	Signed:           {Broadcast, Rejected},
	Broadcast:        {Confirmed, Failed},
}

func (s State) check(to State) error {
	for _, t := range transitions[s] {
		if t == to {
			return nil
		}
	}
	return fmt.Errorf("%w: a request that is %s does not become %s", ErrConflict, s, to)
}
