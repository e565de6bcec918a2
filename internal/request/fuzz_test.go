package request

import "testing"

// law is what every decoder keeps: what it accepts, encodes to the same bytes.
func law[T interface{ Encode() []byte }](f *testing.F, decode func([]byte) (T, error), seeds ...T) {
	for _, s := range seeds {
		f.Add(s.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decode(b)
		if err == nil && string(x.Encode()) != string(b) {
			t.Fatalf("encodes to %x", x.Encode())
		}
	})
}

func FuzzDecode(f *testing.F) { law(f, Decode, sample()) }

func FuzzDecodeApproval(f *testing.F) { law(f, DecodeApproval, &sampleBundle().Approvals[0]) }

func FuzzDecodeRiskVerdict(f *testing.F) { law(f, DecodeRiskVerdict, &sampleBundle().Verdicts[0]) }

func FuzzDecodeCancellation(f *testing.F) {
	c := &Cancellation{Principal: "alice", Key: public("alice")}
	c.Signature = sign("alice", c.Statement())
	law(f, DecodeCancellation, c)
}

func FuzzDecodeBundle(f *testing.F) {
	b := sampleBundle()
	law(f, DecodeBundle, b, &Bundle{Request: b.Request, ProposeKey: b.ProposeKey, ProposeSignature: b.ProposeSignature})
}

func FuzzDecodePriceQuote(f *testing.F) { law(f, DecodePriceQuote, &sampleBundle().Prices[0]) }
