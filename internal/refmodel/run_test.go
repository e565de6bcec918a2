package refmodel

import (
	"crypto/ed25519"
	"fmt"
	"math/big"
	"testing"
)

// The vectors have two signers. These runs of the model alone have three, ids
// with gaps and at the ends of their range, and no tweak.

// without gives the messages of all but i.
func without(m map[int][]byte, i int) map[int][]byte {
	out := map[int][]byte{}
	for j, b := range m {
		if j != i {
			out[j] = b
		}
	}
	return out
}

// toParty gives the private messages to i.
func toParty(m map[int]map[int][]byte, i int) map[int][]byte {
	out := map[int][]byte{}
	for j := range m {
		if j != i {
			out[j] = m[j][i]
		}
	}
	return out
}

// generate runs a key generation; the key shares are made active. It gives
// also the dealers and what they sent, D3 as private messages of round 3.
func generate(t *testing.T, ids []int, threshold int) (map[int]*KeyShare, map[int]*Dealer, transcript) {
	t.Helper()
	ds := map[int]*Dealer{}
	keys, identities := map[int]ed25519.PublicKey{}, map[int][]byte{}
	private := map[int]ed25519.PrivateKey{}
	for _, i := range ids {
		private[i] = ed25519.NewKeyFromSeed(NewStream(fmt.Sprintf("coffer/test/%s session key/%d", modelLabel, i)).Bytes(32))
		keys[i] = private[i].Public().(ed25519.PublicKey)
		identities[i] = fmt.Append(nil, "identity ", i)
	}
	var tr transcript
	rounds := &tr.broadcast
	for r := range rounds {
		rounds[r] = map[int][]byte{}
	}
	d3 := map[int]map[int][]byte{}
	run := func(step func(i int, d *Dealer) error) {
		for _, i := range ids {
			if err := step(i, ds[i]); err != nil {
				t.Fatalf("party %d: %v", i, err)
			}
		}
	}
	for _, i := range ids {
		ds[i] = &Dealer{
			ID: i, T: threshold, IDs: ids, Identities: identities, Attempt: H256([]byte("key generation"))[:16], Purpose: "test",
			SessionKey: private[i], SessionKeys: keys, Rand: NewStream(fmt.Sprintf("coffer/test/%s dkg/%d", modelLabel, i)),
		}
		rounds[0][i] = ds[i].Round0()
	}
	run(func(i int, d *Dealer) (err error) { rounds[1][i], err = d.Round1(without(rounds[0], i)); return err })
	run(func(i int, d *Dealer) (err error) { rounds[2][i], err = d.Round2(without(rounds[1], i)); return err })
	run(func(i int, d *Dealer) (err error) { d3[i], err = d.Round3(without(rounds[2], i)); return err })
	tr.private[3] = d3
	out := map[int]*KeyShare{}
	run(func(i int, d *Dealer) error {
		g, err := d.Finish(toParty(d3, i))
		if err != nil {
			return err
		}
		k, err := DecodeKeyShare(g.Share.Encode())
		if err != nil {
			return err
		}
		k.State = Active
		out[i] = k
		return nil
	})
	return out, ds, tr
}

const modelLabel = "refmodel"

// dealing names the stream of the base OTs of one direction.
func dealing(bob, alice int) string { return fmt.Sprintf("bob %d alice %d", bob, alice) }

// team sets signers up, with base OTs dealt.
func team(keys map[int]*KeyShare, set []int, tweak *big.Int) map[int]*Signer {
	out := map[int]*Signer{}
	for _, i := range set {
		s := &Signer{
			Key: keys[i], S: set, Attempt: H256([]byte("attempt"))[:16], RequestHash: H256([]byte("request")), Protocol: protocolSign, N: 1,
			Items: []Item{{H256([]byte("message")), tweak, nil}}, Purpose: "test", Rand: NewStream(fmt.Sprintf("coffer/test/%s sign/%d", modelLabel, i)), Setups: map[int]Setup{},
		}
		for _, j := range set {
			if j != i {
				s.Setups[j] = Setup{
					Bob: dealt(dealing(i, j)), Alice: dealt(dealing(j, i)),
					Hash: H256(fmt.Appendf(nil, "setup %d %d", min(i, j), max(i, j))),
				}
			}
		}
		out[i] = s
	}
	return out
}

// transcript is what was sent, by round.
type transcript struct {
	broadcast [3]map[int][]byte
	private   [4]map[int]map[int][]byte
}

// rounds runs a team up to R2; between may change a signer after a round. It
// gives the first error of each signer.
func rounds(ss map[int]*Signer, set []int, between func(round int)) (tr transcript, errs map[int]error) {
	errs = map[int]error{}
	b, p := &tr.broadcast, &tr.private
	for r := range b {
		b[r], p[r] = map[int][]byte{}, map[int]map[int][]byte{}
		for _, i := range set {
			var err error
			switch r {
			case 0:
				b[0][i], err = ss[i].Round0()
			case 1:
				b[1][i], p[1][i], err = ss[i].Round1(without(b[0], i))
			case 2:
				b[2][i], p[2][i], err = ss[i].Round2(without(b[1], i), toParty(p[1], i))
			}
			if err != nil {
				errs[i] = err
			}
		}
		if len(errs) > 0 {
			return tr, errs
		}
		between(r)
	}
	return tr, errs
}

