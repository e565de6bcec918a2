package vault

import (
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
)

// Record names. The root key rests sealed by the device; everything else is
// sealed under the root key, bound to its name.
const (
	recordRoot       = "root"
	recordManifest   = "manifest"
	recordLogKey     = "log-key"
	recordGenesis    = "genesis"
	recordChange     = "change/"  // keptChange
	recordGoverned   = "governed" // the time up to which what was due has come in force
	recordKey        = "key/"
	recordPending    = "pending/"
	recordLedger     = "ledger/"
	recordQuarantine = "quarantine/"

	recordHandover  = "handover/"  // what this vault has promised about a key's epochs
	recordShare     = "share/"     // of a later epoch than the first
	recordCandidate = "candidate/" // share of an epoch that has not begun
	recordLeft      = "left/"      // a key of which this vault holds no share any more

	recordLasting   = "lasting-key" // opens what only grows
	recordSealEpoch = "seal-epoch"  // the device's epoch under which the root key rests
)

// store is the vault's view of the node's disk. The manifest, rewritten with
// every change, names the hash of every record: a host that brings back a single
// old record, or loses one, is found out at the next start. (A host that brings
// back the whole disk of an earlier day is found out by the peers: heads.go.)
//
// There are two keys. The root key is drawn anew with every step of the ratchet
// (ratchet.go), and all that it had sealed is sealed again. What only grows
// (ledgers, changes) would take ever longer, and an old copy of it says nothing that
// the newest does not: it rests under the lasting key, which is a record itself.
type store struct {
	vault   mpc.ID
	aead    cipher.AEAD // root key
	lasting cipher.AEAD
	rand    io.Reader

	sums   map[string][32]byte // name → SHA-256 of the sealed value; not of ledger records
	kept   map[string][]byte   // name → sealed value, of what the root key seals
	seq    uint64
	writes []Record
	dirty  bool
}

func newStore(vault mpc.ID, rootKey secret.Bytes, rand io.Reader) (*store, error) {
	aead, err := chacha20poly1305.NewX(rootKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("couldn't use the root key: %w", err)
	}
	return &store{vault: vault, aead: aead, rand: rand, sums: map[string][32]byte{}, kept: map[string][]byte{}}, nil
}

// lasts says that a record rests under the lasting key.
func lasts(name string) bool {
	return strings.HasPrefix(name, recordLedger) || strings.HasPrefix(name, recordChange)
}

// byDevice says that a record is sealed by a device, not by the vault.
func byDevice(name string) bool { return name == recordRoot || name == recordNextRoot }

func (s *store) aeadOf(name string) cipher.AEAD {
	if lasts(name) {
		return s.lasting
	}
	return s.aead
}

// useLasting takes the lasting key, which it wipes.
func (s *store) useLasting(key []byte) error {
	defer secret.Wipe(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return fmt.Errorf("couldn't use the lasting key: %w", err)
	}
	s.lasting = aead
	return nil
}

// reseal seals everything that the root key had sealed under another one. All of it
// is queued, and becomes durable in one step, with the new root's own record.
func (s *store) reseal(root secret.Bytes, sealedRoot []byte) error {
	next, err := chacha20poly1305.NewX(root.Reveal())
	if err != nil {
		return fmt.Errorf("couldn't use the new root key: %w", err)
	}
	opened := map[string][]byte{}
	defer func() {
		for _, b := range opened {
			secret.Wipe(b)
		}
	}()
	for name, sealed := range s.kept {
		if opened[name], err = s.open(name, sealed); err != nil {
			return err
		}
	}
	s.aead = next
	for _, name := range slices.Sorted(maps.Keys(opened)) {
		if err := s.put(name, opened[name]); err != nil {
			return err
		}
	}
	s.raw(recordRoot, sealedRoot)
	return nil
}

func (s *store) aad(name string) []byte {
	return wire.NewWriter(1).String("coffer/record/v1").Uint16(uint16(s.vault)).String(name).Bytes()
}

func (s *store) seal(name string, plain []byte) ([]byte, error) {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, fmt.Errorf("couldn't draw a nonce for record %s: %w", name, err)
	}
	return s.aeadOf(name).Seal(nonce, nonce, plain, s.aad(name)), nil
}

func (s *store) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, fmt.Errorf("record %s has %d bytes: the node's disk was changed", name, len(sealed))
	}
	n := chacha20poly1305.NonceSizeX
	plain, err := s.aeadOf(name).Open(nil, sealed[:n], sealed[n:], s.aad(name))
	if err != nil {
		return nil, fmt.Errorf("record %s does not open: the node's disk was changed, or the record is another vault's", name)
	}
	return plain, nil
}

// put seals and queues a record.
func (s *store) put(name string, plain []byte) error {
	sealed, err := s.seal(name, plain)
	if err != nil {
		return err
	}
	s.raw(name, sealed)
	return nil
}

