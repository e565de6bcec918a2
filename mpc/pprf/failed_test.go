package pprf

import (
	"errors"
	"testing"
)

// Whose check fails has nothing: neither leaves nor Δ of trees that Bob may have
// made to learn it.
func TestFailedCheckGivesNothing(t *testing.T) {
	seeds, choices := dealt(stream(91))
	_, m := Expand(testInstance, seeds)
	m.S[0] ^= 1
	if out, err := Puncture(testInstance, choices, m); !errors.Is(err, ErrCheck) || out != nil {
		t.Errorf("got %v and %v, want nothing and ErrCheck", out, err)
	}
}
