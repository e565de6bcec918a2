//go:build linux

package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/hsm/hsmtest"
	"github.com/cofferhq/coffer/internal/hsm/soft"
	"github.com/cofferhq/coffer/internal/signature"
)

func newDevice(t testing.TB) *soft.Device {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hsm")
	if err := soft.Provision(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	d, err := soft.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newServer(d Device) *Server {
	return &Server{Device: d, Log: slog.New(slog.DiscardHandler)}
}

// socketPath is short: a test's own directory may exceed the bound.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hsm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve starts a server and returns what stops it.
func serve(t testing.TB, path string, d Device) (stop func()) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- newServer(d).Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestConformance(t *testing.T) {
	path, other := socketPath(t), socketPath(t)
	serve(t, path, newDevice(t))
	serve(t, other, newDevice(t))
	hsmtest.Run(t, hsmtest.Backend{
		Open:  func(ctx context.Context) (hsm.HSM, error) { return Dial(ctx, path) },
		Other: func(ctx context.Context) (hsm.HSM, error) { return Dial(ctx, other) },
	})
}

func TestClientSurvivesHelper(t *testing.T) {
	path, d := socketPath(t), newDevice(t)
	stop := serve(t, path, d)
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	blob, err := c.Seal(t.Context(), hsm.ClassState, 1, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Unseal(t.Context(), blob, nil, nil); err != nil {
		t.Fatal(err)
	}

	stop()
	_, err = c.Unseal(t.Context(), blob, nil, nil)
	if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), path) {
		t.Fatalf("without the helper: got %v, want ErrUnavailable that names the socket", err)
	}

	stop = serve(t, path, d)
	if _, err := c.Unseal(t.Context(), blob, nil, nil); err != nil {
		t.Fatalf("after the helper came back: %v", err)
	}
	stop()

	serve(t, path, newDevice(t))
	_, err = c.Sign(t.Context(), hsm.RoleIdentity, signature.Statement{Domain: "coffer/test", Body: nil}, nil)
	if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), "another device") {
		t.Fatalf("helper with another device: got %v, want a refusal that says so", err)
	}
}

// TestHelperKilled kills a helper process under load. No call hangs, each fails with
// ErrUnavailable, and the next helper takes over the socket that the first left.
func TestHelperKilled(t *testing.T) {
	path, dir := socketPath(t), filepath.Join(t.TempDir(), "hsm")
	if err := soft.Provision(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	helper := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperSocket+"="+path, helperDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it listens
			t.Fatal(err)
		}
		return cmd
	}
	first := helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st := signature.Statement{Domain: "coffer/test"}
	var wg sync.WaitGroup
	begun, errs := make(chan struct{}, 8), make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			_, err := c.Sign(t.Context(), hsm.RoleDecision, st, nil)
			begun <- struct{}{}
			for err == nil {
				_, err = c.Sign(t.Context(), hsm.RoleDecision, st, nil)
			}
			errs <- err
		})
	}
	for range 8 {
		<-begun
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	wg.Wait()
	for range 8 {
		if err := <-errs; !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("under load: got %v, want ErrUnavailable", err)
		}
	}
	second := helper()
	defer func() {
		second.Process.Kill()
		second.Wait()
	}()
	if _, err := c.Sign(t.Context(), hsm.RoleDecision, st, nil); err != nil {
		t.Fatalf("with the next helper: %v", err)
	}
}

