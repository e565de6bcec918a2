package pkcs11

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"sync"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
)

// pin is the user's PIN. A token counts wrong ones and locks itself, and a
// supervisor restarts a helper that fails: so a PIN that was refused is kept in
// mind here and in a file beside the PIN's, and tried again only when the PIN
// file's contents have changed.
type pin struct {
	path  string
	value secret.Bytes

	mu      sync.Mutex // guards what follows, and lets one login run at a time
	refused error
	token   token // that it was good for last
}

const maxPIN = 255

// readPIN reads the file that the URI's pin-source names.
func readPIN(path string) (*pin, error) {
	if path == "" {
		return nil, hsm.Errorf(hsm.ErrConfig, "write the PIN to a file of mode 0600 and add ?pin-source=file:/path to the URI",
			"the URI names no PIN file")
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hsm.Errorf(hsm.ErrConfig, "", "PIN file %s is not there", path)
	case err != nil:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't read the PIN: %w", err)
	case !fi.Mode().IsRegular():
		return nil, hsm.Errorf(hsm.ErrConfig, "", "PIN file %s is not a regular file", path)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, hsm.Errorf(hsm.ErrConfig, "chmod 600 "+path, "PIN file %s has mode %04o, want 0600: others could read it", path, fi.Mode().Perm())
	case fi.Size() > maxPIN+1:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "PIN file %s has %d bytes, at most %d", path, fi.Size(), maxPIN+1)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "", "couldn't read the PIN: %w", err)
	}
	value := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if !onePIN(value) {
		secret.Wipe(raw)
		return nil, hsm.Errorf(hsm.ErrConfig, "", "PIN file %s: want one line that is the PIN", path)
	}
	p := &pin{path: path, value: secret.New(value)}
	secret.Wipe(raw)
	return p, nil
}

// onePIN says whether a text is one line that may be a PIN.
func onePIN(b []byte) bool { return len(b) != 0 && !bytes.ContainsAny(b, "\x00\r\n") }

// mark names the PIN and the token without showing the PIN to who cannot read it
// anyway: the file lies beside the PIN, with the same mode.
func (p *pin) mark(serial string) []byte {
	h := wire.Hash("coffer/pin-refused/v1", []byte(serial), p.value.Reveal())
	return []byte(hex.EncodeToString(h[:]) + "\n")
}

func (p *pin) markPath() string { return p.path + ".refused" }

// login logs in, with the PIN's one try. flags reads the token's flags anew.
func (p *pin) login(t token, call func(pin string) error, flags func() uint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return p.refused
	}
	serial := clean(t.info.SerialNumber)
	if err := p.mayTry(t, serial); err != nil {
		return err
	}
	err := call(string(p.value.Reveal()))
	switch rv(err) {
	case p11.CKR_OK:
		if err == nil {
			p.token = t
			// An earlier mark is of another PIN or of an earlier state of the token.
			// If it stays, it is in nobody's way: it does not match.
			_ = os.Remove(p.markPath())
		}
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_EXPIRED, p11.CKR_PIN_LOCKED:
		p.refused = p.refusal(t, err, flags())
		p.value.Destroy()
		return p.refused
	case p11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case p11.CKR_USER_PIN_NOT_INITIALIZED:
		return hsm.Errorf(hsm.ErrConfig, "set the user PIN with the vendor's tool", "token %q has no user PIN yet", clean(t.info.Label))
	}
	return failed("log in", err)
}

// again gives the PIN to a token that asks for it at one use of a key. Only
// provisioning does that, to see that such a key works: in use the operator is asked.
func (p *pin) again(call func(pin string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return p.refused
	}
	err := call(string(p.value.Reveal()))
	if pinRefused(err) {
		p.refused = p.refusal(p.token, err, 0)
		p.value.Destroy()
		return p.refused
	}
	return err
}

// pinRefused says that a token counted a wrong PIN.
func pinRefused(err error) bool {
	switch rv(err) {
	case p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_EXPIRED, p11.CKR_PIN_LOCKED:
		return true
	}
	return false
}

// mayTry refuses where the try would be wasted or the token's last.
func (p *pin) mayTry(t token, serial string) error {
	label := clean(t.info.Label)
	if err := mayCount(t); err != nil {
		return err
	}
	if old, err := os.ReadFile(p.markPath()); err == nil && bytes.Equal(old, p.mark(serial)) {
		return hsm.Errorf(hsm.ErrPIN, "correct the PIN file; if the token's PIN was changed to this one, remove "+p.markPath(),
			"token %q has refused the PIN of %s before: it was not tried again", label, p.path)
	}
	return nil
}

// mayCount refuses to try a PIN at a token that would lock itself over it.
func mayCount(t token) error {
	label := clean(t.info.Label)
	if t.info.Flags&p11.CKF_USER_PIN_LOCKED != 0 {
		return hsm.Errorf(hsm.ErrLocked, "have the security officer reset the user PIN", "token %q is locked: too many wrong PINs", label)
	}
	if t.info.Flags&p11.CKF_USER_PIN_FINAL_TRY != 0 {
		return hsm.Errorf(hsm.ErrPIN, "log in once with the vendor's tool, which resets the count, then start again",
			"token %q says that one more wrong PIN locks it: the PIN was not tried", label)
	}
	return nil
}

func (p *pin) refusal(t token, err error, flags uint) error {
	label := clean(t.info.Label)
	if rv(err) == p11.CKR_PIN_LOCKED {
		return hsm.Errorf(hsm.ErrLocked, "have the security officer reset the user PIN", "token %q is locked: %w", label, err)
	}
	help := "correct the PIN in " + p.path + "; it isn't tried again before that"
	if _, err := os.Stat(p.path + newPINSuffix); err == nil {
		help = "a change of the PIN was cut short: " + bothPINs(p.path)
	}
	if werr := os.WriteFile(p.markPath(), p.mark(clean(t.info.SerialNumber)), 0o600); werr != nil {
		help = "correct the PIN in " + p.path + " before you start again: that it was refused could not be written down (" + werr.Error() + ")"
	}
	return hsm.Errorf(hsm.ErrPIN, help, "token %q refused the PIN of %s, which was tried once (%s): %w", label, p.path, triesLeft(flags), err)
}

// triesLeft is what a token's flags say about its PIN. PKCS#11 has no number.
func triesLeft(flags uint) string {
	switch {
	case flags&p11.CKF_USER_PIN_LOCKED != 0:
		return "it is locked now"
	case flags&p11.CKF_USER_PIN_FINAL_TRY != 0:
		return "one try is left"
	case flags&p11.CKF_USER_PIN_COUNT_LOW != 0:
		return "the token says that few tries are left"
	}
	return "the token does not say how many tries are left"
}

func (p *pin) destroy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value.Destroy()
}
