package vaultshell

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
)

func putCopy(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) status(id mpc.ID) *cluster.Status {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		r, err := s.command(id, &cluster.Command{Kind: cluster.CommandStatus})
		if err == nil && r.Outcome == cluster.OutcomeDone {
			st, err := cluster.DecodeStatus(r.Body)
			if err != nil {
				s.t.Fatal(err)
			}
			return st
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("vault %d tells no status: %v %v", id, r, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *site) until(id mpc.ID, state cluster.State) *cluster.Status {
	s.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		st := s.status(id)
		if st.State == state {
			return st
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("vault %d is %v, want %v", id, st.State, state)
		}
	}
}

// order has the admins publish an order about a vault, and brings it to all.
func (s *site) order(o *governance.VaultOrder) {
	s.t.Helper()
	s.world.Now = clock()
	change, err := s.world.OrderVault(o)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range s.parties {
		r, err := s.command(mpc.ID(p.id), &cluster.Command{Kind: cluster.CommandChange, Body: change.Encode()})
		if err != nil || r.Outcome != cluster.OutcomeDone {
			s.t.Fatalf("vault %d: %v %v", p.id, r, err)
		}
	}
}

// A vault whose host puts back a copy of its disk, alone or with the copy of its
// software device, signs nothing, says why, and comes back by the admins' order only.
func TestCopiedDisk(t *testing.T) {
	for _, token := range []bool{false, true} {
		s := startSite(t, 3, nil)
		s.ready(1, 2, 3)
		s.keygen()
		s.sign(1, 2)
		p := s.parties[1]
		disk, keys := p.ncfg.Node.Dir, filepath.Join(p.dir, "keys")
		p.down()
		p.stopHSM()
		putCopy(t, disk, filepath.Join(p.dir, "disk.old"))
		putCopy(t, keys, filepath.Join(p.dir, "keys.old"))
		p.startHSM()
		p.start()
		s.ready(1, 2, 3)
		s.sign(1, 2)

		p.down()
		p.stopHSM()
		putCopy(t, filepath.Join(p.dir, "disk.old"), disk)
		if token {
			putCopy(t, filepath.Join(p.dir, "keys.old"), keys)
		}
		p.startHSM()
		p.start()
		st := s.until(2, cluster.StateRolledBack)
		if st.RolledBack == nil || st.RolledBack.HeldBoot < st.Boot {
			t.Errorf("it says %+v", st.RolledBack)
		}
		if err := s.trySign(1, 2); err == nil || !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("signing with it: %v", err)
		}
		s.sign(1, 3)

		held := st.RolledBack
		o := &governance.VaultOrder{
			Action: governance.ResumeVault, Vault: 2, Boot: max(st.Boot, held.HeldBoot) + 1, Reason: "restored from a backup",
			From: governance.Position{Size: st.LogSize, Root: st.LogRoot}, Held: governance.Position{Size: st.LogSize, Root: st.LogRoot},
		}
		for _, id := range []mpc.ID{1, 3} {
			for _, q := range s.status(id).Peers {
				if q.Vault == 2 {
					o.Boot = max(o.Boot, q.HeldBoot+1)
				}
				if q.Vault == 2 && q.HeldSize > o.Held.Size {
					o.Held = governance.Position{Size: q.HeldSize, Root: q.HeldRoot}
				}
			}
		}
		s.order(o)
		s.order(&governance.VaultOrder{Action: governance.LiftVault, Vault: 2, Reason: "its host is known"})
		s.until(2, cluster.StateRunning)
		s.ready(1, 2, 3)
		s.sign(1, 2)
		s.sign(2, 3)
		for _, p := range s.parties {
			p.down()
		}
	}
}
