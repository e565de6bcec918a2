package dkg_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/transcript"
)

const modelFile = "../../internal/refmodel/testdata/model-" + string(mpc.DKLS23Secp256k1) + ".json"

// modelRun sets up the key generation of the reference model's run: 3 of 4, ids
// at both ends of their range.
func modelRun(t *testing.T, m *mpctest.Model) (*mpctest.DKG, func(mpc.ID, [32]byte, []byte) bool) {
	t.Helper()
	keys, identities := make(map[mpc.ID]ed25519.PrivateKey), make(map[mpc.ID][]byte)
	for _, id := range m.Parties {
		keys[id], identities[id] = ed25519.NewKeyFromSeed(m.SessionSeeds[id]), m.Identities[id]
	}
	verify := func(id mpc.ID, digest [32]byte, sig []byte) bool {
		k, ok := keys[id]
		return ok && ed25519.Verify(k.Public().(ed25519.PublicKey), digest[:], sig)
	}
	d := &mpctest.DKG{Parties: m.Parties, Sessions: make(map[mpc.ID]*dkg.Session)}
	for _, id := range m.Parties {
		s, err := dkg.New(dkg.Config{
			Suite:      mpc.DKLS23Secp256k1,
			Self:       id,
			Parties:    m.Parties,
			Threshold:  m.Threshold,
			Purpose:    m.DKGPurpose,
			AttemptID:  [16]byte(m.DKGAttempt),
			Identities: identities,
			Sign:       func(digest [32]byte) []byte { return ed25519.Sign(keys[id], digest[:]) },
			Verify:     verify,
		}, mpctest.Reader("refmodel dkg/%d", id))
		if err != nil {
			t.Fatal(err)
		}
		d.Sessions[id] = s
	}
	for r := range 4 {
		if err := d.Round(r); err != nil {
			t.Fatal(err)
		}
	}
	return d, verify
}

// The reference model, written from the specification alone, and this package
// agree on every byte of a run that the model froze.
func TestModel(t *testing.T) {
	m := mpctest.LoadModel(t, modelFile)
	d, _ := modelRun(t, m)
	sid := d.Sessions[m.Parties[0]].SID()
	mpctest.Same(t, "sid", sid[:], m.DKGSID)
	mpctest.SameMessages(t, mpctest.Sent(d.Broadcast[:], []map[mpc.ID]map[mpc.ID][]byte{3: d.Private}), m.DKGMessages)
	for _, id := range m.Parties {
		out, err := d.Finish(id)
		if err != nil {
			t.Fatal(err)
		}
		digest := out.Certificate.Digest()
		mpctest.Same(t, "certificate's digest", digest[:], m.CertificateDigest)
		// The model's identities are opaque bytes; activation takes any verifier.
		for _, signer := range m.Parties {
			if err := out.Certificate.AddSignature(signer, mpctest.SignDigest("identity", signer, digest)); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Share.Activate(out.Certificate, mpctest.Verify("identity")); err != nil {
			t.Fatal(err)
		}
		mpctest.Same(t, "key share", out.Share.Encode(), m.KeyShares[id])
		k, err := dkg.DecodeKeyShare(m.KeyShares[id])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.Encode(), m.KeyShares[id]) || !k.Active() {
			t.Errorf("the model's key share of %d is not read as it was written", id)
		}
	}
}

// Dealer 7 adds 1 to the share of 1 and signs that: the evidence is the model's.
func TestModelEvidence(t *testing.T) {
	m := mpctest.LoadModel(t, modelFile)
	d, verify := modelRun(t, m)
	const from, to mpc.ID = 7, 1
	l := layoutOf(mpc.DKLS23Secp256k1)
	offVector, vector := mpctest.OffEchoBody+4, make([][]byte, m.Threshold)
	for k := range vector {
		vector[k] = d.Broadcast[2][from][offVector+33*k:][:33]
	}
	message := slices.Clone(d.Private[from][to])
	share := secp256k1.NewScalar()
	if err := share.SetBytes(message[l.share : l.share+32]); err != nil {
		t.Fatal(err)
	}
	wrong := share.Add(share, secp256k1.NewScalar().SetUint64(1)).Bytes()
	copy(message[l.share:], wrong[:])
	feldman, sid := transcript.Sum(transcript.TagDKGFeldman, vector...), d.Sessions[to].SID()
	digest := transcript.Sum(transcript.TagDKGShare, sid[:],
		binary.BigEndian.AppendUint16(nil, uint16(from)), binary.BigEndian.AppendUint16(nil, uint16(to)), wrong[:], feldman[:])
	copy(message[l.signature+4:], ed25519.Sign(ed25519.NewKeyFromSeed(m.SessionSeeds[from]), digest[:]))
	d.Private[from][to] = message

	_, err := d.Finish(to)
	mpctest.WantAbort(t, err, mpc.Attributed, from)
	evidence := dkg.Evidence(err)
	if len(evidence) != 1 {
		t.Fatalf("%d pieces of evidence, want 1", len(evidence))
	}
	mpctest.Same(t, "evidence", evidence[0], m.Evidence)
	if id, err := dkg.VerifyEvidence(m.Evidence, verify); err != nil || id != from {
		t.Errorf("the model's evidence convicts %d, %v, want %d", id, err, from)
	}
}
