package tpm

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/signature"
)

// URI names a TPM and the keys of one vault on it:
//
//	tpm:/dev/tpmrm0?dir=/var/lib/coffer/tpm
//	tpm:unix:/run/swtpm.sock?dir=/state&slot=1&operator=p256:…&authority=p256:…
type URI struct {
	Device string // /dev/tpmrmN, or
	Socket string // the socket of an emulator

	Dir  string // where the keys' blobs lie, absolute
	Slot uint8  // which of the handles of this module, 0 to 15: one a vault

	// Operator authorises each use of a cold key; Authority says who approves at the
	// approval key. Both are fixed when the device is provisioned and may be left out
	// later; if they are there, they must be the same.
	Operator, Authority *signature.PublicKey
	// OwnerAuth is the file with the owner hierarchy's password, EndorsementAuth that
	// of the endorsement hierarchy's. Without them the passwords are empty.
	OwnerAuth, EndorsementAuth string
}

const scheme = "tpm:"

// maxURI bounds a URI, maxSlot the slots.
const (
	maxURI  = 4096
	maxSlot = 15
)

// ParseURI reads a URI. It reads nothing that it doesn't know: an attribute that was
// passed over could have been the one that protects a key.
func ParseURI(s string) (URI, error) {
	u, err := parseURI(s)
	if err != nil {
		return URI{}, fmt.Errorf("couldn't read TPM URI: %w", err)
	}
	return u, nil
}

func parseURI(s string) (URI, error) {
	if len(s) > maxURI {
		return URI{}, fmt.Errorf("%d bytes, at most %d", len(s), maxURI)
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return URI{}, fmt.Errorf("it must start with %q", scheme)
	}
	path, query, _ := strings.Cut(rest, "?")
	path, err := pkcs11uri.Unescape(path, plain)
	if err != nil {
		return URI{}, err
	}
	var u URI
	if at, ok := strings.CutPrefix(path, "unix:"); ok {
		u.Socket = at
	} else {
		u.Device = path
	}
	if err := u.checkPlace(); err != nil {
		return URI{}, err
	}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(query, "&") {
		name, enc, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return URI{}, fmt.Errorf("%q: want name=value", part)
		}
		if seen[name] {
			return URI{}, fmt.Errorf("attribute %q is given twice", name)
		}
		seen[name] = true
		value, err := pkcs11uri.Unescape(enc, plain)
		if err != nil {
			return URI{}, fmt.Errorf("attribute %q: %w", name, err)
		}
		if err := u.set(name, value); err != nil {
			return URI{}, fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	if u.Dir == "" {
		return URI{}, errors.New("no directory: want dir=/absolute/path for the keys' blobs")
	}
	return u, nil
}

func (u *URI) checkPlace() error {
	if u.Socket != "" {
		if !filepath.IsAbs(u.Socket) {
			return fmt.Errorf("socket %q is not an absolute path", u.Socket)
		}
		return nil
	}
	n, ok := strings.CutPrefix(u.Device, "/dev/tpmrm")
	if v, err := strconv.ParseUint(n, 10, 16); !ok || err != nil || strconv.FormatUint(v, 10) != n {
		return fmt.Errorf("device %q: want /dev/tpmrmN (not /dev/tpmN, which others would use at the same time) or unix:/path/to/socket", u.Device)
	}
	return nil
}

func (u *URI) set(name, value string) error {
	switch name {
	case "dir":
		return setPath(&u.Dir, value)
	case "owner-auth":
		return setPath(&u.OwnerAuth, strings.TrimPrefix(value, "file:"))
	case "endorsement-auth":
		return setPath(&u.EndorsementAuth, strings.TrimPrefix(value, "file:"))
	case "slot":
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil || n > maxSlot || strconv.FormatUint(n, 10) != value {
			return fmt.Errorf("%q is not a slot, want 0 to %d", value, maxSlot)
		}
		u.Slot = uint8(n)
		return nil
	case "operator":
		return setKey(&u.Operator, value)
	case "authority":
		return setKey(&u.Authority, value)
	}
	return errors.New("unknown, want dir, slot, operator, authority, owner-auth or endorsement-auth")
}

func setPath(p *string, value string) error {
	if !filepath.IsAbs(value) {
		return fmt.Errorf("%q is not an absolute path", value)
	}
	*p = value
	return nil
}

func setKey(p **signature.PublicKey, value string) error {
	k, err := signature.ParseText(value)
	if err != nil {
		return err
	}
	if k.Algorithm != signature.P256 {
		return fmt.Errorf("%v key, want p256: a TPM checks no other signature", k.Algorithm)
	}
	*p = &k
	return nil
}

// plain stands for itself in a URI.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/@+,"

// String is the one form that ParseURI gives back the same URI for.
func (u URI) String() string {
	s := scheme + pkcs11uri.Escape(u.Device, plain)
	if u.Socket != "" {
		s = scheme + "unix:" + pkcs11uri.Escape(u.Socket, plain)
	}
	s += "?dir=" + pkcs11uri.Escape(u.Dir, plain)
	if u.Slot != 0 {
		s += "&slot=" + strconv.Itoa(int(u.Slot))
	}
	for _, k := range []struct {
		name string
		key  *signature.PublicKey
	}{{"operator", u.Operator}, {"authority", u.Authority}} {
		if k.key != nil {
			s += "&" + k.name + "=" + pkcs11uri.Escape(k.key.String(), plain)
		}
	}
	for _, f := range []struct{ name, path string }{{"owner-auth", u.OwnerAuth}, {"endorsement-auth", u.EndorsementAuth}} {
		if f.path != "" {
			s += "&" + f.name + "=file:" + pkcs11uri.Escape(f.path, plain)
		}
	}
	return s
}
