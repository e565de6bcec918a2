package policy

import (
	"encoding/hex"
	"strings"
	"testing"
)

// The bytes of the example in docs/spec/policy.md.
func TestGolden(t *testing.T) {
	d := &Document{Assets: []Asset{{"ETH", eth, 18}}, Rules: []Rule{{Name: "small", When: total2(t), Then: Verdict{Effect: Allow}}}}
	native := "00000012" + hex.EncodeToString([]byte(eth))
	want := "02" + "00000000" + "00000000" + "00" + "0000" + "0000000000000000" +
		"00000001" + "00000003455448" + native + "12" + strings.Repeat("00000000", 5) + "00000000" +
		"00000001" + "00000005736d616c6c" + "0d" + "2e" + native + "21" + strings.Repeat("00", 24) + "1bc16d674ec80000" + native + "01" + "00" + "00000000"
	if got := hex.EncodeToString(d.Encode()); got != want {
		t.Errorf("the example is\n %s, want\n %s", got, want)
	}
	const root = "cf1a5613f564972987512686d6a829ce83eae4c8dcfd4f04e886bca229631463"
	if got := d.Root(); hex.EncodeToString(got[:]) != root {
		t.Errorf("its root is %x, want %s", got, root)
	}
	const all = "8d46d8eda6e05aaac228d9b87ef562ff17eef6ab490755fd3aabb4467e066567"
	if got := everything().Root(); hex.EncodeToString(got[:]) != all {
		t.Errorf("the root of a document with everything is %x, want %s", got, all)
	}
}
