package mpctest_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/pair"
)

// errStalled stands for a run that neither completes nor fails: messages of another
// run are ignored, and the caller's clock ends it.
var errStalled = &mpc.Abort{Class: mpc.Benign, Step: "test", Err: errors.New("the run stalls")}

// setup runs a pair setup between vaults 1 and 3; change sees every message of 3,
// by step, on its way. It returns the first abort.
func setup(t testing.TB, change func(step byte, m []byte) []byte) error {
	t.Helper()
	boot := func(id mpc.ID) [32]byte { return [32]byte{byte(id)} }
	start := func(self, peer mpc.ID) (*pair.Session, []byte) {
		s, m, err := pair.New(pair.Config{Self: self, Peer: peer, SelfNonce: boot(self), PeerNonce: boot(peer)}, mpctest.Reader("fields/%d", self))
		if err != nil {
			t.Fatal(err)
		}
		return s, m
	}
	one, toThree := start(1, 3)
	three, toOne := start(3, 1)
	for range 6 {
		if len(toOne) > 0 {
			toOne = change(toOne[1], bytes.Clone(toOne))
		}
		var err error
		var a, b []byte
		if len(toOne) > 0 {
			if a, _, err = one.Deliver(toOne); err != nil {
				return err
			}
		}
		if len(toThree) > 0 {
			if b, _, err = three.Deliver(toThree); err != nil {
				return err
			}
		}
		toThree, toOne = a, b
	}
	if _, err := one.Setup(); err != nil {
		return errStalled
	}
	if _, err := three.Setup(); err != nil {
		return errStalled
	}
	return nil
}

// Every field of every message of a pair setup: what is not in form is its author's
// fault, everything else is benign; nobody is quarantined, and no changed byte is
// let through.
func TestEveryFieldOfEveryPairMessage(t *testing.T) {
	genuine := make(map[byte][]byte)
	if err := setup(t, func(step byte, m []byte) []byte { genuine[step] = m; return m }); err != nil {
		t.Fatal(err)
	}
	field := func(name string, n int, class, or mpc.Class) mpctest.Field {
		return mpctest.Field{Name: name, Len: n, Class: class, Or: or}
	}
	form := func(name string, n int) mpctest.Field { return field(name, n, mpc.Attributed, 0) }
	silent := func(name string, n int) mpctest.Field { return field(name, n, mpc.Benign, 0) }
	either := func(name string, n int) mpctest.Field { return field(name, n, mpc.Benign, mpc.Attributed) }
	header := []mpctest.Field{form("version", 1), either("step", 1), form("from", 2), form("to", 2)}
	later := append(header[:len(header):len(header)], silent("psid", 32))
	layouts := map[byte][]mpctest.Field{
		1: append(header[:len(header):len(header)], silent("nonce", 32), form("version of base OT", 1), either("Y", 33)),
		2: append(later[:len(later):len(later)], form("version of base OT", 1), either("T", 128*2*33)),
		3: append(later[:len(later):len(later)],
			form("version of the trees", 1), silent("C", 32*3*2*16), silent("T", 32*32), silent("S", 32),
			form("version of the VOLE", 1), silent("U", 32*68), silent("X", 16), silent("TH", 32)),
		4: append(later[:len(later):len(later)],
			form("version of the VOLE", 1), either("cells", 416*4*32), either("eta", 64), silent("mu", 32),
			either("a", 64), either("c", 64)),
		5: append(later[:len(later):len(later)], silent("hash", 32)),
	}
	for step := byte(1); step <= 5; step++ {
		mpctest.Attack(t, fmt.Sprintf("message %d", step), genuine[step], layouts[step], 3, func(t *testing.T, change func([]byte) []byte) error {
			return setup(t, func(at byte, m []byte) []byte {
				if at == step {
					return change(m)
				}
				return m
			})
		})
	}
}