// These make this test binary a helper.
const (
	helperSocket = "COFFER_TEST_HELPER_SOCKET"
	helperDir    = "COFFER_TEST_HELPER_DIR"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(helperSocket); path != "" {
		if err := runHelper(context.Background(), path, os.Getenv(helperDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if path := os.Getenv(strangerSocket); path != "" {
		fmt.Println(stranger(path))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runHelper(ctx context.Context, path, dir string) error {
	d, err := soft.Open(ctx, dir)
	if err != nil {
		return err
	}
	l, err := Listen(path)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	return newServer(d).Serve(ctx, l)
}

func TestDialWithoutHelper(t *testing.T) {
	_, err := Dial(t.Context(), socketPath(t))
	var e *hsm.Error
	if !errors.As(err, &e) || e.Kind != hsm.ErrUnavailable || !strings.Contains(e.Hint(), "coffer hsm") {
		t.Fatalf("got %v, want ErrUnavailable with a hint", err)
	}
}

func TestCallEndsWithContext(t *testing.T) {
	path := socketPath(t)
	stuck := &stuckDevice{Device: newDevice(t), entered: make(chan struct{}, 1), release: make(chan struct{})}
	serve(t, path, stuck)
	defer close(stuck.release)
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stuck.entered
		cancel()
	}()
	_, err = c.Sign(ctx, hsm.RoleIdentity, signature.Statement{Domain: "coffer/test"}, nil)
	if !errors.Is(err, hsm.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want ErrUnavailable and context.Canceled", err)
	}
}

// stuckDevice is a device that hangs in Sign.
type stuckDevice struct {
	Device
	entered, release chan struct{}
}

func (d *stuckDevice) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	d.entered <- struct{}{}
	<-d.release
	return d.Device.Sign(ctx, role, st, ap)
}

// forger is a device that signs another statement than it is asked to.
type forger struct{ Device }

func (d forger) Sign(ctx context.Context, role hsm.Role, st signature.Statement, ap hsm.Approver) (signature.Signature, error) {
	st.Body = append(st.Body, 0)
	return d.Device.Sign(ctx, role, st, ap)
}

func TestClientChecksSignatures(t *testing.T) {
	path := socketPath(t)
	serve(t, path, forger{newDevice(t)})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Sign(t.Context(), hsm.RoleDecision, signature.Statement{Domain: "coffer/test"}, nil); !errors.Is(err, hsm.ErrDevice) {
		t.Fatalf("wrong signature: got %v, want ErrDevice", err)
	}
}

// misnamer names a seal key that is none.
type misnamer struct{ Device }

func (misnamer) SealKey(context.Context, hsm.Class, uint64) (hsm.SealKey, error) {
	return hsm.SealKey{Suite: hsm.SuiteHPKE, Class: hsm.ClassState, Epoch: 1, Public: make([]byte, 65)}, nil
}

func TestClientChecksSealKeys(t *testing.T) {
	path := socketPath(t)
	serve(t, path, misnamer{newDevice(t)})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if k, err := c.SealKey(t.Context(), hsm.ClassState, 1); !errors.Is(err, hsm.ErrDevice) {
		t.Fatalf("a seal key that is no point: got %v, %v, want ErrDevice", k, err)
	}
}

func TestListen(t *testing.T) {
	path := socketPath(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v %v, want mode 0600", fi.Mode(), err)
	}
	if _, err := Listen(path); !errors.Is(err, hsm.ErrConfig) || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("second server: got %v, want a refusal", err)
	}
	// As after SIGKILL: the socket stays, the lock's holder is gone.
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Listen(path); err != nil {
		t.Fatalf("after a killed server: %v", err)
	}
	l.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, hsm.ErrConfig) {
		t.Fatalf("over a file: got %v, want ErrConfig", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Fatalf("file in the socket's place was touched: %q %v", b, err)
	}
	if _, err := Listen("/tmp/" + strings.Repeat("x", 120)); !errors.Is(err, hsm.ErrConfig) {
		t.Fatalf("long path: got %v, want ErrConfig", err)
	}
}

func TestCheckUID(t *testing.T) {
	if err := checkUID(1000, 1001); err == nil {
		t.Fatal("another user was let in")
	}
	if err := checkUID(1000, 1000); err != nil {
		t.Fatal(err)
	}
}

// TestHostileSocket talks to a server as no client does; after each the server
// must still serve.
func TestHostileSocket(t *testing.T) {
	path := socketPath(t)
	serve(t, path, newDevice(t))
	header := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	frame := func(b []byte) []byte { return append(header(uint32(len(b))), b...) }
	long := request{op: opSign, role: 1, st: signature.Statement{Domain: "coffer/test"}}.encode()
	badRole := request{op: opSign, role: 9, st: signature.Statement{Domain: "coffer/test"}}
	for _, tc := range []struct {
		name string
		send []byte
		want string // in the error reply; empty: the connection ends without one
	}{
		{"garbage", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "bytes announced"},
		{"oversized frame", header(maxRequest + 1), "bytes announced"},
		{"4 GiB frame", header(1<<32 - 1), "bytes announced"},
		{"empty frame", header(0), "bytes announced"},
		{"half header", []byte{0, 0}, ""},
		{"half frame", append(header(100), 1, 2, 3), ""},
		{"wrong version", frame([]byte{9, 1}), "version 9, want 2"},
		{"unknown operation", frame([]byte{2, 77}), "operation 77"},
		{"trailing byte", frame([]byte{2, 1, 0}), "bytes after the end"},
		{"truncated", frame(long[:len(long)-2]), "ends early"},
		{"huge body length", frame(append(long[:len(long)-4:len(long)-4], 0xff, 0xff, 0xff, 0xff)), "length above the bound"},
		{"no such role", frame(badRole.encode()), "unknown role 9"},
		{"empty domain", frame(request{op: opSign, role: 1}.encode()), "domain of 0 bytes"},
		{"the exchange of version 1", frame(append([]byte{2, 3, 4}, make([]byte, 64)...)), "operation 3"},
		{"point off the curve", frame(request{op: opUnwrap, class: 1, epoch: 1, data: append([]byte{4}, make([]byte, 64)...)}.encode()), "not a point"},
		{"compressed point", frame(request{op: opUnwrap, class: 1, epoch: 1, data: append([]byte{2}, make([]byte, 32)...)}.encode()), "not a point"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(tc.send); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			b, err := readFrame(c, maxReply)
			if tc.want == "" {
				if err == nil {
					t.Fatalf("got a reply to %s", tc.name)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				p, err := decodeReply(b)
				if err != nil {
					t.Fatal(err)
				}
				if p.kind != hsm.ErrInput || !strings.Contains(p.detail, tc.want) {
					t.Fatalf("got %v %q, want %q", p.kind, p.detail, tc.want)
				}
			}
			if _, err := readFrame(c, maxReply); err == nil {
				t.Fatal("the connection goes on after a malformed request")
			}
			good, err := Dial(t.Context(), path)
			if err != nil {
				t.Fatalf("server no longer serves: %v", err)
			}
			good.Close()
		})
	}
}

// TestSlowWriter lets fake time pass: a peer that stops in mid-frame is cut off,
// one that is merely idle is not.
func TestSlowWriter(t *testing.T) {
	d := newDevice(t)
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			newServer(d).serveConn(t.Context(), theirs)
			close(done)
		}()
		time.Sleep(time.Hour) // idle
		if err := writeFrame(mine, request{op: opHello}.encode()); err != nil {
			t.Fatalf("idle connection was closed: %v", err)
		}
		if _, err := readFrame(mine, maxReply); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := mine.SetDeadline(time.Time{}); err != nil { // readFrame set one
			t.Fatal(err)
		}
		if _, err := mine.Write([]byte{0, 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := mine.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("stuck in mid-frame: got %v, want EOF", err)
		}
		if took := time.Since(start); took > frameTimeout {
			t.Fatalf("cut off after %v, want %v", took, frameTimeout)
		}
		<-done
	})
}

func TestTooManyConnections(t *testing.T) {
	path := socketPath(t)
	serve(t, path, newDevice(t))
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxConns {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		// An answer shows that the server has taken it in.
		if err := writeFrame(c, request{op: opHello}.encode()); err != nil {
			t.Fatal(err)
		}
		if _, err := readFrame(c, maxReply); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, hsm.ErrUnavailable) {
		t.Fatalf("connection %d: got %v, want ErrUnavailable", maxConns+1, err)
	}
}

func BenchmarkSign(b *testing.B)   { hsmtest.BenchSign(b, benchClient(b)) }
func BenchmarkUnseal(b *testing.B) { hsmtest.BenchUnseal(b, benchClient(b)) }

func benchClient(b *testing.B) hsm.HSM {
	path := socketPath(b)
	serve(b, path, newDevice(b))
	c, err := Dial(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}
