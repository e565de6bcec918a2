package pkcs11

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/secret"
)

// newPINSuffix ends the name of the file that holds a PIN before the token has it.
const newPINSuffix = ".new"

// ChangePIN gives a token another user PIN and writes it to the PIN file of the URI.
// The new one is on disk, beside the old one, before the token changes; a machine that
// stops in between leaves both, and the next start says so. Each PIN is tried once. No
// helper may use the token at the time: it would go on with the old PIN.
func ChangePIN(ctx context.Context, u pkcs11uri.URI, to secret.Bytes) error {
	if to.Len() == 0 || to.Len() > maxPIN || !onePIN(to.Reveal()) {
		return hsm.Errorf(hsm.ErrInput, "", "new PIN of %d bytes, want one line of 1 to %d", to.Len(), maxPIN)
	}
	d, err := connect(ctx, u)
	if err != nil {
		return err
	}
	err = d.changePIN(to)
	return errors.Join(failed("change the PIN", err), d.Close())
}

func (d *Device) changePIN(to secret.Bytes) error {
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	if d.pin.value.Equal(to) {
		return hsm.Errorf(hsm.ErrInput, "", "the new PIN is the old one")
	}
	return d.trySession(p11.CKF_RW_SESSION, func(h p11.SessionHandle) error {
		info := d.pin.token.info
		if n := uint(to.Len()); n < info.MinPinLen || (info.MaxPinLen != 0 && n > info.MaxPinLen) {
			return hsm.Errorf(hsm.ErrInput, "", "new PIN of %d bytes, token %q takes %d to %d", n, clean(info.Label), info.MinPinLen, info.MaxPinLen)
		}
		path := d.pin.path + newPINSuffix
		if err := writePIN(path, to); err != nil {
			return hsm.Errorf(hsm.ErrConfig, "", "couldn't write the new PIN, and changed nothing: %w", err)
		}
		old := string(d.pin.value.Reveal())
		if err := d.mod.ctx.SetPIN(h, old, string(to.Reveal())); err != nil {
			if refused := pinRefused(err) || rv(err) == p11.CKR_FUNCTION_NOT_SUPPORTED || rv(err) == p11.CKR_FUNCTION_FAILED; refused {
				_ = os.Remove(path)
				return hsm.Errorf(hsm.ErrPIN, "the old PIN is in force; see the vendor's rules for PINs", "token %q refused the new PIN: %w", clean(info.Label), err)
			}
			return hsm.Errorf(hsm.ErrDevice, bothPINs(d.pin.path), "it isn't known whether token %q took the new PIN: %w", clean(info.Label), err)
		}
		if err := errors.Join(os.Rename(path, d.pin.path), syncParent(path)); err != nil {
			return hsm.Errorf(hsm.ErrConfig, "rename "+path+" to "+d.pin.path, "token %q has the new PIN, but the PIN file has the old one: %w", clean(info.Label), err)
		}
		return nil
	})
}

// bothPINs is what to do where a change was cut short.
func bothPINs(path string) string {
	return "if " + path + " is refused, the token has the PIN of " + path + newPINSuffix + ": rename that over it; else remove " + path + newPINSuffix
}

func writePIN(path string, pin secret.Bytes) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	line := append(append(make([]byte, 0, pin.Len()+1), pin.Reveal()...), '\n')
	_, err = f.Write(line)
	secret.Wipe(line)
	return errors.Join(err, f.Sync(), f.Close(), syncParent(path))
}

func syncParent(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
