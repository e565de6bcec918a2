// Command auditor verifies a cluster's whole history offline. It is given the
// genesis hash and copies of the vaults' logs, and opens no connection. It prints
// its report as JSON and exits with 1 when anything is wrong.
//
//	auditor GENESIS-HASH FOLDER…
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cofferhq/coffer/internal/chain/family"
	"github.com/cofferhq/coffer/internal/verify"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: auditor GENESIS-HASH FOLDER…")
		os.Exit(2)
	}
	genesis, err := hex.DecodeString(os.Args[1])
	if err != nil || len(genesis) != 32 {
		fmt.Fprintln(os.Stderr, "error: genesis hash: want 64 hex digits")
		os.Exit(2)
	}
	r := verify.Dirs([32]byte(genesis), os.Args[2:], family.Codecs())
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	if !r.OK {
		os.Exit(1)
	}
}
