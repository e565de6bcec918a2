package dkg_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// z ≥ q and a share ≥ q are refused and their sender blamed; the values that they
// are congruent to were right.
func TestPitfall46_DKGScalarsAreCanonical(t *testing.T) {
	onEachSuite(t, func(t *testing.T, l *layout) {
		// q in the byte order of the curve: one more than −1.
		q := l.curve().NewScalar().Negate(l.curve().NewScalar().SetUint64(1)).Encode()
		if q[0] == 0xff {
			q[31]++
		} else {
			q[0]++
		}
		if l.curve().NewScalar().Decode(q) == nil {
			t.Fatalf("%x is a scalar", q)
		}
		for name, bad := range map[string][]byte{"q": q, "all ones": bytes.Repeat([]byte{0xff}, 32)} {
			mpctest.WantAbort(t, l.mutate(t, 2, func(b []byte) []byte { return mpctest.Put(b, l.proof, bad) }), mpc.Attributed, 2)
			err := l.mutate(t, 3, func(b []byte) []byte { return mpctest.Put(b, l.share, bad) })
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
			if dkg.Evidence(err) != nil {
				t.Errorf("%s: a share that is not in form made evidence", name)
			}
		}
	})
}

// A key of one suite is no key of another: neither its certificate nor its share
// can be relabelled, though three of the suites have one curve.
func TestPitfall51_KeysAreOfOneSuite(t *testing.T) {
	same := []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTSecp256k1, mpc.FROSTSecp256k1TR}
	verify := mpctest.Verify("identity")
	seen := map[[32]byte]mpc.Suite{}
	for _, suite := range same {
		keys, cert, err := mpctest.KeysOf(suite, "p51", mpctest.IDs(3), 2)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[cert.KeyID()]; ok {
			t.Errorf("the same draws give one key id for %s and %s", suite, other)
		}
		seen[cert.KeyID()] = suite
		for _, other := range same {
			if other == suite {
				continue
			}
			relabelled, err := dkg.DecodeCertificate(cert.Encode())
			if err != nil {
				t.Fatal(err)
			}
			relabelled.Suite = other
			if relabelled.Complete(verify) == nil {
				t.Errorf("the certificate of %s is one of %s", suite, other)
			}
			if keys[1].Activate(relabelled, verify) == nil {
				t.Errorf("the certificate of %s activates a share for %s", other, suite)
			}
		}
	}
}

// The proof of possession of one suite proves nothing in another, nor under
// another name: the session id has the suite in it.
func TestPitfall51_SessionsNameTheSuite(t *testing.T) {
	seen := map[string]mpc.Suite{}
	for _, suite := range mpc.Suites() {
		d := layoutOf(suite).start(t, "p51 sessions", 1)
		sid := d.Sessions[1].SID()
		for _, what := range []string{string(sid[:]), string(d.Broadcast[0][1][mpctest.OffBody : mpctest.OffBody+32])} {
			if other, ok := seen[what]; ok {
				t.Errorf("context or session id of %s is that of %s", suite, other)
			}
			seen[what] = suite
		}
	}
}

// Messages of suites without zero shares have no place for seeds.
func TestNoSeedsWithoutZeroShares(t *testing.T) {
	for _, suite := range mpc.Suites() {
		l := layoutOf(suite)
		d := l.start(t, "no seeds", 3)
		if got := len(d.Broadcast[2][1]); got != l.sizeD2 {
			t.Errorf("%s: D2 has %d bytes, want %d", suite, got, l.sizeD2)
		}
		if got := len(d.Private[1][2]); got != l.signature+4+64 {
			t.Errorf("%s: D3 has %d bytes, want %d", suite, got, l.signature+4+64)
		}
		if suite.ZeroShares() {
			continue
		}
		for name, more := range map[string][]byte{"an empty list": {0, 0, 0, 0}, "a list": append([]byte{0, 0, 0, 2}, make([]byte, 64)...)} {
			err := l.mutate(t, 2, func(b []byte) []byte { return append(bytes.Clone(b), more...) })
			mpctest.WantAbort(t, err, mpc.Attributed, 2)
			if err == nil {
				t.Errorf("%s: %s of seeds is accepted", suite, name)
			}
		}
	}
}

// Keys of the Taproot suite have either parity: no run is thrown away for it.
func TestTaprootKeysOfBothParities(t *testing.T) {
	parities := map[byte]bool{}
	for n := range 32 {
		_, cert, err := mpctest.KeysOf(mpc.FROSTSecp256k1TR, fmt.Sprintf("parity %d", n), mpctest.IDs(2), 2)
		if err != nil {
			t.Fatal(err)
		}
		if parities[cert.PublicKey().Encode()[0]] = true; len(parities) == 2 {
			return
		}
	}
	t.Errorf("32 keys have one parity: %v", parities)
}
