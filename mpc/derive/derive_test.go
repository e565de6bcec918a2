package derive

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	decred "github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// extended is what a serialized extended public key of BIP-32 holds.
type extended struct {
	depth  byte
	parent [4]byte
	index  uint32
	code   [32]byte
	public group.Point
}

// xpub decodes an extended public key, base58 with its check sum.
func xpub(t *testing.T, s string) extended {
	t.Helper()
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	v := new(big.Int)
	for _, c := range s {
		v.Mul(v, big.NewInt(58)).Add(v, big.NewInt(int64(strings.IndexRune(alphabet, c))))
	}
	b := v.FillBytes(make([]byte, 82))
	first := sha256.Sum256(b[:78])
	if sum := sha256.Sum256(first[:]); !bytes.Equal(sum[:4], b[78:]) || binary.BigEndian.Uint32(b) != 0x0488b21e {
		t.Fatalf("%s is no extended public key", s)
	}
	e := extended{depth: b[4], parent: [4]byte(b[5:9]), index: binary.BigEndian.Uint32(b[9:13]), code: [32]byte(b[13:45]), public: group.Secp256k1().NewPoint()}
	if err := e.public.Decode(b[45:78]); err != nil {
		t.Fatal(err)
	}
	return e
}

// The public derivations of the test vectors 1 and 2 of BIP-32: from, steps, to.
var vectors = []struct {
	from string
	path string
	to   string
}{
	{"xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw", "m/1",
		"xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ"},
	{"xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5", "m/2",
		"xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiyLHV"},
	{"xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fcLW5", "m/2/1000000000",
		"xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy"},
	{"xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB", "m/0",
		"xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"},
	{"xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHjaDMBU4Zn9h8LZNnBC5y4a", "m/1",
		"xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ537wTfunKau47EL2dhHKon"},
}

func TestVectorsOfBIP32(t *testing.T) {
	for _, v := range vectors {
		from, to := xpub(t, v.from), xpub(t, v.to)
		path, err := ParsePath(v.path)
		if err != nil {
			t.Fatal(err)
		}
		if int(to.depth-from.depth) != len(path) || to.index != path[len(path)-1] {
			t.Fatalf("%s does not lead from depth %d to depth %d, index %d", v.path, from.depth, to.depth, to.index)
		}
		c, err := Derive(from.public, from.code, path)
		if err != nil {
			t.Fatal(err)
		}
		if c.PublicKey.Equal(to.public) != 1 || c.ChainCode() != to.code {
			t.Errorf("%s of %s is %x with chain code %x, want %x with %x", v.path, v.from, c.PublicKey.Encode(), c.ChainCode(), to.public.Encode(), to.code)
		}
		if moved := c.PublicKey.Curve().NewPoint().ScalarBaseMult(c.Tweak); moved.Add(moved, from.public).Equal(to.public) != 1 {
			t.Errorf("%s of %s: the tweak does not lead to the child", v.path, v.from)
		}
	}
}

// private derives the private child key with big integers and another curve: the
// second opinion.
func private(k *big.Int, code []byte, path Path) (*big.Int, []byte) {
	n := decred.Params().N
	for _, i := range path {
		var s decred.ModNScalar
		s.SetByteSlice(k.FillBytes(make([]byte, 32)))
		h := hmac.New(sha512.New, code)
		h.Write(decred.NewPrivateKey(&s).PubKey().SerializeCompressed())
		_ = binary.Write(h, binary.BigEndian, i)
		out := h.Sum(nil)
		k = new(big.Int).Add(k, new(big.Int).SetBytes(out[:32]))
		k.Mod(k, n)
		code = out[32:]
	}
	return k, code
}

func path(t *rapid.T) Path {
	return rapid.SliceOfN(rapid.Uint32Max(hardened-1), 0, 6).Draw(t, "path")
}

// The private key plus ε is the private key of the child, as BIP-32 derives it
// from the private key.
func TestPublicAndPrivateDerivationAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		k.Mod(k, new(big.Int).Sub(decred.Params().N, big.NewInt(1))).Add(k, big.NewInt(1))
		code := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "chain code")
		p := path(t)
		key := group.Secp256k1().NewScalar()
		if err := key.Decode(k.FillBytes(make([]byte, 32))); err != nil {
			t.Fatal(err)
		}
		c, err := Derive(group.Secp256k1().NewPoint().ScalarBaseMult(key), [32]byte(code), p)
		if err != nil {
			t.Fatal(err)
		}
		want, wantCode := private(k, code, p)
		if got := key.Add(key, c.Tweak).Encode(); !bytes.Equal(got, want.FillBytes(make([]byte, 32))) || !bytes.Equal(c.chainCode[:], wantCode) {
			t.Fatalf("%s: key plus tweak is %x with chain code %x, want %x with %x", p, got, c.ChainCode(), want, wantCode)
		}
		if c.PublicKey.Equal(group.Secp256k1().NewPoint().ScalarBaseMult(key)) != 1 {
			t.Fatalf("%s: the public key is not that of key plus tweak", p)
		}
	})
}

