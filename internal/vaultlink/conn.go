package vaultlink

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/cofferhq/coffer/internal/wire"
)

// maxBacklog bounds what waits to be written. A peer that reads so slowly that
// this much piles up has failed.
const maxBacklog = 64 << 20

// lingerTime is how long Close waits for the peer to read what was sent before.
// A longer wait would hold up a shutdown; what is cut off is at most a Bye.
const lingerTime = time.Second

// ErrClosed is returned by Send after Close, or after the peer went away.
var ErrClosed = errors.New("the connection is closed")

// Conn carries messages in both directions. Send may be called by any goroutine,
// Receive by one.
type Conn struct {
	nc net.Conn
	br *bufio.Reader

	mu      sync.Mutex // guards the fields below
	queue   net.Buffers
	queued  int // bytes in queue and in the write under way
	err     error
	closing bool

	wake chan struct{} // the writer: look at queue and closing
	room chan struct{} // Drain: the queue was written
	done chan struct{} // the writer has ended
}

// NewConn runs the protocol over an open stream, which it then owns.
func NewConn(nc net.Conn) *Conn {
	c := &Conn{
		nc: nc, br: bufio.NewReaderSize(nc, 128<<10),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go c.write()
	return c
}

// Send queues a message and returns at once.
func (c *Conn) Send(m Message) error {
	var w wire.Writer
	w.Uint32(0)
	m.encode(&w)
	b := w.Bytes()
	n := len(b) - 4
	if n > wire.MaxMessage {
		return fmt.Errorf("couldn't send %s message: %d bytes, at most %d", Name(m), n, wire.MaxMessage)
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.closing:
		return ErrClosed
	case c.queued+len(b) > maxBacklog:
		return fmt.Errorf("couldn't send %s message: the peer has not read %d bytes, at most %d may wait", Name(m), c.queued, maxBacklog)
	}
	c.queue = append(c.queue, b)
	c.queued += len(b)
	signal(c.wake)
	return nil
}

// Queued returns how many bytes wait to be written.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Drain waits until everything that was sent is written.
func (c *Conn) Drain(ctx context.Context) error {
	for {
		c.mu.Lock()
		queued, err := c.queued, c.err
		c.mu.Unlock()
		if err != nil || queued == 0 {
			return err
		}
		select {
		case <-c.room:
		case <-c.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Conn) write() {
	defer close(c.done)
	for range c.wake {
		for {
			c.mu.Lock()
			bufs, closing := c.queue, c.closing
			c.queue = nil
			c.mu.Unlock()
			if len(bufs) == 0 {
				if closing {
					return
				}
				break
			}
			n, err := bufs.WriteTo(c.nc)
			c.mu.Lock()
			c.queued -= int(n)
			if err != nil {
				c.err = fmt.Errorf("couldn't write to the peer: %w", err)
			}
			c.mu.Unlock()
			signal(c.room)
			if err != nil {
				return
			}
		}
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Receive returns the next message. io.EOF says that the peer closed between two
// messages; after any error the connection is of no use.
func (c *Conn) Receive() (Message, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		if err == io.EOF {
			return nil, err
		}
		return nil, fmt.Errorf("couldn't read the length of a message: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > wire.MaxMessage {
		return nil, fmt.Errorf("message of %d bytes announced, at most %d: %w", n, wire.MaxMessage, wire.ErrTooLong)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.br, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("couldn't read a message of %d bytes: %w", n, err)
	}
	return Decode(b)
}

// SetReadDeadline bounds the wait of Receive; zero takes the bound away.
func (c *Conn) SetReadDeadline(t time.Time) { _ = c.nc.SetReadDeadline(t) } // fails only on a closed connection, as Receive then does

// Close writes what was sent, for a second at most, and closes. It may be called
// more than once and wakes a Receive.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	signal(c.wake)
	<-c.done
	_ = c.nc.Close()
}
