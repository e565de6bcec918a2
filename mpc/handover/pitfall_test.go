package handover

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/mpc"
)

var shapes = []struct {
	name       string
	old, newer []mpc.ID
	oldT, newT int
}{
	{"2of3-2of3", []mpc.ID{1, 2, 3}, []mpc.ID{1, 2, 3}, 2, 2},
	{"2of3-3of5", []mpc.ID{1, 2, 3}, []mpc.ID{1, 2, 3, 4, 5}, 2, 3},
	{"2of3-2of3-others", []mpc.ID{1, 2, 3}, []mpc.ID{3, 4, 5}, 2, 2},
	{"2of2-2of2-others", []mpc.ID{1, 2}, []mpc.ID{3, 4}, 2, 2},
	{"3of3-2of3", []mpc.ID{1, 2, 3}, []mpc.ID{2, 3, 4}, 3, 2},
	{"3of5-2of3", []mpc.ID{1, 2, 3, 4, 5}, []mpc.ID{1, 2, 3}, 3, 2},
}

// exhaust kills whoever is about to take the k-th durable step or send, for every k,
// and, every stride-th, a second one.
func exhaust(t *testing.T, shape int, stride int, weak weakness) error {
	s := shapes[shape]
	plain := newWorld(t, s.old, s.oldT, s.newer, s.newT)
	plain.weak = weak
	if err := plain.run(); err != nil {
		return err
	}
	n := plain.point
	for k := 1; k <= n; k++ {
		w := newWorld(t, s.old, s.oldT, s.newer, s.newT)
		w.weak, w.kills = weak, []int{k}
		if err := w.run(); err != nil {
			return err
		}
		if w.killed != 1 {
			t.Fatalf("nobody died at point %d of %d", k, n)
		}
		for j := k%stride + k + 1; j <= n; j += stride {
			w := newWorld(t, s.old, s.oldT, s.newer, s.newT)
			w.weak, w.kills = weak, []int{k, j}
			if err := w.run(); err != nil {
				return err
			}
		}
	}
	t.Logf("%s: %d points", s.name, n)
	return nil
}

// random kills, loses, repeats and reorders, with attempts that overlap.
func random(t *testing.T, seeds uint64, weak weakness) error {
	for seed := range seeds {
		s := shapes[seed%uint64(len(shapes))]
		w := newWorld(t, s.old, s.oldT, s.newer, s.newT)
		w.r, w.weak = rand.New(rand.NewPCG(seed, 52)), weak
		if err := w.run(); err != nil {
			t.Logf("seed %d, %s", seed, s.name)
			return err
		}
	}
	return nil
}

// A kill at every durable step and at every send of every party: some epoch always
// has t usable shares, nobody signs in both, and everybody ends in one epoch.
func TestPitfall52_KillAtEveryStep(t *testing.T) {
	for shape, stride := range map[int]int{0: 13, 1: 151} {
		if err := exhaust(t, shape, stride*slow*slow, weakness{}); err != nil {
			t.Errorf("%s: %v", shapes[shape].name, err)
		}
	}
}

// The same under loss, repetition and reordering, for six shapes.
func TestPitfall52_RandomSchedules(t *testing.T) {
	if err := random(t, 600/slow, weakness{}); err != nil {
		t.Error(err)
	}
}

// What is weakened on purpose is found by the same runs.
func TestPitfall52_WeakenedVariantsAreCaught(t *testing.T) {
	for _, c := range []struct {
		name string
		weak weakness
		want string
	}{
		{"e erased at READY", weakness{eraseAtReady: true}, "usable"},
		{"CLOSED not durable", weakness{closedNotDurable: true}, "epoch 1"},
		{"READY not durable", weakness{readyNotDurable: true}, ""},
		{"dealers not bound", weakness{rebind: true}, "epoch"},
		{"n−t CLOSED commit", weakness{fewerClosed: true}, "may sign in epoch 1"},
	} {
		err := exhaust(t, 0, 1000, c.weak)
		if err == nil {
			err = random(t, 3000, c.weak)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: not caught: %v", c.name, err)
		} else {
			t.Logf("%s: %v", c.name, err)
		}
	}
}
