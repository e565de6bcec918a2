package policy

// The built-in guards. They come before all others and cannot be turned off.
const (
	undecodedGuard = "undecoded"
	effectsGuard   = "effects-match-request"
)
