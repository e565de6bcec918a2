package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// openStore locks and opens the directory, which it makes when it is not there.
func openStore(dir string) (*store, error) { return openStoreEvery(dir, applyEvery) }

// openStoreEvery is openStore with another time until a change is applied.
func openStoreEvery(dir string, every time.Duration) (*store, error) {
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
	err = s.openRecords()
	if err == nil {
		err = s.openJournal()
	}
	if err != nil {
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		return nil, errors.Join(err, lock.Close())
	}
	s.applier.Go(func() { s.applyLater(every) })
	return s, nil
}

// openJournal takes the changes that were durable but not applied yet; bind
// applies them, when the log is open.
func (s *store) openJournal() (err error) {
	if s.journal, err = openJournal(s.dir); err != nil {
		return err
	}
	if s.pending, err = s.journal.replay(s.number); err != nil {
		return errors.Join(err, s.journal.file.Close())
	}
	for _, p := range s.pending {
		s.number++
		s.count(p)
	}
	return nil
}

// count takes a durable change into what head tells.
func (s *store) count(p *vaultlink.Persist) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += uint64(len(p.Entries))
	if p.Checkpoint != nil {
		s.checkpoint = p.Checkpoint
	}
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
		if b := meta.Get(keyChanges); len(b) == 8 {
			s.number = binary.BigEndian.Uint64(b)
		}
		s.checkpoint = bytes.Clone(meta.Get(keyCheckpoint))
		return nil
	})
}

// bind says whose store this is, the first time for good, opens the log and
// brings everything up to date. An enrolling vault belongs to no cluster yet
// (zeros) and has no log.
func (s *store) bind(vault uint16, cluster [32]byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.damage(&err)
	s.io.Lock()
	defer s.io.Unlock()
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
	if !enrolling && s.log == nil {
		size, _ := s.head()
		for _, p := range s.pending {
			size -= uint64(len(p.Entries))
		}
		if s.log, err = logfile.Open(filepath.Join(s.dir, logDir), header, size); err != nil {
			return err
		}
	}
	return s.apply()
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

// RecordNames lists the records in the directory of a node that does not run. What
// is in them only the vault's device can open.
func RecordNames(dir string) (names []string, err error) {
	s, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	err = s.load(func(part *vaultlink.Load) error {
		for _, r := range part.Records {
			names = append(names, r.Name)
		}
		return nil
	})
	return names, err
}
