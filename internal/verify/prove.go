package verify

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/chain"
)

// Prove makes the bundle of a signature from the logs in these folders: of a request,
// by its id or the beginning of it, or of a transaction, by its id. Of a copy with a
// cosigned checkpoint that covers the signature it takes that one with its
// cosignatures, those of other vaults and of these witnesses; otherwise the newest.
func Prove(genesis [32]byte, dirs []string, what string, codecs []chain.Codec, witnesses []audit.Cosigner) (*Bundle, error) {
	r, err := findReceipt(dirs, what)
	if err != nil {
		return nil, err
	}
	m := &maker{genesis: genesis, codecs: codecs, receipt: r, witnesses: witnesses}
	defer m.close()
	for _, dir := range dirs {
		if err := m.open(dir); err != nil {
			return nil, err
		}
	}
	b, err := m.make(true)
	if err != nil && m.cosigned {
		b, err = m.make(false) // what others signed proves nothing here: it is older, or worth nothing
	}
	return b, err
}

// maker makes a bundle.
type maker struct {
	genesis   [32]byte
	codecs    []chain.Codec
	receipt   *audit.Receipt
	logs      []madeFrom
	witnesses []audit.Cosigner
	cosigned  bool // some log has a cosigned checkpoint
}

// madeFrom is a copy of a log.
type madeFrom struct {
	*scanned
	dir        string
	checkpoint []byte
	cosigned   *audit.CosignedCheckpoint // nil: none
}

func (m *maker) close() {
	for _, l := range m.logs {
		l.close()
	}
}

func (m *maker) open(dir string) error {
	cp, err := logfile.ReadCheckpoint(dir)
	if err != nil {
		return err
	}
	cosigned, err := logfile.ReadCosigned(dir)
	if err != nil {
		return err
	}
	s, err := scanDir(dir)
	if err != nil {
		return err
	}
	m.logs = append(m.logs, madeFrom{s, dir, cp, cosigned})
	m.cosigned = m.cosigned || cosigned != nil
	return nil
}

// make makes the bundle, under cosigned checkpoints where there are some.
func (m *maker) make(cosigned bool) (*Bundle, error) {
	b := &Bundle{Cluster: m.genesis, Attempt: m.receipt.Attempt}
	var from []*madeFrom
	var copies []copied
	for i := range m.logs {
		l := &m.logs[i]
		c, err := b.takeFrom(l, m.receipt, cosigned)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.dir, err)
		}
		if c == nil || slices.ContainsFunc(copies, func(o copied) bool { return o.header.Vault == l.header.Vault }) {
			continue
		}
		copies, from = append(copies, *c), append(from, l)
	}
	// What deciding again asks of the trees has to be proven.
	v := newVerifier(m.genesis, m.codecs)
	if report := v.run(slices.Clone(copies)); !report.OK {
		return nil, fmt.Errorf("the logs do not prove it: %s", report.Faults[0])
	}
	for i := range copies {
		p, err := prove(&copies[i], from[i].scanned)
		if err != nil {
			return nil, err
		}
		if x := from[i].cosigned; x != nil && bytes.Equal(copies[i].checkpoint, x.Checkpoint.Encode()) {
			p.Cosignatures = v.counting(p.Vault, x, m.witnesses)
		}
		b.Parts = append(b.Parts, *p)
	}
	slices.SortFunc(b.Parts, func(x, y Part) int { return cmp.Compare(x.Vault, y.Vault) })
	return b, nil
}

// takeFrom is take under the cosigned checkpoint, when it covers all that the newest
// one covers of this attempt.
func (b *Bundle) takeFrom(l *madeFrom, r *audit.Receipt, cosigned bool) (*copied, error) {
	whole, err := b.take(l.scanned, l.checkpoint, r)
	if err != nil || whole == nil || !cosigned || l.cosigned == nil {
		return whole, err
	}
	size := l.cosigned.Checkpoint.Size
	for _, e := range whole.sparse {
		if x := parse(e.bytes); e.index >= size && (x.d != nil || x.o != nil || x.r != nil) {
			return whole, nil
		}
	}
	if size > uint64(l.size()) {
		return whole, nil
	}
	return b.take(l.scanned, l.cosigned.Checkpoint.Encode(), r)
}

