package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
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
)

const storeVersion = 1

// loadPart is about how much of the store goes into one Load message.
const loadPart = 1 << 20

// store is a node's directory. Persist, load and bind are called by one
// goroutine; head and readLog by any.
type store struct {
	dir  string
	lock *os.File
	db   *bbolt.DB
	log  *logfile.Log // nil until the vault belongs to a cluster

	broken error // a failed change: what the disk holds is unknown until the next open

	// between the log's append and the commit; only a test sets it, to end the
	// process there.
	appended func()

	mu         sync.Mutex // guards the fields below
	size       uint64
	checkpoint []byte

	copies sync.WaitGroup // the goroutine of copyCheckpoint
	dirty  chan struct{}
	stop   chan struct{}
}

// openStore locks and opens the directory, which it makes when it is not there.
func openStore(dir string) (*store, error) {
	if dir == "" {
		return nil, errors.New("node directory: empty, want a path")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the node's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the node's lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another node works on directory %s: every node needs a directory of its own", dir)
	}
	s := &store{dir: dir, lock: lock, dirty: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := s.openRecords(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// damage turns what bbolt does on a damaged file (it panics, or touches pages
// that are not there) into an error.
func (s *store) damage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s is damaged (%v): restore the whole directory from a copy, or start this vault anew", filepath.Join(s.dir, recordsFile), r)
	}
}

func (s *store) openRecords() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	path := filepath.Join(s.dir, recordsFile)
	var file *os.File
	defer func() {
		if err != nil && file != nil {
			// Where bbolt panics it keeps its lock, and its mapping would hold that
			// beyond the close.
			_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
			_ = file.Close()
		}
	}()
	defer s.damage(&err)
	_, statErr := os.Stat(path)
	if errors.Is(statErr, fs.ErrNotExist) {
		if n, err := os.Stat(filepath.Join(s.dir, logDir, logfile.EntriesFile)); err == nil {
			return fmt.Errorf("directory %s holds a log of %d bytes but no %s: restore the whole directory, never single files", s.dir, n.Size(), recordsFile)
		}
	}
	// The freelist stays on disk: to find it anew bbolt walks the pages in a
	// goroutine of its own, whose panic over a damaged one nobody can catch.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 4 << 20,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	if err != nil {
		return fmt.Errorf("couldn't open %s: %w", path, err)
	}
	if err := errors.Join(s.initialize(db), syncDir(s.dir)); err != nil {
		return errors.Join(fmt.Errorf("couldn't open %s: %w", path, err), db.Close())
	}
	s.db = db
	return nil
}

func (s *store) initialize(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucketIfNotExists(bucketRecords); err != nil {
			return err
		}
		switch v := meta.Get(keyVersion); {
		case v == nil:
			if err := meta.Put(keyVersion, []byte{storeVersion}); err != nil {
				return err
			}
		case !bytes.Equal(v, []byte{storeVersion}):
			return fmt.Errorf("format version %x, want %d: it was written by another release", v, storeVersion)
		}
		if b := meta.Get(keyLogSize); len(b) == 8 {
			s.size = binary.BigEndian.Uint64(b)
		}
		s.checkpoint = bytes.Clone(meta.Get(keyCheckpoint))
		return nil
	})
}

// bind says whose store this is, the first time for good, and opens the log. An
// enrolling vault belongs to no cluster yet (zeros) and has no log.
func (s *store) bind(vault uint16, cluster [32]byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
	var haveVault, haveCluster []byte
	if err := s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		haveVault, haveCluster = bytes.Clone(meta.Get(keyVault)), bytes.Clone(meta.Get(keyCluster))
		return nil
	}); err != nil {
		return fmt.Errorf("couldn't read the store: %w", err)
	}
	enrolling := cluster == [32]byte{}
	id := binary.BigEndian.AppendUint16(nil, vault)
	switch {
	case haveVault != nil && !bytes.Equal(haveVault, id):
		return fmt.Errorf("directory %s belongs to vault %d, but vault %d is at the socket", s.dir, binary.BigEndian.Uint16(haveVault), vault)
	case haveCluster != nil && !bytes.Equal(haveCluster, cluster[:]):
		if enrolling {
			return fmt.Errorf("directory %s belongs to cluster %x, but the vault starts without a genesis", s.dir, haveCluster[:4])
		}
		return fmt.Errorf("directory %s belongs to cluster %x, but the vault is one of cluster %x", s.dir, haveCluster[:4], cluster[:4])
	}
	header := logfile.Header{Cluster: cluster, Vault: vault}
	if haveCluster == nil && !enrolling {
		if err := s.createLog(header); err != nil {
			return err
		}
	}
	if haveVault == nil || haveCluster == nil && !enrolling {
		err := s.db.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			if !enrolling {
				if err := meta.Put(keyCluster, cluster[:]); err != nil {
					return err
				}
			}
			return meta.Put(keyVault, id)
		})
		if err != nil {
			return fmt.Errorf("couldn't write the store: %w", err)
		}
	}
	if enrolling || s.log != nil {
		return nil
	}
	if s.log, err = logfile.Open(filepath.Join(s.dir, logDir), header, s.size); err != nil {
		return err
	}
	s.copies.Go(s.copyCheckpoints)
	s.signalCopy() // a crash may have left an older copy
	return nil
}

