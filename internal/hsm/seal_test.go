package hsm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

func suites() []hsm.Suite {
	return []hsm.Suite{hsm.SuiteHPKE, hsm.SuiteGCM, hsm.SuiteCBCHMAC, hsm.SuiteOAEP256, hsm.SuiteOAEP1}
}

func memoryOf(t testing.TB, suite hsm.Suite) *memory {
	t.Helper()
	d, err := newMemory(suite)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sealIn(t testing.TB, d hsm.Sealer, plaintext, aad string) []byte {
	t.Helper()
	blob, err := hsm.SealWith(t.Context(), d, hsm.ClassState, 1, []byte(plaintext), []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// TestSuites seals and opens in every suite, and everything in the blob counts.
func TestSuites(t *testing.T) {
	for _, suite := range suites() {
		t.Run(suite.String(), func(t *testing.T) {
			d := memoryOf(t, suite)
			if err := d.key.Check(); err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{0, 1, 31, 4096} {
				want := strings.Repeat("s", size)
				blob := sealIn(t, d, want, "aad")
				if size > 16 && bytes.Contains(blob, []byte(want)) {
					t.Fatal("the blob shows its plaintext")
				}
				if got, err := hsm.OpenWith(t.Context(), d, blob, []byte("aad"), nil); err != nil || string(got) != want {
					t.Fatalf("%d bytes: %q, %v", size, got, err)
				}
			}
			blob := sealIn(t, d, "a share", "aad")
			if bytes.Equal(blob, sealIn(t, d, "a share", "aad")) {
				t.Error("sealing twice gives the same blob")
			}
			refuse := func(what string, blob []byte, aad string) {
				t.Helper()
				if got, err := hsm.OpenWith(t.Context(), d, blob, []byte(aad), nil); !errors.Is(err, hsm.ErrUnseal) || got != nil {
					t.Errorf("%s: got %q, %v; want ErrUnseal", what, got, err)
				}
			}
			refuse("other aad", blob, "aae")
			step := 1
			if len(blob) > 256 {
				step = 7 // RSA is slow
			}
			for i := 0; i < len(blob); i += step {
				damaged := bytes.Clone(blob)
				damaged[i] ^= 1 << (i % 8)
				refuse("a byte flipped", damaged, "aad")
				refuse("cut", blob[:i], "aad")
			}
		})
	}
}

// TestRelabelled: class and epoch are bound, even where the device holds one key under
// several names, and the key's id is made to fit.
func TestRelabelled(t *testing.T) {
	for _, suite := range suites() {
		d := memoryOf(t, suite)
		parts, err := hsm.DecodeBlob(sealIn(t, d, "a share", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(){
			func() { d.key.Epoch = 2 },
			func() { d.key.Epoch, d.key.Class = 1, hsm.ClassCold },
		} {
			change()
			parts.Class, parts.Epoch, parts.KeyID = d.key.Class, d.key.Epoch, d.key.ID()
			if got, err := hsm.OpenWith(t.Context(), d, parts.Encode(), nil, nil); !errors.Is(err, hsm.ErrUnseal) || got != nil {
				t.Errorf("%v: as %v of epoch %d: got %q, %v; want ErrUnseal", suite, parts.Class, parts.Epoch, got, err)
			}
		}
	}
	// The two OAEP suites differ in the hash only, GCM and CBC+HMAC in the size of enc.
	d := memoryOf(t, hsm.SuiteOAEP256)
	parts, err := hsm.DecodeBlob(sealIn(t, d, "a share", ""))
	if err != nil {
		t.Fatal(err)
	}
	d.key.Suite = hsm.SuiteOAEP1
	parts.Suite, parts.KeyID = d.key.Suite, d.key.ID()
	if got, err := hsm.OpenWith(t.Context(), d, parts.Encode(), nil, nil); !errors.Is(err, hsm.ErrUnseal) || got != nil {
		t.Errorf("as another suite: got %q, %v; want ErrUnseal", got, err)
	}
}

// TestOpenWithBrokenDevice: a device that answers what it must not.
func TestOpenWithBrokenDevice(t *testing.T) {
	gone := hsm.Errorf(hsm.ErrUnavailable, "", "token removed")
	for _, suite := range suites() {
		d := memoryOf(t, suite)
		blob := sealIn(t, d, "share", "")
		for _, tc := range []struct {
			name  string
			spoil func([]byte) ([]byte, error)
			want  error
		}{
			{"short key", func(k []byte) ([]byte, error) { return k[:31], nil }, hsm.ErrDevice},
			{"half a key", func(k []byte) ([]byte, error) { return k[:16], nil }, hsm.ErrDevice},
			{"no key", func([]byte) ([]byte, error) { return nil, nil }, hsm.ErrDevice},
			{"wrong key", func([]byte) ([]byte, error) { return make([]byte, 32), nil }, hsm.ErrUnseal},
			{"device error", func([]byte) ([]byte, error) { return nil, gone }, gone},
		} {
			d.spoil = tc.spoil
			if got, err := hsm.OpenWith(t.Context(), d, blob, nil, nil); !errors.Is(err, tc.want) || got != nil {
				t.Errorf("%v: %s: got %q, %v; want %v", suite, tc.name, got, err, tc.want)
			}
		}
	}
}

// TestOtherKey: whose blob it is, is said before the device is asked.
func TestOtherKey(t *testing.T) {
	for _, suite := range suites() {
		blob := sealIn(t, memoryOf(t, suite), "share", "")
		other := memoryOf(t, suite)
		if !suite.Public() {
			other.key.Public = []byte("another key name")
		}
		other.spoil = func([]byte) ([]byte, error) { t.Errorf("%v: the device was asked", suite); return nil, nil }
		_, err := hsm.OpenWith(t.Context(), other, blob, nil, nil)
		if !errors.Is(err, hsm.ErrUnseal) || !strings.Contains(err.Error(), "sealed to key") {
			t.Errorf("%v: got %v, want ErrUnseal that names both keys", suite, err)
		}
	}
}

func TestSealRefusals(t *testing.T) {
	d := memoryOf(t, hsm.SuiteHPKE)
	for _, tc := range []struct {
		name      string
		class     hsm.Class
		epoch     uint64
		plaintext int
		aad       int
	}{
		{"class 0", 0, 1, 0, 0},
		{"class 3", 3, 1, 0, 0},
		{"epoch 0", hsm.ClassState, 0, 0, 0},
		{"epoch that is not there", hsm.ClassState, 2, 0, 0},
		{"long plaintext", hsm.ClassState, 1, hsm.MaxPlaintext + 1, 0},
		{"long aad", hsm.ClassState, 1, 0, hsm.MaxAAD + 1},
	} {
		if _, err := hsm.SealWith(t.Context(), d, tc.class, tc.epoch, make([]byte, tc.plaintext), make([]byte, tc.aad)); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("%s: got %v, want ErrInput", tc.name, err)
		}
	}
}

// TestSealKeyCheck: what a helper names as a seal key is looked at first.
func TestSealKeyCheck(t *testing.T) {
	even := memoryOf(t, hsm.SuiteOAEP1).key
	even.Public = bytes.Clone(even.Public)
	even.Public[len(even.Public)-1] &^= 1
	for name, k := range map[string]hsm.SealKey{
		"no suite":       {Class: 1, Epoch: 1},
		"suite 6":        {Suite: 6, Class: 1, Epoch: 1, Public: make([]byte, 16)},
		"no point":       {Suite: hsm.SuiteHPKE, Class: 1, Epoch: 1, Public: make([]byte, 65)},
		"even modulus":   even,
		"zero modulus":   {Suite: hsm.SuiteOAEP256, Class: 1, Epoch: 1, Public: make([]byte, 256)},
		"small modulus":  {Suite: hsm.SuiteOAEP256, Class: 1, Epoch: 1, Public: bytes.Repeat([]byte{0xff}, 128)},
		"short name":     {Suite: hsm.SuiteGCM, Class: 1, Epoch: 1, Public: make([]byte, 15)},
		"class 9":        {Suite: hsm.SuiteGCM, Class: 9, Epoch: 1, Public: make([]byte, 16)},
		"epoch 0":        {Suite: hsm.SuiteGCM, Class: 1, Public: make([]byte, 16)},
		"long mac name":  {Suite: hsm.SuiteCBCHMAC, Class: 1, Epoch: 1, Public: make([]byte, 17)},
		"modulus padded": {Suite: hsm.SuiteOAEP256, Class: 1, Epoch: 1, Public: append([]byte{0}, bytes.Repeat([]byte{0xff}, 256)...)},
	} {
		if err := k.Check(); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// TestSealKeyID: all of a key is in its name.
func TestSealKeyID(t *testing.T) {
	k := hsm.SealKey{Suite: hsm.SuiteGCM, Class: 1, Epoch: 1, Public: []byte("0123456789abcdef")}
	seen := map[[16]byte]bool{k.ID(): true}
	for _, change := range []func(*hsm.SealKey){
		func(k *hsm.SealKey) { k.Suite++ }, func(k *hsm.SealKey) { k.Class++ },
		func(k *hsm.SealKey) { k.Epoch++ }, func(k *hsm.SealKey) { k.Public = []byte("0123456789abcdeg") },
	} {
		other := k
		change(&other)
		if seen[other.ID()] {
			t.Errorf("%+v has the name of another", other)
		}
		seen[other.ID()] = true
	}
}

func FuzzDecodeBlob(f *testing.F) {
	for _, suite := range suites() {
		f.Add(sealIn(f, memoryOf(f, suite), "share", ""))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := hsm.DecodeBlob(b)
		if err != nil {
			return
		}
		if got := d.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("decoded %x, encoded %x", b, got)
		}
	})
}
