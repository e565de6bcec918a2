package vaultshell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/hsm"
)

// The launcher and the vault talk over a pair of sockets that keep datagrams apart.
// The first byte says what one is. The launcher's first is controlStart; then it
// only answers. docs/spec/isolation.md specifies it.
const (
	controlStart       = 'S' // launcher: ‖ startMessage as JSON
	controlDial        = 'D' // vault: a connection to the helper, please
	controlNext        = 'N' // vault: a connection to the new device's helper, please
	controlCard        = 'C' // vault: ‖ card, to be written
	controlRotation    = 'T' // vault: ‖ card with the old device's word, to be written beside it
	controlEnd         = 'E' // vault: ‖ why it ends
	controlDone        = 'O' // launcher: done; after controlDial with the connection
	controlUnavailable = 'U' // launcher: ‖ why not; it may be different later
	controlRefused     = 'R' // launcher: ‖ why not; the operator must mend it
)

const (
	// maxControl bounds one datagram; the largest is a card.
	maxControl = 128 << 10
	// controlTimeout ends the wait for the launcher's answer: it only dials and
	// writes a small file.
	controlTimeout = 10 * time.Second
)

// control is the vault's end.
type control struct {
	mu   sync.Mutex // one question at a time
	conn *net.UnixConn
}

// ask sends a question and returns the answer, with the socket that came along.
func (c *control) ask(ctx context.Context, kind byte, body []byte) (answer byte, text string, file *os.File, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return 0, "", nil, ctx.Err()
	}
	if err := c.conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return 0, "", nil, fmt.Errorf("lost the launcher: %w", err)
	}
	if _, err := c.conn.Write(append([]byte{kind}, body...)); err != nil {
		return 0, "", nil, fmt.Errorf("lost the launcher: %w", err)
	}
	b, file, err := readControl(c.conn)
	if err != nil {
		// An answer that comes later would be taken for the next one's.
		return 0, "", nil, errors.Join(fmt.Errorf("lost the launcher: %w", err), c.conn.Close())
	}
	return b[0], string(b[1:]), file, nil
}

// connect has the launcher connect to the helper.
func (c *control) connect(ctx context.Context) (*net.UnixConn, error) {
	return c.connectTo(ctx, controlDial)
}

// connectNext is connect for the device to which the vault moves.
func (c *control) connectNext(ctx context.Context) (*net.UnixConn, error) {
	return c.connectTo(ctx, controlNext)
}

func (c *control) connectTo(ctx context.Context, question byte) (*net.UnixConn, error) {
	answer, text, file, err := c.ask(ctx, question, nil)
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer func() { _ = file.Close() }() // FileConn has a copy
	}
	switch {
	case answer == controlDone && file != nil:
		conn, err := net.FileConn(file)
		if err != nil {
			return nil, fmt.Errorf("couldn't take over the launcher's connection: %w", err)
		}
		if u, ok := conn.(*net.UnixConn); ok {
			return u, nil
		}
		_ = conn.Close()
		return nil, errors.New("the launcher handed over another socket than a unix one")
	case answer == controlUnavailable:
		return nil, errors.New(text)
	case answer == controlRefused:
		return nil, hsm.Errorf(hsm.ErrConfig, "", "%s", text)
	}
	return nil, fmt.Errorf("the launcher answered %q without a connection", answer)
}

// writeCard has the launcher write the card.
func (c *control) writeCard(card []byte) error { return c.write(controlCard, card) }

// writeRotation has it write the card with the old device's word.
func (c *control) writeRotation(b []byte) error { return c.write(controlRotation, b) }

func (c *control) write(question byte, b []byte) error {
	answer, text, file, err := c.ask(context.Background(), question, b)
	if file != nil {
		_ = file.Close() // nobody asked for one
	}
	if err != nil {
		return err
	}
	if answer != controlDone {
		return errors.New(text)
	}
	return nil
}

// end tells the launcher why the vault ends; it may be gone already.
func (c *control) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.SetDeadline(time.Now().Add(controlTimeout))
	_, _ = c.conn.Write(append([]byte{controlEnd}, cut(err.Error(), maxControl-1)...))
}

func cut(s string, n int) string { return s[:min(n, len(s))] }

// readControl reads one datagram and the descriptor that came with it.
func readControl(conn *net.UnixConn) (b []byte, file *os.File, err error) {
	b, oob := make([]byte, maxControl+1), make([]byte, syscall.CmsgSpace(4))
	n, oobn, flags, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	if oobn > 0 {
		if file, err = passedFile(oob[:oobn]); err != nil {
			return nil, nil, err
		}
	}
	if n == 0 || n > maxControl || flags&syscall.MSG_TRUNC != 0 {
		if file != nil {
			_ = file.Close()
		}
		return nil, nil, fmt.Errorf("message of %d bytes, want 1 to %d", n, maxControl)
	}
	return b[:n], file, nil
}

func passedFile(oob []byte) (*os.File, error) {
	msgs, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("couldn't read what came with a message: %d parts, %w", len(msgs), err)
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("couldn't read what came with a message: %d files, %w", len(fds), err)
	}
	return os.NewFile(uintptr(fds[0]), "helper"), nil
}
