package refmodel

import (
	"bytes"
	"fmt"
	"math/big"
	"testing"
)

// modelSlots are runs of the model alone, with the keys, signers and setups of
// modelVector, for mpc/ to replay: three signers, and so the echo of A, ids
// above 255.
type modelSlots struct {
	Note  []string    `json:"note"`
	Batch slotsVector `json:"batch"`
	V1    slotsVector `json:"presign_v1"`
	V2    slotsVector `json:"presign_v2"`
}

// slotItems are what the runs sign.
func slotItems() []Item {
	return []Item{
		{H256([]byte("item 0")), new(big.Int), nil},
		{bytes.Repeat([]byte{0xff}, 32), wide(H256([]byte("tweak 1"))), []byte{1, 2, 3}}, // not below q
		{H256([]byte("item 2")), neg(big.NewInt(1)), []byte{4}},
		{H256([]byte("item 3")), big.NewInt(3), []byte{5}}, // of four, a row has no padding
	}
}

// slotsRun starts a vector and its signers.
func slotsRun(keys map[int]*KeyShare, set []int, protocol int, items []Item, label string) (slotsVector, map[int]*Signer) {
	v := slotsVector{
		Suite: Suite, Label: modelLabel + " " + label, Signers: set, AttemptID: H256([]byte(label))[:16], RequestHash: H256([]byte("request of " + label)), Purpose: "test",
		Randomness: "signer i reads SHAKE256 of \"coffer/test/\" || label || \"/\" || i, i in decimal; online with the label beside it",
		Attachment: "empty",
	}
	ss := team(keys, set, new(big.Int))
	for i, s := range ss {
		s.Protocol, s.N, s.Items, s.Attempt, s.RequestHash = protocol, len(items), items, v.AttemptID, v.RequestHash
		if s.presigns() {
			s.Items, s.RequestHash = nil, make([]byte, 32)
		}
		s.Rand = NewStream(fmt.Sprintf("coffer/test/%s/%d", v.Label, i))
	}
	for _, it := range items {
		v.Items = append(v.Items, itemVector{MessageHash: it.MessageHash, Tweak: enc(it.Tweak), Path: it.Path})
	}
	return v, ss
}

// sent adds what the offline part sent.
func (v *slotsVector) sent(s *Signer, tr transcript) {
	v.SID, v.Messages = s.SID(), tr.hashes()
	for r := range 3 {
		v.Echo = append(v.Echo, s.Echo(r))
	}
}

// toHex is m as a vector has it.
func toHex(m map[int][]byte) map[int]hexBytes {
	out := map[int]hexBytes{}
	for i, b := range m {
		out[i] = b
	}
	return out
}

func batchRun(t *testing.T, keys map[int]*KeyShare, set []int) slotsVector {
	t.Helper()
	items := slotItems()
	v, ss := slotsRun(keys, set, protocolBatch, items, "batch")
	shares, tr, errs := play(ss, set, func(int) {})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	v.sent(ss[set[0]], tr)
	v.FinalShares = map[int]hexBytes{}
	for k, i := range set {
		v.FinalShares[i] = shares[k]
	}
	sigs, err := CombineBatch(keys[set[0]].PublicKey, set, items, shares)
	if err != nil {
		t.Fatal(err)
	}
	for k, sig := range sigs {
		v.Items[k].Signature = sig
	}
	return v
}

func presignRun(t *testing.T, keys map[int]*KeyShare, set []int, protocol int, label string) slotsVector {
	t.Helper()
	items := slotItems()[1:3]
	v, ss := slotsRun(keys, set, protocol, items, label)
	pre, tr := offline(t, ss, set)
	v.sent(ss[set[0]], tr)
	for k, it := range items {
		on := onlineVector{Label: fmt.Sprintf("%s online %d", v.Label, k), PresignatureID: pre[set[0]][k].ID, APrivate: map[int]map[int]hexBytes{}, FinalShares: map[int]hexBytes{}}
		os := map[int]*Online{}
		for _, i := range set {
			os[i] = &Online{Pre: pre[i][k], RequestHash: v.RequestHash, Item: it, Rand: NewStream(fmt.Sprintf("coffer/test/%s/%d", on.Label, i))}
		}
		sent, errs := use(os, set, func(int, *online) {})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		on.A, on.Echoes = toHex(sent.a), toHex(sent.echo)
		on.ID, on.R = os[set[0]].ID(), os[set[0]].R.Bytes()
		for n, i := range set {
			on.FinalShares[i] = sent.shares[n]
			if private := sent.private[i]; len(private) > 0 {
				on.APrivate[i] = toHex(private)
			}
		}
		sig, err := CombineOnline(keys[set[0]].PublicKey, os[set[0]].R, set, it, sent.shares)
		if err != nil {
			t.Fatal(err)
		}
		v.Items[k].Signature = sig
		v.Online = append(v.Online, on)
	}
	return v
}

func TestModelSlots(t *testing.T) {
	if underRace {
		t.Skip("the model has no goroutine, and this takes eight times as long under the detector")
	}
	keys, _, _ := generate(t, []int{1, 7, 300, 65535}, 3)
	set := []int{7, 300, 65535}
	frozen(t, "testdata/model-DKLS23-SECP256K1-B4-slots.json", modelSlots{
		Note: []string{
			"made by internal/refmodel, from docs/spec alone",
			"key shares, setup hashes and the trees of each direction are those of model-DKLS23-SECP256K1-B4.json",
			"attachments are empty",
		},
		Batch: batchRun(t, keys, set),
		V1:    presignRun(t, keys, set, protocolV1, "V1"),
		V2:    presignRun(t, keys, set, protocolV2, "V2"),
	})
}
