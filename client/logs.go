package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/audit/logfile"
)

// ExportLogs copies every vault's log into folders below the new folder dir, and returns
// these. Beside each copy stands the newest checkpoint that others cosigned, where there
// is one, and how many entries the log had before the first copy was begun: all on which
// those rest is in the copies, however busy the cluster is meanwhile.
func (c *Client) ExportLogs(ctx context.Context, dir string) (dirs []string, err error) {
	begun := uint64(time.Now().UnixMilli())
	vaults, err := c.Vaults(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the folder for the copies: %w", err)
	}
	for i := range vaults {
		name := vaults[i].Name
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
			name = fmt.Sprintf("vault-%d", vaults[i].ID)
		}
		to := filepath.Join(dir, name)
		if err := c.exportOne(ctx, vaults[i].ID, to); err != nil {
			return nil, err
		}
		if err := logfile.WriteExported(to, logfile.Exported{Entries: vaults[i].LogSize, Begun: begun}); err != nil {
			return nil, err
		}
		dirs = append(dirs, to)
	}
	return dirs, nil
}

// exportOne makes the folder to.
func (c *Client) exportOne(ctx context.Context, vault int, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("couldn't make the folder for a copy: %w", err)
	}
	f, err := os.Create(filepath.Join(to, logfile.EntriesFile))
	if err != nil {
		return fmt.Errorf("couldn't copy the log of vault %d: %w", vault, err)
	}
	_, cosigned, none := c.Cosigned(ctx, vault)
	checkpoint, err := c.CopyLog(ctx, vault, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, logfile.CheckpointFile), checkpoint, 0o600); err != nil {
		return fmt.Errorf("couldn't copy the log of vault %d: %w", vault, err)
	}
	if none != nil {
		return nil // nobody has cosigned: the copy is good without
	}
	if err := os.WriteFile(filepath.Join(to, logfile.CosignedFile), cosigned, 0o600); err != nil {
		return fmt.Errorf("couldn't copy the log of vault %d: %w", vault, err)
	}
	return nil
}
