package devnode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/rpc"
)

// startTimeout is how long anvil may take to listen (it takes a tenth of a
// second). When it fires the machine is overloaded, or this is no anvil.
const startTimeout = 30 * time.Second

// stateTimeout is how long anvil may take to write its state when it ends; then
// it is killed, and what changed since the last interval is lost.
const stateTimeout = 5 * time.Second

// Options are what a development chain can differ in. The zero value mines a
// block for every transaction at once.
type Options struct {
	BlockTime time.Duration // whole seconds between blocks; 0 mines at once
	NoMining  bool          // blocks only by Mine
	Hardfork  string        // anvil's name of a fork, "" for the newest
	State     string        // file that keeps the chain from one start to the next; "" keeps nothing
}

// Node is a running anvil. Client talks to it.
type Node struct {
	*rpc.Client
	URL     string
	ChainID uint64

	opt    Options
	cmd    *exec.Cmd
	cancel context.CancelFunc
	exited chan struct{} // closed when the process is gone and its output read
	failed error         // why it went; read it after exited
}

// Start starts anvil on a free loopback port and waits until it answers. The
// process ends with Stop, with ctx, or (on Linux) with this process, however that
// ends.
func Start(ctx context.Context, chainID uint64, opt Options) (*Node, error) {
	path, err := FindAnvil()
	if err != nil {
		return nil, err
	}
	args := []string{"--host", "127.0.0.1", "--port", "0", "--no-cors", "--color", "never", "--accounts", "1",
		"--chain-id", strconv.FormatUint(chainID, 10)}
	switch {
	case opt.BlockTime%time.Second != 0 || opt.BlockTime < 0:
		return nil, fmt.Errorf("block time %v, want whole seconds", opt.BlockTime)
	case opt.NoMining:
		args = append(args, "--no-mining")
	case opt.BlockTime > 0:
		args = append(args, "--block-time", strconv.Itoa(int(opt.BlockTime/time.Second)))
	}
	if opt.Hardfork != "" {
		args = append(args, "--hardfork", opt.Hardfork)
	}
	if opt.State != "" {
		args = append(args, "--state", opt.State, "--state-interval", "1")
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{ChainID: chainID, opt: opt, cancel: cancel, exited: make(chan struct{}), cmd: exec.CommandContext(ctx, path, args...)}
	if opt.State != "" {
		// It writes the state when it is asked to end, and must be given the time.
		n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
		n.cmd.WaitDelay = stateTimeout
	}
	if err := n.start(ctx); err != nil {
		_ = n.Stop()
		return nil, fmt.Errorf("couldn't start %s: %w", path, err)
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	listening := make(chan string, 1)
	go n.run(listening)
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case address := <-listening:
		return n.connect(ctx, address)
	case <-n.exited:
		return n.failed
	case <-timer.C:
		return fmt.Errorf("it does not listen after %v", startTimeout)
	}
}

// run owns the process: it starts it, reads its output, waits for its end and
// says why it ended.
func (n *Node) run(listening chan<- string) {
	defer close(n.exited)
	// The kernel ties the child's life to the thread that started it; the lock
	// keeps that thread for as long as the child lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own(n.cmd)
	r, w := io.Pipe()
	var stderr head
	n.cmd.Stdout, n.cmd.Stderr = w, &stderr
	read := make(chan struct{})
	go func() {
		defer close(read)
		watch(r, listening)
	}()
	err := n.cmd.Start()
	if err == nil {
		err = n.cmd.Wait()
	}
	_ = w.Close()
	<-read
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if text := stderr.String(); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	n.failed = err
}

// watch reads the output to its end and reports the address in it.
func watch(stdout io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "Listening on "); ok {
			select {
			case listening <- strings.TrimSpace(address):
			default:
			}
		}
	}
	// A line above the scanner's bound ends it; anvil must not block on its output.
	_, _ = io.Copy(io.Discard, stdout)
}

func (n *Node) connect(ctx context.Context, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("it listens on %q, want a loopback address", address)
	}
	n.URL = "http://" + address
	if n.Client, err = rpc.New(n.URL, n.ChainID); err != nil {
		return err
	}
	_, err = n.BlockNumber(ctx)
	return err
}

// Stop ends the process that Start started, and no other, and waits for it. It
// returns an error when the process was gone before.
func (n *Node) Stop() error {
	select {
	case <-n.exited:
		return fmt.Errorf("anvil ended before it was stopped: %w", n.failed)
	default:
	}
	n.cancel()
	<-n.exited
	return nil
}

// Exited is closed when the process is gone, for whatever reason.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// PID is the process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// SetBalance gives an account this much of the native coin.
func (n *Node) SetBalance(ctx context.Context, account evm.Address, amount chain.Amount) error {
	return n.Do(ctx, nil, "anvil_setBalance", account.String(), amount.Hex())
}

// Mine makes this many blocks.
func (n *Node) Mine(ctx context.Context, blocks uint64) error {
	return n.Do(ctx, nil, "anvil_mine", "0x"+strconv.FormatUint(blocks, 16))
}

// head keeps the first kilobytes of what is written: a program's error message.
type head struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *head) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b[:min(len(b), 4096-len(t.buf))]...)
	return len(b), nil
}

func (t *head) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
