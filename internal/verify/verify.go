package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Copy is one copy of one vault's log, from wherever.
type Copy struct {
	Name string // how the report speaks of it: its path
	*logfile.Copy
	Exported *logfile.Exported // nil: not from an export of all logs
}

// copied is a copy after the first pass over it.
type copied struct {
	name       string
	checkpoint []byte
	exported   *logfile.Exported // nil: none
	*scanned
}

// Dirs verifies the copies in these folders. A folder that cannot be read is a
// fault; that there is none at all, too.
func Dirs(genesis [32]byte, dirs []string, codecs []chain.Codec) *Report {
	return newVerifier(genesis, codecs).dirs(dirs)
}

func (v *verifier) dirs(dirs []string) *Report {
	var copies []copied
	for _, dir := range dirs {
		// The checkpoint first: a log only grows.
		cp, err := logfile.ReadCheckpoint(dir)
		var exported *logfile.Exported
		if err == nil {
			exported, err = logfile.ReadExported(dir)
		}
		var s *scanned
		if err == nil {
			s, err = scanDir(dir)
		}
		if err != nil {
			v.report.fault(0, nil, CopyUnreadable, "%s: %v", dir, err)
			continue
		}
		defer s.close()
		copies = append(copies, copied{dir, cp, exported, s})
	}
	return v.run(copies)
}

// Alone verifies one log by itself: all that Dirs would, except what other vaults'
// logs have to say of it. A signature rests then on this vault's decision, and on the
// signed checkpoints of its peers that the release names; the report says so.
func Alone(genesis [32]byte, dir string, codecs []chain.Codec) *Report {
	v := newVerifier(genesis, codecs)
	v.alone = true
	return v.dirs([]string{dir})
}

// Copies verifies copies that the caller has read.
func Copies(genesis [32]byte, copies []Copy, codecs []chain.Codec) *Report {
	var all []copied
	for _, c := range copies {
		all = append(all, copied{c.Name, c.Checkpoint, c.Exported, scanCopy(c.Copy)})
	}
	return newVerifier(genesis, codecs).run(all)
}

// verifier holds what is known so far.
type verifier struct {
	cluster [32]byte
	codecs  []chain.Codec
	report  *Report
	limited bool              // a policy that was in force has limits
	alone   bool              // one log is asked about, not the cluster
	start   *governance.State // right after genesis
	first   string            // the entry that start is from
	newest  *governance.State // that any copy tells of
	logs    []*vaultLog       // by vault, ascending; of one vault the one in force last
	keys    map[[32]byte]*keyInfo
	names   map[string][32]byte // wallet → key
	changes map[uint64]changeSeen
	words   map[share]word // of peers, about what a log does not show any more

	seen      map[[32]byte]*witnessed // checkpoints that vaults saw of each other
	texts     map[string]string
	receipts  map[[32]byte]*receiptCheck // by SHA-256 of the receipt
	fixed     map[string]keyUse          // by public key
	tables    keyTables
	addresses sync.Map   // chain and public key → address; of the known keys on their requests' chains
	mu        sync.Mutex // guards the report while jobs run
}

type changeSeen struct {
	hash  [32]byte
	vault uint16
}

// keyUse counts a key's signatures until a table is worth its making.
type keyUse struct {
	signatures int
	key        *fixedKey
}

func newVerifier(genesis [32]byte, codecs []chain.Codec) *verifier {
	return &verifier{
		cluster: genesis, codecs: codecs, report: &Report{Cluster: hex.EncodeToString(genesis[:])},
		keys: map[[32]byte]*keyInfo{}, names: map[string][32]byte{}, changes: map[uint64]changeSeen{}, words: map[share]word{},
		texts: map[string]string{}, fixed: map[string]keyUse{}, seen: map[[32]byte]*witnessed{}, receipts: map[[32]byte]*receiptCheck{},
	}
}

