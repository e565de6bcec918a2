package frost_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// golden is a frozen session (docs/spec/frost.md): a change fails here and needs
// a new version.
type golden struct {
	Suite       mpc.Suite                `json:"suite"`
	Label       string                   `json:"label"`
	KeyShares   map[mpc.ID]mpctest.Hex   `json:"key_shares"`
	Signers     []mpc.ID                 `json:"signers"`
	Attempt     mpctest.Hex              `json:"attempt_id"`
	RequestHash mpctest.Hex              `json:"request_hash"`
	Exchanges   int                      `json:"exchanges"`
	Jobs        []goldenJob              `json:"jobs"`
	SID         mpctest.Hex              `json:"sid"`
	Broadcasts  []map[mpc.ID]mpctest.Hex `json:"broadcasts"`
	Signatures  []mpctest.Hex            `json:"signatures"`
}

type goldenJob struct {
	Message         mpctest.Hex `json:"message"`
	Tweak           mpctest.Hex `json:"tweak"`
	Path            mpctest.Hex `json:"path"`
	Taproot         string      `json:"taproot"`
	VerificationKey mpctest.Hex `json:"verification_key"`
}

func TestGoldenSession(t *testing.T) {
	var all []golden
	for _, suite := range suites {
		label := "frost/golden/" + string(suite)
		k := keysOf(t, suite, label, []mpc.ID{2, 5, 300}, 2)
		terms := mpctest.FrostTerms([]mpc.ID{2, 300})
		terms.Exchanges = 1
		terms.Jobs = append(terms.Jobs, frost.Job{Message: []byte("second"), Tweak: scalar(t, suite, label), Path: []byte{1, 2, 3}})
		if suite == mpc.FROSTSecp256k1TR {
			terms.Jobs = append(terms.Jobs, frost.Job{Taproot: frost.KeyPath()}, frost.Job{Message: []byte("fourth"), Tweak: scalar(t, suite, label), Taproot: frost.MerkleRoot([32]byte{1, 2, 3})})
		}
		f := start(t, label, k, terms, nil)
		out, err := f.Run()
		if err != nil {
			t.Fatal(err)
		}
		sid := f.Sessions[2].SID()
		g := golden{Suite: suite, Label: label, KeyShares: map[mpc.ID]mpctest.Hex{}, Signers: f.Signers, Attempt: terms.AttemptID[:], RequestHash: terms.RequestHash[:], Exchanges: 1, SID: sid[:]}
		for _, id := range f.Signers {
			g.KeyShares[id] = k[id].Encode()
		}
		for i, j := range terms.Jobs {
			key, err := f.Public().VerificationKey(j)
			if err != nil {
				t.Fatal(err)
			}
			x := goldenJob{Message: j.Message, Path: j.Path, Taproot: fmt.Sprint(j.Taproot), VerificationKey: key}
			if j.Tweak != nil {
				x.Tweak = j.Tweak.Encode()
			}
			g.Jobs = append(g.Jobs, x)
			g.Signatures = append(g.Signatures, out[i])
		}
		for _, b := range f.Broadcast {
			g.Broadcasts = append(g.Broadcasts, mpctest.HexMap(b))
		}
		all = append(all, g)
	}
	mpctest.Golden(t, "testdata/session.json", all)
}

// The job hash and the name of a package, written out from the specification.
func TestSpecifiedHashes(t *testing.T) {
	for _, suite := range suites {
		k := keys(t, suite, 3, 2)
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		terms.Jobs[0].Path = []byte{9}
		pub := frost.PublicOf(k[1])
		got, err := terms.Hash(pub)
		if err != nil {
			t.Fatal(err)
		}
		if want := specifiedJob(t, pub, &terms); got != want {
			t.Errorf("%s: job %s, want %s", suite, hex.EncodeToString(got[:]), hex.EncodeToString(want[:]))
		}
		seen := map[[32]byte]string{got: "the terms"}
		for name, edit := range map[string]func(*frost.Terms, *frost.Public){
			"request":   func(x *frost.Terms, _ *frost.Public) { x.RequestHash[31]++ },
			"exchanges": func(x *frost.Terms, _ *frost.Public) { x.Exchanges++ },
			"signers":   func(x *frost.Terms, _ *frost.Public) { x.Signers = []mpc.ID{1, 3} },
			"message":   func(x *frost.Terms, _ *frost.Public) { x.Jobs[0].Message = []byte("massage") },
			"path":      func(x *frost.Terms, _ *frost.Public) { x.Jobs[0].Path = []byte{8} },
			"tweak":     func(x *frost.Terms, _ *frost.Public) { x.Jobs[0].Tweak = scalar(t, suite, "t") },
			"twice":     func(x *frost.Terms, _ *frost.Public) { x.Jobs = append(x.Jobs, x.Jobs[0]) },
			"key id":    func(_ *frost.Terms, p *frost.Public) { p.KeyID[0]++ },
			"epoch":     func(_ *frost.Terms, p *frost.Public) { p.Epoch++ },
			"feldman":   func(_ *frost.Terms, p *frost.Public) { p.FeldmanHash[0]++ },
			"roster":    func(_ *frost.Terms, p *frost.Public) { p.RosterHash[0]++ },
			"purpose":   func(_ *frost.Terms, p *frost.Public) { p.Purpose += "!" },
			"key":       func(_ *frost.Terms, p *frost.Public) { p.PublicKey = p.PublicShares[1] },
			"parties":   func(_ *frost.Terms, p *frost.Public) { p.Parties = p.Parties[:2] },
		} {
			x, p := mpctest.FrostTerms([]mpc.ID{1, 2}), *pub
			x.Jobs[0].Path = []byte{9}
			edit(&x, &p)
			h, err := x.Hash(&p)
			if err != nil {
				t.Fatal(err)
			}
			if other := seen[h]; other != "" {
				t.Errorf("%s: %s changed: the hash is that of %s", suite, name, other)
			}
			seen[h] = name
		}
	}
}
