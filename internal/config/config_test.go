package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Vault struct {
		ID     uint16        `toml:"id"`
		Socket string        `toml:"socket"`
		Wait   time.Duration `toml:"wait"`
		Limit  int8          `toml:"limit"`
		On     bool          `toml:"on"`
	} `toml:"vault"`
	Nodes map[string]string `toml:"nodes"`
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	var got, want sample
	got.Vault.Limit = 9
	path := file(t, "[vault]\nid = 3\nsocket = \"a\"\nwait = \"2s\"\n[nodes]\n1 = \"U\"\n")
	env := []string{"COFFER_VAULT_SOCKET=b=c", "COFFER_VAULT_ON=true", "COFFER_VECTORS=x", "HOME=/"}
	if err := Load(path, env, &got); err != nil {
		t.Fatal(err)
	}
	want.Vault.ID, want.Vault.Socket, want.Vault.Wait = 3, "b=c", 2*time.Second
	want.Vault.Limit, want.Vault.On, want.Nodes = 9, true, map[string]string{"1": "U"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	// Without a file the environment is enough.
	var e sample
	if err := Load("", []string{"COFFER_VAULT_ID=7", "COFFER_VAULT_WAIT=1m", "COFFER_VAULT_LIMIT=-3"}, &e); err != nil || e.Vault.ID != 7 || e.Vault.Wait != time.Minute || e.Vault.Limit != -3 {
		t.Fatalf("%+v, %v", e, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, env, want string }{
		{"unknown key", "[vault]\nsokcet = \"a\"", "", `unknown key "vault.sokcet"; known are nodes, vault.id, vault.limit`},
		{"unknown section", "[vualt]\nid = 1", "", `unknown key "vualt"`},
		{"syntax", "[vault]\nid = \n", "", "line 2"},
		{"wrong type", "[vault]\nid = \"one\"", "", "id"},
		{"out of range", "[vault]\nid = 70000", "", "70000"},
		{"bad duration", "[vault]\nwait = \"soon\"", "", "soon"},
		{"env number", "", "COFFER_VAULT_ID=70000", "COFFER_VAULT_ID"},
		{"env negative", "", "COFFER_VAULT_ID=-1", "whole number from 0"},
		{"env small", "", "COFFER_VAULT_LIMIT=200", "8 bits"},
		{"env bool", "", "COFFER_VAULT_ON=maybe", "true or false"},
		{"env duration", "", "COFFER_VAULT_WAIT=5", "duration"},
		{"env map", "", "COFFER_NODES=1", "set it in the file"},
	} {
		var v sample
		err := Load(file(t, c.text), []string{c.env}, &v)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
	var v sample
	for _, path := range []string{"/nonexistent/c.toml", t.TempDir(), "/dev/zero"} {
		if err := Load(path, nil, &v); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSecret(t *testing.T) {
	path := file(t, "s3cret\n")
	if b, err := Secret("file:" + path); err != nil || string(b) != "s3cret" {
		t.Fatalf("%q, %v", b, err)
	}
	t.Setenv("COFFER_TEST_SECRET", "x")
	if b, err := Secret("env:COFFER_TEST_SECRET"); err != nil || string(b) != "x" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ uri, want string }{
		{"file:" + path, "0644"},
		{"file:/nonexistent", "couldn't read"},
		{"env:COFFER_NOT_SET", "not set"},
		{"plain-password", "want file:PATH"},
		{"file:", "want file:PATH"},
		{"", "want file:PATH"},
	} {
		if _, err := Secret(c.uri); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.uri, err, c.want)
		} else if strings.Contains(err.Error(), "plain-password") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}
