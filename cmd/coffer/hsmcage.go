package main

import (
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/cofferhq/coffer/internal/cage"
	"github.com/cofferhq/coffer/internal/hsm/device"
)

// confineHSM takes from the helper, before it loads a vendor's library, what no
// device needs (docs/spec/isolation.md). The first time it starts this program anew,
// under Landlock, in the same process; then it closes the rest.
func confineHSM(c *hsmConfig, log *slog.Logger) error {
	var r cage.Report
	if !cage.Reexeced(&r) {
		paths, err := helperPaths(c)
		if err != nil {
			return err
		}
		env := os.Environ()
		for _, k := range slices.Sorted(maps.Keys(c.HSM.Env)) {
			env = append(env, k+"="+c.HSM.Env[k])
		}
		err = cage.Reexec(os.Args, env, paths, c.HSM.Network)
		log.Warn("THIS HSM HELPER IS NOT CONFINED", "err", err)
		return nil
	}
	if err := cage.Close(&r); err != nil {
		return err
	}
	cage.SparingGC()
	cage.LockMemory(&r)
	cage.Helper(c.HSM.Network, &r)
	log.Info("confined", "isolation", r.Texts())
	if missing := r.Missing(); missing != "" {
		log.Warn("THIS HSM HELPER IS NOT ISOLATED IN FULL", "missing", missing)
	}
	return nil
}

// confineHSMFiles takes the rest, when the sockets have their owners: the library is
// loaded after it.
func confineHSMFiles(log *slog.Logger) {
	var r cage.Report
	cage.HelperFiles(&r)
	if missing := r.Missing(); missing != "" {
		log.Warn("THIS HSM HELPER IS NOT ISOLATED IN FULL", "missing", missing)
	}
}

func helperPaths(c *hsmConfig) ([]cage.Path, error) {
	paths, err := device.Paths(c.HSM.Device, c.HSM.Env, c.HSM.Network)
	if err != nil {
		return nil, err
	}
	for _, socket := range []string{c.HSM.Socket, c.HSM.Operator} {
		if socket == "" {
			continue
		}
		served, err := device.SocketPaths(socket)
		if err != nil {
			return nil, err
		}
		paths = append(paths, served...)
	}
	for _, p := range c.HSM.Paths {
		paths = append(paths, cage.Path{Path: p, Access: cage.Write}, cage.Path{Path: p, Access: cage.Device}, cage.Path{Path: p, Access: cage.Execute})
	}
	// The configuration is read again after the new start.
	return append(paths, cage.Path{Path: c.file}), nil
}
