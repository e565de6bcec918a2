package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Copy is one copy of one vault's log, from wherever.
type Copy struct {
	Name string // how the report speaks of it: its path
	*logfile.Copy
}

// Dirs verifies the copies in these folders. A folder that cannot be read is a
// fault; that there is none at all, too.
func Dirs(genesis [32]byte, dirs []string, codecs []chain.Codec) *Report {
	var copies []Copy
	var unreadable []string
	for _, dir := range dirs {
		c, err := logfile.Read(dir)
		if err != nil {
			unreadable = append(unreadable, fmt.Sprintf("%s: %v", dir, err))
			continue
		}
		copies = append(copies, Copy{dir, c})
	}
	v := newVerifier(genesis, codecs)
	for _, u := range unreadable {
		v.report.fault(0, nil, CopyUnreadable, "%s", u)
	}
	return v.run(copies)
}

// Copies verifies copies that the caller has read.
func Copies(genesis [32]byte, copies []Copy, codecs []chain.Codec) *Report {
	return newVerifier(genesis, codecs).run(copies)
}

// verifier holds what is known so far.
type verifier struct {
	cluster [32]byte
	codecs  []chain.Codec
	report  *Report
	start   *governance.State // right after genesis
	first   string            // the entry that start is from
	logs    []*vaultLog       // one a vault, ascending
	keys    map[[32]byte]*keyInfo
	names   map[string][32]byte // wallet → key
	changes map[uint64]changeSeen
}

type changeSeen struct {
	hash  [32]byte
	vault uint16
}

func newVerifier(genesis [32]byte, codecs []chain.Codec) *verifier {
	return &verifier{
		cluster: genesis, codecs: codecs, report: &Report{Cluster: hex.EncodeToString(genesis[:])},
		keys: map[[32]byte]*keyInfo{}, names: map[string][32]byte{}, changes: map[uint64]changeSeen{},
	}
}

func (v *verifier) run(copies []Copy) *Report {
	copies = v.admit(copies)
	if v.start == nil {
		v.report.fault(0, nil, CopyMissing, "none of the copies is a log of cluster %x with its genesis: nothing can be verified", v.cluster[:8])
		return v.report.finish()
	}
	v.report.Name = v.start.Genesis.Name
	v.collect(copies)
	for _, l := range v.logs {
		v.replay(l)
	}
	v.crossEpochs()
	for _, l := range v.logs {
		v.crossOutcomes(l)
	}
	v.crossReceipts()
	v.summarise()
	return v.report.finish()
}

// admit keeps the copies that are of this cluster and finds the genesis.
func (v *verifier) admit(copies []Copy) []Copy {
	var out []Copy
	for _, c := range copies {
		vault := c.Header.Vault
		if c.Damage != nil {
			v.report.fault(vault, nil, CopyDamaged, "%s: %v", c.Name, c.Damage)
		}
		if c.Header.Cluster != v.cluster {
			v.report.fault(vault, nil, CopyForeign, "%s: it is a log of cluster %x, want %x", c.Name, c.Header.Cluster[:8], v.cluster[:8])
			continue
		}
		state, err := v.genesisOf(c)
		if err != nil {
			v.report.fault(vault, entry(0), GenesisWrong, "%s: %v", c.Name, err)
			continue
		}
		if _, ok := state.Vault(vault); !ok {
			v.report.fault(vault, nil, CopyForeign, "%s: the genesis names no vault %d", c.Name, vault)
			continue
		}
		v.start, v.first = state, string(c.Entries[0])
		out = append(out, c)
	}
	return out
}

// genesisOf reads entry 0. It is believed for its hash alone.
func (v *verifier) genesisOf(c Copy) (*governance.State, error) {
	if len(c.Entries) == 0 {
		return nil, errors.New("the log is empty, want the genesis as its first entry")
	}
	if v.start != nil && string(c.Entries[0]) == v.first {
		return v.start, nil
	}
	e, err := audit.DecodeEntry(c.Entries[0])
	if err != nil {
		return nil, err
	}
	if e.Kind != audit.KindGenesis {
		return nil, fmt.Errorf("the first entry is a %v, want the genesis", e.Kind)
	}
	g, err := governance.DecodeGenesis(e.Body)
	if err != nil {
		return nil, err
	}
	if h := g.Hash(); h != v.cluster {
		return nil, fmt.Errorf("its genesis has the hash %x, want %x", h, v.cluster)
	}
	return governance.Start(g)
}

