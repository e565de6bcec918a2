package session

// The protocols of mpc/dkls23 beside the single signature.
const (
	DKLS23Batch         Protocol = 16 // N signatures in one session
	DKLS23Delayed       Protocol = 17 // presigning V1: R opens with the request
	DKLS23Full          Protocol = 18 // presigning V2: rerandomised with the request
	DKLS23DelayedOnline Protocol = 19 // signing with a presignature V1
	DKLS23FullOnline    Protocol = 20 // signing with a presignature V2
)