// createLog makes the empty log. One that a crash left before the store was
// bound to the cluster holds nothing and is replaced.
func (s *store) createLog(h logfile.Header) error {
	dir := filepath.Join(s.dir, logDir)
	if c, err := logfile.Read(dir); err == nil && len(c.Entries) > 0 {
		return fmt.Errorf("directory %s holds a log of %d entries that %s does not know: restore the whole directory, never single files", s.dir, len(c.Entries), recordsFile)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("couldn't make the log: %w", err)
	}
	l, err := logfile.Create(dir, h)
	if err != nil {
		return err
	}
	return errors.Join(l.Close(), syncDir(s.dir))
}

// persist makes one change durable, all of it or nothing. After an error the
// store takes no more changes.
func (s *store) persist(p *vaultlink.Persist) (err error) {
	if s.broken != nil {
		return fmt.Errorf("couldn't persist: an earlier change failed: %w", s.broken)
	}
	defer func() {
		if err != nil {
			s.broken = err
		}
	}()
	if p.Index != s.size {
		return fmt.Errorf("couldn't persist: the vault's log has %d entries, the disk's %d", p.Index, s.size)
	}
	if len(p.Entries) > 0 {
		if s.log == nil {
			return fmt.Errorf("couldn't persist: %d log entries of a vault that belongs to no cluster yet", len(p.Entries))
		}
		if err := s.log.Append(p.Entries); err != nil {
			return err
		}
	}
	if s.appended != nil {
		s.appended()
	}
	size := s.size + uint64(len(p.Entries))
	if err := s.commit(p, size); err != nil {
		return fmt.Errorf("couldn't commit to %s: %w", recordsFile, err)
	}
	s.mu.Lock()
	s.size = size
	if p.Checkpoint != nil {
		s.checkpoint = p.Checkpoint
	}
	s.mu.Unlock()
	if p.Checkpoint != nil {
		s.signalCopy()
	}
	return nil
}

func (s *store) commit(p *vaultlink.Persist, size uint64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
	return s.db.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bucketRecords)
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
		meta := tx.Bucket(bucketMeta)
		if p.Checkpoint != nil {
			if err := meta.Put(keyCheckpoint, p.Checkpoint); err != nil {
				return err
			}
		}
		if len(p.Entries) == 0 {
			return nil
		}
		return meta.Put(keyLogSize, binary.BigEndian.AppendUint64(nil, size))
	})
}

// load hands everything to send, in parts; the last one with the checkpoint.
func (s *store) load(send func(*vaultlink.Load) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
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

// readLog reads at most limit bytes of the log's file from offset, and the
// checkpoint as it was before, so that a reader who goes on to the end has every
// entry that the checkpoint covers. total is the file's length by now.
func (s *store) readLog(offset uint64, limit int) (checkpoint, b []byte, total uint64, err error) {
	_, checkpoint = s.head()
	f, err := os.Open(filepath.Join(s.dir, logDir, logfile.EntriesFile))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("couldn't read the log: %w", err)
	}
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

// copyEvery is the least time between two copies of the checkpoint into the
// log's folder. A shorter one costs two fsyncs for each signature under load; a
// longer one lets a plain copy of the folder miss more of the newest entries.
const copyEvery = 50 * time.Millisecond

// copyCheckpoints keeps the log's folder complete for those who copy it. The
// durable checkpoint is bbolt's; losing a copy loses nothing.
func (s *store) copyCheckpoints() {
	for {
		select {
		case <-s.dirty:
			s.copyCheckpoint()
		case <-s.stop:
			s.copyCheckpoint()
			return
		}
		select {
		case <-time.After(copyEvery):
		case <-s.stop:
			s.copyCheckpoint()
			return
		}
	}
}

// copyCheckpoint ignores errors: a disk that refuses this write refuses the next
// change too, which is then reported.
func (s *store) copyCheckpoint() {
	if _, cp := s.head(); cp != nil {
		if have, err := s.log.Checkpoint(); err != nil || !bytes.Equal(have, cp) {
			_ = s.log.SetCheckpoint(cp)
		}
	}
}

func (s *store) signalCopy() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// close releases the directory. It must not run beside persist or load.
func (s *store) close() error {
	close(s.stop)
	s.copies.Wait()
	err := s.db.Close()
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
