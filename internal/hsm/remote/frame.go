package remote

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// frameTimeout bounds the time from the first byte of a frame to its last. When
// it fires the connection is closed: the peer is stuck or hostile.
const frameTimeout = 5 * time.Second

// errFrame is wrapped by what is wrong with the bytes, as opposed to the
// connection.
var errFrame = errors.New("bad frame")

// readFrame reads u32 length ‖ body. It waits for the first byte for as long as
// the connection's deadline says, and for the rest at most frameTimeout.
func readFrame(c net.Conn, max int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:1]); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, head[1:]); err != nil {
		return nil, fmt.Errorf("frame header: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || int64(n) > int64(max) {
		return nil, fmt.Errorf("%w: %d bytes announced, want 1 to %d", errFrame, n, max)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, err)
	}
	return body, nil
}

// writeFrame writes one frame in one call.
func writeFrame(c net.Conn, body []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(frameTimeout)); err != nil {
		return err
	}
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	buf = append(buf, body...)
	_, err := c.Write(buf)
	clear(buf) // it may hold a shared secret
	return err
}
