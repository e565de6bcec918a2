package tpm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
	"github.com/cofferhq/coffer/internal/hsm/swtpm"
)

// childURI makes this test binary the process that hsmtest kills.
const childURI = "COFFER_TEST_TPM_CHILD"

func TestMain(m *testing.M) {
	if uri := os.Getenv(childURI); uri != "" {
		d, err := Open(context.Background(), uri)
		if err == nil {
			err = hsmtest.Exercise(context.Background(), d, os.Stdout)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if blank.dir != "" {
		os.RemoveAll(blank.dir)
	}
	os.Exit(code)
}

// blank is the state of an emulator that nobody used, which takes half a second to make.
var blank struct {
	sync.Once
	dir string
	err error
}

func makeBlank() {
	if blank.dir, blank.err = os.MkdirTemp("", "tpm"); blank.err != nil {
		return
	}
	var s *swtpm.TPM
	if s, blank.err = swtpm.Start(context.Background(), blank.dir); blank.err == nil {
		blank.err = s.Stop()
	}
}

// emulator starts a TPM for the test: a copy of blank, with the same seeds.
func emulator(t testing.TB) *swtpm.TPM {
	t.Helper()
	return start(t, true)
}

// another starts a TPM with seeds of its own.
func another(t testing.TB) *swtpm.TPM {
	t.Helper()
	return start(t, false)
}

func start(t testing.TB, copied bool) *swtpm.TPM {
	t.Helper()
	if _, _, err := swtpm.Find(); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "tpm") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	if copied {
		if blank.Do(makeBlank); blank.err != nil {
			t.Fatal(blank.err)
		}
		copyDir(t, filepath.Join(blank.dir, "state"), filepath.Join(dir, "state"))
	}
	s, err := swtpm.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return s
}

// provisioned makes a device on a TPM and returns its URI; more is appended to it.
func provisioned(t testing.TB, s *swtpm.TPM, more string) string {
	t.Helper()
	uri := s.URI(filepath.Join(t.TempDir(), "keys")) + more
	if err := Provision(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	return uri
}

func opened(t testing.TB, uri string) *Device {
	t.Helper()
	d, err := Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func opener(uri string) func(context.Context) (hsm.HSM, error) {
	return func(ctx context.Context) (hsm.HSM, error) { return Open(ctx, uri) }
}

func TestConformance(t *testing.T) {
	s := emulator(t)
	uri := provisioned(t, s, "")
	hsmtest.Run(t, hsmtest.Backend{
		Open:  opener(uri),
		Other: opener(provisioned(t, s, "&slot=1")),
		Child: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childURI+"="+uri)
			return cmd
		},
	})
}
