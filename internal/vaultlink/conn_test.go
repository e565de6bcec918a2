package vaultlink

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/wire"
)

// socketPath is short: a unix socket's path is limited to 107 bytes.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// connect returns both ends of a connection through a real socket.
func connect(t testing.TB) (vault, node *Conn) {
	t.Helper()
	path := socketPath(t)
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Close)
	if node, err = Dial(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if vault, err = ln.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vault.Close)
	t.Cleanup(node.Close)
	return vault, node
}

func TestConnCarriesEverything(t *testing.T) {
	vault, node := connect(t)
	want := samples()
	want = append(want, &Frame{Peer: 1, Bytes: make([]byte, MaxFrame)}, &Persist{Entries: [][]byte{
		make([]byte, MaxEntry), make([]byte, MaxEntry), make([]byte, MaxEntry),
	}})
	for i := range want {
		if err := vault.Send(want[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		got, err := node.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(Encode(want[i]), Encode(got)) {
			t.Fatalf("message %d: sent %s, received %s with other fields", i, Name(want[i]), Name(got))
		}
	}
	if err := vault.Drain(t.Context()); err != nil || vault.Queued() != 0 {
		t.Fatalf("drained with %v, %d bytes left", err, vault.Queued())
	}
}

func TestCloseDeliversTheLastWords(t *testing.T) {
	vault, node := connect(t)
	if err := vault.Send(&Bye{Text: "the disk is full"}); err != nil {
		t.Fatal(err)
	}
	vault.Close()
	vault.Close()
	m, err := node.Receive()
	if err != nil || m.(*Bye).Text != "the disk is full" {
		t.Fatalf("got %v, %v", m, err)
	}
	if _, err := node.Receive(); err != io.EOF {
		t.Fatalf("after the last message: %v, want io.EOF", err)
	}
	if err := vault.Send(&Bye{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("sent on a closed connection: %v", err)
	}
}

func TestReceiveRefusesGarbage(t *testing.T) {
	frame := func(n uint32, b ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"half a length", []byte{0, 0}, "unexpected EOF"},
		{"half a message", frame(10, 1, 2, 3), "unexpected EOF"},
		{"only a length", frame(10), "unexpected EOF"},
		{"oversized", frame(wire.MaxMessage + 1), "at most 4194304"},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), "at most 4194304"},
		{"empty message", frame(0), "version"},
		{"wrong version", frame(2, 9, 1), "version 9, want 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := net.Pipe()
			conn := NewConn(a)
			defer conn.Close()
			go func() { _, _ = b.Write(c.b); _ = b.Close() }()
			if m, err := conn.Receive(); err == nil {
				t.Fatalf("received %s", Name(m))
			} else if !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %q does not say %q", err, c.want)
			}
		})
	}
}

func TestSendRefusesWhatDoesNotFit(t *testing.T) {
	vault, _ := connect(t)
	big := &Persist{Entries: [][]byte{make([]byte, MaxEntry), make([]byte, MaxEntry), make([]byte, MaxEntry), make([]byte, MaxEntry)}}
	if err := vault.Send(big); err == nil || !strings.Contains(err.Error(), "at most 4194304") {
		t.Fatalf("sent a message above the bound: %v", err)
	}
	// A peer that never reads is given up when too much waits, and Close does
	// not hang on it.
	f := &Frame{Bytes: make([]byte, MaxFrame)}
	var err error
	for i := 0; i < 2*maxBacklog/MaxFrame && err == nil; i++ {
		err = vault.Send(f)
	}
	if err == nil || !strings.Contains(err.Error(), "has not read") {
		t.Fatalf("queued without bound: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := vault.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("drained into a peer that doesn't read: %v", err)
	}
	vault.Close()
}

func TestSendToAPeerThatLeft(t *testing.T) {
	vault, node := connect(t)
	node.Close()
	for {
		if err := vault.Send(&Frame{Bytes: make([]byte, 1000)}); err != nil {
			return // a test that waits here forever fails by timeout
		}
	}
}

func TestListen(t *testing.T) {
	path := socketPath(t)
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket mode %v, %v; want 0600", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another vault listens") {
		t.Fatalf("a second listener on one path: %v", err)
	}
	// The failed second one has not harmed the first.
	node, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	node.Close()
	ln.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the socket is left behind: %v", err)
	}

	// A killed vault leaves its socket but not its lock.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	if ln, err = Listen(path); err != nil {
		t.Fatalf("a stale socket isn't replaced: %v", err)
	}
	ln.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Fatalf("a file was replaced by a socket: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Fatalf("the file was harmed: %q, %v", b, err)
	}
	if _, err := Listen("/tmp/" + strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "want 1 to 107") {
		t.Fatalf("a path that is too long: %v", err)
	}
}

func TestAcceptEndsWithItsContext(t *testing.T) {
	ln, err := Listen(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ln.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestForeignUID(t *testing.T) {
	if err := checkUID(1000, 1001); !errors.Is(err, ErrPeer) {
		t.Fatalf("another user's connection: %v", err)
	}
	if err := checkUID(1000, 1000); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRoundTrip is a frame there and back through the socket.
func BenchmarkRoundTrip(b *testing.B) {
	vault, node := connect(b)
	go func() {
		for {
			m, err := node.Receive()
			if err != nil {
				return
			}
			if node.Send(m) != nil {
				return
			}
		}
	}()
	f := &Frame{Bytes: make([]byte, 54<<10)}
	b.SetBytes(int64(len(f.Bytes)))
	for b.Loop() {
		if err := vault.Send(f); err != nil {
			b.Fatal(err)
		}
		if _, err := vault.Receive(); err != nil {
			b.Fatal(err)
		}
	}
}
