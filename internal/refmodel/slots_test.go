package refmodel

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"testing"
)

// slotsVector is a session of several slots: a batch, or presignatures with
// their online parts.
type slotsVector struct {
	Suite       string            `json:"suite"`
	Randomness  string            `json:"randomness"`
	Label       string            `json:"label"`
	Signers     []int             `json:"signers"`
	AttemptID   hexBytes          `json:"attempt_id"`
	RequestHash hexBytes          `json:"request_hash"`
	Purpose     string            `json:"purpose"`
	Attachment  string            `json:"attachment"`
	Items       []itemVector      `json:"items"`
	SID         hexBytes          `json:"sid"`
	Echo        []hexBytes        `json:"echo"`
	Messages    map[string]string `json:"messages_sha256"`
	FinalShares map[int]hexBytes  `json:"final_shares,omitempty"`
	Online      []onlineVector    `json:"online,omitempty"`
}

type itemVector struct {
	MessageHash hexBytes `json:"message_hash"`
	Tweak       hexBytes `json:"tweak"`
	Path        hexBytes `json:"path"`
	Signature   hexBytes `json:"signature_r_s_recid"`
}

func (v itemVector) item(t *testing.T) Item {
	return Item{v.MessageHash, scalarOf(t, v.Tweak), v.Path}
}

type onlineVector struct {
	Label          string                   `json:"label"`
	PresignatureID hexBytes                 `json:"presignature_id"`
	A              map[int]hexBytes         `json:"a"`
	APrivate       map[int]map[int]hexBytes `json:"a_private,omitempty"`
	Echoes         map[int]hexBytes         `json:"echoes,omitempty"`
	ID             hexBytes                 `json:"id"`
	R              hexBytes                 `json:"r"`
	FinalShares    map[int]hexBytes         `json:"final_shares"`
}

func loadSlots(t *testing.T, name string) slotsVector {
	t.Helper()
	var v slotsVector
	load(t, "dkls23", "DKLS23-SECP256K1-B4-"+name+"-2of3.json", &v)
	if v.Suite != Suite || len(v.Signers) < 2 || len(v.Items) < 2 {
		t.Fatalf("suite %q, signers %v, %d items", v.Suite, v.Signers, len(v.Items))
	}
	return v
}

// team sets the vector's signers up, with the keys and setups of the vector of
// the single signature.
func (v slotsVector) team(t *testing.T, protocol int) map[int]*Signer {
	t.Helper()
	ss := signVectors(t).signers(t)
	for i, s := range ss {
		s.Protocol, s.N, s.Items = protocol, len(v.Items), nil
		s.Attempt, s.Purpose = v.AttemptID, v.Purpose
		s.Rand = NewStream(fmt.Sprintf("coffer/test/%s/%d", v.Label, i))
		s.RequestHash = make([]byte, 32)
		if !s.presigns() {
			s.RequestHash = v.RequestHash
			for _, it := range v.Items {
				s.Items = append(s.Items, it.item(t))
			}
		}
	}
	return ss
}

// compare compares what was sent by name, and the echoes.
func (v slotsVector) compare(t *testing.T, ss map[int]*Signer, tr transcript) {
	t.Helper()
	got := tr.hashes()
	if len(got) != len(v.Messages) {
		t.Errorf("%d messages, the vector has %d", len(got), len(v.Messages))
	}
	for r := range 3 { // in order, so that the first difference is named
		for name, h := range v.Messages {
			if name[:len("round 0")] == fmt.Sprint("round ", r) && got[name] != h {
				t.Fatalf("%s: the model has %s, the vector %s", name, got[name], h)
			}
		}
	}
	for i, s := range ss {
		same(t, fmt.Sprint("sid of ", i), s.SID(), v.SID)
		for r, h := range v.Echo {
			same(t, fmt.Sprintf("h_%d of %d", r, i), s.Echo(r), h)
		}
	}
}

// offline runs the offline part.
func offline(t *testing.T, ss map[int]*Signer, set []int) (map[int][]*Presignature, transcript) {
	t.Helper()
	tr, errs := rounds(ss, set, func(int) {})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	out := map[int][]*Presignature{}
	for _, i := range set {
		var err error
		if out[i], err = ss[i].Presign(without(tr.broadcast[2], i), toParty(tr.private[2], i)); err != nil {
			t.Fatal(err)
		}
	}
	return out, tr
}

// online is what an online part sent.
type online struct {
	a       map[int][]byte
	private map[int]map[int][]byte
	echo    map[int][]byte
	shares  [][]byte // B, by S
}

