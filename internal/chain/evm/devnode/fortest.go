package devnode

import (
	"context"
	"errors"
	"os"
)

// TB is the part of testing.TB that ForTest uses; the product does not import
// testing.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Errorf(format string, args ...any)
}

// ForTest starts a node that ends with the test. Without anvil the test is
// skipped and says why; where CI=true it fails, since there nobody reads skips.
func ForTest(t TB, chainID uint64, opt Options) *Node {
	t.Helper()
	// The test's own context ends before its cleanups run.
	n, err := Start(context.WithoutCancel(t.Context()), chainID, opt)
	switch {
	case errors.Is(err, ErrMissing) && os.Getenv("CI") != "true":
		t.Skipf("%v", err)
	case err != nil:
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return n
}
