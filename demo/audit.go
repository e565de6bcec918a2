package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer/client"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/verify"
)

// copyLogs fetches every vault's log into folders below dir.
func copyLogs(ctx context.Context, cl *client.Client, vaults []client.Card, dir string) (dirs []string, err error) {
	for _, v := range vaults {
		to := filepath.Join(dir, v.Name)
		if err := os.MkdirAll(to, 0o700); err != nil {
			return nil, err
		}
		f, err := os.Create(filepath.Join(to, logfile.EntriesFile))
		if err != nil {
			return nil, err
		}
		checkpoint, err := cl.CopyLog(ctx, v.ID, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(to, logfile.CheckpointFile), checkpoint, 0o600); err != nil {
			return nil, err
		}
		dirs = append(dirs, to)
	}
	return dirs, nil
}

func (d *demo) audit(ctx context.Context) error {
	dirs, err := copyLogs(ctx, d.client, d.info.Vaults, filepath.Join(d.dir, "audit"))
	if err != nil {
		return err
	}
	d.say("a new process gets the genesis hash and copies of the log files, nothing else: the cluster is stopped meanwhile")
	d.cluster.Stop()
	r, err := d.auditor(ctx, dirs)
	if err != nil {
		return err
	}
	words := fmt.Sprintf("%d signed transactions and the decisions behind them verify, and %d refusals: each is decided again from the logged bytes with the same answer", r.Counts.Receipts, r.Counts.Refused)
	switch {
	case !r.OK:
		err = fmt.Errorf("%s", r.Faults[0])
	case r.Counts.Receipts < 8 || r.Counts.Refused < 4:
		err = fmt.Errorf("that is fewer than the demo made")
	case len(r.Vaults) != len(dirs):
		err = fmt.Errorf("%d logs were checked, want %d", len(r.Vaults), len(dirs))
	}
	d.check(words, err)
	return d.flips(ctx, dirs)
}

// flips turns one bit around in one byte of one copy, each vault's in turn.
func (d *demo) flips(ctx context.Context, dirs []string) error {
	for i, dir := range dirs {
		path := filepath.Join(dir, logfile.EntriesFile)
		good, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := len(good) * (i + 1) / (len(dirs) + 1)
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			return err
		}
		r, err := d.auditor(ctx, dirs)
		words := fmt.Sprintf("with byte %d of the copy of vault %d's log flipped, the auditor finds it", at, i+1)
		switch {
		case err != nil:
		case r.OK || len(r.Faults) == 0:
			err = errors.New("it found nothing wrong")
		default:
			words += fmt.Sprintf(" (%d faults): %s", len(r.Faults), worst(r.Faults))
		}
		d.check(words, err)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// worst is the damage itself, rather than what follows from it.
func worst(fs []verify.Fault) verify.Fault {
	for _, f := range fs {
		if f.Code == verify.CopyDamaged {
			f.Detail = "entry" + f.Detail[strings.LastIndex(f.Detail, ": entry")+len(": entry"):]
			return f
		}
	}
	return fs[0]
}

// auditor runs the program with an empty environment. Its exit status must fit
// its report.
func (d *demo) auditor(ctx context.Context, dirs []string) (*verify.Report, error) {
	h := d.cluster.Genesis.Hash()
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "auditor"), append([]string{hex.EncodeToString(h[:])}, dirs...)...)
	cmd.Env, cmd.Dir = []string{}, d.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, failed := cmd.Output()
	r := new(verify.Report)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("the auditor ended with %v: %s", failed, stderr.Bytes())
	}
	if r.OK != (failed == nil) {
		return nil, fmt.Errorf("the auditor's report says ok=%v, and it ended with %v", r.OK, failed)
	}
	return r, nil
}