// use runs an online part; between may change what was sent after a round.
func use(os map[int]*Online, set []int, between func(round int, sent *online)) (sent online, errs map[int]error) {
	sent = online{a: map[int][]byte{}, private: map[int]map[int][]byte{}, echo: map[int][]byte{}}
	errs = map[int]error{}
	steps := []func(i int) error{
		func(i int) (err error) { sent.a[i], sent.private[i], err = os[i].Round0(); return err },
		func(i int) (err error) {
			sent.echo[i], err = os[i].Round1(without(sent.a, i), toParty(sent.private, i))
			return err
		},
		func(i int) error {
			b, err := os[i].Round2(without(sent.echo, i))
			sent.shares = append(sent.shares, b)
			return err
		},
	}
	for r, step := range steps {
		for _, i := range set {
			if err := step(i); err != nil {
				errs[i] = err
			}
		}
		if len(errs) > 0 {
			return sent, errs
		}
		between(r, &sent)
	}
	return sent, errs
}

func TestPresignVectors(t *testing.T) {
	for name, protocol := range map[string]int{"presign-V1": protocolV1, "presign-V2": protocolV2} {
		t.Run(name, func(t *testing.T) {
			v := loadSlots(t, name)
			ss := v.team(t, protocol)
			pre, tr := offline(t, ss, v.Signers)
			v.compare(t, ss, tr)
			if len(v.Online) != len(v.Items) {
				t.Fatalf("%d online parts for %d items", len(v.Online), len(v.Items))
			}
			for k, on := range v.Online {
				v.online(t, pre, protocol, k, on)
			}
		})
	}
}

// online replays the online part of one presignature.
func (v slotsVector) online(t *testing.T, pre map[int][]*Presignature, protocol, k int, on onlineVector) {
	t.Helper()
	os := map[int]*Online{}
	for _, i := range v.Signers {
		same(t, "presignature id", pre[i][k].ID, on.PresignatureID)
		os[i] = &Online{
			Pre: pre[i][k], RequestHash: v.RequestHash, Item: v.Items[k].item(t), Attachment: fmt.Appendf(nil, "attachment A of %d", i),
			Rand: NewStream(fmt.Sprintf("coffer/test/%s/%d", on.Label, i)),
		}
	}
	sent, errs := use(os, v.Signers, func(int, *online) {})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for n, i := range v.Signers {
		same(t, fmt.Sprint("A of ", i), sent.a[i], on.A[i])
		samePrivate(t, fmt.Sprint("A of ", i), sent.private[i], on.APrivate[i])
		same(t, "signature id", os[i].ID(), on.ID)
		same(t, "R*", os[i].R.Bytes(), on.R)
		same(t, fmt.Sprint("B of ", i), sent.shares[n], on.FinalShares[i])
	}
	pk, it := pre[v.Signers[0]][k].Key.PublicKey, v.Items[k].item(t)
	sig, err := CombineOnline(pk, os[v.Signers[0]].R, v.Signers, it, sent.shares)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "signature", sig, v.Items[k].Signature)
	other := sent.shares[1]
	for name, c := range map[string]struct {
		r      Point
		shares [][]byte
		class  Class
	}{
		"another R":          {os[v.Signers[0]].R.Neg(), sent.shares, Unattributed},
		"one missing":        {os[v.Signers[0]].R, sent.shares[:1], Benign},
		"another signature":  {os[v.Signers[0]].R, [][]byte{sent.shares[0], flip(other, 3)}, Benign},
		"another kind":       {os[v.Signers[0]].R, [][]byte{sent.shares[0], with19or20(other)}, Benign},
		"another epoch":      {os[v.Signers[0]].R, [][]byte{sent.shares[0], flip(other, 42)}, Benign},
		"another w or u":     {os[v.Signers[0]].R, [][]byte{sent.shares[0], flip(other, len(other)-1)}, Unattributed},
		"one of them, twice": {os[v.Signers[0]].R, [][]byte{sent.shares[0], sent.shares[0]}, Benign},
	} {
		_, err := CombineOnline(pk, c.r, v.Signers, it, c.shares)
		wantClass(t, name, err, c.class, 0)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "version": flip(other, 0), "protocol": cat(other[:1], u8(protocolSign), other[2:]), "round": flip(other, 2), "to": flip(other, 46),
		"longer": cat(other, u8(0)), "shorter": other[:len(other)-1], "w is q": cat(other[:headerLen], enc(q), other[headerLen+32:]),
	} {
		var a *Abort
		if _, err := CombineOnline(pk, os[v.Signers[0]].R, v.Signers, it, [][]byte{sent.shares[0], b}); err == nil || errors.As(err, &a) {
			t.Errorf("%s: %v, want an error that is no abort", name, err)
		}
	}
	if _, _, err := os[v.Signers[0]].Round0(); err == nil {
		t.Error("a presignature was used twice")
	}
}

