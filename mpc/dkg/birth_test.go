package dkg_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// A key id names one public key in every epoch. A newcomer is told the key id and
// is handed a certificate that is signed by all its parties; the parties are those
// that stand in it. Two vaults that make a certificate among themselves, of a key of
// their own, cannot put another key's id on it.
func TestKeyIDNamesThePublicKey(t *testing.T) {
	l := layoutOf(mpc.FROSTEd25519)
	victim, _, err := firstOf(l.suite, "victim")
	if err != nil {
		t.Fatal(err)
	}
	parts, _ := second(t, l)
	_, cert, err := dkg.Assemble(parts)
	if err != nil {
		t.Fatal(err)
	}
	later, own := cert.Encode(), body(parts.Previous)
	if !slices.Equal(later[len(later)-4-len(own):len(later)-4], own) {
		t.Fatal("a later certificate does not end with the first one")
	}
	if c, err := dkg.DecodeCertificate(later); err != nil || c.KeyID() != parts.Previous.KeyID() {
		t.Fatalf("the genuine one: %v", err)
	}
	with := func(birth []byte) []byte {
		b := binary.BigEndian.AppendUint32(slices.Clone(later[:len(later)-4-len(own)-4]), uint32(len(birth)))
		return append(append(b, birth...), 0, 0, 0, 0)
	}
	id := victim.KeyID()
	keyID := 1 + 4 + len(l.suite) + 4 + len(mpctest.Purpose) + 1
	forged := with(body(victim))
	purpose := slices.Clone(own)
	purpose[1+4+len(l.suite)+4] ^= 1
	for name, b := range map[string][]byte{
		"another id":                         mpctest.Put(later, keyID, id[:]),
		"another first certificate":          forged,
		"both of another key":                mpctest.Put(forged, keyID, id[:]),
		"no first certificate":               with(nil),
		"a later one as the first":           with(later[:len(later)-4]),
		"another purpose":                    with(purpose),
		"something after the first":          with(append(slices.Clone(own), 0)),
		"the first cut":                      with(own[:len(own)-1]),
		"its own echo changed in the middle": mpctest.Flip(later, len(later)-5),
	} {
		if c, err := dkg.DecodeCertificate(b); err == nil {
			t.Errorf("%s: decodes, as of key %x with public key %x", name, c.KeyID(), c.PublicKey().Encode())
		}
	}
}

// body is a certificate without signatures.
func body(c *dkg.Certificate) []byte {
	b := c.Encode()
	n := 4
	for _, id := range c.Parties {
		if sig := c.Signature(id); sig != nil {
			n += 2 + 4 + len(sig)
		}
	}
	return b[:len(b)-n]
}

func firstOf(suite mpc.Suite, label string) (*dkg.Certificate, map[mpc.ID]*dkg.KeyShare, error) {
	keys, cert, err := mpctest.KeysOf(suite, label, mpctest.IDs(3), 2)
	return cert, keys, err
}
