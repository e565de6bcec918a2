package verify

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHistoryVerifies: an honest cluster's logs are found good, and everything in
// them was looked at.
func TestHistoryVerifies(t *testing.T) {
	w := newWorld(t).history()
	r := w.verify(w.copies())
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatal(text.String())
	}
	want := Counts{Entries: 35, Changes: 1, Keys: 1, Allowed: 6, Refused: 3, Receipts: 3}
	if d := cmp.Diff(want, r.Counts); d != "" {
		t.Error(d)
	}
	if r.Notes != nil {
		t.Errorf("notes: %v", r.Notes)
	}
	t.Log(text.String())
}
