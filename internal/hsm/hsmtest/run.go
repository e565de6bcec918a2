package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
)

// Backend is what Run needs to know of a kind of device.
type Backend struct {
	// Open opens one provisioned device, the same at every call.
	Open func(context.Context) (hsm.HSM, error)
	// Other opens another device of the kind.
	Other func(context.Context) (hsm.HSM, error)
	// Child is a process that runs Exercise on the device that Open opens. It is
	// nil only for a backend that holds no keys of its own.
	Child func() *exec.Cmd
	// Approver authorises the single use of a cold key, and Wrong does it wrongly. They
	// may be nil, also where the device asks for nothing.
	Approver, Wrong hsm.Approver
	// State is a directory that is all that the device keeps, or empty. It is copied and
	// put back while the device is closed.
	State string
}

// PIN is an approver that gives a PIN.
type PIN string

// Approve gives it.
func (p PIN) Approve(_ context.Context, c hsm.Challenge) (hsm.Answer, error) {
	if c.Kind != hsm.ChallengePIN {
		return hsm.Answer{}, hsm.Errorf(hsm.ErrApproval, "", "asked for a policy, have a PIN")
	}
	return hsm.Answer{PIN: secret.New([]byte(p))}, nil
}

// domain is of no statement that the product signs.
const domain = "coffer/hsmtest/v1"

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Backend)
	}{
		{"Info", testInfo},
		{"Keys", testKeys},
		{"Sign", testSign},
		{"SignRefusals", testSignRefusals},
		{"SealSizes", testSealSizes},
		{"SealBinding", testSealBinding},
		{"SealDamage", testSealDamage},
		{"OtherDevice", testOtherDevice},
		{"Exchange", testExchange},
		{"Concurrency", testConcurrency},
		{"Cancelled", testCancelled},
		{"Costs", testCosts},
		{"Cold", testCold},
		{"Epochs", testEpochs},
		{"CloseAndReopen", testCloseAndReopen},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, b) })
	}
	if b.State != "" {
		t.Run("StateCopied", func(t *testing.T) { testStateCopied(t, b) })
	}
	if b.Child != nil {
		t.Run("KillAndReopen", func(t *testing.T) { testKill(t, b) })
	}
}

