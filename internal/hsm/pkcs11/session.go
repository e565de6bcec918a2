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

// session is a PKCS#11 session that is logged in, with the handles of the keys that
// were used in it.
type session struct {
	h    p11.SessionHandle
	gen  uint64
	keys map[string]key
}

// do runs f in a session. A session in which anything failed is closed, since
// devices leave operations open in it. When the token or its connection was lost,
// the library is started anew and f is run once more: f must be fit to be repeated.
// A login is not repeated, see pin.
func (d *Device) do(ctx context.Context, doing string, f func(*session) error) error {
	return d.doWith(ctx, doing, 0, f)
}

// doWith is do with flags of the session: p11.CKF_RW_SESSION for one that writes.
func (d *Device) doWith(ctx context.Context, doing string, flags uint, f func(*session) error) error {
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
	gen, err := d.try(flags, f)
	if err != nil && worthRestart(err) {
		if rerr := d.mod.restart(gen); rerr != nil {
			return rerr
		}
		_, err = d.try(flags, f)
	}
	if err != nil {
		return failed(doing+" at "+name(d.uri), err)
	}
	return nil
}

func worthRestart(err error) bool {
	if isKind(err, hsm.ErrUnseal) || isKind(err, hsm.ErrFull) {
		return false
	}
	switch rv(err) {
	case p11.CKR_DEVICE_ERROR, p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED:
		return true
	}
	return absent(err) || errors.Is(err, hsm.ErrUnavailable)
}

// try runs f in an idle or a new session of the present generation. One that writes
// is not kept.
func (d *Device) try(flags uint, f func(*session) error) (gen uint64, err error) {
	d.mod.mu.RLock()
	defer d.mod.mu.RUnlock()
	gen = d.mod.gen
	var s *session
	if flags == 0 {
		s = d.takeIdle(gen)
	}
	if s == nil {
		if s, err = d.openSession(flags); err != nil {
			return gen, err
		}
	}
	if err = f(s); err != nil || flags != 0 {
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

// openSession opens a session and finds the keys in it that the device must have:
// those of the first session, or the token in the slot is another one.
func (d *Device) openSession(flags uint) (*session, error) {
	h, t, err := d.logIn(flags)
	if err != nil {
		return nil, err
	}
	s := &session{h: h, gen: d.mod.gen, keys: make(map[string]key)}
	for _, name := range d.must() {
		if _, err := d.key(s, name); err != nil {
			err = d.gone(t, name, err)
			_ = d.mod.ctx.CloseSession(h)
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.token = t
	}
	return s, nil
}

// must are the names of the keys that every session must find: the signing keys and
// the newest state key that is known.
func (d *Device) must() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := roleNames()
	if d.epoch != 0 {
		names = append(names, sealName(hsm.ClassState, d.epoch))
	}
	return names
}

// key finds a key in a session, once, and checks that it is the one that it was.
func (d *Device) key(s *session, name string) (key, error) {
	if k, ok := s.keys[name]; ok {
		return k, nil
	}
	k, err := findKey(d.mod, s.h, label(d.object, name))
	if err != nil {
		return key{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known != nil {
		if before, ok := d.known[name]; ok && !before.same(k) {
			return key{}, hsm.Errorf(hsm.ErrUnavailable, helpSwapped, "token %q now holds another %s key", d.info.Label, name)
		}
		d.known[name] = k
	}
	s.keys[name] = k
	return k, nil
}

const helpSwapped = "bring back the token that the vault was started with, or restart it"

// gone says what it means that a token that was opened anew lacks a key. A token
// that is being removed shows some of its objects.
func (d *Device) gone(t token, name string, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || !isKind(err, hsm.ErrNotProvisioned) {
		return err
	}
	return hsm.Errorf(hsm.ErrUnavailable, helpSwapped, "token %q (serial %s) no longer shows its keys: %v",
		clean(t.info.Label), clean(t.info.SerialNumber), err)
}
