package pkcs11

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/devicetest"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"

	p11 "github.com/miekg/pkcs11"
)

// kinds are the devices that tools/devices.sh installs.
var kinds = []struct {
	name string
	open func(testing.TB) devicetest.Device
}{
	{"SoftHSM", devicetest.SoftHSM},
	{"openCryptoki", devicetest.OpenCryptoki},
	{"NSS", devicetest.NSS},
	{"tpm2-pkcs11", devicetest.TPM2PKCS11},
}

// provisioned provisions a device under two names: for this vault, and another one.
func provisioned(t testing.TB, dev devicetest.Device) (mine, other pkcs11uri.URI) {
	t.Helper()
	mine, other = dev.URI, dev.URI
	if mine.Object == "" {
		mine.Object = "coffer"
	}
	other.Object = mine.Object + " other"
	for _, u := range []pkcs11uri.URI{mine, other} {
		if err := Provision(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeAll(t, u) })
	}
	return mine, other
}

// removeAll removes what a test made on a token that outlives it.
func removeAll(t testing.TB, u pkcs11uri.URI) {
	d, err := connect(t.Context(), u)
	if err != nil {
		return // it is gone, and so are the keys
	}
	defer d.Close()
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	_ = d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) error {
		objects, err := sealObjects(d.mod, h, d.object)
		if err != nil {
			return err
		}
		for _, name := range roleNames() {
			objects[name] = nil
		}
		for name := range objects {
			_ = destroyNamed(d.mod, h, label(d.object, name))
		}
		return nil
	})
}

// TestDevices runs the suite on each device.
func TestDevices(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			dev := kind.open(t)
			mine, other := provisioned(t, dev)
			d, err := Open(t.Context(), mine)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v", d.Info())
			if err := d.Close(); err != nil { // the library reads copied files when it starts
				t.Fatal(err)
			}
			hsmtest.Run(t, hsmtest.Backend{
				Open:  opener(mine),
				Other: opener(other),
				Child: func() *exec.Cmd { return childCommand(mine, "exercise", dev.Env...) },
				State: dev.State, Approver: hsmtest.PIN(devicetest.PIN), Wrong: hsmtest.PIN("99999999"),
			})
			t.Run("Attacks", func(t *testing.T) { testAttacks(t, kind.name, mine) })
			if dev.Kill != nil {
				t.Run("DeviceKilled", func(t *testing.T) { testDeviceKilled(t, mine, dev.Kill) })
			}
		})
	}
}

// testDeviceKilled kills what the token runs on while it is used: every call ends, and
// says that the device is at fault.
func testDeviceKilled(t *testing.T, u pkcs11uri.URI, kill func() error) {
	d := openDevice(t, u)
	begun, errs := make(chan struct{}, 4), make(chan error, 4)
	for range 4 {
		go func() {
			_, err := d.Sign(context.Background(), hsm.RoleDecision, statement, nil)
			begun <- struct{}{}
			for err == nil {
				_, err = d.Sign(context.Background(), hsm.RoleDecision, statement, nil)
			}
			errs <- err
		}()
	}
	for range 4 {
		<-begun
	}
	if err := kill(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		select {
		case err := <-errs:
			if !errors.Is(err, hsm.ErrUnavailable) && !errors.Is(err, hsm.ErrDevice) {
				t.Errorf("got %v, want ErrUnavailable or ErrDevice", err)
			}
			t.Logf("the device was killed: %v", err)
		case <-time.After(60 * time.Second): // the library's own timeouts are shorter
			t.Fatal("a call hangs for a minute after its device is gone")
		}
	}
}
