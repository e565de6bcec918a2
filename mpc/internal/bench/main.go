// Command bench prints the figures of the threshold cryptography, each with its
// ratio to a yardstick of the same run (docs/benchmarks.md).
//
// Times are CPU times of one thread with all parties in this process, the
// minimum of many runs: machines are shared, and noise only adds. The functions
// are those that the vault calls, with every check and every encoding.
package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

const runs = 25

// rounds of a signature: R0, R1, R2 and the final share.
const rounds = 4

// cpu is this process's CPU time in nanoseconds.
func cpu() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// measure is the least CPU time of f, of many batches of n calls.
func measure(n int, f func()) float64 {
	best := math.Inf(1)
	for range runs {
		began := cpu()
		for range n {
			f()
		}
		best = min(best, float64(cpu()-began)/float64(n))
	}
	return best
}

func main() {
	runtime.GOMAXPROCS(1)
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	verify := yardstick()
	line := func(name string, ns float64) {
		fmt.Printf("bench: %s %.1f ns\n", name, ns)
		fmt.Printf("bench: %s/std-ed25519-verify %.5f x\n", name, ns/verify)
	}
	fmt.Printf("bench: std-ed25519-verify %.1f ns\n", verify)
	line("std-p256-sign", p256())
	curve(line)
	if err := keygen(line); err != nil {
		return err
	}
	if err := generations(line); err != nil {
		return err
	}
	if err := sign(line, 3, 2); err != nil {
		return err
	}
	if err := sign(line, 5, 3); err != nil {
		return err
	}
	if err := presigned(line); err != nil {
		return err
	}
	if err := schnorr(line); err != nil {
		return err
	}
	if err := policies(line); err != nil {
		return err
	}
	return epochs(line)
}

func yardstick() float64 {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	msg := make([]byte, 32)
	sig := ed25519.Sign(priv, msg)
	return measure(200, func() {
		if !ed25519.Verify(pub, msg, sig) {
			panic("verification failed")
		}
	})
}

func p256() float64 {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	h := sha256.Sum256(nil)
	return measure(200, func() {
		if _, err := ecdsa.SignASN1(rand.Reader, k, h[:]); err != nil {
			panic(err)
		}
	})
}

func curve(line func(string, float64)) {
	k := secp256k1.NewScalar()
	if err := k.SetRandom(rand.Reader); err != nil {
		panic(err)
	}
	p, q := secp256k1.NewPoint().ScalarBaseMult(k), secp256k1.NewPoint()
	line("secp256k1-base-mult", measure(500, func() { q.ScalarBaseMult(k) }))
	line("secp256k1-var-mult", measure(200, func() { q.ScalarMult(k, p) }))
	s := secp256k1.NewScalar().Set(k)
	line("scalar-mul", measure(20000, func() { s.Mul(s, k) }))
}

// keygen is a key generation with its certificate; with all pair setups, for
// comparison with protocols that make them for every key, and without.
func keygen(line func(string, float64)) error {
	var err error
	n := 0
	label := func(what string) string { n++; return fmt.Sprintf("bench/%s/%d", what, n) }
	run := func(f func() error) func() {
		return func() {
			if e := f(); e != nil && err == nil {
				err = e
			}
		}
	}
	dkgOnly := func() error {
		_, _, err := mpctest.Keys(label("dkg"), mpctest.IDs(3), 2)
		return err
	}
	pairs := func() error {
		_, err := mpctest.Pairs(label("pair"), mpctest.IDs(3))
		return err
	}
	line("ecdsa-keygen-2of3", measure(1, run(func() error {
		if err := dkgOnly(); err != nil {
			return err
		}
		return pairs()
	})))
	line("ecdsa-dkg-only-2of3", measure(1, run(dkgOnly)))
	line("ecdsa-pair-setup", measure(1, run(func() error {
		_, _, err := mpctest.Pair(label("pair"), 1, 2)
		return err
	})))
	return err
}

func sign(line func(string, float64), n, t int) error {
	name := fmt.Sprintf("ecdsa-sign-%dof%d", t, n)
	keys, _, err := mpctest.Keys("bench/"+name, mpctest.IDs(n), t)
	if err != nil {
		return err
	}
	setups, err := mpctest.Pairs("bench/"+name, mpctest.IDs(t))
	if err != nil {
		return err
	}
	best, sent := math.Inf(1), 0
	for i := range runs * 2 {
		began := cpu()
		s, err := mpctest.NewSign(fmt.Sprintf("bench/%s/%d", name, i), keys, setups, mpctest.IDs(t), nil)
		if err != nil {
			return err
		}
		if _, err := s.Run(); err != nil {
			return err
		}
		best = min(best, float64(cpu()-began))
		sent = largest(s)
	}
	line(name, best)
	fmt.Printf("bench: %s-bytes %d B\n", name, sent)
	fmt.Printf("bench: %s-rounds %d count\n", name, rounds)
	return nil
}

// largest is what the party that sends most sends: broadcasts to each peer,
// private messages, the final share; with the protocol's headers.
func largest(s *mpctest.Sign) int {
	most := 0
	for _, id := range s.Signers {
		total := 0
		for r := range s.Broadcast {
			total += len(s.Broadcast[r][id]) * (len(s.Signers) - 1)
			for _, m := range s.Private[r][id] {
				total += len(m)
			}
		}
		final, err := s.Final[id].MarshalBinary()
		if err != nil {
			panic(err)
		}
		most = max(most, total+len(final))
	}
	return most
}
