package pkcs11

import (
	"context"
	"errors"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// maxSessions bounds the sessions of a device, and so the calls under way; more
// wait for their turn. Small devices allow no more.
const maxSessions = 8

// session is a PKCS#11 session that is logged in, with the keys' handles.
type session struct {
	h    p11.SessionHandle
	gen  uint64
	keys map[string]key
}

// do runs f in a session. A session in which anything failed is closed, since
// devices leave operations open in it. When the token or its connection was lost,
// the library is started anew and f is run once more: everything that a device
// does here may be repeated. A login is not repeated, see pin.
func (d *Device) do(ctx context.Context, doing string, f func(*session) error) error {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't %s: %w", doing, ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't %s: %w", doing, err)
	}
	if d.closed.Load() {
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't %s: the device is closed", doing)
	}
	gen, err := d.try(f)
	if err != nil && worthRestart(err) {
		if rerr := d.mod.restart(gen); rerr != nil {
			return rerr
		}
		_, err = d.try(f)
	}
	if err != nil {
		return failed(doing+" at "+name(d.uri), err)
	}
	return nil
}

func worthRestart(err error) bool {
	switch rv(err) {
	case p11.CKR_DEVICE_ERROR, p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED:
		return true
	}
	return absent(err) || errors.Is(err, hsm.ErrUnavailable)
}

// try runs f in an idle or a new session of the present generation.
func (d *Device) try(f func(*session) error) (gen uint64, err error) {
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	gen = d.mod.gen
	s := d.takeIdle(gen)
	if s == nil {
		if s, err = d.openSession(0); err != nil {
			return gen, err
		}
	}
	if err := f(s); err != nil {
		// The session may be dead already; nothing hangs on its end.
		_ = d.mod.ctx.CloseSession(s.h)
		return gen, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.idle = append(d.idle, s)
	return gen, nil
}

// takeIdle returns a session of this generation, or nil. Those of an earlier one
// ended with it.
func (d *Device) takeIdle(gen uint64) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.idle = slices.DeleteFunc(d.idle, func(s *session) bool { return s.gen != gen })
	n := len(d.idle)
	if n == 0 {
		return nil
	}
	s := d.idle[n-1]
	d.idle = d.idle[:n-1]
	return s
}

// logIn opens a session and logs in. The caller holds d.mod.mu for reading.
func (d *Device) logIn(flags uint) (p11.SessionHandle, token, error) {
	t, err := findToken(d.mod, d.uri)
	if err != nil {
		return 0, token{}, err
	}
	h, err := d.mod.ctx.OpenSession(t.slot, p11.CKF_SERIAL_SESSION|flags)
	if err != nil {
		return 0, token{}, err
	}
	err = d.pin.login(t,
		func(pin string) error { return d.mod.ctx.Login(h, p11.CKU_USER, pin) },
		func() uint {
			// On an error the flags are empty, and say that nothing is known.
			now, _ := d.mod.ctx.GetTokenInfo(t.slot)
			return now.Flags
		})
	if err != nil {
		_ = d.mod.ctx.CloseSession(h)
		return 0, token{}, err
	}
	return h, t, nil
}

// openSession opens a session and finds the keys in it: those of the first session,
// or the token in the slot is another one.
func (d *Device) openSession(flags uint) (*session, error) {
	h, t, err := d.logIn(flags)
	if err != nil {
		return nil, err
	}
	s := &session{h: h, gen: d.mod.gen, keys: make(map[string]key)}
	for _, name := range keyNames() {
		k, err := findKey(d.mod, h, label(d.object, name))
		if d.points != nil {
			err = d.sameKey(t, name, k, err)
		}
		if err != nil {
			_ = d.mod.ctx.CloseSession(h)
			return nil, err
		}
		s.keys[name] = k
	}
	if d.points == nil {
		d.token = t
	}
	return s, nil
}

// sameKey says whether a token that was opened anew has the key that it had: err is
// findKey's. A token that is being removed shows some of its objects.
func (d *Device) sameKey(t token, name string, k key, err error) error {
	const help = "bring back the token that the vault was started with, or restart it"
	switch {
	case errors.Is(err, hsm.ErrNotProvisioned):
		return hsm.Errorf(hsm.ErrUnavailable, help, "token %q (serial %s) no longer shows its keys: %v",
			clean(t.info.Label), clean(t.info.SerialNumber), err)
	case err == nil && string(k.point) != d.points[name]:
		return hsm.Errorf(hsm.ErrUnavailable, help, "token %q (serial %s) now holds another %s key",
			clean(t.info.Label), clean(t.info.SerialNumber), name)
	}
	return err
}
