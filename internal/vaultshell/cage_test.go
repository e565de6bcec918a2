package vaultshell

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/node"
)

// Arguments that make this test binary another process.
const (
	launchVault  = "launch-vault"  // CONFIG: `coffer vault`
	launchProbe  = "launch-probe"  // CONFIG: the same, but the confined process is cagedProbe
	cagedProbe   = "caged-probe"   // enters the cage as the vault does and tries to get out
	launchHelper = "launch-helper" // URI SOCKET OPERATOR: `coffer hsm`
	spyOn        = "spy"           // PID: tries to read another process's memory
	plain        = "plain"         // an ordinary process, which sleeps
)

// An ordinary process of root's gives up CAP_SYS_PTRACE too: else one without may
// not look at it in any case. That is about its first thread, on which init runs.
func init() {
	if len(os.Args) > 2 && os.Args[1] == plain {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if code, caged := RunCaged(); caged {
		os.Exit(code)
	}
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case launchVault, launchProbe, openVault:
			os.Exit(launchMain(os.Args[1], os.Args[2]))
		case launchHelper:
			os.Exit(helperMain(os.Args[2:]))
		case cagedProbe:
			os.Exit(probe())
		case spyOn:
			spy(os.Args[2])
			os.Exit(0)
		case plain:
			if err := dropPtrace(); err != nil {
				fmt.Println(err)
			}
			fmt.Println("here")
			time.Sleep(time.Minute)
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// launchMain is what cmd/coffer does for `coffer vault`.
func launchMain(program, path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cfg Config
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &cfg)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch {
	case err != nil:
	case program == openVault:
		cage.SparingGC()
		err = runSoft(ctx, &cfg, os.Getenv(softKeys), log)
	case program == launchProbe:
		err = launchAs(ctx, cagedProbe, &cfg, log)
	default:
		err = Run(ctx, &cfg, log)
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
	return startAs(t, launchVault, cfg, nil)
}

func startAs(t testing.TB, program string, cfg *Config, attr *syscall.SysProcAttr) *process {
	t.Helper()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(shortDir(t), "config")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0], program, path), out: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = p.out, p.out, attr
	if attr != nil && attr.Credential != nil {
		p.cmd.Path = publicCopy(t, int(attr.Credential.Uid))
		if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
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
func (p *party) startCaged() *process { return p.startAs(launchVault) }

func (p *party) startAs(program string) *process {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := node.Run(ctx, &p.ncfg, p.log); err != nil {
			p.t.Errorf("node %d: %v", p.id, err)
		}
	})
	v := startAs(p.t, program, &p.vcfg, nil)
	p.down = sync.OnceFunc(func() { v.kill(); cancel(); wg.Wait() })
	p.t.Cleanup(p.down)
	return v
}
