package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"

	"github.com/cofferhq/coffer/internal/hsm"
)

const (
	// commandTime bounds one command. The slowest (making a key on a discrete TPM)
	// take a few seconds; one that takes longer hangs, and the socket is given up.
	commandTime = 30 * time.Second
	// lockTime bounds the wait for another process that uses the same TPM.
	lockTime = 30 * time.Second
	// busyTime bounds the repetition of a command that the TPM put off.
	busyTime = 10 * time.Second
	// pause is the first wait of such a repetition; it doubles.
	pause    = time.Millisecond
	maxPause = 100 * time.Millisecond
	// maxResponse is the largest response of a TPM (4096 in the PC client profile).
	maxResponse = 8 << 10
	headerSize  = 10
)

// conn is the way to one TPM. One operation, which is several commands, runs at a
// time, and leaves nothing in the TPM behind: a socket of an emulator has no
// resource manager, and three sessions that nobody ends are all that a TPM has.
type conn struct {
	uri  URI
	path string // of the lock file

	closed atomic.Bool

	mu     sync.Mutex // held during an operation; guards the fields below
	lock   *os.File
	device transport.TPMCloser // of /dev/tpmrmN, open for life; nil with a socket
	// kept are sessions that outlive an operation: those of a cold key's operator,
	// who is asked without the lock held.
	kept map[tpm2.TPMHandle]bool
}

func dial(u URI) (*conn, error) {
	c := &conn{uri: u, path: filepath.Join(u.Dir, "lock"), kept: make(map[tpm2.TPMHandle]bool)}
	if u.Socket != "" {
		c.path = u.Socket + ".lock"
	}
	var err error
	if c.lock, err = os.OpenFile(c.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, hsm.Errorf(hsm.ErrUnavailable, "", "couldn't lock the TPM: %w", err)
	}
	if u.Socket == "" {
		if c.device, err = linuxtpm.Open(u.Device); err != nil {
			c.lock.Close()
			return nil, hsm.Errorf(hsm.ErrUnavailable, "run as a user of the group that may use the TPM (tss)", "couldn't open the TPM: %w", err)
		}
	}
	return c, nil
}

func (c *conn) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Swap(true) {
		return nil
	}
	err := c.lock.Close()
	if c.device != nil {
		err = errors.Join(err, c.device.Close())
	}
	return err
}

// do runs one operation. If the TPM has no room because a killed process left
// something in it, that is flushed and the operation runs once more, from its start.
func (c *conn) do(ctx context.Context, what string, f func(t transport.TPM) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't %s: the TPM is closed", what)
	}
	if err := c.acquire(ctx); err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "", "couldn't %s: %w", what, err)
	}
	defer syscall.Flock(int(c.lock.Fd()), syscall.LOCK_UN)
	t, end, err := c.link()
	if err != nil {
		return hsm.Errorf(hsm.ErrUnavailable, "start the TPM (or its emulator) again", "couldn't %s: the TPM is not there: %w", what, err)
	}
	defer end()
	err = f(t)
	if full(err) {
		if err := c.flush(t); err != nil {
			return fail(what, err)
		}
		err = f(t)
	}
	return fail(what, err)
}

// acquire takes the lock that keeps other processes away, until ctx ends.
func (c *conn) acquire(ctx context.Context) error {
	start, wait := time.Now(), pause
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("couldn't lock %s: %w", c.path, err)
		}
		if time.Since(start) > lockTime {
			return fmt.Errorf("another process holds %s", c.path)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxPause)
	}
}

func (c *conn) link() (transport.TPM, func(), error) {
	if c.device != nil {
		return patient{c.device}, func() {}, nil
	}
	s, err := net.Dial("unix", c.uri.Socket)
	if err != nil {
		return nil, nil, err
	}
	return patient{socket{s}}, func() { s.Close() }, nil
}

// socket speaks to an emulator. go-tpm's own transport reads once and without a
// deadline, so that a stopped emulator stops its caller.
type socket struct{ net.Conn }

