package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/evm/devnode"
	"github.com/cofferhq/coffer/internal/dev"
)

// TestDevLeavesNothing kills a process of `coffer dev`, which comes back, and then
// stops it all as Ctrl-C does: no process, no socket and no folder stays behind.
func TestDevLeavesNothing(t *testing.T) {
	anvil, err := devnode.FindAnvil()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil || testing.Short():
		t.Skip("needs anvil and a moment: ", err)
	}
	tmp, err := os.MkdirTemp(scratch, "d")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(buildProgram(t), "dev")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "PATH="+os.Getenv("PATH")+":"+filepath.Dir(anvil))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // it has ended already, unless the test failed
	lines := bufio.NewScanner(out)
	ready, pasted := false, false
	var logs []string // "URL KEY"
	witness := ""
	for lines.Scan() {
		ready = ready || strings.HasPrefix(lines.Text(), "ready.")
		pasted = pasted || strings.Contains(lines.Text(), "export COFFER_HOME="+tmp)
		if at, ok := strings.CutPrefix(lines.Text(), "  log "); ok {
			logs = append(logs, at)
		}
		if key, ok := strings.CutPrefix(lines.Text(), "cosigned by the other vaults and by a witness: "); ok {
			witness = key
		}
		if strings.Contains(lines.Text(), "Ctrl-C stops") {
			break
		}
	}
	if !ready || !pasted {
		t.Fatalf("it did not become ready: %s", stderr.Bytes())
	}
	readDevLogs(t, logs, witness)
	pids := children(t, cmd.Process.Pid)
	want := 3*dev.Vaults + 4
	if have, _ := dev.Devices(); slices.Contains(have, "tpm") {
		want++ // the emulator
	}
	if len(pids) != want {
		t.Errorf("%d processes, want %d", len(pids), want)
	}
	// What dies is started again.
	if err := syscall.Kill(pids[len(pids)-1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || !strings.Contains(lines.Text(), "it is started again") {
		t.Errorf("after a process was killed it says %q", lines.Text())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, stderr.Bytes())
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("it left %v behind (%v)", left, err)
	}
}

// children lists the children of a process, by any of its threads.
func children(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(lists) == 0 {
		t.Skip("this system does not list children")
	}
	var out []int
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread ended
		}
		for f := range strings.FieldsSeq(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
	}
	return out
}

// TestGarbageOnEverySocket writes garbage to everything that a cluster listens
// on; it goes on signing.
func TestGarbageOnEverySocket(t *testing.T) {
	c := cluster(t)
	targets := map[string]string{strings.TrimPrefix(c.API, "http://"): "tcp", strings.TrimPrefix(c.Broker, "nats://"): "tcp"}
	for _, p := range c.Parties {
		targets[filepath.Join(p.Dir, "hsm.sock")] = "unix"
		targets[filepath.Join(p.Dir, "vault.sock")] = "unix"
	}
	for address, network := range targets {
		for _, size := range []int{1, 4, 100, 1 << 20} {
			garbage(t, network, address, size)
		}
	}
	for _, p := range c.Processes() {
		if !p.Running() {
			t.Error(p.Failure())
		}
	}
	pay(t, c)
}

func garbage(t *testing.T, network, address string, size int) {
	t.Helper()
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return // the vault talks to one node at a time
	}
	defer conn.Close()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = conn.Write(b) // it may well hang up
	_, _ = conn.Read(b)
}

// pay has a small payment signed and mined.
func pay(t *testing.T, c *dev.Cluster) *client.Request {
	t.Helper()
	ctx, cl, info, w := parts(t, c)
	d, err := client.NewTransfer(info, w, evm.ChainName(c.Chain), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "7 wei")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Person("bot").Propose(d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := cl.Propose(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = cl.WaitFinal(ctx, r.ID, time.Minute); err != nil || r.State != "confirmed" {
		t.Fatalf("request %+v, %v", r, err)
	}
	return r
}

func parts(t *testing.T, c *dev.Cluster) (context.Context, *client.Client, *client.Cluster, *client.Wallet) {
	t.Helper()
	cl, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	info, err := cl.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := cl.Wallet(t.Context(), "treasury")
	if err != nil {
		t.Fatal(err)
	}
	return t.Context(), cl, info, w
}

// TestBadBodies hands the API what no client would: each answer names the field.
func TestBadBodies(t *testing.T) {
	c := cluster(t)
	ctx, cl, info, w := parts(t, c)
	first, err := proposeTo(ctx, c, cl, info, w)
	if err != nil {
		t.Fatal(err)
	}
	second, err := proposeTo(ctx, c, cl, info, w)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := client.Decode(first.Canonical, info)
	if err != nil {
		t.Fatal(err)
	}
	yes, err := c.Person("bob").Approve(dec, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, body, want string }{
		{"malformed JSON", "/v1/requests", `{"request": `, "unexpected end of JSON"},
		{"unknown field", "/v1/requests", `{"request": "", "key": "", "signature": "", "x": 1}`, "x"},
		{"not base64", "/v1/requests", `{"request": "!!", "key": "", "signature": ""}`, "request: "},
		{"not a request", "/v1/requests", `{"request": "AAAA", "key": "", "signature": ""}`, "request"},
		{"not an approval", "/v1/requests/" + first.ID + "/approvals", `{"approval": "AAAA"}`, "approval"},
		{"an approval replayed onto another request", "/v1/requests/" + second.ID + "/approvals", `{"approval": "` + yes + `"}`, "it is for request " + first.ID},
		{"not an order", "/v1/wallets", `{"order": "AAAA"}`, "order"},
		{"oversized", "/v1/requests", `{"request": "` + strings.Repeat("A", 4<<20) + `"}`, "too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := http.Post(c.API+tc.path, "application/json", strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var b bytes.Buffer
			if _, err := b.ReadFrom(resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode < 400 || resp.StatusCode >= 500 || !strings.Contains(b.String(), tc.want) {
				t.Errorf("%s: %s, want a 4xx with %q", resp.Status, b.Bytes(), tc.want)
			}
		})
	}
	after, err := cl.Request(ctx, second.ID)
	if err != nil || len(after.Approvals) != 0 {
		t.Errorf("the second request has approvals %v, %v", after.Approvals, err)
	}
	// The same bytes once more are no second approval, and no error.
	for range 2 {
		r, err := cl.Approve(ctx, first.ID, yes)
		if err != nil || len(r.Approvals) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func proposeTo(ctx context.Context, c *dev.Cluster, cl *client.Client, info *client.Cluster, w *client.Wallet) (*client.Request, error) {
	d, err := client.NewTransfer(info, w, evm.ChainName(c.Chain), "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "2 ETH")
	if err != nil {
		return nil, err
	}
	p, err := c.Person("bot").Propose(d)
	if err != nil {
		return nil, err
	}
	r, err := cl.Propose(ctx, p)
	if err != nil {
		return nil, err
	}
	return cl.Wait(ctx, r.ID, 30*time.Second)
}
