package devnode

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// ErrMissing says that there is no anvil on this machine.
var ErrMissing = errors.New("the EVM node anvil is missing")

// installed is where `make tools` puts it, below the project's root. The package
// exists for Linux on amd64; elsewhere anvil comes from PATH.
var installed = filepath.Join(".build", "node", "node_modules", "@foundry-rs", "anvil-linux-amd64", "bin", "anvil")

// FindAnvil returns the path of anvil: the one that `make tools` installed, when
// the working directory or the running program is inside the project, else the
// one in PATH.
func FindAnvil() (string, error) {
	var from []string
	if wd, err := os.Getwd(); err == nil {
		from = append(from, wd)
	}
	if exe, err := os.Executable(); err == nil {
		from = append(from, filepath.Dir(exe))
	}
	return findAnvil(from)
}

func findAnvil(from []string) (string, error) {
	for _, dir := range from {
		for {
			path := filepath.Join(dir, installed)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
				return path, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	if path, err := exec.LookPath("anvil"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%w: neither %s nor anvil in PATH exists; run: make tools", ErrMissing, installed)
}
