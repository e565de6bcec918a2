package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/amount"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/dev"
	"github.com/cofferhq/coffer/internal/hsm/softhsm"
)

// scratch holds the program, built once, and the cluster that the scripts share.
// Its name is short: unix sockets have at most 107 bytes.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "coffer-test-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(scratch)
		defer func() {
			if shared != nil {
				shared.Stop()
			}
		}()
		return m.Run()
	}())
}

// program builds coffer, once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "bin", "coffer")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("couldn't build coffer: %w: %s", err, out)
	}
	return path, nil
})

func buildProgram(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shared is stopped by TestMain.
var shared *dev.Cluster

var startShared = sync.OnceValue(func() error {
	path, err := program()
	if err != nil {
		return err
	}
	ctx := context.Background()
	have, _ := dev.Devices()
	// Vaults 2 and 3 have the same kind of device: the scripts try what follows.
	c, err := dev.Start(ctx, dev.Options{Dir: filepath.Join(scratch, "c"), Binary: path, Devices: []string{have[0], "software", "software"}})
	if err != nil {
		return err
	}
	shared = c
	cl, err := c.Client()
	if err != nil {
		return err
	}
	info, err := cl.Cluster(ctx)
	if err != nil {
		return err
	}
	order, err := c.Order(info, "alice", client.KeyOptions{Name: "treasury", Threshold: 2})
	if err != nil {
		return err
	}
	w, err := cl.CreateWallet(ctx, order)
	if err != nil {
		return err
	}
	return fund(ctx, c, w)
})

func fund(ctx context.Context, c *dev.Cluster, w *client.Wallet) error {
	account, err := evm.ParseAddress(w.Addresses[evm.ChainName(c.Chain)])
	if err != nil {
		return err
	}
	wei, err := amount.Parse("1000 ETH", amount.Ether...)
	if err != nil {
		return err
	}
	return c.Anvil.SetBalance(ctx, account, wei)
}

// cluster is a running one with a wallet, shared by the tests of this package.
func cluster(t *testing.T) *dev.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	if _, err := devnode.FindAnvil(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("%v (make tools)", err)
	}
	if err := startShared(); err != nil {
		t.Fatal(err)
	}
	return shared
}

// TestScripts runs what users type, on a real cluster.
func TestScripts(t *testing.T) { runScripts(t, "testdata") }

// TestKeyScripts comes after the others: its orders are changes of the governance,
// and would overtake those that other scripts propose at the same time.
func TestKeyScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "key")) }

// TestSolanaScripts makes another wallet.
func TestSolanaScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "solana")) }

// TestGovernanceScripts freezes a wallet, and changes the address book.
func TestGovernanceScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "governance")) }

// TestVaultScripts suspends a vault, and lifts that.
func TestVaultScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "vaults")) }

// TestPasskeyScripts and TestCardScripts are last, and not at the same time: they add
// people to the roster.
func TestPasskeyScripts(t *testing.T) { runScripts(t, filepath.Join("testdata", "passkey")) }

func TestCardScripts(t *testing.T) {
	if _, _, err := softhsm.FindModule(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	runScripts(t, filepath.Join("testdata", "card"))
}

func runScripts(t *testing.T, dir string) {
	t.Helper()
	runScriptsOn(t, cluster(t), dir)
}

func runScriptsOn(t *testing.T, c *dev.Cluster, dir string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			anvil, err := devnode.FindAnvil()
			if err != nil {
				return err
			}
			e.Setenv("PATH", strings.Join([]string{filepath.Join(scratch, "bin"), e.Getenv("PATH"), filepath.Dir(anvil)}, string(os.PathListSeparator)))
			e.Setenv("COFFER_HOME", c.Dir)
			e.Setenv("KNOWN", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
			e.Setenv("OTHER", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
			e.Setenv("SOLKNOWN", "7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv")
			e.Setenv("SOLOTHER", "5ZWj7a1f8tWkjBESHKgrLmXshuXxqeY9SYcfbshpAqPG")
			e.Setenv("HASH1", "HPSusWXTVLYhSWzf3eaj9tmn6JXWQuGsfwGjUY2EzMWY")
			e.Setenv("HASH2", "7Jg3DdYPXKNhp77NF8M3rg8i8sxyrjJuLd5BbVHR9ihi")
			e.Setenv("GENESIS", fmt.Sprintf("%x", c.Genesis.Hash()))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"capture": capture, "flip": flip, "code": code, "softcard": softcard, "enroll": enroll, "authenticator": authenticator, "touch": touch,
			"dismiss": dismiss, "until": until,
		},
	})
}

// capture NAME REGEXP sets a variable to the expression's first group in the
// output of the last command.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no match of %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// flip FILE turns a bit around in the middle of a file.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

// code N COMMAND… runs a command that must end with the exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}
