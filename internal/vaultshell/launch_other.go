//go:build !linux

package vaultshell

import (
	"context"
	"log/slog"
)

// launch runs the vault in this process: this system has no cage.
func launch(ctx context.Context, cfg *Config, log *slog.Logger) error {
	log.Warn("THIS VAULT IS NOT ISOLATED: only Linux is supported")
	return run(ctx, cfg, log)
}

// RunCaged finds no confined process on this system.
func RunCaged() (code int, caged bool) { return 0, false }