// play runs a team to the final shares.
func play(ss map[int]*Signer, set []int, between func(round int)) (shares [][]byte, tr transcript, errs map[int]error) {
	if tr, errs = rounds(ss, set, between); len(errs) > 0 {
		return nil, tr, errs
	}
	for _, i := range set {
		share, err := ss[i].Round3(without(tr.broadcast[2], i), toParty(tr.private[2], i))
		if err != nil {
			errs[i] = err
		}
		shares = append(shares, share)
	}
	return shares, tr, errs
}

func TestThreeOfFour(t *testing.T) {
	keys, _, _ := generate(t, []int{1, 7, 300, 65535}, 3)
	honest := func(int) {}
	set := []int{1, 7, 65535}
	one := big.NewInt(1)
	t.Run("a signer of another share", func(t *testing.T) {
		ss := team(keys, set, one)
		wrong := *keys[7]
		wrong.Share = add(wrong.Share, one)
		ss[7].Key = &wrong
		_, _, errs := play(ss, set, honest)
		for _, i := range set {
			wantClass(t, fmt.Sprint("signer ", i), errs[i], Unattributed, 0)
		}
	})
	t.Run("another nonce than committed", func(t *testing.T) {
		ss := team(keys, set, one)
		_, _, errs := play(ss, set, func(round int) {
			if round == 1 {
				ss[7].slots[0].r = add(ss[7].slots[0].r, one)
			}
		})
		wantClass(t, "signer 1", errs[1], Attributed, 7)
		wantClass(t, "signer 65535", errs[65535], Attributed, 7)
	})
	t.Run("another message", func(t *testing.T) {
		ss := team(keys, set, one)
		ss[7].Items[0].MessageHash = H256([]byte("another"))
		_, _, errs := play(ss, set, honest)
		for _, i := range set {
			wantClass(t, fmt.Sprint("signer ", i), errs[i], Benign, 0)
		}
	})
	t.Run("another tweak", func(t *testing.T) {
		ss := team(keys, set, one)
		ss[7].Items[0].Tweak = big.NewInt(2)
		_, _, errs := play(ss, set, honest)
		wantClass(t, "signer 1", errs[1], Benign, 0)
	})
	t.Run("another setup", func(t *testing.T) {
		ss := team(keys, set, one)
		setup := ss[7].Setups[65535]
		setup.Hash = flip(setup.Hash, 0)
		ss[7].Setups[65535] = setup
		_, _, errs := play(ss, set, honest)
		for _, i := range set { // 1 sees that the two others differ
			wantClass(t, fmt.Sprint("signer ", i), errs[i], Benign, 0)
		}
	})
	t.Run("inputs", func(t *testing.T) {
		for name, change := range map[string]func(*Signer){
			"h = 0":       func(s *Signer) { s.Items[0].MessageHash = make([]byte, 32) },
			"h = q":       func(s *Signer) { s.Items[0].MessageHash = enc(q) },
			"a signer":    func(s *Signer) { s.S = []int{1, 7} },
			"not a party": func(s *Signer) { s.S = []int{7, 300, 65535} },
			"pk + εG = O": func(s *Signer) {
				sk := new(big.Int)
				for _, i := range set {
					sk = add(sk, mul(lagrange(i, set), keys[i].Share))
				}
				s.Items[0].Tweak = neg(sk)
			},
			"a pending share": func(s *Signer) {
				pending := *s.Key
				pending.State = Pending
				s.Key = &pending
			},
			"another purpose": func(s *Signer) { s.Purpose = "sign" },
		} {
			s := team(keys, set, one)[1]
			change(s)
			if _, err := s.Round0(); err == nil {
				t.Errorf("%s was taken", name)
			}
		}
	})
}

// The recovery id of an R whose x is at least q, and of s above q/2: the key is
// chosen after the signature, as its recovery.
func TestRecoveryID(t *testing.T) {
	high := Point{X: new(big.Int).Add(q, big.NewInt(1))}
	for ; high.Y == nil; high.X.Add(high.X, big.NewInt(1)) {
		if high.Y = fsqrt(curveEq(high.X)); high.Y != nil {
			break
		}
	}
	if high.X.Cmp(p) >= 0 {
		t.Fatal("no point above q")
	}
	hash := H256([]byte("message"))
	for _, bigR := range []Point{high, high.Neg(), g, g.Neg()} {
		for _, s := range []*big.Int{big.NewInt(5), neg(big.NewInt(5))} {
			r := mod(bigR.X)
			pk := bigR.Mul(mul(s, inv(r))).Sub(Base(mul(wide(hash), inv(r))))
			f := frame{protocolSign, 1, 1, nil, make([]byte, 32)}
			share := func(i int, w, u *big.Int) []byte {
				return cat(f.header(3, i, 0), make([]byte, 32), bigR.Bytes(), enc(w), enc(u))
			}
			u := big.NewInt(3)
			sig, err := Combine(pk, []int{1, 2}, Item{hash, new(big.Int), nil}, [][]byte{share(1, mul(s, u), u), share(2, mul(s, u), u)})
			if err != nil {
				t.Fatal(err)
			}
			want := int(bigR.Y.Bit(0))
			if bigR.X.Cmp(q) >= 0 {
				want |= 2
			}
			if s.Cmp(half) > 0 {
				want ^= 1
			}
			same(t, "signature", sig, cat(enc(r), enc(big.NewInt(5)), u8(want)))
			if _, err := Combine(pk, []int{1, 2}, Item{hash, new(big.Int), nil}, [][]byte{share(1, s, u), share(2, s, neg(u))}); err == nil {
				t.Error("Σu = 0 was combined")
			}
		}
	}
}
