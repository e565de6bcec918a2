package vaultshell

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// soloConfig is a vault that enrols, alone, with a helper.
func soloConfig(t testing.TB) *Config {
	t.Helper()
	dir := shortDir(t)
	p := &party{site: &site{t: t, dir: dir, log: quiet()}, dir: dir}
	p.vcfg.Vault.ID, p.vcfg.Vault.Name, p.vcfg.Vault.Socket = 1, "bank", filepath.Join(dir, "v")
	p.vcfg.Vault.Enrol, p.vcfg.Vault.Card, p.vcfg.HSM.Socket = true, filepath.Join(dir, "card"), filepath.Join(dir, "h")
	p.startHSM()
	return &p.vcfg
}

// startCagedSite is a site whose vaults are confined processes, with a wallet.
func startCagedSite(t testing.TB, user string) (*site, []*process) {
	t.Helper()
	s := startSite(t, 3, nil)
	s.ready(1, 2, 3)
	s.keygen()
	var vaults []*process
	for _, p := range s.parties {
		p.down()
		p.vcfg.Vault.User = user
		vaults = append(vaults, p.startCaged())
	}
	s.ready(1, 2, 3)
	return s, vaults
}

// TestCagedCluster is a cluster of confined vaults: they sign, lose helper and
// nodes, and sign on.
func TestCagedCluster(t *testing.T) {
	user := ""
	if os.Geteuid() == 0 {
		user = "61234"
	}
	s, vaults := startCagedSite(t, user)
	s.sign(1, 2)
	s.sign(2, 3)
	for i, v := range vaults {
		if pid := v.child(); user != "" && uidOf(t, pid) != 61234 {
			t.Errorf("vault %d runs as user %d", i+1, uidOf(t, pid))
		}
	}
	// The helper comes back as another process, with other connections.
	one := s.parties[0]
	one.stopHSM()
	one.startHSM()
	s.sign(1, 2)
	// A vault that is killed is started again from what is durable.
	one.down()
	one.startCaged()
	s.ready(1, 2, 3)
	s.sign(1, 3)
	s.told(t)
}

