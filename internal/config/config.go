package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// maxFile bounds a configuration file and a secret's file: a larger one is the
// wrong file.
const maxFile = 1 << 20

// Load reads the file at path into the struct that v points to, and then the
// variables of environ ("NAME=value", as os.Environ has them). An empty path
// reads no file. What neither names stays as v has it.
func Load(path string, environ []string, v any) error {
	if path != "" {
		b, err := readFile(path)
		if err != nil {
			return fmt.Errorf("couldn't read configuration: %w", err)
		}
		if err := parse(b, v); err != nil {
			return fmt.Errorf("couldn't read configuration %s: %w", path, err)
		}
	}
	env := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "COFFER_") {
			env[name] = value
		}
	}
	return override(reflect.ValueOf(v).Elem(), "COFFER", env)
}

func parse(b []byte, v any) error {
	meta, err := toml.NewDecoder(bytes.NewReader(b)).Decode(v)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return fmt.Errorf("line %d: %s", pe.Position.Line, pe.Message)
		}
		return err
	}
	var unknown []string
	for _, k := range meta.Undecoded() {
		unknown = append(unknown, strconv.Quote(k.String()))
	}
	if unknown != nil {
		return fmt.Errorf("unknown key %s; known are %s", strings.Join(unknown, ", "), strings.Join(keys(reflect.TypeOf(v).Elem(), ""), ", "))
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

func key(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	if name == "" {
		return strings.ToLower(f.Name)
	}
	return name
}

// isTable tells a section from a value.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func keys(t reflect.Type, prefix string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if k := key(f); f.IsExported() && k != "-" {
			if isTable(f.Type) {
				out = append(out, keys(f.Type, prefix+k+".")...)
			} else {
				out = append(out, prefix+k)
			}
		}
	}
	sort.Strings(out)
	return out
}

func override(v reflect.Value, prefix string, env map[string]string) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		k := key(f)
		if !f.IsExported() || k == "-" {
			continue
		}
		name := prefix + "_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(k))
		if isTable(f.Type) {
			if err := override(v.Field(i), name, env); err != nil {
				return err
			}
			continue
		}
		if s, ok := env[name]; ok {
			if err := set(v.Field(i), s); err != nil {
				return fmt.Errorf("environment variable %s: %q: %w", name, s, err)
			}
		}
	}
	return nil
}

func set(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New(`want a duration such as "30s"`)
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("want true or false")
		}
		v.SetBool(b)
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number of at most %d bits", v.Type().Bits())
		}
		v.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number from 0, of at most %d bits", v.Type().Bits())
		}
		v.SetUint(n)
		return nil
	}
	return errors.New("this key has no form for the environment; set it in the file")
}

// Secret reads what a URI names: file:PATH, whose file must be closed to other
// users, or env:NAME. A final line break is not part of the secret.
func Secret(uri string) ([]byte, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	switch {
	case rest == "":
	case scheme == "file":
		info, err := os.Stat(rest)
		if err != nil {
			return nil, fmt.Errorf("couldn't read secret: %w", err)
		}
		if perm := info.Mode().Perm(); perm&0o077 != 0 {
			return nil, fmt.Errorf("secret file %s has mode %04o: other users may read it, want 0600", rest, perm)
		}
		b, err := readFile(rest)
		if err != nil {
			return nil, fmt.Errorf("couldn't read secret: %w", err)
		}
		return bytes.TrimRight(b, "\r\n"), nil
	case scheme == "env":
		s, ok := os.LookupEnv(rest)
		if !ok {
			return nil, fmt.Errorf("secret %s: the environment variable is not set", uri)
		}
		return []byte(strings.TrimRight(s, "\r\n")), nil
	}
	return nil, fmt.Errorf("secret URI of %d bytes: want file:PATH or env:NAME", len(uri))
}
