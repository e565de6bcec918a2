package coffer_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The architecture as data. Do not change this data to fix a build: change it
// with a reason, in one step, together with ARCHITECTURE.md.

const module = "github.com/cofferhq/coffer"

// layers lists every package of the module, lowest first. A package may import
// only packages of layers below its own.
var layers = [][]string{
	// Inside the boundary: arithmetic and encodings,
	{"internal/wire", "internal/secret", "internal/vault/planted", "mpc", "mpc/group/secp256k1", "mpc/group/ed25519", "mpc/ecdsa", "mpc/schnorr"},
	{"mpc/group"},
	{"internal/form", "internal/signature", "internal/refusal", "internal/chain", "mpc/transcript"},
	{"mpc/internal/session", "mpc/sharing", "mpc/baseot"},
	{"mpc/dkg", "mpc/pprf", "mpc/handover"},
	{"mpc/otext", "mpc/derive", "mpc/lifecycle", "mpc/backup"},
	{"mpc/vole"},
	{"mpc/pair"},
	{"mpc/dkls23", "mpc/frost"},
	{"mpc/roast"},
	// what is asked, by whom, and what it does,
	{"internal/chain/amount", "internal/chain/evm", "internal/chain/solana", "internal/request", "internal/audit", "internal/cluster", "internal/attest"},
	{"internal/identity", "internal/chain/family"},
	{"internal/policy"},
	{"internal/policy/analysis"},
	{"internal/governance"},
	// the port to the HSM (it takes contexts; the vault only names its roles), and the vault.
	{"internal/hsm"},
	{"internal/vault"},
	// Outside: policies as people write them,
	{"internal/policy/source", "internal/hsm/pkcs11uri"},
	// devices, disks, networks, chains' nodes,
	{"internal/cage", "internal/config", "internal/keyfile", "internal/machine", "internal/passkey", "internal/audit/logfile", "internal/hsm/soft", "internal/hsm/hsmtest", "internal/policy/example", "internal/transport/transporttest", "mpc/internal/mpctest"},
	{"internal/passkey/passkeytest", "internal/chain/evm/rpc", "internal/hsm/pkcs11", "internal/hsm/softhsm", "internal/hsm/swtpm", "internal/hsm/tpm", "internal/hsm/remote", "internal/transport", "internal/vaultlink"},
	{"internal/audit/tiles", "internal/witness"},
	{"internal/policy/backtest", "internal/hsm/device", "internal/hsm/devicetest", "internal/chain/evm/devnode", "internal/node", "internal/vaultshell", "internal/verify", "internal/sim"},
	// the services around the vaults,
	{"internal/verify/logmaker"},
	{"internal/verify/bench"},
	{"internal/price", "internal/risk", "internal/sim/cmd", "client"},
	{"internal/coordinator", "internal/coordinator/coordinatortest"},
	{"internal/api"},
	{"internal/coordinator/process"},
	// and the programs.
	{"internal/dev"},
	{"cmd/coffer", "demo", "demo/attacker", "demo/auditor", "internal/dev/pipeline", "mpc/internal/bench", "mpc/internal/timing", "mpc/internal/mutants"},
	// The reference model of the protocols and the model of the ledgers import nothing,
	// and only tests use them.
	{"internal/refmodel", "internal/vault/ledgermodel"},
}

// boundary are the packages that run inside a vault and decide. They do no I/O,
// read no clock and start no goroutine.
var boundary = []string{
	"internal/wire", "internal/secret", "internal/form", "internal/signature", "internal/refusal", "internal/chain", "internal/chain/amount", "internal/chain/evm", "internal/chain/solana", "internal/chain/family",
	"internal/request", "internal/identity", "internal/policy", "internal/policy/analysis", "internal/policy", "internal/governance", "internal/audit", "internal/cluster", "internal/attest",
	"internal/vault", "internal/vault/planted",
	"mpc", "mpc/transcript", "mpc/group", "mpc/group/secp256k1", "mpc/group/ed25519", "mpc/sharing", "mpc/ecdsa", "mpc/internal/session",
	"mpc/baseot", "mpc/pprf", "mpc/otext", "mpc/vole", "mpc/pair", "mpc/dkg", "mpc/derive", "mpc/dkls23", "mpc/schnorr", "mpc/frost", "mpc/roast", "mpc/handover", "mpc/lifecycle", "mpc/backup",
}

// allowed are the imports from outside the module that a boundary package may
// name directly.
var allowed = []string{
	"bytes", "cmp", "errors", "fmt", "io", "maps", "math", "math/bits", "slices", "sort", "strconv", "strings", "unicode", "unicode/utf8",
	"sync", "runtime", "embed", "time", "hash",
	"crypto", "crypto/aes", "crypto/cipher", "crypto/ecdh", "crypto/ecdsa", "crypto/ed25519", "crypto/elliptic", "crypto/hkdf", "crypto/hmac", "crypto/rsa", "crypto/sha256", "crypto/sha3", "crypto/sha512", "crypto/subtle",
	"encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "math/big",
	"filippo.io/edwards25519", "filippo.io/edwards25519/field", "github.com/decred/dcrd/dcrec/secp256k1/v4", "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa",
	"github.com/holiman/uint256", "golang.org/x/crypto/chacha20poly1305", "golang.org/x/crypto/sha3", "golang.org/x/mod/sumdb/tlog",
}

