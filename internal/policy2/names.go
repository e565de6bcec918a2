package policy

// The built-in guards. They come before all others and cannot be turned off.
const (
	undecodedGuard = "undecoded"
	effectsGuard   = "effects-match-request"
)

// program is the compiled form of a Document (Compile).
type program struct{ _ int }
