package main

import (
	"fmt"
	"math"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
)

// dkgRounds are D0 … D3 and the signatures on the certificate.
const dkgRounds = 5

// generations are the key generations beside that of keygen.
func generations(line func(string, float64)) error {
	if err := generation(line, "dkg-ed25519-2of3", mpc.FROSTEd25519, 3, 2); err != nil {
		return err
	}
	return generation(line, "dkg-bip340-2of3", mpc.FROSTSecp256k1TR, 3, 2)
}

// generation is a key generation of a suite without pair setups: all parties,
// every check and encoding, the session keys' signatures on the shares, the
// certificate with its n signatures, verified by each party.
func generation(line func(string, float64), name string, suite mpc.Suite, n, t int) error {
	best, sent := math.Inf(1), 0
	for i := range runs * 2 {
		began := cpu()
		cert, d, err := certified(suite, fmt.Sprintf("bench/%s/%d", name, i), n, t)
		if err != nil {
			return err
		}
		best = min(best, float64(cpu()-began))
		sent = dealt(d, len(cert.Signature(1)))
	}
	line(name, best)
	fmt.Printf("bench: %s-bytes %d B\n", name, sent)
	fmt.Printf("bench: %s-rounds %d count\n", name, dkgRounds)
	return nil
}

// certified is mpctest.Keys that keeps the messages.
func certified(suite mpc.Suite, label string, n, t int) (*dkg.Certificate, *mpctest.DKG, error) {
	d, err := mpctest.NewDKGOf(suite, label, mpctest.IDs(n), t)
	if err != nil {
		return nil, nil, err
	}
	cert, _, err := d.Complete()
	return cert, d, err
}

// dealt is what a party sends: broadcasts to each peer, private messages, its
// signature on the certificate.
func dealt(d *mpctest.DKG, signature int) int {
	most := 0
	for _, id := range d.Parties {
		total := signature * (len(d.Parties) - 1)
		for r := range d.Broadcast {
			total += len(d.Broadcast[r][id]) * (len(d.Parties) - 1)
		}
		for _, m := range d.Private[id] {
			total += len(m)
		}
		most = max(most, total)
	}
	return most
}