// with19or20 is a B as one of the other kind.
func with19or20(b []byte) []byte {
	return cat(b[:1], u8(protocolOnlineV1+protocolOnlineV2-int(b[1])), b[2:])
}

func TestBatchVectors(t *testing.T) {
	v := loadSlots(t, "batch3")
	ss := v.team(t, protocolBatch)
	shares, tr, errs := play(ss, v.Signers, func(int) {})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	v.compare(t, ss, tr)
	var items []Item
	for k, i := range v.Signers {
		same(t, fmt.Sprint("final share of ", i), shares[k], v.FinalShares[i])
	}
	for _, it := range v.Items {
		items = append(items, it.item(t))
	}
	pk := ss[v.Signers[0]].Key.PublicKey
	sigs, err := CombineBatch(pk, v.Signers, items, shares)
	if err != nil {
		t.Fatal(err)
	}
	for k, it := range v.Items {
		same(t, fmt.Sprint("signature ", k), sigs[k], it.Signature)
	}
	// The last u is wrong: that signature is missing, the others are there.
	last := shares[1]
	sigs, err = CombineBatch(pk, v.Signers, items, [][]byte{shares[0], flip(last, len(last)-1)})
	wantClass(t, "a wrong u", err, Unattributed, 0)
	for k, it := range v.Items {
		want := hex.EncodeToString(it.Signature)
		if k == len(v.Items)-1 {
			want = ""
		}
		if got := hex.EncodeToString(sigs[k]); got != want {
			t.Errorf("signature %d of a batch with a wrong last u is %q, want %q", k, got, want)
		}
	}
	_, err = CombineBatch(pk, v.Signers, items[:2], shares)
	wantClass(t, "items of another number", err, Benign, 0)
	_, err = CombineBatch(pk, v.Signers, items, shares[:1])
	wantClass(t, "one share missing", err, Benign, 0)
	if _, err := Combine(pk, v.Signers, items[0], shares); err == nil {
		t.Error("a batch was combined as one signature")
	}
}

// slotsTeam is a team of three for N slots.
func slotsTeam(keys map[int]*KeyShare, set []int, protocol, n int) map[int]*Signer {
	ss := team(keys, set, new(big.Int))
	for _, s := range ss {
		s.Protocol, s.N = protocol, n
		it := s.Items[0]
		s.Items = nil
		if s.presigns() {
			s.RequestHash = make([]byte, 32)
			continue
		}
		for k := range n {
			s.Items = append(s.Items, Item{flip(it.MessageHash, k), big.NewInt(int64(k)), nil})
		}
	}
	return ss
}

// threeOnline sets the online part of slot k up.
func threeOnline(pre map[int][]*Presignature, set []int, k int) map[int]*Online {
	os := map[int]*Online{}
	for _, i := range set {
		os[i] = &Online{
			Pre: pre[i][k], RequestHash: H256([]byte("request")), Item: Item{H256([]byte("message")), big.NewInt(9), []byte{1}},
			Rand: NewStream(fmt.Sprintf("coffer/test/%s online %d/%d", modelLabel, k, i)),
		}
	}
	return os
}