func open(t testing.TB, f func(context.Context) (hsm.HSM, error)) hsm.HSM {
	t.Helper()
	d, err := f(t.Context())
	if err != nil {
		t.Fatalf("couldn't open the device: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// usable fails the test unless the device signs, seals and unseals.
func usable(t testing.TB, d hsm.HSM) {
	t.Helper()
	signChecked(t, d, hsm.RoleIdentity, []byte("still there?"))
	want := []byte("a share")
	blob, err := d.Seal(t.Context(), hsm.ClassState, epochOf(t, d), want, []byte("aad"))
	if err != nil {
		t.Fatalf("device is no longer usable: %v", err)
	}
	got, err := d.Unseal(t.Context(), blob, []byte("aad"), nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("device is no longer usable: unsealed %q, %v", got, err)
	}
}

// signChecked signs and has the standard library verify.
func signChecked(t testing.TB, d hsm.HSM, role hsm.Role, body []byte) signature.Signature {
	t.Helper()
	st := signature.Statement{Domain: domain, Body: body}
	key, err := d.Public(t.Context(), role)
	if err != nil {
		t.Fatalf("public key: %v", err)
	}
	sig, err := d.Sign(t.Context(), role, st, nil)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	if err := verify(key, st, sig); err != nil {
		t.Fatalf("signature as %v over %d bytes: %v", role, len(body), err)
	}
	return sig
}

// verify checks a signature by the standard library alone.
func verify(key signature.PublicKey, st signature.Statement, sig signature.Signature) error {
	if key.Algorithm != sig.Algorithm {
		return fmt.Errorf("key is %v, signature is %v", key.Algorithm, sig.Algorithm)
	}
	digest := st.Digest()
	switch key.Algorithm {
	case signature.P256:
		return verifyP256([]byte(key.Key), digest[:], sig.Bytes)
	case signature.RSA3072:
		if len(key.Key) != 384 || len(sig.Bytes) != 384 {
			return fmt.Errorf("key of %d bytes and signature of %d, want 384", len(key.Key), len(sig.Bytes))
		}
		pub := &rsa.PublicKey{N: new(big.Int).SetBytes([]byte(key.Key)), E: 65537}
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig.Bytes)
	}
	return fmt.Errorf("key is %v, want p256 or rsa3072", key.Algorithm)
}

func verifyP256(key, digest, sig []byte) error {
	if len(sig) != 64 {
		return fmt.Errorf("signature of %d bytes, want 64", len(sig))
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key)
	if err != nil {
		return err
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	if !ecdsa.Verify(pub, digest, r, s) {
		return errors.New("crypto/ecdsa refuses it")
	}
	if half := new(big.Int).Rsh(elliptic.P256().Params().N, 1); s.Cmp(half) > 0 {
		return errors.New("s is above half the group order: not the canonical form")
	}
	return nil
}

func testInfo(t *testing.T, b Backend) {
	i := open(t, b.Open).Info()
	if i.Vendor == "" || i.Model == "" || i.Serial == "" {
		t.Errorf("device does not say what it is: %+v", i)
	}
	if max(i.Boundary, i.Rollback, i.PerUse) > hsm.GradeHardware {
		t.Errorf("grades %v, %v, %v are above the highest", i.Boundary, i.Rollback, i.PerUse)
	}
	if i.PerUse != hsm.GradeNone && !slices.Contains(i.Suites, hsm.HasPerUse) {
		t.Errorf("per-use is graded %v, suites are %q", i.PerUse, i.Suites)
	}
	if !slices.ContainsFunc(i.Suites, func(s string) bool { return strings.HasPrefix(s, "sign:") }) ||
		!slices.ContainsFunc(i.Suites, func(s string) bool { return strings.HasPrefix(s, "seal:") }) {
		t.Errorf("suites %q do not say how it signs and seals", i.Suites)
	}
	for _, s := range []string{i.Vendor, i.Model, i.Firmware, i.Serial, i.Label} {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q has control characters, which would reach a terminal", s)
		}
	}
}

func testKeys(t *testing.T, b Backend) {
	d, again, other := open(t, b.Open), open(t, b.Open), open(t, b.Other)
	seen := make(map[signature.PublicKey]string)
	for _, role := range hsm.Roles() {
		k, err := d.Public(t.Context(), role)
		if err != nil {
			t.Fatal(err)
		}
		if who, dup := seen[k]; dup {
			t.Errorf("key of %v is the key of %s", role, who)
		}
		seen[k] = role.String()
		if same, err := again.Public(t.Context(), role); err != nil || same != k {
			t.Errorf("%v key opened twice: %v and %v, %v", role, k, same, err)
		}
		o, err := other.Public(t.Context(), role)
		if err != nil {
			t.Fatal(err)
		}
		if who, dup := seen[o]; dup {
			t.Errorf("another device's %v key is the key of %s", role, who)
		}
		seen[o] = "another device's " + role.String()
	}
}

func testSign(t *testing.T, b Backend) {
	d := open(t, b.Open)
	for _, role := range hsm.Roles() {
		for _, size := range []int{0, 1, 32, 33, 4096, hsm.MaxStatement} {
			signChecked(t, d, role, make([]byte, size))
		}
	}
	// Half of all signatures come with a high s, which must be normalised: the
	// chance that 48 miss it is 2⁻⁴⁸.
	for i := range 48 {
		signChecked(t, d, hsm.RoleDecision, []byte{byte(i)})
	}
	sig := signChecked(t, d, hsm.RoleIdentity, []byte("body"))
	key, err := d.Public(t.Context(), hsm.RoleIdentity)
	if err != nil {
		t.Fatal(err)
	}
	decision, err := d.Public(t.Context(), hsm.RoleDecision)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []struct {
		name string
		key  signature.PublicKey
		st   signature.Statement
	}{
		{"another domain", key, signature.Statement{Domain: domain + "x", Body: []byte("body")}},
		{"another body", key, signature.Statement{Domain: domain, Body: []byte("bodx")}},
		{"another role", decision, signature.Statement{Domain: domain, Body: []byte("body")}},
	} {
		if verify(wrong.key, wrong.st, sig) == nil {
			t.Errorf("signature is good for %s", wrong.name)
		}
	}
}

func testSignRefusals(t *testing.T, b Backend) {
	d := open(t, b.Open)
	good := signature.Statement{Domain: domain}
	for _, tc := range []struct {
		name string
		role hsm.Role
		st   signature.Statement
	}{
		{"role 0", 0, good},
		{"role 200", 200, good},
		{"no domain", hsm.RoleIdentity, signature.Statement{}},
		{"long domain", hsm.RoleIdentity, signature.Statement{Domain: strings.Repeat("x", 256)}},
		{"domain with a line break", hsm.RoleIdentity, signature.Statement{Domain: "coffer\n"}},
		{"long body", hsm.RoleIdentity, signature.Statement{Domain: domain, Body: make([]byte, hsm.MaxStatement+1)}},
	} {
		if _, err := d.Sign(t.Context(), tc.role, tc.st, nil); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("%s: got %v, want ErrInput", tc.name, err)
		}
	}
	if _, err := d.Public(t.Context(), 200); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("public key of role 200: got %v, want ErrInput", err)
	}
	usable(t, d)
}

