package hsm_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func TestErrorf(t *testing.T) {
	err := error(hsm.Errorf(hsm.ErrPIN, "ask the officer", "token %q: %w", "node", io.EOF))
	if err.Error() != `token "node": EOF` {
		t.Errorf("message is %q", err)
	}
	if !errors.Is(err, hsm.ErrPIN) || !errors.Is(err, io.EOF) || errors.Is(err, hsm.ErrLocked) {
		t.Error("kind or cause is lost")
	}
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || hinted.Hint() != "ask the officer" {
		t.Error("hint is lost")
	}
}