// told checks that the program's hash and what confines it are in the logs and in
// the statuses.
func (s *site) told(t *testing.T) {
	t.Helper()
	software, err := hashFile(cage.SelfPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range s.world.IDs {
		r, err := s.command(id, &cluster.Command{Kind: cluster.CommandStatus})
		if err != nil {
			t.Fatal(err)
		}
		st, err := cluster.DecodeStatus(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if st.Software != software || !strings.Contains(strings.Join(st.Isolation, "\n"), "seccomp: on") {
			t.Errorf("vault %d says it runs %x, isolated by %q", id, st.Software, st.Isolation)
		}
	}
	for _, p := range s.parties {
		p.down()
		c, err := logfile.Read(filepath.Join(p.ncfg.Node.Dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		var last *audit.Boot
		for _, b := range c.Entries {
			e, err := audit.DecodeEntry(b)
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == audit.KindBoot {
				if last, err = audit.DecodeBoot(e.Body); err != nil {
					t.Fatal(err)
				}
			}
		}
		if last == nil || last.Hash != software || !strings.Contains(last.Isolation, "seccomp: on, ") || !strings.Contains(last.Isolation, "landlock: ") {
			t.Errorf("the log of vault %d says of its last start %+v", p.id, last)
		}
	}
}

// gone waits until a process is no more.
func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(b), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d is still there", pid)
}

// Launcher and vault die together, whoever is killed.
func TestNoOrphan(t *testing.T) {
	for _, user := range []string{"", "61234"} {
		if user != "" && os.Geteuid() != 0 {
			continue
		}
		t.Run("launcher killed, user "+user, func(t *testing.T) {
			cfg := soloConfig(t)
			cfg.Vault.User = user
			v := startProcess(t, cfg)
			pid := v.child()
			v.kill()
			gone(t, pid)
			// What is left stands in nobody's way.
			startProcess(t, cfg).child()
		})
		t.Run("vault killed, user "+user, func(t *testing.T) {
			cfg := soloConfig(t)
			cfg.Vault.User = user
			v := startProcess(t, cfg)
			if err := syscall.Kill(v.child(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			<-v.done
			if n := v.cmd.ProcessState.ExitCode(); n != 1 || !strings.Contains(v.out.String(), "error: the vault's process ended without a word: signal: killed") {
				t.Errorf("the launcher ended with %d:\n%s", n, v.out)
			}
		})
		t.Run("told to stop, user "+user, func(t *testing.T) {
			cfg := soloConfig(t)
			cfg.Vault.User = user
			v := startProcess(t, cfg)
			pid := v.child()
			if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			<-v.done
			gone(t, pid)
			if n := v.cmd.ProcessState.ExitCode(); n != 0 {
				t.Errorf("the launcher ended with %d:\n%s", n, v.out)
			}
			if _, err := os.Lstat(cfg.Vault.Socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left: %v", err)
			}
		})
	}
}

// The vault's last words are the launcher's, with its exit code.
func TestLastWords(t *testing.T) {
	cfg := soloConfig(t)
	v := startProcess(t, cfg)
	v.child()
	node, err := dialSoon(t, cfg.Vault.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	if err := node.Send(&vaultlink.Load{Records: []vaultlink.Record{{Name: "stray", Value: []byte{1}}}, Last: true}); err != nil {
		t.Fatal(err)
	}
	<-v.done
	if n := v.cmd.ProcessState.ExitCode(); n != 1 || !strings.Contains(v.out.String(), "error: the vault cannot start: the root key's record is missing") {
		t.Errorf("exit %d:\n%s", n, v.out)
	}
}

// A card that cannot be written is an error of the vault, whose launcher writes it.
func TestCardOfCagedVault(t *testing.T) {
	for _, c := range []struct {
		card string
		want string
	}{{"", ""}, {"none/card", "couldn't write the card"}} {
		cfg := soloConfig(t)
		if c.card != "" {
			cfg.Vault.Card = filepath.Join(filepath.Dir(cfg.Vault.Socket), c.card)
		}
		v := startProcess(t, cfg)
		node, err := dialSoon(t, cfg.Vault.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		if err := node.Send(&vaultlink.Load{Last: true}); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := node.Receive()
			if err != nil {
				break
			}
			if p, ok := m.(*vaultlink.Persist); ok {
				if err := node.Send(&vaultlink.Persisted{Seq: p.Seq}); err != nil {
					t.Fatal(err)
				}
			}
		}
		<-v.done
		b, err := os.ReadFile(cfg.Vault.Card)
		if c.want == "" && (err != nil || len(b) < 100 || v.cmd.ProcessState.ExitCode() != 0) {
			t.Errorf("card of %d bytes, %v:\n%s", len(b), err, v.out)
		}
		if c.want != "" && (!strings.Contains(v.out.String(), c.want) || v.cmd.ProcessState.ExitCode() != 1) {
			t.Errorf("want %q:\n%s", c.want, v.out)
		}
	}
}

// A machine that does not isolate in full is told of loudly; vault.strict refuses
// it. Here: a user whose memory may not be locked.
func TestIncompleteCage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	for _, strict := range []bool{false, true} {
		cfg := soloConfig(t)
		cfg.Vault.Strict = strict
		if err := os.Chown(filepath.Dir(cfg.Vault.Socket), 61234, -1); err != nil {
			t.Fatal(err)
		}
		v := startAs(t, launchVault, cfg, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}})
		if strict {
			<-v.done
		} else {
			v.child()
		}
		out := v.out.String()
		if strict != strings.Contains(out, "error: vault.strict: this machine does not isolate the vault in full: swap: memory is not locked") {
			t.Errorf("strict %v:\n%s", strict, out)
		}
		if !strict && !strings.Contains(out, "THIS VAULT IS NOT ISOLATED IN FULL") {
			t.Errorf("nobody is told:\n%s", out)
		}
	}
}

// Only the users whom the configuration names talk to each other.
func TestUsersOfSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	// A helper of another user than hsm.user names is refused for good.
	cfg := soloConfig(t)
	cfg.HSM.User = "61235"
	v := startProcess(t, cfg)
	<-v.done
	if !strings.Contains(v.out.String(), "runs as user 0, want 61235") {
		t.Errorf("a helper of another user:\n%s", v.out)
	}
	// The socket belongs to the node's user, and this process is another one.
	cfg = soloConfig(t)
	cfg.Vault.NodeUser = "61236"
	v = startProcess(t, cfg)
	v.child()
	info, err := os.Stat(cfg.Vault.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 61236 || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket belongs to %d, mode %v", owner, info.Mode())
	}
	if link, err := vaultlink.Dial(t.Context(), cfg.Vault.Socket); err != nil {
		t.Error(err)
	} else {
		link.SetReadDeadline(time.Now().Add(10 * time.Second))
		if m, err := link.Receive(); err == nil {
			t.Errorf("a node of another user got %T", m)
		}
		link.Close()
	}
	if _, err := vaultlink.DialUser(t.Context(), cfg.Vault.Socket, 61237); !errors.Is(err, vaultlink.ErrPeer) {
		t.Errorf("a vault of another user: %v", err)
	}
	for _, text := range []string{"nobody-of-this-name", "-1", "99999999999"} {
		cfg := soloConfig(t)
		cfg.Vault.NodeUser = text
		if err := run(t.Context(), cfg, quiet()); err == nil || !strings.Contains(err.Error(), "vault.node-user") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The confined process cannot be started by hand.
func TestCagedIsNoCommand(t *testing.T) {
	cmd := exec.Command(os.Args[0], cagedVault)
	b, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(b), "couldn't take over from the launcher") {
		t.Errorf("%v: %s", err, b)
	}
}
