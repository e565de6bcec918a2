package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// What a node's directory holds.
const (
	lockFile    = "lock"
	recordsFile = "records.db"
	logDir      = "log"
)

var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records")

	keyVersion    = []byte("version")
	keyVault      = []byte("vault")      // u16
	keyCluster    = []byte("cluster")    // 32 bytes, once the vault belongs to one
	keyLogSize    = []byte("log-size")   // u64: durable entries of the log
	keyCheckpoint = []byte("checkpoint") // newest, as the vault signed it
	keyChanges    = []byte("changes")    // u64: number of the last change that is in here
)

const storeVersion = 1

// loadPart is about how much of the store goes into one Load message.
const loadPart = 1 << 20

// store is a node's directory. Persist, load and bind are called by one
// goroutine; head and readLog by any.
type store struct {
	dir  string
	lock *os.File

	io      sync.Mutex // guards the fields below, and the files
	journal *journal
	db      *bbolt.DB
	log     *logfile.Log // nil until the vault belongs to a cluster
	pending []*vaultlink.Persist
	number  uint64 // of the last durable change
	broken  error  // a failed write: what the disk holds is unknown until the next open

	// where only a test sets something, to end the process there
	journalled, appended func()

	mu         sync.Mutex // guards the fields below
	size       uint64     // durable entries of the log
	checkpoint []byte

	applier sync.WaitGroup
	dirty   chan struct{}
	stop    chan struct{}
}

// persist makes one change durable, all of it or nothing. After an error the
// store takes no more changes.
func (s *store) persist(p *vaultlink.Persist) (err error) {
	s.io.Lock()
	defer s.io.Unlock()
	if s.broken != nil {
		return fmt.Errorf("couldn't persist: an earlier write failed: %w", s.broken)
	}
	defer func() {
		if err != nil {
			s.broken = err
		}
	}()
	if size, _ := s.head(); p.Index != size {
		return fmt.Errorf("couldn't persist: the vault's log has %d entries, the disk's %d", p.Index, size)
	}
	if len(p.Entries) > 0 && s.log == nil {
		return fmt.Errorf("couldn't persist: %d log entries of a vault that belongs to no cluster yet", len(p.Entries))
	}
	change := vaultlink.Encode(p)
	if !s.journal.room(len(change)) {
		if err := s.apply(); err != nil {
			return err
		}
	}
	if err := s.journal.append(s.number+1, change); err != nil {
		return err
	}
	// The change is durable: everything from here on only moves it.
	if s.journalled != nil {
		s.journalled()
	}
	s.number++
	s.pending = append(s.pending, p)
	s.count(p)
	select {
	case s.dirty <- struct{}{}:
	default:
	}
	return nil
}

// apply moves the pending changes to log and records, in this order: (1) the
// entries to the log file, made durable; (2) one bbolt commit, which names the
// log's size and the last change. After a crash between them the log is cut back
// to the size that bbolt names, and the journal has the changes still. Only then
// the journal is used anew. s.io is held.
func (s *store) apply() (err error) {
	if len(s.pending) == 0 {
		return nil
	}
	if s.broken != nil {
		return fmt.Errorf("couldn't apply the journal: an earlier write failed: %w", s.broken)
	}
	defer func() {
		if err != nil {
			s.broken = err
		}
	}()
	var entries [][]byte
	for _, p := range s.pending {
		entries = append(entries, p.Entries...)
	}
	if len(entries) > 0 {
		if s.log == nil {
			return fmt.Errorf("couldn't apply the journal: %d log entries of a vault that belongs to no cluster yet", len(entries))
		}
		if err := s.log.Append(entries); err != nil {
			return err
		}
	}
	if s.appended != nil {
		s.appended()
	}
	if err := s.commit(); err != nil {
		return fmt.Errorf("couldn't commit to %s: %w", recordsFile, err)
	}
	s.pending = nil
	s.journal.reset()
	s.copyCheckpoint()
	return nil
}

