package session

// The protocols of mpc/frost and mpc/roast.
const (
	FROST Protocol = 32
	ROAST Protocol = 33 // requests of the coordinator and answers of the signers
)
