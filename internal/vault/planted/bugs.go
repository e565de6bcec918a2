package planted

// The bugs.
const (
	None       = ""
	Quarantine = "quarantine" // a quarantine is not written to disk
	Approval   = "approval"   // missing approvals are not missed
	Nonce      = "nonce"      // two sessions draw the same nonces
	Order      = "order"      // messages leave before the writes they rest on
	Gate       = "gate"       // a start waits for nobody, and no evidence stops it
	Digest     = "digest"     // what is signed is taken from the coordinator

	OwnLedger   = "ownledger"   // limits count this vault's own ledger only
	LateRelease = "laterelease" // the allowance is released after the final share
	SessionKey  = "sessionkey"  // the union has one entry an attempt, whoever wrote it
)