func (s *store) commit() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
	return s.db.Update(func(tx *bbolt.Tx) error {
		records, meta := tx.Bucket(bucketRecords), tx.Bucket(bucketMeta)
		for _, p := range s.pending {
			for _, w := range p.Writes {
				var err error
				if w.Delete {
					err = records.Delete([]byte(w.Name))
				} else {
					err = records.Put([]byte(w.Name), w.Value)
				}
				if err != nil {
					return fmt.Errorf("record %q: %w", w.Name, err)
				}
			}
		}
		size, checkpoint := s.head()
		for key, value := range map[string][]byte{
			string(keyChanges): binary.BigEndian.AppendUint64(nil, s.number),
			string(keyLogSize): binary.BigEndian.AppendUint64(nil, size),
		} {
			if err := meta.Put([]byte(key), value); err != nil {
				return err
			}
		}
		if checkpoint == nil {
			return nil
		}
		return meta.Put(keyCheckpoint, checkpoint)
	})
}

// load hands everything to send, in parts; the last one with the checkpoint.
func (s *store) load(send func(*vaultlink.Load) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
	if err := s.flush(); err != nil {
		return err
	}
	part, n := &vaultlink.Load{}, 0
	next := func(size int) error {
		if n += size; n == size || n <= loadPart && len(part.Records)+len(part.Entries) < vaultlink.MaxItems {
			return nil
		}
		full := part
		part, n = &vaultlink.Load{}, size
		return send(full)
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEach(func(name, value []byte) error {
			if err := next(len(name) + len(value) + 8); err != nil {
				return err
			}
			part.Records = append(part.Records, vaultlink.Record{Name: string(name), Value: bytes.Clone(value)})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("couldn't load records: %w", err)
	}
	if s.log != nil {
		entries, err := s.log.Entries()
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := next(len(e) + 4); err != nil {
				return fmt.Errorf("couldn't load the log: %w", err)
			}
			part.Entries = append(part.Entries, e)
		}
	}
	part.Last = true
	_, part.Checkpoint = s.head()
	return send(part)
}

// head returns the number of durable log entries and the newest checkpoint.
func (s *store) head() (size uint64, checkpoint []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.checkpoint
}

// flush applies what is pending.
func (s *store) flush() error {
	s.io.Lock()
	defer s.io.Unlock()
	return s.apply()
}

// readLog reads at most limit bytes of the log's file from offset, and the
// checkpoint as it was before, so that a reader who goes on to the end has every
// entry that the checkpoint covers. total is the file's length by now.
func (s *store) readLog(offset uint64, limit int) (checkpoint, b []byte, total uint64, err error) {
	s.io.Lock()
	err = s.apply()
	_, checkpoint = s.head()
	var info os.FileInfo
	if err == nil { // while nobody writes: the file ends with an entry
		info, err = os.Stat(filepath.Join(s.dir, logDir, logfile.EntriesFile))
	}
	s.io.Unlock()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: %w", err)
	}
	f, err := os.Open(filepath.Join(s.dir, logDir, logfile.EntriesFile))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	total = uint64(info.Size())
	if offset > total {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: offset %d, it has %d bytes", offset, total)
	}
	b = make([]byte, min(uint64(limit), total-offset))
	n, err := f.ReadAt(b, int64(offset))
	if err != nil && err != io.EOF {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: %w", err)
	}
	return checkpoint, b[:n], total, nil
}

// applyEvery is how long a change stays in the journal alone. A shorter time
// makes more fsyncs beside those that a vault waits for; a longer one lets a
// plain copy of the log's folder miss more of the newest entries.
const applyEvery = 250 * time.Millisecond

// applyLater applies what is pending, now and then. An error stays in s.broken,
// and the next change reports it.
func (s *store) applyLater(every time.Duration) {
	for {
		select {
		case <-s.dirty:
		case <-s.stop:
			return
		}
		select {
		case <-time.After(every):
			_ = s.flush()
		case <-s.stop:
			return
		}
	}
}

// copyCheckpoint keeps the log's folder complete for those who copy it. The
// durable checkpoint is bbolt's, so an error is none: a disk that refuses this
// write refuses the next change too, which is then reported.
func (s *store) copyCheckpoint() {
	if _, cp := s.head(); cp != nil && s.log != nil {
		_ = s.log.SetCheckpoint(cp)
	}
}

// close applies what is pending and releases the directory. It must not run
// beside persist or load.
func (s *store) close() error {
	close(s.stop)
	s.applier.Wait()
	var err error
	if s.broken == nil && (s.log != nil || s.size == 0) {
		err = s.flush()
	}
	err = errors.Join(err, s.journal.file.Close(), s.db.Close())
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return errors.Join(err, s.lock.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