// vaultLog is the log of one vault, from its longest copy.
type vaultLog struct {
	id      uint16
	name    string
	entries [][]byte
	tree    *audit.Log
	covered uint64 // entries that the checkpoint vouches for
	boot    uint64 // of the checkpoint

	history   []*governance.State           // by seq
	since     []uint64                      // when each became valid, by the vault's clock
	keys      map[[32]byte]*dkg.Certificate // that the log has told of, in the newest epoch
	lastBoot  uint64
	decisions map[[16]byte]*decision // that allow, by attempt
	outcomes  map[[16]byte]*outcome
	receipts  []*receipt
}

func entry(i uint64) *uint64 { return &i }

func keysOf(cluster [32]byte, g *governance.Vault) audit.Keys {
	return audit.Keys{Cluster: cluster, Vault: g.ID, Decision: g.Decision, Log: g.Log}
}

// collect checks every copy against its own checkpoint and makes one log a vault.
func (v *verifier) collect(copies []Copy) {
	for i := range v.start.Genesis.Enrolments {
		g := &v.start.Genesis.Enrolments[i].Vault
		var best *vaultLog
		var bestName string
		n := 0
		for _, c := range copies {
			if c.Header.Vault != g.ID {
				continue
			}
			n++
			l := v.check(c, g)
			if best == nil {
				best, bestName = l, c.Name
				continue
			}
			v.compare(best, bestName, l, c.Name)
			if l.covered > best.covered || l.covered == best.covered && len(l.entries) > len(best.entries) {
				best, bestName = l, c.Name
			}
		}
		if best == nil {
			v.report.note("no copy of the log of vault %d (%s)", g.ID, g.Name)
			continue
		}
		v.logs = append(v.logs, best)
		v.report.Vaults = append(v.report.Vaults, VaultLog{g.ID, g.Name, uint64(len(best.entries)), best.covered, n})
		if tail := uint64(len(best.entries)) - best.covered; tail > 0 {
			v.report.note("vault %d: the last %s not covered by its signed checkpoint: the vault's HSM does not vouch for them", g.ID, count(int(tail), "entry is", "entries are"))
		}
	}
}

// check is entries ↔ root ↔ checkpoint ↔ the genesis' keys.
func (v *verifier) check(c Copy, g *governance.Vault) *vaultLog {
	l := &vaultLog{
		id: g.ID, name: g.Name, entries: c.Entries, tree: audit.Load(c.Entries), keys: map[[32]byte]*dkg.Certificate{},
		decisions: map[[16]byte]*decision{}, outcomes: map[[16]byte]*outcome{},
	}
	fault := func(code Code, format string, args ...any) {
		v.report.fault(g.ID, nil, code, "%s: %s", c.Name, fmt.Sprintf(format, args...))
	}
	if c.Checkpoint == nil {
		fault(CheckpointMissing, "the log has no signed checkpoint")
		return l
	}
	cp, err := audit.DecodeSignedCheckpoint(c.Checkpoint)
	if err != nil {
		fault(CheckpointForm, "%v", err)
		return l
	}
	if err := cp.Verify(keysOf(v.cluster, g)); err != nil {
		fault(CheckpointForeign, "%v", err)
		return l
	}
	if cp.Size > l.tree.Size() {
		fault(CheckpointSize, "the log has %s, its signed checkpoint covers %d: the rest was cut off", count(len(l.entries), "entry", "entries"), cp.Size)
		return l
	}
	if root, err := l.tree.RootAt(cp.Size); err != nil || root != cp.Root {
		fault(CheckpointRoot, "the first %d entries are not those that the signed checkpoint covers", cp.Size)
		return l
	}
	l.covered, l.boot = cp.Size, cp.Boot
	return l
}

// compare finds the first entry in which two copies of one log differ.
func (v *verifier) compare(a *vaultLog, aName string, b *vaultLog, bName string) {
	n := min(len(a.entries), len(b.entries))
	for i := range n {
		if !slices.Equal(a.entries[i], b.entries[i]) {
			v.report.fault(a.id, entry(uint64(i)), CopyForked, "%s and %s differ from here on: the log was forked", aName, bName)
			return
		}
	}
}

func (v *verifier) codec(chainID string) (chain.Codec, bool) {
	for _, c := range v.codecs {
		if strings.HasPrefix(chainID, c.Namespace()+":") {
			return c, true
		}
	}
	return nil, false
}
