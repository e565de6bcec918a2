// Package pkcs11uri reads the names of PKCS#11 tokens and keys: RFC 7512.
//
// It reads less than the RFC allows and says so for each thing that it refuses:
// an attribute that it does not know would otherwise be ignored, and another
// token than the one meant be opened. PINs stand in files, never in the URI, since
// URIs are logged and shown. It does not look whether the token, the module or the
// file exists.
package pkcs11uri

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// URI is a parsed name. Empty fields were not given.
type URI struct {
	Token        string // the token's label
	Manufacturer string
	Model        string
	Serial       string
	Slot         *uint  // slot-id; slot numbers change, so prefer Token and Serial
	Object       string // names the keys of one vault on the token

	Module string // module-path: the vendor's library, absolute
	PIN    string // pin-source: the file that holds the PIN, absolute
	Init   string // x-module-init: an argument to C_Initialize, of NSS
}

const scheme = "pkcs11:"

// MaxLength bounds a URI.
const MaxLength = 4096

// Parse reads a URI. The messages of its errors name the attribute.
func Parse(s string) (URI, error) {
	u, err := parse(s)
	if err != nil {
		return URI{}, fmt.Errorf("couldn't read PKCS#11 URI: %w", err)
	}
	return u, nil
}

func parse(s string) (URI, error) {
	if len(s) > MaxLength {
		return URI{}, fmt.Errorf("%d bytes, at most %d", len(s), MaxLength)
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return URI{}, fmt.Errorf("it must start with %q", scheme)
	}
	path, query, hasQuery := strings.Cut(rest, "?")
	var u URI
	seen := make(map[string]bool)
	for _, part := range split(path, ";") {
		if err := u.set(part, pathChars, seen, u.setPath); err != nil {
			return URI{}, err
		}
	}
	if hasQuery && query == "" {
		return URI{}, errors.New("nothing follows the '?'")
	}
	for _, part := range split(query, "&") {
		if err := u.set(part, queryChars, seen, u.setQuery); err != nil {
			return URI{}, err
		}
	}
	return u, nil
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

// The characters that RFC 7512 §2.3 lets stand for themselves.
const (
	unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	reserved   = ":[]@!$'()*+,="
	pathChars  = unreserved + reserved + "&"
	queryChars = unreserved + reserved + "/?|"
)

func (u *URI) set(part, chars string, seen map[string]bool, set func(name, value string) error) error {
	name, enc, ok := strings.Cut(part, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q: want name=value", part)
	}
	if seen[name] {
		return fmt.Errorf("attribute %q is given twice", name)
	}
	seen[name] = true
	if name == "pin-value" { // before any message could show the value
		return errors.New("attribute \"pin-value\" is refused: URIs are logged and shown; write the PIN to a file and name it by pin-source")
	}
	value, err := Unescape(enc, chars)
	if err != nil {
		return fmt.Errorf("attribute %q: %w", name, err)
	}
	if value == "" {
		return fmt.Errorf("attribute %q is empty", name)
	}
	return set(name, value)
}

func (u *URI) setPath(name, value string) error {
	switch name {
	case "token":
		u.Token = value
	case "manufacturer":
		u.Manufacturer = value
	case "model":
		u.Model = value
	case "serial":
		u.Serial = value
	case "object":
		u.Object = value
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != value {
			return fmt.Errorf("attribute %q: %q is not a slot number", name, value)
		}
		slot := uint(n)
		u.Slot = &slot
	case "module-path", "pin-source":
		return fmt.Errorf("attribute %q belongs behind the '?'", name)
	default:
		return fmt.Errorf("unknown attribute %q, want token, manufacturer, model, serial, slot-id or object", name)
	}
	return nil
}

func (u *URI) setQuery(name, value string) error {
	switch name {
	case "module-path":
		if !filepath.IsAbs(value) {
			return fmt.Errorf("attribute %q: %q is not an absolute path", name, value)
		}
		u.Module = value
	case "pin-source":
		path := strings.TrimPrefix(value, "file:")
		path = strings.TrimPrefix(path, "//") // file://host/path, with an empty host
		if !filepath.IsAbs(path) || strings.HasPrefix(path, "//") {
			return fmt.Errorf("attribute %q: %q does not name a file, want file:/absolute/path", name, value)
		}
		u.PIN = path
	case "x-module-init":
		u.Init = value
	default:
		return fmt.Errorf("unknown attribute %q, want module-path, pin-source or x-module-init", name)
	}
	return nil
}

// Unescape undoes Escape. It refuses what is neither an escape nor one of the
// characters that stand for themselves, and control characters however written.
func Unescape(s, chars string) (string, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", fmt.Errorf("%q ends in mid-escape", s)
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%q is not an escape, want %%XX", s[i:i+3])
			}
			c = byte(n)
			i += 2
		} else if strings.IndexByte(chars, c) < 0 {
			return "", fmt.Errorf("character %q must be written %%%02X", c, c)
		}
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("control character 0x%02x", c)
		}
		out = append(out, c)
	}
	return string(out), nil
}

// Escape writes every byte but chars as %XX (RFC 3986).
func Escape(s, chars string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(chars, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// String is the one form that Parse gives back the same URI for.
func (u URI) String() string {
	var path, query []string
	for _, f := range []struct{ name, value string }{
		{"token", u.Token}, {"manufacturer", u.Manufacturer}, {"model", u.Model}, {"serial", u.Serial}, {"object", u.Object},
	} {
		if f.value != "" {
			path = append(path, f.name+"="+Escape(f.value, pathChars))
		}
	}
	if u.Slot != nil {
		path = append(path, "slot-id="+strconv.FormatUint(uint64(*u.Slot), 10))
	}
	if u.Module != "" {
		query = append(query, "module-path="+Escape(u.Module, queryChars))
	}
	if u.PIN != "" {
		query = append(query, "pin-source=file:"+Escape(u.PIN, queryChars))
	}
	if u.Init != "" {
		query = append(query, "x-module-init="+Escape(u.Init, queryChars))
	}
	s := scheme + strings.Join(path, ";")
	if query != nil {
		s += "?" + strings.Join(query, "&")
	}
	return s
}
