package vault

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Every decoder of the vault: what decodes encodes to the same bytes, and no
// input panics.

func law[T any](f *testing.F, seeds [][]byte, decode func([]byte) (T, error), encode func(T) []byte) {
	for _, s := range seeds {
		f.Add(s)
		if v, err := decode(s); err != nil || !bytes.Equal(encode(v), s) {
			f.Fatalf("seed %x: %v", s, err)
		}
		// Truncated, lengthened, of another version: refused.
		for _, bad := range [][]byte{s[:len(s)-1], append(bytes.Clone(s), 0), append([]byte{9}, s[1:]...)} {
			if _, err := decode(bad); err == nil {
				f.Fatalf("%x decodes", bad)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err == nil && !bytes.Equal(encode(v), b) {
			t.Errorf("%x decodes and encodes to %x", b, encode(v))
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	reserve := event{Kind: eventReserve, Time: 5, Attempt: [16]byte{1}, Request: [32]byte{2}, Key: [32]byte{3}, Parties: []mpc.ID{1, 3}, Digest: [32]byte{4}, Slots: []string{"a/nonce/1"}, Expires: 9, Witnesses: []mpc.ID{2}, Faults: 1,
		Movement: (&policy.Movement{Initiator: "ada", Chain: "eip155:1", Moves: []policy.Move{{Asset: "eip155:1/slip44:60", To: "eip155:1:0x0000000000000000000000000000000000000001"}}}).Encode()}
	release := event{Kind: eventRelease, Time: 6, Attempt: [16]byte{1}}
	law(f, [][]byte{reserve.encode(), release.encode()}, decodeEvent, (*event).encode)
}

func FuzzDecodeDelta(f *testing.F) {
	d := delta{From: 3, Events: [][]byte{{1, 2}, {3}}, Head: ledgerHead{Party: 2, Seq: 5, Hash: [32]byte{7}}}
	law(f, [][]byte{d.encode()}, decodeDelta, (*delta).encode)
}

func FuzzDecodeEnvelope(f *testing.F) {
	e := envelope{Attempt: [16]byte{1}, Clock: 2, Epoch: 1, Signers: []mpc.ID{1, 2}, Witnesses: []mpc.ID{3}, Movement: [32]byte{5}, Heads: []ledgerHead{{Party: 1}, {Party: 2, Seq: 4}}, Checkpoint: []byte{1}}
	law(f, [][]byte{e.encode()}, decodeEnvelope, (*envelope).encode)
}

func FuzzDecodeHello(f *testing.F) {
	h := hello{Vault: 1, Boot: 2, Session: signature.PublicKey{Algorithm: signature.Ed25519, Key: string(ed25519Base)}, Signature: signature.Signature{Algorithm: signature.P256, Bytes: make([]byte, 64)}}
	law(f, [][]byte{h.encode()}, decodeHello, (*hello).encode)
}

// ed25519Base is the encoding of the base point: a valid key.
var ed25519Base = append([]byte{0x58}, bytes.Repeat([]byte{0x66}, 31)...)

func FuzzDecodeInner(f *testing.F) {
	ping := inner{Kind: innerPing}
	msg := inner{Kind: innerSign, Attempt: [16]byte{1}, Round: 1, Broadcast: []byte{1, 2}, Signature: signature.Signature{Algorithm: signature.Ed25519, Bytes: make([]byte, 64)}, Private: []byte{3}}
	law(f, [][]byte{ping.encode(), msg.encode()}, decodeInner, (*inner).encode)
}

func FuzzDecodeManifest(f *testing.F) {
	m := manifest{Seq: 1, Boot: 2, LogSize: 3, Ledgers: []ledgerHead{{Party: 1, Seq: 2}}}
	law(f, [][]byte{m.encode()}, decodeManifest, (*manifest).encode)
}

// FuzzFrame hands a vault any bytes as a frame. See vault_test.go for frames that
// are almost right.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{1, 2, 0, 1, 0, 2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := &Vault{cfg: Config{ID: 2}, phase: phaseRunning, peers: map[mpc.ID]*peer{1: {id: 1}}}
		v.frame(b)
		if len(v.out.Messages) > 0 {
			t.Errorf("a frame without a key got an answer: %x", b)
		}
	})
}

// The window lets the network reorder and refuses repetition.
func TestWindow(t *testing.T) {
	var w window
	for _, c := range []struct {
		seq   uint64
		fresh bool
	}{{0, false}, {1, true}, {1, false}, {5, true}, {3, true}, {3, false}, {5, false}, {2, true}, {4000, true}, {3999, true}, {3999, false}, {5, false}, {4000 - windowSize, false}, {4000 - windowSize + 1, true}, {1 << 60, true}, {1 << 60, false}, {4001, false}} {
		if got := w.fresh(c.seq); got != c.fresh {
			t.Errorf("sequence %d: fresh %v, want %v", c.seq, got, c.fresh)
		}
		if c.fresh {
			w.take(c.seq)
		}
	}
}

// The union of ledgers: a request's versions must exclude each other, unless an
// attempt is dead because one of its parties released it.
func TestConflicting(t *testing.T) {
	x := newRequestIndex(4)
	r := [32]byte{1}
	reserve := func(party mpc.ID, attempt byte, digest byte, slot string) {
		x.add(party, &event{Kind: eventReserve, Attempt: [16]byte{attempt}, Request: r, Parties: []mpc.ID{1, 2}, Digest: [32]byte{digest}, Slots: []string{slot}})
	}
	reserve(1, 1, 1, "n7")
	if x.conflicting(r, [32]byte{1}, []string{"n7"}) != nil {
		t.Error("the same version again is refused")
	}
	if x.conflicting(r, [32]byte{2}, []string{"n8"}) == nil {
		t.Error("a version that uses another nonce is not refused")
	}
	if x.conflicting(r, [32]byte{2}, []string{"n7"}) != nil {
		t.Error("a version with the same nonce is refused")
	}
	if x.conflicting([32]byte{9}, [32]byte{2}, []string{"n8"}) != nil {
		t.Error("another request is refused")
	}
	x.add(2, &event{Kind: eventRelease, Attempt: [16]byte{1}}) // of a party that had not reserved: means nothing
	if x.conflicting(r, [32]byte{2}, []string{"n8"}) == nil {
		t.Error("a release by a stranger to the attempt freed it")
	}
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{1}})
	if x.conflicting(r, [32]byte{2}, []string{"n8"}) != nil {
		t.Error("a released attempt still counts")
	}
	reserve(1, 2, 3, "n9")
	x.add(1, &event{Kind: eventFinal, Attempt: [16]byte{2}})
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{2}}) // too late
	if x.conflicting(r, [32]byte{4}, []string{"n1"}) == nil {
		t.Error("a release after the final share freed the attempt")
	}
	reserve(1, 2, 3, "n9") // again: what came first stays
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{2}})
	if x.conflicting(r, [32]byte{4}, []string{"n1"}) == nil {
		t.Error("a second reservation made the attempt free again")
	}
	reserve(3, 2, 3, "n9")
	x.add(3, &event{Kind: eventRelease, Attempt: [16]byte{2}}) // no party of the attempt
	if x.conflicting(r, [32]byte{4}, []string{"n1"}) == nil {
		t.Error("the release of a vault that is no party freed the attempt")
	}
	reserve(4, 9, 8, "n9") // this vault's own
	reserve(1, 9, 8, "n9")
	x.add(4, &event{Kind: eventFinal, Attempt: [16]byte{9}})
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{9}})
	reserve(2, 2, 7, "n9")
	x.add(2, &event{Kind: eventRelease, Attempt: [16]byte{2}}) // of another version under the attempt's name
	if x.conflicting(r, [32]byte{4}, []string{"n1"}) == nil {
		t.Error("the release of something else freed the attempt")
	}
}

