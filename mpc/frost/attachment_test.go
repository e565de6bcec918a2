package frost_test

import (
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// Whoever looks into a broadcast gets what its author attached, or an error.
func FuzzAttachment(f *testing.F) {
	terms := mpctest.FrostTerms([]mpc.ID{1, 2})
	terms.Exchanges = 1
	s := start(f, "attachment", keys(f, suites[0], 3, 2), terms, nil)
	until(f, s)
	for r := range 2 {
		f.Add(r, s.Broadcast[r][2])
	}
	f.Fuzz(func(t *testing.T, round int, b []byte) {
		if a, err := frost.Attachment(b, round); err == nil && len(a) > frost.MaxAttachment {
			t.Errorf("an attachment of %d bytes", len(a))
		}
	})
}
