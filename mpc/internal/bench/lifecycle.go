package main

import (
	"fmt"
	"math"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/internal/mpctest"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// lifeRounds of a refresh or reshare: R0 … R3.
const lifeRounds = 4

// epochs prints a refresh and a reshare with certificate, activation and all
// pair setups of the new parties, and key generation for 3 of 5 likewise.
func epochs(line func(string, float64)) error {
	keys, cert, err := mpctest.Keys("bench/epochs", mpctest.IDs(3), 2)
	if err != nil {
		return err
	}
	refresh := &mpctest.LifePlan{Kind: lifecycle.Refresh, Certificate: cert, Shares: keys}
	if err := epoch(line, "ecdsa-refresh-2of3", refresh, mpctest.IDs(3)); err != nil {
		return err
	}
	reshare := &mpctest.LifePlan{
		Kind: lifecycle.Reshare, Certificate: cert, Shares: keys,
		Dealers: mpctest.IDs(2), Parties: mpctest.IDs(5), Threshold: 3,
	}
	if err := epoch(line, "ecdsa-reshare-2of3-3of5", reshare, mpctest.IDs(5)); err != nil {
		return err
	}
	return keygen3of5(line)
}

// epoch is all CPU time of all participants, in the fewest of some runs: the pair
// setups take a second.
func epoch(line func(string, float64), name string, plan *mpctest.LifePlan, parties []mpc.ID) error {
	best, sent := math.Inf(1), 0
	alone := math.Inf(1)
	for i := range runs {
		label := fmt.Sprintf("bench/%s/%d", name, i)
		began := cpu()
		l, err := mpctest.NewLife(label, plan)
		if err != nil {
			return err
		}
		shares := make(map[mpc.ID]*dkg.KeyShare)
		var cert *dkg.Certificate
		for r := range lifeRounds {
			if err := l.Round(r); err != nil {
				return err
			}
		}
		for _, id := range l.Participants {
			out, err := l.Finish(id)
			if err != nil {
				return err
			}
			cert = out.Certificate
			if out.Share != nil {
				shares[id] = out.Share
			}
		}
		if err := mpctest.Activate(cert, shares); err != nil {
			return err
		}
		alone = min(alone, float64(cpu()-began))
		if _, err := mpctest.Pairs(label, parties); err != nil {
			return err
		}
		best = min(best, float64(cpu()-began))
		sent = mostOf(l.Participants, l.Broadcast[:], l.Private)
	}
	line(name, best)
	line(name+"-without-pairs", alone)
	fmt.Printf("bench: %s-bytes %d B\n", name, sent)
	fmt.Printf("bench: %s-rounds %d count\n", name, lifeRounds)
	return nil
}

// mostOf is what the party that sends most sends, pair setups aside: broadcasts to
// each peer, and private messages.
func mostOf(parties []mpc.ID, broadcast []map[mpc.ID][]byte, private map[mpc.ID]map[mpc.ID][]byte) int {
	most := 0
	for _, id := range parties {
		total := 0
		for r := range broadcast {
			total += len(broadcast[r][id]) * (len(parties) - 1)
		}
		for _, m := range private[id] {
			total += len(m)
		}
		most = max(most, total)
	}
	return most
}

func keygen3of5(line func(string, float64)) error {
	const name = "ecdsa-keygen-3of5"
	best, alone, sent := math.Inf(1), math.Inf(1), 0
	for i := range runs {
		label := fmt.Sprintf("bench/%s/%d", name, i)
		began := cpu()
		d, err := mpctest.NewDKG(label, mpctest.IDs(5), 3)
		if err != nil {
			return err
		}
		for r := range lifeRounds {
			if err := d.Round(r); err != nil {
				return err
			}
		}
		shares := make(map[mpc.ID]*dkg.KeyShare)
		var cert *dkg.Certificate
		for _, id := range d.Parties {
			out, err := d.Finish(id)
			if err != nil {
				return err
			}
			shares[id], cert = out.Share, out.Certificate
		}
		if err := mpctest.Activate(cert, shares); err != nil {
			return err
		}
		alone = min(alone, float64(cpu()-began))
		if _, err := mpctest.Pairs(label, d.Parties); err != nil {
			return err
		}
		best = min(best, float64(cpu()-began))
		sent = mostOf(d.Parties, d.Broadcast[:], d.Private)
	}
	line(name, best)
	line("ecdsa-dkg-only-3of5", alone)
	fmt.Printf("bench: %s-bytes %d B\n", name, sent)
	fmt.Printf("bench: %s-rounds %d count\n", name, lifeRounds)
	return nil
}
