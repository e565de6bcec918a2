package vaultshell

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestCheckProcessor(t *testing.T) {
	if err := checkProcessor("amd64", true, false); err != nil {
		t.Error(err)
	}
	if err := checkProcessor("riscv64", false, false); err == nil || !strings.Contains(err.Error(), "riscv64") {
		t.Errorf("without AES: %v", err)
	}
	if err := checkProcessor("amd64", true, true); err == nil || !strings.Contains(err.Error(), "purego") {
		t.Errorf("built with purego: %v", err)
	}
}

// A vault does not start where AES leaks.
func TestRunChecksTheProcessor(t *testing.T) {
	if os.Getenv("COFFER_TEST_CHILD") != "" {
		err := Run(t.Context(), new(Config), slog.New(slog.DiscardHandler))
		fmt.Println("says:", err)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run", "^TestRunChecksTheProcessor$")
	child.Env = append(os.Environ(), "COFFER_TEST_CHILD=1", "GODEBUG=cpu.aes=off")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "no AES instructions") {
		t.Errorf("%v: %s", err, out)
	}
}