// A path is gone step by step, on both curves; every input of a step matters.
func TestPathsCompose(t *testing.T) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		t.Run(c.Name(), rapid.MakeCheck(func(t *rapid.T) {
			key := c.NewScalar().SetUniform(rapid.SliceOfN(rapid.ByteMin(1), c.UniformSize(), c.UniformSize()).Draw(t, "key"))
			public := c.NewPoint().ScalarBaseMult(key)
			code := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "chain code"))
			a, b := path(t), path(t)
			whole, err := Derive(public, code, append(append(Path{}, a...), b...))
			if err != nil {
				t.Fatal(err)
			}
			first, err := Derive(public, code, a)
			if err != nil {
				t.Fatal(err)
			}
			second, err := Derive(first.PublicKey, first.ChainCode(), b)
			if err != nil {
				t.Fatal(err)
			}
			if second.PublicKey.Equal(whole.PublicKey) != 1 || second.ChainCode() != whole.ChainCode() || whole.Tweak.Equal(c.NewScalar().Add(first.Tweak, second.Tweak)) != 1 {
				t.Fatalf("%s and then %s is not the whole path", a, b)
			}
			if whole.PublicKey.Equal(c.NewPoint().ScalarBaseMult(key.Add(key, whole.Tweak))) != 1 {
				t.Fatalf("%s: the public key is not that of key plus tweak", a)
			}
			if public.Equal(c.NewPoint().ScalarBaseMult(key.Sub(key, whole.Tweak))) != 1 {
				t.Fatal("derivation changed the public key that it was given")
			}
		}))
	}
}

func TestStepTakesEveryInput(t *testing.T) {
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		seen := map[string]string{}
		g := c.Generator()
		for name, in := range map[string]struct {
			public group.Point
			code   [32]byte
			index  uint32
		}{
			"nothing":    {g, [32]byte{1}, 7},
			"key":        {c.NewPoint().Add(g, g), [32]byte{1}, 7},
			"sign of it": {c.NewPoint().Negate(g), [32]byte{1}, 7},
			"chain code": {g, [32]byte{1, 31: 1}, 7},
			"index":      {g, [32]byte{1}, 8},
			"high index": {g, [32]byte{1}, 7 << 24},
		} {
			child, err := Derive(in.public, in.code, Path{in.index})
			if err != nil {
				t.Fatal(err)
			}
			code := child.ChainCode()
			for _, out := range []string{string(child.Tweak.Encode()), string(code[:])} {
				if other := seen[out]; other != "" {
					t.Errorf("%s: another %s gives what another %s gives", c.Name(), name, other)
				}
				seen[out] = name
			}
		}
	}
}

// referenceEd25519 is one step of the specification, with the hash function
// itself and big integers.
func referenceEd25519(t *testing.T, public group.Point, code [32]byte, i uint32) (eps *big.Int, next [32]byte) {
	t.Helper()
	h := sha3.NewCSHAKE256(nil, []byte("coffer/mpc/v1/derive"))
	for _, part := range [][]byte{
		{0, 0, 0, 3}, {0, 0, 0, 0, 0, 0, 0, 32}, code[:], {0, 0, 0, 0, 0, 0, 0, 32}, public.Encode(), {0, 0, 0, 0, 0, 0, 0, 4},
		{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)},
	} {
		_, _ = h.Write(part)
	}
	var out [96]byte
	if _, err := io.ReadFull(h, out[:]); err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	slices.Reverse(out[:64])
	return new(big.Int).Mod(new(big.Int).SetBytes(out[:64]), order), [32]byte(out[64:])
}

