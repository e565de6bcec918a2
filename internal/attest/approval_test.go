package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/signature"
)

var testCounter = NameOf(CounterArea(0x0183f002))

func approvers(t testing.TB, n, need int) ([]*ecdsa.PrivateKey, Approvers) {
	t.Helper()
	var keys []signature.PublicKey
	byKey := make(map[signature.PublicKey]*ecdsa.PrivateKey)
	for range n {
		k, public := p256(t)
		keys = append(keys, public)
		byKey[public] = k
	}
	s, err := NewApprovers(keys, need, testCounter, 3)
	if err != nil {
		t.Fatal(err)
	}
	var private []*ecdsa.PrivateKey
	for _, k := range s.Keys {
		private = append(private, byKey[k])
	}
	return private, s
}

// TestPathLeadsToPolicy walks the ORs of every subset of every shape: at each step the
// digest so far must stand in the list, and the last must be the policy.
func TestPathLeadsToPolicy(t *testing.T) {
	for n := 1; n <= MaxApprovers; n++ {
		for need := 1; need <= n; need++ {
			_, s := approvers(t, n, need)
			want, err := s.Policy()
			if err != nil {
				t.Fatal(err)
			}
			all := subsets(n, need)
			for _, subset := range all {
				var d policyDigest
				for _, i := range subset {
					a, err := VerifierArea(s.Keys[i])
					if err != nil {
						t.Fatal(err)
					}
					d = d.signed(NameOf(a.Encode()), approverRef[:])
				}
				path, err := s.Path(subset)
				if err != nil {
					t.Fatal(err)
				}
				for _, or := range path {
					if len(or) < 2 || len(or) > 8 || !slices.Contains(or, [32]byte(d)) {
						t.Fatalf("%d of %d, subset %v: a list of %d without the digest so far", need, n, subset, len(or))
					}
					var branches []policyDigest
					for _, b := range or {
						branches = append(branches, b)
					}
					d = either(branches)
				}
				if d.counter(s.Counter, opEqual, s.Generation) != policyDigest(want) {
					t.Fatalf("%d of %d: subset %v does not lead to the policy", need, n, subset)
				}
			}
			if _, err := s.Path(append([]int{n}, all[0]...)); err == nil {
				t.Errorf("%d of %d: a path for a subset that is none", need, n)
			}
		}
	}
}

// TestPolicyBindsEverything: whatever is changed in a set changes what the authority signs.
func TestPolicyBindsEverything(t *testing.T) {
	_, s := approvers(t, 4, 2)
	want, err := s.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	_, other := approvers(t, 4, 2)
	for name, change := range map[string]func(*Approvers){
		"keys":       func(x *Approvers) { x.Keys = other.Keys },
		"one key":    func(x *Approvers) { x.Keys = x.Keys[1:] },
		"need":       func(x *Approvers) { x.Need = 3 },
		"counter":    func(x *Approvers) { x.Counter[33] ^= 1 },
		"generation": func(x *Approvers) { x.Generation++ },
	} {
		x := s
		change(&x)
		if got, err := x.AuthorityDigest(); err != nil || got == want {
			t.Errorf("other %s: the same digest, %v", name, err)
		}
	}
}

