package vaultshell

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/node"
)

// Arguments that make this test binary another process.
const (
	launchVault = "launch-vault" // CONFIG: `coffer vault`
)

func TestMain(m *testing.M) {
	if code, caged := RunCaged(); caged {
		os.Exit(code)
	}
	if len(os.Args) > 2 && os.Args[1] == launchVault {
		os.Exit(launchMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// launchMain is what cmd/coffer does for `coffer vault`.
func launchMain(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cfg Config
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &cfg)
	}
	if err == nil {
		err = Run(ctx, &cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// process is a launcher with its vault.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *syncBuffer
	done chan struct{}
}

func startProcess(t testing.TB, cfg *Config) *process {
	t.Helper()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(shortDir(t), "config")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0], launchVault, path), out: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the vault said:\n%s", p.out)
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// child is the pid of the confined process, once it is confined.
func (p *process) child() int {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(p.out.String(), "msg=confined") {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
			if err != nil {
				p.t.Fatal(err)
			}
			// The thread that started the child is its parent.
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
			for _, task := range tasks {
				c, _ := os.ReadFile(task)
				b = append(b, c...)
			}
			var pid int
			if _, err := fmt.Fscan(bytes.NewReader(b), &pid); err != nil {
				p.t.Fatalf("no child of %d: %v", p.cmd.Process.Pid, err)
			}
			return pid
		}
		if time.Now().After(end) {
			p.t.Fatalf("no vault:\n%s", p.out)
		}
	}
}

// startCaged runs the vault as real processes, and its node here.
func (p *party) startCaged() *process {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := node.Run(ctx, &p.ncfg, p.log); err != nil {
			p.t.Errorf("node %d: %v", p.id, err)
		}
	})
	v := startProcess(p.t, &p.vcfg)
	p.down = sync.OnceFunc(func() { v.kill(); cancel(); wg.Wait() })
	p.t.Cleanup(p.down)
	return v
}

// TestCagedCluster is a cluster of confined vaults: they sign, lose helper and node,
// and sign on.
func TestCagedCluster(t *testing.T) {
	s := startSite(t, 3, nil)
	s.ready(1, 2, 3)
	s.keygen()
	for _, p := range s.parties {
		p.down()
	}
	var vaults []*process
	for _, p := range s.parties {
		vaults = append(vaults, p.startCaged())
	}
	vaults[0].child()
	s.ready(1, 2, 3)
	s.sign(1, 2)
	s.sign(2, 3)
	for _, v := range vaults {
		t.Logf("%d: %s", v.child(), v.out)
	}
}
