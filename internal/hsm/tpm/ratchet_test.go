package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
)

func keysDir(t testing.TB, uri string) string {
	t.Helper()
	u, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	return u.Dir
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from)), os.Chmod(to, 0o700)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // CopyFS drops the mode
		if !e.IsDir() {
			if err := os.Chmod(filepath.Join(to, e.Name()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestEraseDefeatsCopies: someone copied the whole directory before, and has the TPM.
func TestEraseDefeatsCopies(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	keys := keysDir(t, uri)
	d := opened(t, uri)
	old, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	thief := filepath.Join(t.TempDir(), "copy")
	copyDir(t, keys, thief)
	if e, err := d.Advance(t.Context()); err != nil || e != 2 {
		t.Fatalf("advanced to %d, %v", e, err)
	}
	fresh, err := d.Seal(t.Context(), hsm.ClassState, 2, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "half")
	copyDir(t, keys, half) // after Advance, before Erase
	if got, err := d.Unseal(t.Context(), old, nil, nil); err != nil || string(got) != "share" {
		t.Fatalf("before Erase: %q, %v", got, err)
	}
	if err := errors.Join(d.Erase(t.Context(), 2), d.Erase(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"state-1", "cold-1"} {
		if _, err := os.Stat(filepath.Join(keys, f)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", f, err)
		}
	}
	dead := func(d *Device, how string) {
		t.Helper()
		if got, err := d.Unseal(t.Context(), old, nil, nil); !errors.Is(err, hsm.ErrUnseal) || got != nil {
			t.Errorf("%s: %q, %v; want ErrUnseal", how, got, err)
		}
		if got, err := d.Unseal(t.Context(), fresh, nil, nil); err != nil || string(got) != "share" {
			t.Errorf("%s: the new epoch: %q, %v", how, got, err)
		}
		if _, err := d.Seal(t.Context(), hsm.ClassState, 1, nil, nil); !errors.Is(err, hsm.ErrInput) {
			t.Errorf("%s: sealing to a key that is gone: %v, want ErrInput", how, err)
		}
	}
	dead(d, "the device")
	// The old directory in the place of the new one says what it is.
	for _, copied := range []string{thief} {
		_, err := Open(t.Context(), s.URI(copied))
		if !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "old copy") {
			t.Errorf("the copied directory: %v; want ErrConfig that says it is an old copy", err)
		}
	}
	// With the old blobs beside the new ones the TPM itself refuses.
	for _, f := range []string{"state-1", "cold-1"} {
		copyFile(t, filepath.Join(thief, f), filepath.Join(keys, f))
	}
	dead(d, "with the blobs put back, running")
	dead(opened(t, uri), "with the blobs put back, opened")
	dead(opened(t, s.URI(half)), "a copy from between")
	forced := opened(t, uri)
	forced.erased = 0 // as if our own check were not there
	if _, err := forced.Unseal(t.Context(), old, nil, nil); !errors.Is(err, hsm.ErrUnseal) || !strings.Contains(err.Error(), "erased in the TPM") {
		t.Errorf("without our check: %v; want the TPM's refusal", err)
	}
	// Nor without the policy, or with a session that fulfils nothing.
	k := forced.seal[sealID{hsm.ClassState, 1}]
	enc, err := hsm.DecodeBlob(old)
	if err != nil {
		t.Fatal(err)
	}
	err = forced.conn.do(t.Context(), "try", func(tp transport.TPM) error {
		return withPolicy(tp, func(s tpm2.Session) error {
			_, err := forced.exchange(tp, s, k, enc.Enc)
			return err
		})
	})
	if err == nil || !strings.Contains(err.Error(), "TPM_RC_POLICY_FAIL") {
		t.Errorf("with an empty policy: %v, want the TPM to answer TPM_RC_POLICY_FAIL", err)
	}
	healthy(t, d)
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCounterCannotBeRedefined: its owner deletes the erase counter and makes it anew,
// with the same name. It starts above where it was.
func TestCounterCannotBeRedefined(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	d := opened(t, uri)
	old, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	copyDir(t, keysDir(t, uri), copied)
	if _, err := d.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Erase(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := d.Increment(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	u := d.conn.uri
	for _, n := range []uint32{nvErase, nvCounter} {
		before := counterAt(t, d, n)
		index := u.index(n)
		err := d.conn.do(t.Context(), "redefine", func(tp transport.TPM) error {
			_, err := tpm2.NVUndefineSpace{
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
				NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: counterName(index)},
			}.Execute(tp)
			if err != nil {
				return err
			}
			m, err := newMaker(u, tp)
			if err != nil {
				return err
			}
			return m.counter(index)
		})
		if err != nil {
			t.Fatal(err)
		}
		if after := counterAt(t, d, n); after <= before {
			t.Errorf("counter %d was %d, redefined it is %d", n, before, after)
		}
	}
	if _, err := Open(t.Context(), s.URI(copied)); !errors.Is(err, hsm.ErrConfig) {
		t.Errorf("the copied directory after that: %v, want ErrConfig", err)
	}
	thief := &Device{conn: d.conn, device: d.device, parent: d.parent, area: d.area, seal: make(map[sealID]blob), newest: 1}
	k, err := load(dir(copied), sealFile(hsm.ClassState, 1), decodeBlob)
	if err != nil {
		t.Fatal(err)
	}
	thief.seal[sealID{hsm.ClassState, 1}] = k
	if _, err := thief.Unseal(t.Context(), old, nil, nil); !errors.Is(err, hsm.ErrUnseal) {
		t.Errorf("after the counter was redefined: %v, want ErrUnseal", err)
	}
}

func counterAt(t testing.TB, d *Device, n uint32) (v uint64) {
	t.Helper()
	err := d.conn.do(t.Context(), "read", func(tp transport.TPM) (err error) {
		v, err = readCounter(tp, d.conn.uri.index(n), d.device.auth.Reveal())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRolledBackEmulator: a copy of an emulator's files is a second TPM, with the old
// counters and the erased keys. That is why it is graded as software.
func TestRolledBackEmulator(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	keys := keysDir(t, uri)
	d := opened(t, uri)
	if i := d.Info(); i.Rollback != hsm.GradeSoftware || i.Boundary != hsm.GradeSoftware {
		t.Errorf("an emulator is graded rollback %v, boundary %v; want software", i.Rollback, i.Boundary)
	}
	old, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.Counter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	snapshot := t.TempDir()
	copyDir(t, filepath.Join(s.Dir, "state"), filepath.Join(snapshot, "state"))
	copyDir(t, keys, filepath.Join(snapshot, "keys"))
	restart(t, s)
	d = opened(t, uri)
	if _, err := d.Increment(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Erase(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	copyDir(t, filepath.Join(snapshot, "state"), filepath.Join(s.Dir, "state"))
	copyDir(t, filepath.Join(snapshot, "keys"), keys)
	restart(t, s)
	d = opened(t, uri)
	if got, err := d.Unseal(t.Context(), old, nil, nil); err != nil || string(got) != "share" {
		t.Errorf("restored: %q, %v; the test shows nothing unless it opens", got, err)
	}
	if v, err := d.Counter(t.Context()); err != nil || v != before {
		t.Errorf("restored: counter %d, %v; it was %d when copied", v, err, before)
	}
}

func stop(t testing.TB, s *swtpm.TPM) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

// restart starts an emulator anew in the place of one that ended.
func restart(t testing.TB, s *swtpm.TPM) {
	t.Helper()
	again, err := swtpm.Start(t.Context(), s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	*s = *again
}

// TestKilledTPM: the emulator is killed in the middle of operations; what is durable is
// there afterwards, and the open device goes on by itself.
func TestKilledTPM(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	d := opened(t, uri)
	blob, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	count, err := d.Counter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		started, done := make(chan struct{}), make(chan error, 1)
		go func() {
			close(started)
			for {
				_, err := d.Increment(t.Context())
				if err == nil {
					_, err = d.Unseal(t.Context(), blob, nil, nil)
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
		<-started
		for range round * 3 { // the kill falls on different commands
			if _, err := d.Counter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		var e *hsm.Error
		if err := <-done; !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || e.Hint() == "" {
			t.Fatalf("killed: %v, want ErrUnavailable with a hint", err)
		}
		if _, err := Open(t.Context(), uri); !errors.Is(err, hsm.ErrUnavailable) {
			t.Fatalf("opened while it is not there: %v, want ErrUnavailable", err)
		}
		restart(t, s)
		now, err := d.Counter(t.Context())
		if err != nil || now < count {
			t.Fatalf("counter was %d, is %d, %v", count, now, err)
		}
		count = now
		if got, err := d.Unseal(t.Context(), blob, nil, nil); err != nil || string(got) != "share" {
			t.Fatalf("after the kill: %q, %v", got, err)
		}
		healthy(t, d)
	}
	healthy(t, opened(t, uri))
}

// TestLeftovers: sessions and objects of a killed process, as many as the TPM takes.
func TestLeftovers(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	d := opened(t, uri)
	blob, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []bool{false, true} {
		litter(t, d)
		if open {
			healthy(t, opened(t, uri))
		}
		if got, err := d.Unseal(t.Context(), blob, nil, nil); err != nil || string(got) != "share" {
			t.Fatalf("with a full TPM: %q, %v", got, err)
		}
	}
}

// tap is someone at the wires between processor and TPM.
type tap struct {
	transport.TPM
	seen []byte
}

func (x *tap) Send(command []byte) ([]byte, error) {
	b, err := x.TPM.Send(command)
	x.seen = append(append(x.seen, command...), b...)
	return b, err
}

// TestTappedWires: what a seal key's use gives does not cross them in the clear.
func TestTappedWires(t *testing.T) {
	d := opened(t, provisioned(t, emulator(t), ""))
	blob, err := d.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := hsm.DecodeBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	k, err := d.alive(hsm.ClassState, 1)
	if err != nil {
		t.Fatal(err)
	}
	var x tap
	var shared []byte
	err = d.conn.do(t.Context(), "unseal", func(tp transport.TPM) error {
		x.TPM = tp
		return withPolicy(&x, func(s tpm2.Session) error {
			if err := d.belowLimit(&x, s, k.limit); err != nil {
				return err
			}
			shared, err = d.exchange(&x, s, k, parts.Enc)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Unwrap(t.Context(), hsm.ClassState, 1, parts.Enc, nil, nil)
	if err != nil || !bytes.Equal(again, shared) {
		t.Fatalf("%x and %x, %v", shared, again, err)
	}
	if !bytes.Contains(x.seen, parts.Enc[1:33]) || bytes.Contains(x.seen, shared) {
		t.Error("the shared secret is on the wires, or the tap sees nothing")
	}
}

// litter fills the TPM with sessions and objects.
func litter(t testing.TB, d *Device) {
	t.Helper()
	for _, leave := range []func(tp transport.TPM) error{
		func(tp transport.TPM) error {
			_, _, err := tpm2.PolicySession(tp, tpm2.TPMAlgSHA256, 16)
			return err
		},
		func(tp transport.TPM) error {
			a, err := attest.VerifierArea(newPerson(t).public)
			if err == nil {
				_, err = tpm2.LoadExternal{InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](a.Encode()), Hierarchy: tpm2.TPMRHOwner}.Execute(tp)
			}
			return err
		},
	} {
		tp, end, err := d.conn.link()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; err == nil && n < 1000; n++ {
			err = leave(tp)
		}
		end()
		if !full(err) {
			t.Fatalf("after %d the TPM answers %v, want it to be full", n, err)
		}
	}
}

// TestRandomNumbersDiffer: two provisionings share no key, even on one TPM.
func TestSlotsShareNothing(t *testing.T) {
	s := emulator(t)
	seen := make(map[[32]byte]string)
	for _, slot := range []string{"", "&slot=1", "&slot=15"} {
		d := opened(t, provisioned(t, s, slot))
		for what, b := range map[string][]byte{"parent": d.parent.Buffer, "attestation key": d.attest.Buffer,
			"identity": d.keys[hsm.RoleIdentity].blob.public, "decision": d.keys[hsm.RoleDecision].blob.public, "auth": d.device.auth.Reveal()} {
			h := sha256.Sum256(b)
			if old, ok := seen[h]; ok {
				t.Errorf("%s of slot %q is %s: %s", what, slot, old, hex.EncodeToString(b))
			}
			seen[h] = what + " of " + slot
		}
	}
}

// TestHalfAdvance: killed between the two keys of an epoch, which is then not there yet.
func TestHalfAdvance(t *testing.T) {
	uri := provisioned(t, emulator(t), "")
	keys := keysDir(t, uri)
	d := opened(t, uri)
	if _, err := d.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	cold := contents(t, keys)["cold-2"]
	if err := os.Remove(filepath.Join(keys, "state-2")); err != nil {
		t.Fatal(err)
	}
	d = opened(t, uri)
	if e, err := d.SealEpoch(t.Context()); err != nil || e != 1 {
		t.Errorf("newest epoch is %d, %v; want 1", e, err)
	}
	for _, class := range hsm.Classes() {
		if _, err := d.SealKey(t.Context(), class, 2); !errors.Is(err, hsm.ErrInput) || !strings.Contains(err.Error(), "not made yet") {
			t.Errorf("%v: %v; want ErrInput that says it is not made yet", class, err)
		}
	}
	if err := d.Erase(t.Context(), 2); !errors.Is(err, hsm.ErrInput) || !strings.Contains(err.Error(), "must stay") {
		t.Errorf("erasing the newest: %v, want ErrInput", err)
	}
	if e, err := d.Advance(t.Context()); err != nil || e != 2 || contents(t, keys)["cold-2"] != cold {
		t.Errorf("advanced to %d, %v, or a key was replaced", e, err)
	}
	if _, err := d.Unwrap(t.Context(), hsm.ClassState, 2, make([]byte, 65), nil, nil); !errors.Is(err, hsm.ErrInput) || !strings.Contains(err.Error(), "not a point") {
		t.Errorf("no point: %v, want ErrInput", err)
	}
	healthy(t, d)
}