func (v *verifier) run(copies []copied) *Report {
	copies = v.admit(copies)
	if v.start == nil {
		v.report.fault(0, nil, CopyMissing, "none of the copies is a log of cluster %x with its genesis: nothing can be verified", v.cluster[:8])
		return v.report.finish()
	}
	v.report.Name = v.start.Genesis.Name
	v.govern(copies)
	v.collect(copies)
	v.begun(copies)
	for _, l := range v.logs {
		v.replay(l)
	}
	v.crossEpochs()
	for _, l := range v.logs {
		v.crossWitnesses(l)
	}
	for _, l := range v.logs {
		v.crossOutcomes(l)
	}
	v.crossReceipts()
	v.crossLimits(copies)
	v.sayYoung()
	if v.alone {
		v.report.note("one log by itself: what the other vaults' logs say of it was not asked")
	}
	v.summarise()
	return v.report.finish()
}

// admit keeps the copies that are of this cluster and finds the genesis.
func (v *verifier) admit(copies []copied) []copied {
	var out []copied
	for _, c := range copies {
		vault := c.header.Vault
		if c.damage != nil {
			v.report.fault(vault, nil, CopyDamaged, "%s: %v", c.name, c.damage)
		}
		if c.header.Cluster != v.cluster {
			v.report.fault(vault, nil, CopyForeign, "%s: it is a log of cluster %x, want %x", c.name, c.header.Cluster[:8], v.cluster[:8])
			continue
		}
		state, err := v.genesisOf(c)
		if err != nil {
			v.report.fault(vault, entry(0), GenesisWrong, "%s: %v", c.name, err)
			continue
		}
		if _, ok := state.Vault(vault); !ok {
			v.report.fault(vault, nil, CopyForeign, "%s: the genesis names no vault %d", c.name, vault)
			continue
		}
		v.start, v.first = state, string(c.first)
		out = append(out, c)
	}
	return out
}

// genesisOf reads entry 0. It is believed for its hash alone.
func (v *verifier) genesisOf(c copied) (*governance.State, error) {
	if c.size() == 0 {
		return nil, errors.New("the log is empty, want the genesis as its first entry")
	}
	if v.start != nil && string(c.first) == v.first {
		return v.start, nil
	}
	e, err := audit.DecodeEntry(c.first)
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
	copy    string              // the copy's name
	key     signature.PublicKey // the log key
	begun   uint64              // the change that began this log; 0: the genesis
	until   uint64              // the change that began the vault's next log; 0: it is in force
	retired uint64              // the change that took the device which signed the checkpoint out of service; 0: none
	*scanned
	covered uint64 // entries that the checkpoint vouches for
	boot    uint64 // of the checkpoint
	applied uint64 // newest change in it
	young   young  // entries that the other copies may be too old for

	resumed   []resumption            // by which it went on
	abandoned *governance.VaultChange // by which the admins gave it up

	way       governance.Course             // of the governance, up to the entry
	history   []*governance.State           // in the order in which they came
	since     []uint64                      // when each became valid, by the vault's clock
	keys      map[[32]byte]*dkg.Certificate // that the log has told of, in the newest epoch
	lastBoot  uint64
	starts    []start
	decisions map[[16]byte]*decision // that allow, by attempt
	outcomes  map[[16]byte]*outcome
	receipts  []*receipt
	released  map[[32]byte][]*decision // with a share of this vault, by request
	jobs      jobs
	clones    map[signature.PublicKey]clone // passkeys that are in two devices
}

func entry(i uint64) *uint64 { return &i }

func keysOf(cluster [32]byte, g *governance.Vault) audit.Keys {
	return audit.Keys{Cluster: cluster, Vault: g.ID, Decision: g.Decision, Log: g.Log}
}

// compare finds the first entry in which two copies of one log differ.
func (v *verifier) compare(a, b *vaultLog) {
	n := min(a.size(), b.size())
	i := sort.Search(n, func(i int) bool {
		x, _ := a.tree.RootAt(uint64(i + 1)) // both have so many
		y, _ := b.tree.RootAt(uint64(i + 1))
		return x != y
	})
	if i < n {
		v.report.fault(a.id, entry(uint64(i)), CopyForked, "%s and %s differ from here on: the log was forked", a.copy, b.copy)
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