// Ed25519 has no vectors of others. This one is docs/spec/derivation.md's.
func TestVectorOfEd25519(t *testing.T) {
	public, code, tweak := group.Ed25519().Generator(), [32]byte{1, 2, 3}, group.Ed25519().NewScalar()
	p := Path{0, 44, hardened - 1}
	c, err := Derive(public, code, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range p {
		eps, next := referenceEd25519(t, public, code, i)
		b := eps.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		s := group.Ed25519().NewScalar()
		if err := s.Decode(b); err != nil {
			t.Fatal(err)
		}
		tweak.Add(tweak, s)
		public.Add(public, group.Ed25519().NewPoint().ScalarBaseMult(s))
		code = next
	}
	if c.Tweak.Equal(tweak) != 1 || c.PublicKey.Equal(public) != 1 || c.ChainCode() != code {
		t.Error("the derivation is not that of the specification")
	}
	got := fmt.Sprintf("%x %x %x", c.Tweak.Encode(), c.PublicKey.Encode(), c.ChainCode())
	if want := "47c6ae4faab393b53e43c9e1fff309b07dc41b34b9a4ee8bfb65a8249d359c07 54bb840434dc29ea5e89f0d99c38a7febd3b95e20df1b5fd85245cb4bd01013d 18f484d5dd36f46860c544a2cf07ed4746ab61151e9e709602b22d84f07fb5bd"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What no search finds: a left half that is not below n, and a child at infinity.
func TestIndexWithoutAChild(t *testing.T) {
	n := decred.Params().N.FillBytes(make([]byte, 32))
	code := bytes.Repeat([]byte{5}, 32)
	for _, left := range [][]byte{n, bytes.Repeat([]byte{0xff}, 32)} {
		if _, _, err := splitBIP32(append(append([]byte{}, left...), code...)); !errors.Is(err, ErrNoChild) {
			t.Errorf("left half %x: %v", left, err)
		}
	}
	n[31]--
	eps, next, err := splitBIP32(append(append([]byte{}, n...), code...))
	if err != nil || !bytes.Equal(eps.Encode(), n) || !bytes.Equal(next[:], code) {
		t.Errorf("left half n − 1: %v", err)
	}
	for _, c := range []group.Curve{group.Secp256k1(), group.Ed25519()} {
		child := &Child{Tweak: c.NewScalar(), PublicKey: c.Generator(), chainCode: new([32]byte)}
		if err := child.add(c.NewScalar().Negate(c.NewScalar().SetUint64(1))); !errors.Is(err, ErrNoChild) {
			t.Errorf("%s, child at infinity: %v", c.Name(), err)
		}
		if _, err := Derive(c.NewPoint(), [32]byte{}, nil); err == nil {
			t.Errorf("%s: the identity has a child", c.Name())
		}
	}
}

func TestPathsAreChecked(t *testing.T) {
	for _, s := range []string{"", "0", "/0", "m/", "m//0", "m/0/", "m/-1", "m/+1", "m/01", "m/4294967296", "m/2147483648", "m/0x1", "m/1 ", "M/0", "m/44'", "m/44h", "m/44H", "m" + strings.Repeat("/0", MaxDepth+1)} {
		if p, err := ParsePath(s); err == nil {
			t.Errorf("%q is the path %s", s, p)
		}
	}
	for _, s := range []string{"m/44'/60'", "m/2147483648"} {
		if _, err := ParsePath(s); err == nil || !strings.Contains(err.Error(), "hardened") {
			t.Errorf("%q: %v, want a word about hardened steps", s, err)
		}
	}
	for _, s := range []string{"m", "m/0", "m/44/60/0/0/7", "m/2147483647", "m" + strings.Repeat("/7", MaxDepth)} {
		p, err := ParsePath(s)
		if err != nil || p.String() != s {
			t.Errorf("%q is read as %s, %v", s, p, err)
		}
		again, err := DecodePath(p.Encode())
		if err != nil || again.String() != s {
			t.Errorf("%s decodes as %s, %v", s, again, err)
		}
	}
	for _, p := range []Path{{hardened}, {0, 1<<32 - 1}, make(Path, MaxDepth+1)} {
		if p.Check() == nil {
			t.Errorf("%s is a path", p)
		}
		if _, err := Derive(group.Ed25519().Generator(), [32]byte{}, p); err == nil {
			t.Errorf("%s leads somewhere", p)
		}
		if _, err := DecodePath(p.Encode()); err == nil {
			t.Errorf("%s decodes", p)
		}
	}
}

// Sessions bind the encoding: two paths never have the same.
func TestEncodingsDiffer(t *testing.T) {
	seen := map[string]Path{}
	for _, p := range []Path{nil, {0}, {0, 0}, {1}, {256}, {0, 1}, {1, 0}, {hardened - 1}} {
		if other, ok := seen[string(p.Encode())]; ok {
			t.Errorf("%s is encoded like %s", p, other)
		}
		seen[string(p.Encode())] = p
	}
}

func FuzzDecodePath(f *testing.F) {
	f.Add(Path{}.Encode())
	f.Add(Path{44, 60, 0, 0, 7}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePath(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Errorf("%x decodes, and encodes as %x", b, p.Encode())
		}
		if again, err := ParsePath(p.String()); err != nil || !bytes.Equal(again.Encode(), b) {
			t.Errorf("%s is read as %s, %v", p, again, err)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	f.Add("m/44/60/0/0/7")
	f.Add("m/44'")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePath(s); err == nil && (p.String() != s || p.Check() != nil) {
			t.Errorf("%q is read as %s", s, p)
		}
	})
}

// The parties of a key derive the same child, of every suite, and print no chain
// code.
func TestKeysOfEverySuite(t *testing.T) {
	for _, suite := range mpc.Suites() {
		keys, cert, err := mpctest.KeysOf(suite, "derive", mpctest.IDs(3), 2)
		if err != nil {
			t.Fatal(err)
		}
		first, err := Key(keys[1], Path{44, 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range cert.Parties {
			c, err := Key(keys[id], Path{44, 7})
			if err != nil || c.Tweak.Equal(first.Tweak) != 1 || c.PublicKey.Equal(first.PublicKey) != 1 || c.ChainCode() != first.ChainCode() {
				t.Errorf("%s: party %d derives another child, %v", suite, id, err)
			}
		}
		code := first.ChainCode()
		for _, v := range []any{*first, first, struct{ C *Child }{first}, struct{ c *Child }{first}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
				out := fmt.Sprintf(verb, v)
				if strings.Contains(out, fmt.Sprintf("%x", code[:8])) || strings.Contains(out, fmt.Sprint(code[:4])[1:8]) {
					t.Errorf("%s of %T prints the chain code: %s", verb, v, out)
				}
			}
		}
	}
}