// raw queues a record that is sealed already.
func (s *store) raw(name string, sealed []byte) {
	s.dirty = true
	s.writes = append(s.writes, Record{name, sealed})
	s.note(name, sealed)
}

// note keeps what the manifest and the next root key need to know of a record.
func (s *store) note(name string, sealed []byte) {
	if !strings.HasPrefix(name, recordLedger) {
		s.sums[name] = sha256.Sum256(sealed)
	}
	if !lasts(name) && !byDevice(name) {
		s.kept[name] = sealed
	}
}

// remove queues a deletion.
func (s *store) remove(name string) {
	if _, ok := s.sums[name]; !ok {
		return
	}
	s.dirty = true
	s.writes = append(s.writes, Record{name, nil})
	delete(s.sums, name)
	delete(s.kept, name)
}

// digest covers every record but the ledgers', which are hash chains whose heads
// the manifest names.
func (s *store) digest() [32]byte {
	names := make([]string, 0, len(s.sums))
	for n := range s.sums {
		names = append(names, n)
	}
	sort.Strings(names)
	items := make([][]byte, 0, 2*len(names))
	for _, n := range names {
		sum := s.sums[n]
		items = append(items, []byte(n), sum[:])
	}
	return wire.Hash("coffer/record-set/v1", items...)
}

// flush returns the queued writes with the manifest as the last one.
func (s *store) flush(m manifest) []Record {
	s.seq++
	m.Seq, m.Records = s.seq, s.digest()
	sealed, err := s.seal(recordManifest, m.encode())
	out := s.writes
	s.writes, s.dirty = nil, false
	if err != nil {
		// Without a manifest the records must not be written: returning none of
		// them, and no manifest, would lose the state silently. The reader is
		// crypto/rand in production, which does not fail.
		panic("vault: randomness ended: " + err.Error())
	}
	return append(out, Record{recordManifest, sealed})
}

// manifest ties the records, the ledgers and the log of one moment together.
type manifest struct {
	Seq     uint64
	Records [32]byte
	Boot    uint64
	LogSize uint64
	LogRoot [32]byte
	Ledgers []ledgerHead // sorted by party
}

const manifestVersion = 1

func (m *manifest) encode() []byte {
	w := wire.NewWriter(manifestVersion).Uint64(m.Seq).Fixed(m.Records[:]).Uint64(m.Boot).Uint64(m.LogSize).Fixed(m.LogRoot[:])
	writeHeads(w, m.Ledgers)
	return w.Bytes()
}

func decodeManifest(b []byte) (*manifest, error) {
	r := wire.NewReader(b, manifestVersion)
	m := &manifest{Seq: r.Uint64("seq")}
	r.Into("records", m.Records[:])
	m.Boot, m.LogSize = r.Uint64("boot"), r.Uint64("log size")
	r.Into("log root", m.LogRoot[:])
	m.Ledgers = readHeads(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode the manifest: %w", err)
	}
	return m, nil
}

func (v *Vault) manifest() manifest {
	return manifest{Boot: v.boot, Ledgers: v.heads(), LogSize: v.log.Size(), LogRoot: v.log.Root()}
}

// findLasting opens the lasting key, without which ledgers and changes stay shut.
func (s *store) findLasting(loaded Loaded) error {
	for _, rec := range loaded.Records {
		if rec.Name != recordLasting {
			continue
		}
		key, err := s.open(rec.Name, rec.Value)
		if err != nil {
			return err
		}
		return s.useLasting(key)
	}
	return errors.New("the lasting key's record is missing: the node's disk was changed; restore the whole directory, never single files")
}

// load checks what the node brought against the manifest and returns the opened
// records by name.
func (s *store) load(loaded Loaded) (map[string][]byte, *manifest, error) {
	if err := s.findLasting(loaded); err != nil {
		return nil, nil, err
	}
	opened := map[string][]byte{}
	var m *manifest
	for _, rec := range loaded.Records {
		if _, dup := opened[rec.Name]; dup {
			return nil, nil, fmt.Errorf("record %s comes twice: the node's disk was changed", rec.Name)
		}
		if byDevice(rec.Name) {
			s.note(rec.Name, rec.Value)
			continue
		}
		plain, err := s.open(rec.Name, rec.Value)
		if err != nil {
			return nil, nil, err
		}
		if rec.Name == recordManifest {
			if m, err = decodeManifest(plain); err != nil {
				return nil, nil, err
			}
			continue
		}
		opened[rec.Name] = plain
		s.note(rec.Name, rec.Value)
	}
	if m == nil {
		return nil, nil, errors.New("the manifest is missing: the node's disk was changed; restore the whole directory, never single files")
	}
	if s.digest() != m.Records {
		return nil, nil, errors.New("the records on the node's disk are not those of its manifest: one was removed, or an older one brought back; restore the whole directory, never single files")
	}
	s.seq = m.Seq
	return opened, m, nil
}
