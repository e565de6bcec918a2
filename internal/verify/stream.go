package verify

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/request"
)

// A log may have millions of entries. Of a copy on disk only the tree's hashes, where
// each entry begins, and the few changes are kept; the entries are read again for the
// replay, some thousands at a time.

// scanned is what one pass over a copy leaves.
type scanned struct {
	header  logfile.Header
	memory  [][]byte // a copy that the caller holds; else
	reader  *logfile.Reader
	offsets []int64
	tree    treeView
	sparse  []posEntry // of a bundle: the entries that it has; else nil
	first   []byte     // entry 0
	changes []posEntry // the entries that hold changes, or say what became of them
	damage  error
}

// treeView is the Merkle tree of a log, whole or as far as a bundle proves it.
type treeView interface {
	Size() uint64
	RootAt(size uint64) ([32]byte, error)
	Leaf(index uint64) ([32]byte, error)
}

type posEntry struct {
	index uint64
	bytes []byte
}

func scanCopy(c *logfile.Copy) *scanned {
	tree := new(audit.Log)
	s := &scanned{header: c.Header, memory: c.Entries, tree: tree, damage: c.Damage}
	for i, b := range c.Entries {
		tree.Append(b)
		s.note(uint64(i), b)
	}
	return s
}

func scanDir(dir string) (*scanned, error) {
	r, err := logfile.OpenReader(dir)
	if err != nil {
		return nil, err
	}
	tree := new(audit.Log)
	s := &scanned{header: r.Header, reader: r, tree: tree}
	for {
		at := r.Offset()
		b, err := r.Next()
		switch {
		case err == io.EOF:
			return s, nil
		case errors.Is(err, logfile.ErrTorn) || errors.Is(err, logfile.ErrCorrupt):
			s.damage = err
			return s, nil
		case err != nil:
			return nil, errors.Join(err, r.Close())
		}
		s.offsets = append(s.offsets, at)
		tree.Append(b)
		s.note(uint64(len(s.offsets)-1), b)
	}
}

func (s *scanned) close() {
	if s.reader != nil {
		_ = s.reader.Close() // only read
	}
}

func (s *scanned) note(i uint64, b []byte) {
	if i == 0 {
		s.first = b
	}
	if len(b) > kindAt && (audit.Kind(b[kindAt]) == audit.KindChange || audit.Kind(b[kindAt]) == audit.KindGovernance) {
		s.changes = append(s.changes, posEntry{i, b})
	}
}

// kindAt is where an entry's kind stands.
const kindAt = 1 + 8

func (s *scanned) size() int { return int(s.tree.Size()) }

// at reads one entry again.
func (s *scanned) at(i uint64) ([]byte, error) {
	if s.sparse != nil {
		for _, x := range s.sparse {
			if x.index == i {
				return x.bytes, nil
			}
		}
		return nil, fmt.Errorf("the bundle has no entry %d", i)
	}
	if s.reader == nil {
		return s.memory[i], nil
	}
	return s.reader.At(s.offsets[i])
}

// sameEntry says whether two copies have one entry at an index.
func (s *scanned) sameEntry(o *scanned, i uint64) bool {
	a, errA := s.tree.Leaf(i)
	b, errB := o.tree.Leaf(i)
	return errA == nil && errB == nil && a == b
}

// part is some entries of a log, decoded.
type part struct {
	parsed []parsed
	err    error
}

// parsed is an entry, decoded as far as that needs no knowledge of the others.
type parsed struct {
	index   uint64
	e       *audit.Entry
	err     error
	d       *audit.Decision
	bundle  *request.Bundle
	o       *audit.Outcome
	r       *audit.Receipt
	receipt [32]byte // SHA-256 of the receipt
}

// partSize is how many entries are replayed at a time.
const partSize = 2048

// parts reads a log once more, ahead of its reader. What came out of the first pass
// must come out again: the tree says so.
func (s *scanned) parts(done <-chan struct{}) <-chan part {
	out := make(chan part)
	go func() {
		defer close(out)
		for from := 0; from < s.held(); from += partSize {
			p := s.read(from, min(partSize, s.held()-from))
			select {
			case out <- p:
			case <-done:
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
	return out
}

// held is how many entries there are to replay, and number the index of the k-th.
func (s *scanned) held() int {
	if s.sparse != nil {
		return len(s.sparse)
	}
	return s.size()
}

func (s *scanned) number(k int) uint64 {
	if s.sparse != nil {
		return s.sparse[k].index
	}
	return uint64(k)
}

func (s *scanned) read(from, n int) part {
	raw := make([][]byte, n)
	for k := range raw {
		b, err := s.at(s.number(from + k))
		if err != nil {
			return part{err: err}
		}
		raw[k] = b
	}
	p := part{parsed: make([]parsed, n)}
	changed := make([]bool, n)
	parallel(n, func(k int) {
		i := s.number(from + k)
		leaf, err := s.tree.Leaf(i)
		if changed[k] = err != nil || leaf != audit.LeafHash(raw[k]); !changed[k] {
			p.parsed[k] = parse(raw[k])
			p.parsed[k].index = i
		}
	})
	for k := range changed {
		if changed[k] {
			p.err = fmt.Errorf("entry %d changed while it was verified", s.number(from+k))
		}
	}
	return p
}

func parse(b []byte) parsed {
	e, err := audit.DecodeEntry(b)
	if err != nil {
		return parsed{err: err}
	}
	p := parsed{e: e}
	switch e.Kind {
	case audit.KindDecision:
		if p.d, p.err = audit.DecodeDecision(e.Body); p.err == nil {
			p.bundle, p.err = request.DecodeBundle(p.d.Bundle)
		}
	case audit.KindOutcome:
		p.o, p.err = audit.DecodeOutcome(e.Body)
	case audit.KindReceipt:
		p.r, p.err = audit.DecodeReceipt(e.Body)
		p.receipt = sha256.Sum256(e.Body)
	}
	return p
}

// parallel runs f for 0 to n−1 on all processors.
func parallel(n int, f func(i int)) {
	const batch = 16
	workers := min(runtime.GOMAXPROCS(0), (n+batch-1)/batch)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next int
	var mu sync.Mutex
	take := func() (from, to int) {
		mu.Lock()
		defer mu.Unlock()
		from = next
		next = min(n, next+batch)
		return from, next
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				from, to := take()
				if from == to {
					return
				}
				for i := from; i < to; i++ {
					f(i)
				}
			}
		})
	}
	wg.Wait()
}

// jobs are what a part of a log leaves to do that takes time: first the ones that rest
// on nothing else in it, then those that rest on the first; then, in the log's order,
// what is concluded.
type jobs struct {
	first, second []func()
	after         []func()
}

func (j *jobs) run() {
	parallel(len(j.first), func(i int) { j.first[i]() })
	parallel(len(j.second), func(i int) { j.second[i]() })
	for _, f := range j.after {
		f()
	}
	j.first, j.second, j.after = j.first[:0], j.second[:0], j.after[:0]
}