// forbiddenCalls are what package time still offers and a boundary must not use.
var forbiddenCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

type sourceFile struct {
	pkg  string // path within the module
	name string
	ast  *ast.File
	fset *token.FileSet
}

func load(t *testing.T, root string) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			base := d.Name()
			if rel != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || rel == "e2e") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !ignored(f) {
			files = append(files, sourceFile{path.Dir(rel), rel, f, fset})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ignored says that a file is a program of its own (go:build ignore).
func ignored(f *ast.File) bool {
	for _, c := range f.Comments {
		for _, l := range c.List {
			if c.Pos() < f.Package && strings.TrimSpace(l.Text) == "//go:build ignore" {
				return true
			}
		}
	}
	return false
}

func check(files []sourceFile) []string {
	level := map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			level[p] = i
		}
	}
	var faults []string
	fault := func(f sourceFile, pos token.Pos, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s:%d: %s", f.name, f.fset.Position(pos).Line, fmt.Sprintf(format, args...)))
	}
	for _, f := range files {
		own, known := level[f.pkg]
		if !known {
			fault(f, f.ast.Package, "package %s stands in no layer of arch_test.go", f.pkg)
			continue
		}
		inside := slices.Contains(boundary, f.pkg)
		for _, spec := range f.ast.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if in, ok := strings.CutPrefix(p, module+"/"); ok {
				other, known := level[in]
				if known && other >= own {
					fault(f, spec.Pos(), "%s (layer %d) imports %s (layer %d): imports go strictly downward", f.pkg, own, in, other)
				}
				if inside && !slices.Contains(boundary, in) && in != "internal/hsm" {
					fault(f, spec.Pos(), "%s is inside the boundary and imports %s, which is not", f.pkg, in)
				}
				continue
			}
			if inside && !slices.Contains(allowed, p) {
				fault(f, spec.Pos(), "%s is inside the boundary and imports %s, which is not on the list", f.pkg, p)
			}
		}
		if inside {
			checkStatements(f, fault)
		}
	}
	return faults
}

func checkStatements(f sourceFile, fault func(sourceFile, token.Pos, string, ...any)) {
	timeName := ""
	for _, spec := range f.ast.Imports {
		if spec.Path.Value == `"time"` {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			fault(f, n.Pos(), "a goroutine inside the boundary")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(forbiddenCalls, n.Sel.Name) {
				fault(f, n.Pos(), "time.%s inside the boundary: time is an input", n.Sel.Name)
			}
		}
		return true
	})
}

func TestArchitecture(t *testing.T) {
	files := load(t, ".")
	for _, f := range check(files) {
		t.Error(f)
	}
	have := map[string]bool{}
	for _, f := range files {
		have[f.pkg] = true
	}
	for _, l := range layers {
		for _, p := range l {
			if !have[p] {
				t.Errorf("layers name %s, which does not exist", p)
			}
		}
	}
}

// TestArchitectureFindsViolations plants one violation of each kind.
func TestArchitectureFindsViolations(t *testing.T) {
	for name, c := range map[string]struct{ pkg, src, want string }{
		"clock":       {"internal/policy", "package policy\nimport \"time\"\nvar t = time.Now()\n", "time.Now"},
		"renamed":     {"internal/policy", "package policy\nimport clock \"time\"\nvar t = clock.Since\n", "time.Since"},
		"goroutine":   {"internal/vault", "package vault\nfunc f() { go f() }\n", "goroutine"},
		"file":        {"mpc/dkg", "package dkg\nimport _ \"os\"\n", "imports os"},
		"upward":      {"internal/policy", "package policy\nimport _ \"" + module + "/internal/vault\"\n", "strictly downward"},
		"escape":      {"internal/vault", "package vault\nimport _ \"" + module + "/internal/hsm/device\"\n", "is not"},
		"unplaced":    {"internal/surprise", "package surprise\n", "no layer"},
		"unsafe":      {"internal/secret", "package secret\nimport _ \"unsafe\"\n", "imports unsafe"},
		"third party": {"internal/vault", "package vault\nimport _ \"github.com/nats-io/nats.go\"\n", "not on the list"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := filepath.Join(dir, filepath.FromSlash(c.pkg))
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(at, "planted.go"), []byte(c.src), 0o644); err != nil {
				t.Fatal(err)
			}
			faults := check(load(t, dir))
			if len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), c.want) {
				t.Errorf("faults %q, want one about %q", faults, c.want)
			}
		})
	}
}
