package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cofferhq/coffer/internal/dev"
)

// boundary shows what a vault's process cannot do, and what a thief of its disk, or
// somebody who puts an old one back, cannot.
func (d *demo) boundary(ctx context.Context) error {
	p := d.cluster.Parties[0]
	pid, err := confined(p)
	if err != nil {
		return err
	}
	d.say("what the kernel says of the process of %s, %d", p.Name, pid)
	words, err := held(pid, p.Vault.Log)
	d.check(p.Name+": "+words, err)
	d.check("another process of the same user reads none of its memory and cannot attach to it", closedTo(ctx, pid))
	if err := d.cold(ctx); err != nil {
		return err
	}
	if err := d.unplugged(ctx, p); err != nil {
		return err
	}
	if err := d.rollback(ctx, p); err != nil {
		return err
	}
	return d.lost(ctx, d.cluster.Parties[2])
}

// confined is the process in which a party's vault works: the one that it started
// starts it in its cage.
func confined(p *dev.Party) (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Vault.PID()))
	if err != nil {
		return 0, err
	}
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread ended
		}
		for _, f := range strings.Fields(string(b)) {
			return strconv.Atoi(f)
		}
	}
	return 0, fmt.Errorf("%s has no process of its own", p.Name)
}

// held reads from the kernel what holds a process, whose output goes to log.
func held(pid int, log string) (words string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	status := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		status[k] = strings.TrimSpace(v)
	}
	caps, err := strconv.ParseUint(status["CapEff"], 16, 64)
	if err != nil {
		return "", err
	}
	const lockMemory = 1 << 14 // CAP_IPC_LOCK
	if status["Seccomp"] != "2" || status["NoNewPrivs"] != "1" || caps&^lockMemory != 0 {
		err = fmt.Errorf("seccomp %s, no new privileges %s, capabilities %x", status["Seccomp"], status["NoNewPrivs"], caps)
	}
	own, e := os.Readlink("/proc/self/ns/net")
	if e != nil {
		return "", e
	}
	uid := strings.Fields(status["Uid"])[0]
	words = fmt.Sprintf("user %s, a filter of system calls, no new privileges, no capability but to lock memory", uid)
	if theirs, e := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); os.Geteuid() == 0 && (e != nil || theirs == own) {
		err = errors.Join(err, fmt.Errorf("it shares this machine's network: %s, %v", theirs, e))
	} else if e == nil && theirs != own {
		words += ", a network of its own with nothing in it"
	}
	if sockets, e := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)); e == nil && os.Geteuid() == 0 {
		if len(sockets) == 0 {
			err = errors.Join(err, errors.New("its open files cannot be listed"))
		}
		for _, s := range sockets {
			if to, _ := os.Readlink(s); strings.HasPrefix(to, "/") && to != "/dev/null" && to != log {
				err = errors.Join(err, fmt.Errorf("it has %s open", to))
			}
		}
		words += fmt.Sprintf("; %d descriptors, of files only its log", len(sockets))
	}
	return words, err
}

// closedTo tries to read a process's memory and to see what it has open, as a
// process of its own user.
func closedTo(ctx context.Context, pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(b), "Uid:\t")
	uid, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 32)
	if err != nil {
		return err
	}
	for _, file := range []string{"mem", "maps", "environ", "fd"} {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", fmt.Sprintf("exec </proc/%d/%s && ls /proc/%d/%s", pid, file, pid, file))
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(strings.ToLower(string(out)), "permission denied") {
			return fmt.Errorf("%s: %v: %s", file, err, out)
		}
	}
	return nil
}

// unplugged takes a vault's token out while payments go on, and puts it back.
func (d *demo) unplugged(ctx context.Context, p *dev.Party) error {
	out := p.Token + ".out"
	boots, err := d.boots(ctx)
	if err != nil {
		return err
	}
	if err := os.Rename(p.Token, out); err != nil {
		return err
	}
	var ids []string
	for range 3 {
		r, err := d.propose(ctx, "alice", known, "0.001 ETH")
		if err != nil {
			return err
		}
		ids = append(ids, r.ID)
		time.Sleep(200 * time.Millisecond)
	}
	if err := os.Rename(out, p.Token); err != nil {
		return err
	}
	d.say("the token of %s is taken out, three payments are proposed, and it is put back", p.Name)
	for _, id := range ids {
		if _, e := d.confirmed(ctx, id); err == nil {
			err = e
		}
	}
	if err == nil {
		err = d.paysWith(ctx, p.ID, "0.001 ETH")
	}
	if now, e := d.boots(ctx); e != nil || now[p.ID] != boots[p.ID] {
		err = errors.Join(err, e, fmt.Errorf("it was started %d times and is at %d", boots[p.ID], now[p.ID]))
	}
	d.check(fmt.Sprintf("all three are mined, and %s signs on, without a restart", p.Name), err)
	return err
}