func FuzzDecodeBegin(f *testing.F) {
	law(f, [][]byte{(&begin{key: [32]byte{1}, cert: [32]byte{2}, helpers: []mpc.ID{1, 3}}).encode()}, decodeBegin, (*begin).encode)
}

func FuzzDecodeOffers(f *testing.F) {
	type offers struct {
		os   []offer
		last bool
	}
	law(f, [][]byte{encodeOffers(nil, true), encodeOffers(nil, false)}, func(b []byte) (offers, error) {
		os, last, err := decodeOffers(b)
		return offers{os, last}, err
	}, func(o offers) []byte { return encodeOffers(o.os, o.last) })
}

func FuzzReadHeld(f *testing.F) {
	enc := func(h *held) []byte {
		w := wire.NewWriter(1)
		h.write(w)
		return w.Bytes()
	}
	law(f, [][]byte{enc(&held{tier: 2, epoch: 3, blob: []byte("x"), dormant: true}), enc(&held{tier: 3})}, func(b []byte) (*held, error) {
		r := wire.NewReader(b, 1)
		h := readHeld(r)
		return h, r.Done()
	}, enc)
}

func FuzzDecodeNextInfo(f *testing.F) {
	k := signature.PublicKey{Algorithm: signature.Ed25519, Key: string(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))}
	law(f, [][]byte{(&nextInfo{identity: k, epoch: 4, shares: []nextShare{{key: [32]byte{1}, epoch: 2, held: &held{tier: 3, epoch: 4, blob: []byte("x")}}}}).encode()}, decodeNextInfo, (*nextInfo).encode)
}

