package device

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/hsm/pkcs11uri"
	"github.com/cofferhq/coffer/internal/hsm/tpm"
)

// common is what any library reads: code, the loader's, the C library's and
// OpenSSL's settings, random bytes.
var common = []cage.Path{
	{Path: "/usr", Access: cage.Execute}, {Path: "/lib", Access: cage.Execute}, {Path: "/lib64", Access: cage.Execute}, {Path: "/opt", Access: cage.Execute},
	{Path: "/etc/ld.so.cache"}, {Path: "/etc/nsswitch.conf"}, {Path: "/etc/passwd"}, {Path: "/etc/group"}, {Path: "/etc/localtime"},
	{Path: "/etc/ssl"}, {Path: "/etc/crypto-policies"}, {Path: "/etc/pkcs11"}, {Path: "/etc/machine-id"},
	{Path: "/etc/softhsm"}, {Path: "/etc/softhsm2.conf"}, {Path: "/etc/opencryptoki"}, {Path: "/etc/tpm2-tss"},
	{Path: "/proc/sys"}, {Path: "/sys/devices/system/cpu"},
	{Path: "/dev/null", Access: cage.Device}, {Path: "/dev/zero", Access: cage.Device}, {Path: "/dev/urandom"}, {Path: "/dev/random"},
}

// named are the attributes of network devices.
var named = []cage.Path{{Path: "/etc/hosts"}, {Path: "/etc/resolv.conf"}, {Path: "/etc/host.conf"}, {Path: "/etc/gai.conf"}}

// Paths are the paths that a device of this URI needs, with the environment that its
// library gets: more than that the helper may not touch. Directories and marks that
// the device writes are made, since a path must be there to be allowed.
func Paths(uri string, env map[string]string, network bool) ([]cage.Path, error) {
	scheme, rest, err := split(uri)
	if err != nil {
		return nil, err
	}
	paths := slices.Clone(common)
	if network {
		paths = append(paths, named...)
	}
	for _, v := range env {
		if filepath.IsAbs(v) {
			paths = append(paths, cage.Path{Path: v})
		}
	}
	switch scheme {
	case "soft":
		return append(paths, cage.Path{Path: rest, Access: cage.Write}), makeDir(rest)
	case "tpm":
		u, err := tpm.ParseURI(uri)
		if err != nil {
			return nil, err
		}
		return tpmPaths(paths, u)
	}
	u, err := pkcs11uri.Parse(uri)
	if err != nil {
		return nil, err
	}
	return pkcs11Paths(paths, u, env)
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("couldn't make the device's directory: %w", err)
	}
	return nil
}

// makeFile makes an empty file where there is none.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("couldn't make a file for the device: %w", err)
	}
	return nil
}

func tpmPaths(paths []cage.Path, u tpm.URI) ([]cage.Path, error) {
	paths = append(paths, cage.Path{Path: u.Dir, Access: cage.Write})
	for _, p := range []string{u.OwnerAuth, u.EndorsementAuth} {
		if p != "" {
			paths = append(paths, cage.Path{Path: p})
		}
	}
	if u.Device != "" {
		return append(paths, cage.Path{Path: u.Device, Access: cage.Device}), makeDir(u.Dir)
	}
	lock := u.Socket + ".lock"
	return append(paths, cage.Path{Path: lock, Access: cage.Write}), errors.Join(makeDir(u.Dir), makeFile(lock))
}

func pkcs11Paths(paths []cage.Path, u pkcs11uri.URI, env map[string]string) ([]cage.Path, error) {
	paths = append(paths, cage.Path{Path: filepath.Dir(u.Module), Access: cage.Execute}, cage.Path{Path: u.Module, Access: cage.Execute})
	if u.PIN != "" {
		// A refused PIN is written down beside it. If the PIN isn't there, opening the
		// device says so.
		mark := u.PIN + ".refused"
		if _, err := os.Stat(u.PIN); err == nil {
			if err := makeFile(mark); err != nil {
				return nil, err
			}
		}
		paths = append(paths, cage.Path{Path: u.PIN}, cage.Path{Path: mark, Access: cage.Write})
	}
	for _, dir := range stateOf(u, env) {
		paths = append(paths, cage.Path{Path: dir, Access: cage.Write})
	}
	return paths, nil
}

// stateOf are the directories in which a module is known to keep its state; other
// modules' stand in the configuration.
func stateOf(u pkcs11uri.URI, env map[string]string) []string {
	variable := func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		return os.Getenv(name)
	}
	switch name := filepath.Base(u.Module); {
	case strings.Contains(name, "softhsm"):
		conf := variable("SOFTHSM2_CONF")
		if conf == "" {
			conf = "/etc/softhsm/softhsm2.conf"
		}
		return softhsmTokens(conf)
	case strings.Contains(name, "opencryptoki"):
		return []string{"/run/opencryptoki", "/var/run/opencryptoki", "/var/lock/opencryptoki", "/run/lock/opencryptoki", "/var/lib/opencryptoki", "/var/log/opencryptoki", "/dev/shm"}
	case strings.Contains(name, "softokn"):
		// configdir='sql:DIR' …
		if _, rest, ok := strings.Cut(u.Init, "configdir='"); ok {
			dir, _, _ := strings.Cut(rest, "'")
			return []string{strings.TrimPrefix(strings.TrimPrefix(dir, "sql:"), "dbm:")}
		}
	case strings.Contains(name, "tpm2_pkcs11"):
		dirs := []string{"/etc/tpm2_pkcs11", "/dev/tpm0", "/dev/tpmrm0"}
		if store := variable("TPM2_PKCS11_STORE"); store != "" {
			dirs = append(dirs, store)
		}
		if home := variable("HOME"); home != "" {
			dirs = append(dirs, filepath.Join(home, ".tpm2_pkcs11"))
		}
		return dirs
	}
	return nil
}

// softhsmTokens reads SoftHSM's configuration as far as it says where tokens are.
func softhsmTokens(conf string) []string {
	f, err := os.Open(conf)
	if err != nil {
		return nil // the module says what is wrong with it
	}
	defer func() { _ = f.Close() }() // only read
	var dirs []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), "="); ok && strings.TrimSpace(key) == "directories.tokendir" {
			dirs = append(dirs, strings.TrimSpace(value))
		}
	}
	return dirs
}

// SocketPaths are what serving a socket takes. Its lock is made, so that nothing else
// beside it need be open.
func SocketPaths(socket string) ([]cage.Path, error) {
	dir := filepath.Dir(socket)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the socket's directory %s is not there", dir)
	}
	lock := socket + ".lock"
	return []cage.Path{{Path: dir, Access: cage.Sockets}, {Path: lock, Access: cage.Write}}, makeFile(lock)
}
