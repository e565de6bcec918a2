package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a process has to end by itself; then it is killed.
const stopTimeout = 5 * time.Second

// Process is a child of this one. It dies with it.
type Process struct {
	Name string
	Log  string // file that holds what it says

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, after done

	mu      sync.Mutex // guards stopped
	stopped bool
}

// start runs a command whose output goes to a log file. The child gets SIGKILL
// when this process dies; the kernel ties that to the thread which started it,
// so that this thread is kept until the child has ended.
func start(name, dir, log string, env []string, bin string, args ...string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't start %s: %w", name, err)
	}
	p := &Process{Name: name, Log: log, done: make(chan struct{})}
	p.cmd = exec.Command(bin, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, f, f
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		_ = f.Close() // the child wrote it
		close(p.done)
	}()
	if err := <-started; err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("couldn't start %s: %w", name, err)
	}
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends it with SIGKILL, as a crash would, and waits.
func (p *Process) Kill() {
	p.expect()
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Stop asks it to end, then makes it.
func (p *Process) Stop() {
	p.expect()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.Kill()
	}
}

func (p *Process) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// Expected says that it was stopped or killed on purpose.
func (p *Process) Expected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// Wait waits for a process that ends by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
	if p.err != nil {
		return p.Failure()
	}
	return nil
}

// Failure is why it ended, in its own last words.
func (p *Process) Failure() error {
	words := lastLines(p.Log, 6)
	if words == "" {
		words = fmt.Sprint(p.err)
	}
	return fmt.Errorf("%s ended: %s", p.Name, words)
}

// lastLines reads the end of a log file.
func lastLines(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}

// waitFor polls until ready says yes, a process ends, or time is over. What is
// waited for lies outside this program: a socket, a server's answer.
func waitFor(ctx context.Context, what string, limit time.Duration, ps []*Process, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		for _, p := range ps {
			if !p.Running() {
				return p.Failure()
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %v: %w", what, limit, err))
		}
	}
}

// exists is a readiness that a file gives.
func exists(path string) func() error {
	return func() error {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s is not there yet", filepath.Base(path))
		}
		return nil
	}
}