func (s socket) Send(command []byte) ([]byte, error) {
	if err := s.SetDeadline(time.Now().Add(commandTime)); err != nil {
		return nil, err
	}
	if _, err := s.Write(command); err != nil {
		return nil, err
	}
	b := make([]byte, headerSize, 512)
	if _, err := io.ReadFull(s, b); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b[2:])
	if n < headerSize || n > maxResponse {
		return nil, fmt.Errorf("%w of %d bytes, want %d to %d", errResponse, n, headerSize, maxResponse)
	}
	b = append(b, make([]byte, n-headerSize)...)
	_, err := io.ReadFull(s, b[headerSize:])
	return b, err
}

var errResponse = errors.New("response")

// patient repeats a command that the TPM put off: it tests itself, it is busy, or it
// spares its flash.
type patient struct{ transport.TPM }

func (p patient) Send(command []byte) ([]byte, error) {
	start, wait := time.Now(), pause
	for {
		b, err := p.TPM.Send(command)
		if err != nil || len(b) < headerSize || time.Since(start) > busyTime {
			return b, err
		}
		switch tpm2.TPMRC(binary.BigEndian.Uint32(b[6:])) {
		case tpm2.TPMRCRetry, tpm2.TPMRCTesting, tpm2.TPMRCYielded, tpm2.TPMRCNVRate:
		default:
			return b, nil
		}
		time.Sleep(wait)
		wait = min(2*wait, maxPause)
	}
}

// full says that the TPM has no room for another object or session.
func full(err error) bool {
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionMemory, tpm2.TPMRCObjectHandles, tpm2.TPMRCSessionHandles} {
		if errors.Is(err, rc) {
			return true
		}
	}
	return false
}

// lost says that a command named an object or a session that is not loaded any more.
func lost(err error) bool {
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCReferenceH2, tpm2.TPMRCReferenceS0} {
		if errors.Is(err, rc) {
			return true
		}
	}
	return false
}

// flush ends what killed processes left: transient objects and sessions, but not the
// sessions that this one keeps. Under a resource manager there are no others'.
func (c *conn) flush(t transport.TPM) error {
	for _, first := range []uint32{transientFirst, hmacFirst, policyFirst} {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(t)
		if err != nil {
			return fmt.Errorf("couldn't list what is loaded: %w", err)
		}
		list, err := got.CapabilityData.Data.Handles()
		if err != nil {
			return fmt.Errorf("couldn't list what is loaded: %w", err)
		}
		for _, h := range list.Handle {
			if c.kept[h] {
				continue
			}
			if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(t); err != nil {
				return fmt.Errorf("couldn't flush 0x%08x: %w", uint32(h), err)
			}
		}
	}
	return nil
}

// Where a TPM numbers what is loaded. Policy sessions are listed with the HMAC ones.
const (
	transientFirst = 0x80000000
	hmacFirst      = 0x02000000
	policyFirst    = 0x03000000
)

// fail turns what a TPM or its transport answered into an error of package hsm.
func fail(what string, err error) error {
	var own *hsm.Error
	var rc tpm2.TPMRC
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.Is(err, tpm2.TPMRCLockout):
		return hsm.Errorf(hsm.ErrLocked, "wait until the lockout ends, or reset it as the TPM's owner (tpm2_dictionarylockout)", "couldn't %s: the TPM is in lockout: %w", what, err)
	case errors.Is(err, tpm2.TPMRCNVSpace):
		return hsm.Errorf(hsm.ErrFull, "remove indices and persistent keys that nobody uses (tpm2_getcap handles-persistent, handles-nv-index)", "couldn't %s: the TPM has no space: %w", what, err)
	case lost(err):
		return hsm.Errorf(hsm.ErrUnavailable, "try again; give the TPM's socket to no other program", "couldn't %s: what it had loaded in the TPM is gone, the TPM was restarted or another program flushed it: %w", what, err)
	case errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCBadAuth):
		return hsm.Errorf(hsm.ErrConfig, "use the directory that this device was provisioned with", "couldn't %s: the TPM refuses the authorisation: %w", what, err)
	case errors.As(err, &rc):
		return hsm.Errorf(hsm.ErrDevice, "", "couldn't %s: %w", what, err)
	case errors.Is(err, errResponse):
		return hsm.Errorf(hsm.ErrDevice, "", "couldn't %s: %w", what, err)
	}
	return hsm.Errorf(hsm.ErrUnavailable, "start the TPM (or its emulator) again", "couldn't %s: the TPM went away: %w", what, err)
}
