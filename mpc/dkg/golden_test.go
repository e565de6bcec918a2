package dkg_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// vector is a whole key generation; docs/spec/dkg.md says how to reproduce it.
type vector struct {
	Suite        string                            `json:"suite"`
	Randomness   string                            `json:"randomness"`
	Label        string                            `json:"label"`
	Parties      []mpc.ID                          `json:"parties"`
	Threshold    int                               `json:"threshold"`
	Purpose      string                            `json:"purpose"`
	AttemptID    mpctest.Hex                       `json:"attempt_id"`
	Identities   map[mpc.ID]mpctest.Hex            `json:"identities"`
	SessionSeeds map[mpc.ID]mpctest.Hex            `json:"session_key_seeds_ed25519"`
	SID          mpctest.Hex                       `json:"sid"`
	D0           map[mpc.ID]mpctest.Hex            `json:"d0"`
	D1           map[mpc.ID]mpctest.Hex            `json:"d1"`
	D2           map[mpc.ID]mpctest.Hex            `json:"d2"`
	D3           map[mpc.ID]map[mpc.ID]mpctest.Hex `json:"d3"`
	Certificate  mpctest.Hex                       `json:"certificate"`
	Digest       mpctest.Hex                       `json:"certificate_digest"`
	KeyID        mpctest.Hex                       `json:"key_id"`
	Shares       map[mpc.ID]mpctest.Hex            `json:"key_shares_pending"`
}

// The vectors of DKLs23 are compared with the reference model; those of Ed25519
// show what differs.
func TestGolden(t *testing.T) {
	for _, suite := range []mpc.Suite{mpc.DKLS23Secp256k1, mpc.FROSTEd25519} {
		t.Run(string(suite), func(t *testing.T) { golden(t, suite) })
	}
}

func golden(t *testing.T, suite mpc.Suite) {
	const label = "golden/dkg"
	parties := mpctest.IDs(3)
	d, err := mpctest.NewDKGOf(suite, label, parties, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg := mpctest.DKGConfigOf(suite, 1, parties, 2)
	v := vector{
		Suite:        string(suite),
		Randomness:   `party i reads SHAKE256("coffer/test/" || label || "/" || i), i in decimal`,
		Label:        label,
		Parties:      parties,
		Threshold:    2,
		Purpose:      cfg.Purpose,
		AttemptID:    cfg.AttemptID[:],
		Identities:   mpctest.HexMap(cfg.Identities),
		SessionSeeds: make(map[mpc.ID]mpctest.Hex),
		Shares:       make(map[mpc.ID]mpctest.Hex),
	}
	for r := range 4 {
		if err := d.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	sid := d.Sessions[1].SID()
	v.SID = sid[:]
	v.D0, v.D1, v.D2 = mpctest.HexMap(d.Broadcast[0]), mpctest.HexMap(d.Broadcast[1]), mpctest.HexMap(d.Broadcast[2])
	v.D3 = mpctest.HexPrivate(d.Private)
	var cert *dkg.Certificate
	for _, id := range parties {
		out, err := d.Finish(id)
		if err != nil {
			t.Fatal(err)
		}
		cert = out.Certificate
		v.Shares[id] = out.Share.Encode()
		v.SessionSeeds[id] = mpctest.Key("session", id).Seed()
	}
	digest, keyID := cert.Digest(), cert.KeyID()
	v.Digest, v.KeyID = digest[:], keyID[:]
	for _, id := range parties {
		if err := cert.AddSignature(id, ed25519.Sign(mpctest.Key("identity", id), digest[:])); err != nil {
			t.Fatal(err)
		}
	}
	v.Certificate = cert.Encode()
	mpctest.Golden(t, "testdata/"+string(suite)+"-dkg-2of3.json", v)
}