// counting are the cosignatures of other vaults and of these witnesses that verify. A
// reader refuses others.
func (v *verifier) counting(vault uint16, x *audit.CosignedCheckpoint, witnesses []audit.Cosigner) (out []audit.Cosignature) {
	known := append(v.cosigners(vault), witnesses...)
	for _, c := range x.Cosignatures {
		if slices.ContainsFunc(known, func(k audit.Cosigner) bool { return c.Verify(k, x.Checkpoint.Text()) == nil }) {
			out = append(out, c)
		}
	}
	return out
}

// findReceipt looks for the signature in any of the logs.
func findReceipt(dirs []string, what string) (*audit.Receipt, error) {
	what = strings.TrimSpace(what)
	if len(what) < 8 {
		return nil, fmt.Errorf("%q: want a transaction's id, or at least 8 digits of a request's", what)
	}
	for _, dir := range dirs {
		r, err := logfile.OpenReader(dir)
		if err != nil {
			return nil, err
		}
		for {
			b, err := r.Next()
			if err != nil {
				if err == io.EOF || errors.Is(err, logfile.ErrTorn) {
					break
				}
				return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), r.Close())
			}
			if len(b) <= kindAt || audit.Kind(b[kindAt]) != audit.KindReceipt {
				continue
			}
			if x := parse(b); x.r != nil && (x.r.TxID == what || strings.HasPrefix(hex.EncodeToString(x.r.Request[:]), strings.ToLower(what))) {
				return x.r, r.Close()
			}
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no log has a signature of %q", what)
}

// take picks the entries of one log that matter; nil when the vault had no part.
func (b *Bundle) take(s *scanned, checkpoint []byte, r *audit.Receipt) (*copied, error) {
	cp, err := audit.DecodeSignedCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	if cp.Size > uint64(s.size()) {
		return nil, fmt.Errorf("its checkpoint covers %d entries, it has %d", cp.Size, s.size())
	}
	t := &sparseTree{size: cp.Size, roots: map[uint64][32]byte{}, leaves: map[uint64][32]byte{}, whole: s.tree, asked: map[uint64]bool{}}
	out := &scanned{header: s.header, tree: t, sparse: []posEntry{}}
	part := false
	for i := range cp.Size {
		raw, err := s.at(i)
		if err != nil {
			return nil, err
		}
		if skim(raw) {
			continue
		}
		x := parse(raw)
		if !b.wants(&x, &r.Key) {
			continue
		}
		part = part || x.d != nil
		t.leaves[i] = audit.LeafHash(raw)
		out.sparse = append(out.sparse, posEntry{i, raw})
		out.note(i, raw)
	}
	if !part {
		return nil, nil
	}
	return &copied{name: fmt.Sprintf("vault %d's part", s.header.Vault), checkpoint: checkpoint, scanned: out}, nil
}

// skim says that an entry is of a kind that no bundle has.
func skim(raw []byte) bool {
	if len(raw) <= kindAt {
		return false
	}
	k := audit.Kind(raw[kindAt])
	return k == audit.KindIncident || k == audit.KindClone
}

func prove(c *copied, whole *scanned) (*Part, error) {
	t, full := c.tree.(*sparseTree), whole.tree.(*audit.Log)
	p := &Part{Vault: c.header.Vault, Checkpoint: c.checkpoint}
	for _, x := range c.sparse {
		proof, err := full.Inclusion(x.index, t.size)
		if err != nil {
			return nil, err
		}
		p.Entries = append(p.Entries, PartEntry{x.index, x.bytes, proof})
	}
	for size := range t.asked {
		if size == 0 || size >= t.size {
			continue
		}
		root, err := full.RootAt(size)
		if err != nil {
			return nil, err
		}
		proof, err := full.Consistency(size, t.size)
		if err != nil {
			return nil, err
		}
		p.Heads = append(p.Heads, PartHead{size, root, proof})
	}
	slices.SortFunc(p.Heads, func(x, y PartHead) int { return cmp.Compare(x.Size, y.Size) })
	return p, nil
}
