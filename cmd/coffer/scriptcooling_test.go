package main_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer/internal/dev"
)

// cooling is how long changes wait in the cluster of TestCoolingScripts: longer than a
// loaded machine needs for the commands that come before the time, not longer.
const cooling = 60 * time.Second

// TestCoolingScripts runs what admins type where changes wait, on a cluster of its own.
func TestCoolingScripts(t *testing.T) {
	cluster(t) // skips where there is none
	t.Parallel()
	dir, err := os.MkdirTemp(scratch, "w")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dev.Start(context.Background(), dev.Options{
		Dir: filepath.Join(dir, "c"), Binary: buildProgram(t), Devices: []string{"software", "software", "software"}, Cooling: cooling,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	t.Run("scripts", func(t *testing.T) { runScriptsOn(t, c, filepath.Join("testdata", "cooling")) })
}

// dismiss NAME writes new.json: the roster that the last command showed, without an admin.
func dismiss(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: dismiss NAME")
	}
	var doc map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	groups := doc["groups"].(map[string]any)
	groups["admins"] = slices.DeleteFunc(groups["admins"].([]any), func(m any) bool { return m == args[0] })
	b, err := json.Marshal(doc)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("new.json"), b, 0o600))
}

// until REGEXP COMMAND… runs a command again and again until it says what is expected.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND…")
	}
	want := regexp.MustCompile(args[0])
	for range 10 * int(cooling/time.Second) {
		cmd := exec.Command(filepath.Join(scratch, "bin", args[1]), args[2:]...)
		cmd.Env = append(os.Environ(), "COFFER_HOME="+ts.Getenv("COFFER_HOME"))
		cmd.Dir = ts.MkAbs(".")
		out, _ := cmd.CombinedOutput()
		if want.Match(out) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	ts.Fatalf("%v never said %s", args[1:], args[0])
}