func testSealSizes(t *testing.T, b Backend) {
	d := open(t, b.Open)
	for _, size := range []int{0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 4096, 65535, 65536, hsm.MaxPlaintext} {
		want := make([]byte, size)
		rand.Read(want)
		blob, err := d.Seal(t.Context(), hsm.ClassState, epochOf(t, d), want, []byte("aad"))
		if err != nil {
			t.Fatalf("seal %d bytes: %v", size, err)
		}
		if size >= 16 && bytes.Contains(blob, want[:16]) {
			t.Fatalf("blob of %d bytes shows its plaintext", size)
		}
		got, err := d.Unseal(t.Context(), blob, []byte("aad"), nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: unsealed %d bytes, %v", size, len(got), err)
		}
	}
	if _, err := d.Seal(t.Context(), hsm.ClassState, epochOf(t, d), make([]byte, hsm.MaxPlaintext+1), nil); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("plaintext above the bound: got %v, want ErrInput", err)
	}
	if _, err := d.Seal(t.Context(), hsm.ClassState, epochOf(t, d), nil, make([]byte, hsm.MaxAAD+1)); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("aad above the bound: got %v, want ErrInput", err)
	}
	if _, err := d.Unseal(t.Context(), nil, make([]byte, hsm.MaxAAD+1), nil); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("aad above the bound: got %v, want ErrInput", err)
	}
	usable(t, d)
}

