package devnode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holiman/uint256"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
)

func amount(v uint64) chain.Amount { return *uint256.NewInt(v) }

func TestStart(t *testing.T) {
	n := ForTest(t, 31337, Options{})
	if id, err := n.Client.ChainID(t.Context()); err != nil || id != 31337 {
		t.Fatalf("chain id %d, %v", id, err)
	}
	account := evm.Address{19: 9}
	if err := n.SetBalance(t.Context(), account, amount(1e18)); err != nil {
		t.Fatal(err)
	}
	if got, err := n.Balance(t.Context(), account); err != nil || got != amount(1e18) {
		t.Fatalf("balance %s, %v", got.Dec(), err)
	}
	if err := n.Mine(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got, err := n.BlockNumber(t.Context()); err != nil || got != 3 {
		t.Fatalf("block %d, %v, want 3", got, err)
	}
}

func TestStopEndsOnlyItsOwn(t *testing.T) {
	stays := ForTest(t, 1, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	goes, err := Start(ctx, 2, Options{BlockTime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	pid := goes.PID()
	cancel()
	<-goes.Exited()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after its context ended: %v, want it gone", pid, err)
	}
	if err := goes.Stop(); err == nil {
		t.Error("Stop does not say that the node was gone before")
	}
	if _, err := stays.BlockNumber(t.Context()); err != nil {
		t.Errorf("the other node: %v", err)
	}
}

// TestNodeDiesWithItsOwner kills a process that started a node, as nobody can
// clean up after SIGKILL.
func TestNodeDiesWithItsOwner(t *testing.T) {
	const env = "COFFER_TEST_OWNS_A_NODE"
	if os.Getenv(env) != "" {
		n := ForTest(t, 1, Options{})
		fmt.Println("node at", n.URL)
		_, _ = io.Copy(io.Discard, os.Stdin) // until killed
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	ForTest(t, 1, Options{}) // is there an anvil?
	owner := exec.Command(os.Args[0], "-test.run=^TestNodeDiesWithItsOwner$", "-test.v")
	owner.Env = append(os.Environ(), env+"=1")
	if _, err := owner.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	address := ""
	for lines := bufio.NewScanner(stdout); address == "" && lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), "node at http://"); ok {
			address = url
		}
	}
	conn, dialErr := net.Dial("tcp", address)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	if dialErr != nil {
		t.Fatalf("the owner's node at %q: %v", address, dialErr)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the node outlives its owner: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	ForTest(t, 1, Options{}) // is there an anvil?
	if n, err := Start(t.Context(), 1, Options{Hardfork: "nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v, %v, want anvil's own words", n, err)
	}
	if n, err := Start(t.Context(), 1, Options{BlockTime: time.Millisecond}); err == nil {
		t.Errorf("%v started with a block time below a second", n)
	}
}

func TestFindAnvil(t *testing.T) {
	root := t.TempDir()
	t.Setenv("PATH", t.TempDir())
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := findAnvil([]string{deep})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "run: make tools") {
		t.Errorf("error %v, want what is missing and the command that fixes it", err)
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return
	}
	want := filepath.Join(root, installed)
	if err := os.MkdirAll(filepath.Dir(want), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := findAnvil([]string{deep}); err != nil || got != want {
		t.Errorf("found %q, %v, want %q", got, err, want)
	}
}

func TestAssemble(t *testing.T) {
	got, err := assemble("here: 0 255 256 ADD ; ADD\n @here JUMP @end")
	if want := "5b600060ff6101000161000056610010"; err != nil || fmt.Sprintf("%x", got) != want {
		t.Errorf("code %x, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"NOP", "@nowhere", "-1", "0x1" + strings.Repeat("0", 64)} {
		if code, err := assemble(bad); err == nil {
			t.Errorf("%q was assembled to %x", bad, code)
		}
	}
}