func FuzzDecodeRotation(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := DecodeRotation(b); err == nil && !bytes.Equal(x.Encode(), b) {
			t.Errorf("%x decodes and encodes to %x", b, x.Encode())
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	a := answer{Asker: 2, Nonce: [32]byte{1}, Hello: []byte("h"), Checkpoint: []byte("c"), Ledger: ledgerHead{Party: 2, Seq: 4, Hash: [32]byte{5}}, Votes: [][]byte{{1}, {2, 3}}}
	law(f, [][]byte{a.encode(), (&answer{Asker: 1}).encode()}, decodeAnswer, (*answer).encode)
}

func FuzzDecodeShown(f *testing.F) {
	xs := []shown{{Checkpoint: []byte("c"), From: 3, Proof: [][32]byte{{1}, {2}}}, {Checkpoint: []byte("d")}}
	law(f, [][]byte{encodeShown(xs)}, decodeShown, encodeShown)
}

func FuzzDecodeProof(f *testing.F) {
	type proof struct {
		from, to uint64
		hashes   [][32]byte
	}
	encode := func(p proof) []byte { return encodeProof(p.from, p.to, p.hashes) }
	law(f, [][]byte{encode(proof{2, 5, [][32]byte{{1}}})}, func(b []byte) (p proof, err error) {
		p.from, p.to, p.hashes, err = decodeProof(b)
		return p, err
	}, encode)
}

func FuzzDecodeRolledBack(f *testing.F) {
	x := rolledBack{Why: "why", OwnSize: 1, HeldBoot: 2, HeldSize: 3, HeldRoot: [32]byte{4}, Quarantine: [32]byte{5}, By: []mpc.ID{1, 3}}
	law(f, [][]byte{x.encode()}, decodeRolledBack, (*rolledBack).encode)
}

func FuzzDecodeWitness(f *testing.F) {
	f.Add((&witness{proven: head{size: 3, root: [32]byte{1}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := decodeWitness(b); err == nil && !bytes.Equal(x.encode(), b) {
			t.Errorf("%x decodes and encodes to %x", b, x.encode())
		}
	})
}

// FuzzDecodePasskeySeen: what opens and decodes encodes to the same bytes.
func FuzzDecodePasskeySeen(f *testing.F) {
	x := passkeytest.New(signature.WebAuthnP256, "bob", "coffer.example")
	s := new(passkeySeen)
	for i := range 3 {
		st := signature.Statement{Domain: "coffer/test/v1", Body: []byte{byte(i)}}
		s.uses = append(s.uses, signature.Use{Digest: st.Digest(), Time: 1, Signature: x.Sign(st)})
	}
	f.Add(s.encode(x.Public()))
	s.cloned = &audit.Clone{Principal: "bob", Key: x.Public(), First: s.uses[0], Second: s.uses[1]}
	f.Add(s.encode(x.Public()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, s, err := decodePasskeySeen(b); err == nil && string(s.encode(k)) != string(b) {
			t.Fatalf("encodes to %x", s.encode(k))
		}
	})
}