// Three signers, ids above 255, with the echo of A.
func TestPresignThree(t *testing.T) {
	if underRace {
		t.Skip("the model has no goroutine, and this takes eight times as long under the detector")
	}
	keys, _, _ := generate(t, []int{1, 7, 300, 65535}, 3)
	set := []int{7, 300, 65535}
	faults := map[string]struct {
		round   int
		change  func(sent *online, os map[int]*Online)
		class   Class
		culprit int
		only    int // the protocol, 0 for both
	}{
		"none":                 {},
		"another job":          {0, func(s *online, _ map[int]*Online) { s.a[7] = flip(s.a[7], 47) }, Benign, 0, 0},
		"another presignature": {0, func(s *online, _ map[int]*Online) { s.a[7] = flip(s.a[7], 3) }, Benign, 0, 0},
		"a cut A":              {0, func(s *online, _ map[int]*Online) { s.a[7] = s.a[7][:headerLen+63] }, Attributed, 7, 0},
		"a cut private A":      {0, func(s *online, _ map[int]*Online) { s.private[7][300] = s.private[7][300][:headerLen+32] }, Attributed, 7, protocolV1},
		"an echo of another":   {1, func(s *online, _ map[int]*Online) { s.echo[7] = flip(s.echo[7], 3) }, Benign, 0, 0},
		"a longer echo":        {1, func(s *online, _ map[int]*Online) { s.echo[7] = cat(s.echo[7], u8(0)) }, Attributed, 7, 0},
		"another salt":         {1, func(_ *online, os map[int]*Online) { salted(os[300], 7) }, Attributed, 7, protocolV1},
		"another Γ^u": {0, func(s *online, _ map[int]*Online) { s.private[7][300] = flip(s.private[7][300], headerLen) },
			Quarantine, 7, protocolV1},
	}
	for _, protocol := range []int{protocolV1, protocolV2} {
		ss := slotsTeam(keys, set, protocol, 1)
		pre, _ := offline(t, ss, set)
		for name, f := range faults {
			if f.only != 0 && f.only != protocol {
				continue
			}
			os := threeOnline(pre, set, 0)
			for _, o := range os {
				o.Pre.Spent = false // for the test only
			}
			sent, errs := use(os, set, func(round int, sent *online) {
				if f.change != nil && round == f.round {
					f.change(sent, os)
				}
			})
			if f.change != nil {
				wantClass(t, fmt.Sprintf("V%d, %s", protocol-16, name), errs[300], f.class, f.culprit)
				continue
			}
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if _, err := CombineOnline(keys[7].PublicKey, os[7].R, set, os[7].Item, sent.shares); err != nil {
				t.Errorf("V%d: %v", protocol-16, err)
			}
		}
	}
}

// salted changes the salt of j that o took.
func salted(o *Online, j int) {
	a := o.peer[j]
	a.salt = flip(a.salt, 0)
	o.peer[j] = a
}

// A fault in any slot ends a batch and the offline part for all.
func TestSlotsFaults(t *testing.T) {
	if underRace {
		t.Skip("the model has no goroutine, and this takes ten times as long under the detector")
	}
	keys, _, _ := generate(t, []int{1, 7, 300, 65535}, 3)
	set, last := []int{1, 7, 65535}, -voleMessage2Len(2)-4
	for _, protocol := range []int{protocolBatch, protocolV1, protocolV2} {
		ss := slotsTeam(keys, set, protocol, 2)
		tr, errs := rounds(ss, set, func(int) {})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		honest := *ss[1]
		if err := honest.takeR2(without(tr.broadcast[2], 1), toParty(tr.private[2], 1)); err != nil {
			t.Fatal(err)
		}
		for _, f := range []struct {
			name      string
			round, at int // at: of the private message of 7, from its end if negative
			class     Class
			culprit   int
		}{ // those of round 2 first: a round that fails leaves its signer changed
			{"μ", 2, -1, Quarantine, 7}, {"Γ^v", 2, last - 2*32 - 4 - 33, Quarantine, 7}, {"the first Γ", 2, headerLen, Quarantine, 7},
			{"number of slots", 2, last - 2*32 - 1, Attributed, 7}, {"TH", 1, -1, Quarantine, 7}, {"length of the VOLE's message", 1, headerLen + 3, Attributed, 7},
		} {
			s, p := *ss[1], mutated(toParty(tr.private[f.round], 1), 7, f.at)
			var err error
			if f.round == 2 {
				err = s.takeR2(without(tr.broadcast[2], 1), p)
			} else {
				_, _, err = s.Round2(without(tr.broadcast[1], 1), p)
			}
			wantClass(t, fmt.Sprintf("protocol %d, %s", protocol, f.name), err, f.class, f.culprit)
		}
		for r, at := range map[int]int{1: headerLen + 32 + 3, 2: headerLen + 32 + 3} {
			if r == 2 && protocol == protocolV1 { // which has no list there
				continue
			}
			s, b := *ss[1], mutated(without(tr.broadcast[r], 1), 7, at)
			var err error
			if r == 2 {
				err = s.takeR2(b, toParty(tr.private[2], 1))
			} else {
				_, _, err = s.Round2(b, toParty(tr.private[1], 1))
			}
			wantClass(t, fmt.Sprintf("protocol %d, number of slots in R%d", protocol, r), err, Attributed, 7)
		}
	}
}
