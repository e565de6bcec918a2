package attest

import "testing"

// TestAttributes pins the numbers of docs/spec/tpm.md and attestation.md.
func TestAttributes(t *testing.T) {
	for name, v := range map[string]struct{ got, want uint32 }{
		"signing key":     {signAttributes, 0x00040472},
		"attestation key": {akAttributes, 0x00050472},
		"approval key":    {approvalAttributes, 0x000404b2},
		"verifier":        {attrUserWithAuth | attrSign, 0x00040040},
		"counter":         {CounterAttributes, 0x02040014},
		"written":         {nvAttrWritten, 0x20000000},
	} {
		if v.got != v.want {
			t.Errorf("%s: 0x%08x, want 0x%08x", name, v.got, v.want)
		}
	}
}