// TestApproversVector pins the policy of one set: what a TPM computes for it is in
// docs/spec/tpm.md.
func TestApproversVector(t *testing.T) {
	g, err := hex.DecodeString("046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
	if err != nil {
		t.Fatal(err)
	}
	twice, err := hex.DecodeString("047cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc4766997807775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1")
	if err != nil {
		t.Fatal(err)
	}
	keys := []signature.PublicKey{{Algorithm: signature.P256, Key: string(g)}, {Algorithm: signature.P256, Key: string(twice)}}
	s, err := NewApprovers(keys, 1, testCounter, 2)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := s.Policy()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := s.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	_, keyPolicy, err := ApprovalArea(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	area := Area{approvalAttributes, keyPolicy[:], keys[1]}.Encode()
	approval, err := ApprovalDigest(area, signature.Statement{Domain: "coffer/approved/v1", Body: []byte("body")})
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := EpochPolicy(NameOf(CounterArea(0x0183f001)), 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	cold, err := EpochPolicy(NameOf(CounterArea(0x0183f001)), 7, &keys[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := VerifierArea(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("verifier name %v\ncounter name %v\napproved policy %x\nauthority signs %x\nkey policy %x\nkey name %v\napprover signs %x\nepoch policy %x\ncold policy %x\n",
		NameOf(a.Encode()), testCounter, policy, digest, keyPolicy, NameOf(area), approval, epoch, cold)
	if got != approversVector {
		t.Errorf("got\n%s\nwant\n%s", got, approversVector)
	}
}

const approversVector = `verifier name 19366a7e682a0589dc1096b44aab74b7942f84b386b94eab81013d9970daf605
counter name 28f6dc477529e9840cb26bdb0c4720e622bf43ae38fdf6c755723938f9442560
approved policy 75f133c3f76b46a0e2da0f881faab5869805929d60d968f42e64e4e8c7b6b852
authority signs 03ad48a16e90f44482905118d94ab7d3717dc4b13484a7fc29af91071abfec4a
key policy 4a70beeadeb94774c105c38060b8296e8882c652651101d22e62ec6aadd0e790
key name 026c3422acb3586d5ca0c7bf44661ff7da9c46a172160863e0095f57ae9a7b0b
approver signs d9e7314946d6753166743e411afa38e0938f6789b36766ae289e33431946e994
epoch policy c561e3ced588e5c62814960e326427a624ae75e48345abec81c580b79e102b31
cold policy 780d3c3a88f5eec2dc1553b348ee73cc39df7a6901f8b14ef28bc9fbba6af79b
`

func TestCheckApprovalKey(t *testing.T) {
	ak, authority := p256(t)
	_, other := p256(t)
	_, key := p256(t)
	_, policy, err := ApprovalArea(authority)
	if err != nil {
		t.Fatal(err)
	}
	good := Area{approvalAttributes, policy[:], key}
	if k, err := CheckApprovalKey(good.Encode(), authority); err != nil || k != key {
		t.Fatalf("%v, %v", k, err)
	}
	_, s := approvers(t, 3, 2)
	digest, err := s.AuthorityDigest()
	if err != nil {
		t.Fatal(err)
	}
	by := sign(t, ak, digest)
	if err := CheckApprovers(good.Encode(), authority, s, by); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Area{
		"password":         {approvalAttributes | attrUserWithAuth, policy[:], key},
		"duplicable":       {approvalAttributes &^ attrFixedTPM, policy[:], key},
		"movable":          {approvalAttributes &^ attrFixedParent, policy[:], key},
		"imported":         {approvalAttributes &^ attrDataOrigin, policy[:], key},
		"certify by empty": {approvalAttributes &^ attrAdminWithPolicy, policy[:], key},
		"no policy":        {approvalAttributes, nil, key},
		"another policy":   {approvalAttributes, make([]byte, 32), key},
		"restricted":       {approvalAttributes | attrRestricted, policy[:], key},
	} {
		if _, err := CheckApprovalKey(a.Encode(), authority); err == nil {
			t.Errorf("%s: passes", name)
		}
		if err := CheckApprovers(a.Encode(), authority, s, by); err == nil {
			t.Errorf("%s: a set passes", name)
		}
		if name == "another policy" {
			continue // whose authority it is isn't known to ApprovalDigest
		}
		if _, err := ApprovalDigest(a.Encode(), signature.Statement{Domain: "x"}); err == nil {
			t.Errorf("%s: people would sign for it", name)
		}
	}
	if _, err := CheckApprovalKey(good.Encode(), other); err == nil {
		t.Error("another authority: passes")
	}
	if err := CheckApprovers(good.Encode(), authority, s, sign(t, ak, sha256.Sum256(digest[:]))); err == nil {
		t.Error("a signature over something else: passes")
	}
	s.Generation++
	if err := CheckApprovers(good.Encode(), authority, s, by); err == nil {
		t.Error("another generation: passes")
	}
}

// TestApprovalDigestBinds: key, domain and body are in what is signed; nothing that is
// signed elsewhere can be it.
func TestApprovalDigestBinds(t *testing.T) {
	_, authority := p256(t)
	_, policy, err := ApprovalArea(authority)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[[32]byte]string)
	for range 2 {
		_, key := p256(t)
		area := Area{approvalAttributes, policy[:], key}.Encode()
		for _, st := range []signature.Statement{{Domain: "a", Body: []byte("x")}, {Domain: "b", Body: []byte("x")}, {Domain: "a", Body: []byte("y")}} {
			d, err := ApprovalDigest(area, st)
			if err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%v %q %q", NameOf(area), st.Domain, st.Body)
			if old, ok := seen[d]; ok {
				t.Errorf("%s and %s: the same digest", old, what)
			}
			seen[d] = what
			if d == st.Digest() {
				t.Error("an approval is the statement's own digest")
			}
		}
	}
}

// An operator signs the opening of a blob, whatever a helper tells him that it is.
func TestOperatorSeesWhatHeSigns(t *testing.T) {
	nonce, cp := make([]byte, 32), [32]byte{1}
	good := OperatorPreimage(nonce, 180, cp)
	if err := CheckOperatorPreimage(good, OperatorDigest(nonce, 180, cp)); err != nil {
		t.Error(err)
	}
	statement := signature.Statement{Domain: "coffer/change/v1", Body: []byte("pay the thief")}
	long := append(make([]byte, 33), good[32:]...)
	named := OperatorPreimage(append([]byte("coffer/change/v1"), nonce[:16]...), 180, cp)
	for name, c := range map[string]struct {
		preimage []byte
		digest   [32]byte
	}{
		"a statement":             {nil, statement.Digest()},
		"a statement, covered up": {good, statement.Digest()},
		"an approval":             {authPreimage(nil, 0, cp, approverRef[:]), authDigest(nil, 0, cp, approverRef[:])},
		"an approval with nonce":  {authPreimage(nonce, 0, cp, approverRef[:]), authDigest(nonce, 0, cp, approverRef[:])},
		"no nonce":                {OperatorPreimage(nil, 180, cp), OperatorDigest(nil, 180, cp)},
		"long nonce":              {long, sha256.Sum256(long)},
		"what reads as statement": {named, sha256.Sum256(named)},
		"a set's policy":          {append(cp[:], authorityRef[:]...), sha256.Sum256(append(cp[:], authorityRef[:]...))},
	} {
		if CheckOperatorPreimage(c.preimage, c.digest) == nil {
			t.Errorf("%s: an operator would sign it", name)
		}
	}
}

func TestOperatorDigestBinds(t *testing.T) {
	_, k := p256(t)
	point := []byte(k.Key)
	cp, err := ExchangeHash(Name{1}, point)
	if err != nil {
		t.Fatal(err)
	}
	base := OperatorDigest([]byte("nonce"), 180, cp)
	cp2, err := ExchangeHash(Name{2}, point)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string][32]byte{
		"nonce": OperatorDigest([]byte("nonc2"), 180, cp), "time": OperatorDigest([]byte("nonce"), 181, cp), "key": OperatorDigest([]byte("nonce"), 180, cp2),
	} {
		if d == base {
			t.Errorf("another %s: the same digest", name)
		}
	}
	if _, err := ExchangeHash(Name{}, point[:64]); err == nil {
		t.Error("a short point passes")
	}
}

func TestApproversRefused(t *testing.T) {
	_, s := approvers(t, 3, 2)
	ed := signature.PublicKey{Algorithm: signature.Ed25519, Key: strings.Repeat("x", 32)}
	for name, change := range map[string]func(*Approvers){
		"nobody": func(x *Approvers) { x.Keys = nil },
		"nine": func(x *Approvers) {
			_, n := approvers(t, 8, 1)
			x.Keys = append(slices.Clone(n.Keys), s.Keys[0])
			slices.SortFunc(x.Keys, compareKeys)
		},
		"need 0":         func(x *Approvers) { x.Need = 0 },
		"need 4 of 3":    func(x *Approvers) { x.Need = 4 },
		"one twice":      func(x *Approvers) { x.Keys = []signature.PublicKey{s.Keys[0], s.Keys[0]}; x.Need = 2 },
		"out of order":   func(x *Approvers) { x.Keys = []signature.PublicKey{s.Keys[1], s.Keys[0]} },
		"ed25519":        func(x *Approvers) { x.Keys = []signature.PublicKey{ed}; x.Need = 1 },
		"counter's hash": func(x *Approvers) { x.Counter[1] = 4 },
	} {
		x := s
		change(&x)
		if _, err := x.Policy(); err == nil {
			t.Errorf("%s: has a policy", name)
		}
		if _, err := DecodeApprovers(x.Encode()); err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
}

// TestOtherAlgorithms: a TPM checks P-256 only, and says so before anybody signs.
func TestOtherAlgorithms(t *testing.T) {
	ed := signature.PublicKey{Algorithm: signature.Ed25519, Key: strings.Repeat("x", 32)}
	_, key := p256(t)
	area := Area{approvalAttributes, make([]byte, 32), key}.Encode()
	_, s := approvers(t, 1, 1)
	spoilt := s
	spoilt.Need = 2
	_, epoch := EpochPolicy(testCounter, 1, &ed)
	_, _, template := ApprovalArea(ed)
	_, check := CheckApprovalKey(area, ed)
	_, garbage := CheckApprovalKey(area[1:], key)
	_, digest := ApprovalDigest(area[1:], signature.Statement{Domain: "x"})
	_, authority := spoilt.AuthorityDigest()
	_, policy, err := ApprovalArea(key)
	if err != nil {
		t.Fatal(err)
	}
	set := CheckApprovers(Area{approvalAttributes, policy[:], key}.Encode(), key, spoilt, signature.Signature{})
	for name, tc := range map[string]struct {
		err error
		say string
	}{
		"operator": {epoch, "P-256 keys only"}, "authority": {template, "P-256 keys only"}, "check": {check, "P-256 keys only"},
		"garbage": {garbage, "couldn't decode"}, "garbage to approve for": {digest, "couldn't decode"},
		"digest of a spoilt set": {authority, "2 of 1 approvers"}, "check of a spoilt set": {set, "2 of 1 approvers"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.say) {
			t.Errorf("%s: %v, want an error that says %q", name, tc.err, tc.say)
		}
	}
}

func FuzzDecodeApprovers(f *testing.F) {
	_, s := approvers(f, 3, 2)
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeApprovers(b); err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatalf("decoded %x, encoded %x", b, s.Encode())
		}
	})
}
