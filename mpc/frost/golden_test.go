package frost_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/frost"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/transcript"
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

// The sid and the layout of both messages, written out from the specification.
func TestSpecifiedMessages(t *testing.T) {
	for _, suite := range suites {
		terms := mpctest.FrostTerms([]mpc.ID{1, 2})
		terms.Jobs = append(terms.Jobs, frost.Job{Message: []byte("second")})
		f := start(t, "layout", keys(t, suite, 3, 2), terms, nil)
		f.Bare = true
		out, err := f.Run()
		if err != nil {
			t.Fatal(err)
		}
		job, err := terms.Hash(f.Public())
		if err != nil {
			t.Fatal(err)
		}
		size := curveOf(t, suite).PointSize()
		var commitments [2][]byte
		head := func(round byte, session []byte, from byte) []byte {
			return slices.Concat([]byte{1, 32, round}, session, []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, from, 0, 0})
		}
		for i := range commitments {
			b := f.Broadcast[0][mpc.ID(i+1)]
			commitments[i] = b[offCommitments : offCommitments+4*size]
			want := slices.Concat(head(0, append(terms.AttemptID[:], make([]byte, 16)...), byte(i+1)), job[:], []byte{0, 0, 0, byte(4 * size)}, commitments[i], make([]byte, 4))
			if !bytes.Equal(b, want) {
				t.Errorf("%s: R0 is %x, want %x", suite, b, want)
			}
		}
		ctx := specifiedContext(f.Public(), &terms)
		c1 := transcript.Sum("frost-com", []byte{0, 1}, commitments[0])
		c2 := transcript.Sum("frost-com", []byte{0, 2}, commitments[1])
		sid := transcript.Sum("sid", ctx[:], terms.AttemptID[:], job[:], c1[:], c2[:])
		if got := f.Sessions[1].SID(); got != sid {
			t.Errorf("%s: sid is %x, want %x", suite, got, sid)
		}
		echo := transcript.Sum("echo", sid[:], []byte{0, 0}, f.Broadcast[0][1], f.Broadcast[0][2])
		x, err := frost.DecodeShare(suite, f.Broadcast[1][2])
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Concat(head(1, sid[:], 2), echo[:], []byte{0, 0, 0, byte(2 * (size + 32))}, x.R[0], x.Z[0], x.R[1], x.Z[1])
		if !bytes.Equal(f.Broadcast[1][2], want) {
			t.Errorf("%s: share is %x, want %x", suite, f.Broadcast[1][2], want)
		}
		for k := range out {
			r := x.R[k]
			if suite == mpc.FROSTSecp256k1TR {
				r = r[1:]
			}
			if !bytes.HasPrefix(out[k], r) {
				t.Errorf("%s: signature %x does not begin with R %x", suite, out[k], r)
			}
		}
	}
}

// A key that is destroyed under a session does not sign, and blames nobody.
func TestDestroyedKey(t *testing.T) {
	k := dealt(t, mpc.FROSTEd25519, 11)
	f := start(t, "destroyed", k, mpctest.FrostTerms([]mpc.ID{1, 2}), nil)
	if err := f.Round(0); err != nil {
		t.Fatal(err)
	}
	pool, err := frost.NewNoncePool(k[2], nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	k[1].Destroy()
	k[2].Destroy()
	_, err = f.Sessions[1].Share(f.Inbox(0, 1))
	mpctest.WantAbort(t, err, mpc.Benign)
	if f.Sessions[1].Nonces() != 0 {
		t.Error("nonces are left")
	}
	if _, err := pool.Refill(1, 0, mpctest.Reader("destroyed")); err == nil {
		t.Error("nonces of a destroyed key")
	}
}
