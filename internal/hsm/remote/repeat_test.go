//go:build linux

package remote

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/cofferhq/coffer/internal/hsm"
)

// TestRepeats: a request whose answer is lost is sent again, unless it has an effect. A
// counter that went two steps would look like a disk that was put back.
func TestRepeats(t *testing.T) {
	path, d := socketPath(t), newDevice(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var mu sync.Mutex
	got := make(map[op]int)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { loseAnswers(c, newServer(d), func(o op) { mu.Lock(); got[o]++; mu.Unlock() }) })
		}
	})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		op   op
		call func() error
		want int
	}{
		{opSealEpoch, func() error { _, err := c.SealEpoch(t.Context()); return err }, 2},
		{opErase, func() error { return c.Erase(t.Context(), 1) }, 2},
		{opCounter, func() error { _, err := c.Counter(t.Context()); return err }, 2},
		{opAdvance, func() error { _, err := c.Advance(t.Context()); return err }, 1},
		{opIncrement, func() error { _, err := c.Increment(t.Context()); return err }, 1},
	} {
		conn, _, err := c.connect(t.Context()) // one in the pool, as after earlier calls
		if err != nil {
			t.Fatal(err)
		}
		c.keep(conn)
		if err := tc.call(); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("operation %d: got %v, want ErrUnavailable", tc.op, err)
		}
		mu.Lock()
		if got[tc.op] != tc.want {
			t.Errorf("operation %d arrived %d times, want %d", tc.op, got[tc.op], tc.want)
		}
		mu.Unlock()
	}
	c.Close()
	l.Close()
	wg.Wait()
}

// loseAnswers answers hellos, and hangs up on everything else.
func loseAnswers(c net.Conn, s *Server, saw func(op)) {
	defer c.Close()
	for {
		frame, err := readFrame(c, maxRequest)
		if err != nil {
			return
		}
		q, err := decodeRequest(frame)
		if err != nil || q.op != opHello {
			saw(q.op)
			return
		}
		if writeFrame(c, s.answer(context.Background(), q).encode()) != nil {
			return
		}
	}
}
