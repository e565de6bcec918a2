package derive

import (
	"testing"

	"github.com/cofferhq/coffer/internal/wire"
)

// An encoded path is one that may be followed: no hardened step, no more steps than
// there may be, nothing after it.
func TestDecodedPathIsChecked(t *testing.T) {
	encode := func(steps ...uint32) []byte {
		w := wire.NewWriter(pathVersion).Count(len(steps))
		for _, i := range steps {
			w.Uint32(i)
		}
		return w.Bytes()
	}
	if _, err := DecodePath(encode(0, hardened-1)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"hardened": encode(0, hardened),
		"too deep": encode(make([]uint32, MaxDepth+1)...),
		"more":     append(encode(1), 0),
		"fewer":    encode(1)[:8],
		"version":  append([]byte{9}, encode(1)[1:]...),
	} {
		if p, err := DecodePath(b); err == nil {
			t.Errorf("%s: decodes as %s", name, p)
		}
	}
}
