package main

import (
	"fmt"
	"math"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/dkls23"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// presigned prints a batch and a signature from a presignature, 2-of-3.
func presigned(line func(string, float64)) error {
	keys, _, err := mpctest.Keys("bench/presigned", mpctest.IDs(3), 2)
	if err != nil {
		return err
	}
	setups, err := mpctest.Pairs("bench/presigned", mpctest.IDs(2))
	if err != nil {
		return err
	}
	if err := batch16(line, keys, setups); err != nil {
		return err
	}
	return online(line, keys, setups)
}

// batch16 is a batch of 16, a signature of it: everything of both signers, with
// the combination.
func batch16(line func(string, float64), keys map[mpc.ID]*dkg.KeyShare, setups mpctest.Setups) error {
	const n = 16
	items := make([]dkls23.Item, n)
	for k := range items {
		items[k].MessageHash = [32]byte{7, 31: byte(k + 1)}
	}
	best, sent := math.Inf(1), 0
	for i := range runs {
		began := cpu()
		m, err := mpctest.NewBatch(fmt.Sprintf("bench/batch/%d", i), keys, setups, mpctest.IDs(2), items, nil)
		if err != nil {
			return err
		}
		if err := m.Run(); err != nil {
			return err
		}
		if _, err := m.Combine(); err != nil {
			return err
		}
		best = min(best, float64(cpu()-began)/n)
		final, err := m.Final[1].MarshalBinary()
		if err != nil {
			return err
		}
		sent = len(final)
		for r := range m.Broadcast {
			sent += len(m.Broadcast[r][1]) + len(m.Private[r][1][2])
		}
	}
	line("ecdsa-batch16-2of3", best)
	fmt.Printf("bench: ecdsa-batch16-2of3-bytes %d B\n", sent/n)
	fmt.Printf("bench: ecdsa-batch16-2of3-rounds %d count\n", rounds)
	return nil
}

// online is what a presignature V2 leaves to do when the request is known: both
// signers' A and B with their encodings, and one combination with its
// verification. payload is what a signer sends beside the headers.
func online(line func(string, float64), keys map[mpc.ID]*dkg.KeyShare, setups mpctest.Setups) error {
	const perRun = 20
	ids := mpctest.IDs(2)
	best, sent, payload := math.Inf(1), 0, 0
	for i := range runs {
		m, err := mpctest.NewPresign(fmt.Sprintf("bench/presign/%d", i), keys, setups, ids, dkls23.Full, perRun, nil)
		if err != nil {
			return err
		}
		if err := m.Run(); err != nil {
			return err
		}
		began := cpu()
		for k := range perRun {
			presigs := map[mpc.ID]*dkls23.Presignature{1: m.Presigs[1][k], 2: m.Presigs[2][k]}
			o, err := mpctest.NewOnline("bench/online", keys, ids, presigs, nil)
			if err != nil {
				return err
			}
			o.Bare = true
			if err := runOnline(o); err != nil {
				return err
			}
			final, err := o.Final[1].MarshalBinary()
			if err != nil {
				return err
			}
			sent = len(o.A[1]) + len(final)
			payload = sent - 2*session.HeaderSize
		}
		best = min(best, float64(cpu()-began)/perRun)
	}
	line("ecdsa-online-2of3", best)
	fmt.Printf("bench: ecdsa-online-2of3-bytes %d B\n", sent)
	fmt.Printf("bench: ecdsa-online-2of3-payload-bytes %d B\n", payload)
	fmt.Printf("bench: ecdsa-online-2of3-rounds 2 count\n")
	return nil
}

// runOnline runs the online part and has signer 1 combine: the shares go through
// their encoding.
func runOnline(o *mpctest.Online) error {
	for r := range 3 {
		if err := o.Round(r); err != nil {
			return err
		}
	}
	shares := []*dkls23.OnlineShare{o.Final[1], new(dkls23.OnlineShare)}
	b, err := o.Final[2].MarshalBinary()
	if err != nil {
		return err
	}
	if err := shares[1].UnmarshalBinary(b); err != nil {
		return err
	}
	_, err = o.Sessions[1].Combine(shares)
	return err
}
