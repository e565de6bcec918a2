package main

import (
	"crypto/rand"
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
			a, share, err := signOnline(keys, ids, m, k)
			if err != nil {
				return err
			}
			sent, payload = a+share, a+share-2*session.HeaderSize
		}
		best = min(best, float64(cpu()-began)/perRun)
	}
	line("ecdsa-online-2of3", best)
	fmt.Printf("bench: ecdsa-online-2of3-bytes %d B\n", sent)
	fmt.Printf("bench: ecdsa-online-2of3-payload-bytes %d B\n", payload)
	fmt.Printf("bench: ecdsa-online-2of3-rounds 2 count\n")
	return nil
}

// signOnline is a signature from the presignatures of slot k, what both signers
// send through its encoding, and signer 1 combines. It returns the sizes of A and B.
func signOnline(keys map[mpc.ID]*dkg.KeyShare, ids []mpc.ID, m *mpctest.Many, k int) (sizeA, sizeB int, err error) {
	var o [2]*dkls23.Online
	var a, b [2][]byte
	for i, id := range ids {
		cfg := mpctest.OnlineConfig(keys[id], ids)
		if o[i], err = dkls23.Open(m.Presigs[id][k], cfg, mpctest.Now, rand.Reader); err != nil {
			return 0, 0, err
		}
		if a[i], _, err = o[i].Round0(nil); err != nil {
			return 0, 0, err
		}
	}
	for i := range ids {
		if _, err = o[i].Round1(map[mpc.ID][]byte{ids[1-i]: a[1-i]}, nil); err != nil {
			return 0, 0, err
		}
		share, err := o[i].Round2(nil)
		if err != nil {
			return 0, 0, err
		}
		if b[i], err = share.MarshalBinary(); err != nil {
			return 0, 0, err
		}
	}
	shares := []*dkls23.OnlineShare{new(dkls23.OnlineShare), new(dkls23.OnlineShare)}
	for i := range shares {
		if err := shares[i].UnmarshalBinary(b[i]); err != nil {
			return 0, 0, err
		}
	}
	_, err = o[0].Combine(shares)
	return len(a[0]), len(b[0]), err
}
