package audit

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

// TestGolden holds the encodings to the bytes of testdata/golden.txt, which
// docs/spec/log.md speaks of.
func TestGolden(t *testing.T) {
	approved := limitedDecision()
	approved.Approval = signature.Signature{Algorithm: signature.P256, Bytes: []byte(strings.Repeat("s", 64))}
	var b strings.Builder
	for _, x := range []struct {
		name  string
		bytes []byte
	}{
		{"decision-refused", sampleDecision().Encode()},
		{"decision-limits", limitedDecision().Encode()},
		{"decision-approved", approved.Encode()},
		{"stub", (&Stub{1, KindIncident, MaxLeaf + 1, fill(1)}).Encode()},
		{"entry", limitedDecision().Entry().Encode()},
	} {
		fmt.Fprintf(&b, "%s %s\n", x.name, hex.EncodeToString(x.bytes))
	}
	const path = "testdata/golden.txt"
	if os.Getenv("COFFER_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Fatalf("the encodings are\n%s\nwant those of %s\n%s", b.String(), path, want)
	}
}