func epochOf(t testing.TB, d hsm.HSM) uint64 {
	t.Helper()
	epoch, err := newestEpoch(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

func seal(t *testing.T, d hsm.HSM, plaintext, aad string) []byte {
	t.Helper()
	blob, err := d.Seal(t.Context(), hsm.ClassState, epochOf(t, d), []byte(plaintext), []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func refused(t *testing.T, d hsm.HSM, what string, blob, aad []byte) {
	t.Helper()
	if got, err := d.Unseal(t.Context(), blob, aad, nil); !errors.Is(err, hsm.ErrUnseal) || got != nil {
		t.Errorf("%s: got %q, %v; want ErrUnseal", what, got, err)
	}
}

func testSealBinding(t *testing.T, b Backend) {
	d := open(t, b.Open)
	one, two := seal(t, d, "share", "one"), seal(t, d, "share", "two")
	if bytes.Equal(one, seal(t, d, "share", "one")) {
		t.Error("sealing twice gives the same blob")
	}
	refused(t, d, "another blob's aad", one, []byte("two"))
	refused(t, d, "another blob's aad", two, []byte("one"))
	refused(t, d, "no aad", one, nil)
	empty := seal(t, d, "share", "")
	refused(t, d, "aad that was not there", empty, []byte("x"))
	if _, err := d.Unseal(t.Context(), empty, []byte{}, nil); err != nil {
		t.Errorf("empty and nil aad differ: %v", err)
	}

	parts, err := hsm.DecodeBlob(one)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Epoch != epochOf(t, d) || parts.Class != hsm.ClassState || !slices.Contains(d.Info().Suites, parts.Suite.String()) {
		t.Errorf("blob says %v, epoch %d, suite %v", parts.Class, parts.Epoch, parts.Suite)
	}
	relabelled := parts
	relabelled.Epoch++
	refused(t, d, "relabelled epoch", relabelled.Encode(), []byte("one"))
	relabelled = parts
	relabelled.Class = hsm.ClassCold
	refused(t, d, "relabelled class", relabelled.Encode(), []byte("one"))
	other, err := hsm.DecodeBlob(two)
	if err != nil {
		t.Fatal(err)
	}
	mixed := parts
	mixed.Enc = bytes.Clone(other.Enc)
	refused(t, d, "another blob's encapsulated key", mixed.Encode(), []byte("one"))
	clear(mixed.Enc)
	refused(t, d, "encapsulated key of zeros", mixed.Encode(), []byte("one"))
	usable(t, d)
}

func testSealDamage(t *testing.T, b Backend) {
	d := open(t, b.Open)
	blob, aad := seal(t, d, "a share of the key", "aad"), []byte("aad")
	began := time.Now()
	refused(t, d, "no aad", blob, nil)
	// A device that takes its time is shown every byte before the ciphertext, which it
	// never sees, in larger steps.
	step := 1 + int(time.Since(began)*time.Duration(len(blob))/(2*time.Second))
	for i := 0; i < len(blob); i += step {
		damaged := bytes.Clone(blob)
		damaged[i] ^= 1 << (i % 8)
		refused(t, d, fmt.Sprintf("byte %d flipped", i), damaged, aad)
		refused(t, d, fmt.Sprintf("cut to %d bytes", i), blob[:i], aad)
	}
	refused(t, d, "byte appended", append(bytes.Clone(blob), 0), aad)
	refused(t, d, "garbage", bytes.Repeat([]byte{0xff}, 4096), aad)
	if _, err := d.Unseal(t.Context(), blob, aad, nil); err != nil {
		t.Errorf("the undamaged blob no longer opens: %v", err)
	}
	usable(t, d)
}

func testOtherDevice(t *testing.T, b Backend) {
	d, other := open(t, b.Open), open(t, b.Other)
	blob := seal(t, d, "share", "aad")
	refused(t, other, "on another device", blob, []byte("aad"))
	parts, err := hsm.DecodeBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := hsm.DecodeBlob(seal(t, other, "share", "aad"))
	if err != nil {
		t.Fatal(err)
	}
	parts.KeyID = theirs.KeyID
	refused(t, other, "relabelled for another device", parts.Encode(), []byte("aad"))
	usable(t, other)
}

// testExchange compares with crypto/ecdh. One in 256 results starts with a zero
// byte, which devices are known to drop: among 768, the chance of none is 5 %, and
// the next run has another.
func testExchange(t *testing.T, b Backend) {
	d := open(t, b.Open)
	s, ok := d.(hsm.Sealer)
	if !ok {
		t.Fatal("device is no hsm.Sealer: what is sealed would reach the helper")
	}
	epoch := epochOf(t, d)
	seal, err := s.SealKey(t.Context(), hsm.ClassState, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if seal.Suite != hsm.SuiteHPKE {
		t.Skipf("the device seals by %v", seal.Suite)
	}
	key, err := ecdh.P256().NewPublicKey(seal.Public)
	if err != nil {
		t.Fatal(err)
	}
	for range 768 {
		e, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.ECDH(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Unwrap(t.Context(), hsm.ClassState, epoch, e.PublicKey().Bytes(), nil, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("exchange gives %x, %v; want %x", got, err, want)
		}
	}
}

func testConcurrency(t *testing.T, b Backend) {
	d := open(t, b.Open)
	epoch := epochOf(t, d)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 12 {
				body := fmt.Appendf(nil, "worker %d, turn %d", worker, i)
				st := signature.Statement{Domain: domain, Body: body}
				role := hsm.Roles()[i%2]
				key, err := d.Public(t.Context(), role)
				if err != nil {
					t.Error(err)
					return
				}
				sig, err := d.Sign(t.Context(), role, st, nil)
				if err == nil {
					err = verify(key, st, sig)
				}
				if err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				blob, err := d.Seal(t.Context(), hsm.ClassState, epoch, body, body)
				if err != nil {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				if _, err := d.Unseal(t.Context(), blob, nil, nil); !errors.Is(err, hsm.ErrUnseal) {
					t.Errorf("worker %d: wrong aad: got %v, want ErrUnseal", worker, err)
				}
				if got, err := d.Unseal(t.Context(), blob, body, nil); err != nil || !bytes.Equal(got, body) {
					t.Errorf("worker %d: unsealed %q, %v", worker, got, err)
				}
			}
		})
	}
	wg.Wait()
}

// testCosts measures, and logs the figures for docs/ops/hsm.md.
func testCosts(t *testing.T, b Backend) {
	c, err := hsm.Measure(t.Context(), open(t, b.Open), 21)
	if err != nil {
		t.Fatal(err)
	}
	if min(c.Sign, c.Seal, c.Unseal, c.Exchange) <= 0 || c.Exchange > time.Minute {
		t.Errorf("costs %+v", c)
	}
	t.Logf("costs: %v", c)
	if _, err := hsm.Measure(t.Context(), open(t, b.Open), 0); !errors.Is(err, hsm.ErrInput) {
		t.Errorf("no measurement: got %v, want ErrInput", err)
	}
}

func testCancelled(t *testing.T, b Backend) {
	d := open(t, b.Open)
	blob := seal(t, d, "share", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, signErr := d.Sign(ctx, hsm.RoleIdentity, signature.Statement{Domain: domain}, nil)
	_, unsealErr := d.Unseal(ctx, blob, nil, nil)
	for _, err := range []error{signErr, unsealErr} {
		if !errors.Is(err, hsm.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: got %v, want ErrUnavailable and context.Canceled", err)
		}
	}
	usable(t, d)
}

func testCloseAndReopen(t *testing.T, b Backend) {
	d := open(t, b.Open)
	blob := seal(t, d, "share", "aad")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, publicErr := d.Public(t.Context(), hsm.RoleIdentity)
	_, signErr := d.Sign(t.Context(), hsm.RoleIdentity, signature.Statement{Domain: domain}, nil)
	_, sealErr := d.Seal(t.Context(), hsm.ClassState, 1, nil, nil)
	_, unsealErr := d.Unseal(t.Context(), blob, []byte("aad"), nil)
	for i, err := range []error{publicErr, signErr, sealErr, unsealErr} {
		if !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("call %d after Close: got %v, want ErrUnavailable", i, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	again := open(t, b.Open)
	if got, err := again.Unseal(t.Context(), blob, []byte("aad"), nil); err != nil || string(got) != "share" {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	usable(t, again)
}
