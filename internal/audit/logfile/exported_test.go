package logfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestExported(t *testing.T) {
	dir := t.TempDir()
	if x, err := ReadExported(dir); x != nil || err != nil {
		t.Fatalf("%v, %v, want nothing", x, err)
	}
	want := Exported{Entries: 17, Begun: 1_800_000_000_123}
	if err := WriteExported(dir, want); err != nil {
		t.Fatal(err)
	}
	if x, err := ReadExported(dir); err != nil || *x != want {
		t.Fatalf("%v, %v, want %v", x, err, want)
	}
	for _, bad := range []string{"", "coffer export 1\n", "coffer export 2\n1 entries\nbegun 2\n", "coffer export 1\n1 entries\nbegun 2\n\n", "coffer export 1\n01 entries\nbegun 2\n", "coffer export 1\n-1 entries\nbegun 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, ExportFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if x, err := ReadExported(dir); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, %v, want it refused", bad, x, err)
		}
	}
}
