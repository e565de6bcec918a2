package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/cofferhq/coffer/internal/audit/logfile"
	"github.com/cofferhq/coffer/internal/vaultlink"
)

// change is the n-th change of a made-up vault: a counter, a record of its own,
// one deletion, one log entry, one checkpoint.
func change(n uint64) *vaultlink.Persist {
	return &vaultlink.Persist{
		Seq: n, Index: n,
		Writes: []vaultlink.Record{
			{Name: "counter", Value: []byte(strconv.FormatUint(n, 10))},
			{Name: fmt.Sprintf("own/%d", n), Value: bytes.Repeat([]byte{byte(n)}, 100)},
			{Name: fmt.Sprintf("own/%d", n-2), Delete: true},
			{Name: "empty"},
		},
		Entries:    [][]byte{fmt.Appendf(nil, "entry %d", n)},
		Checkpoint: fmt.Appendf(nil, "checkpoint %d", n),
	}
}

// whole demands that the store holds exactly the changes 0 … n−1.
func whole(t *testing.T, s *store, n uint64) {
	t.Helper()
	want := &vaultlink.Load{Last: true}
	for i := range n {
		want.Entries = append(want.Entries, fmt.Appendf(nil, "entry %d", i))
	}
	if n > 0 {
		want.Checkpoint = fmt.Appendf(nil, "checkpoint %d", n-1)
		want.Records = append(want.Records, vaultlink.Record{Name: "counter", Value: []byte(strconv.FormatUint(n-1, 10))}, vaultlink.Record{Name: "empty"})
		if n > 1 {
			want.Records = append(want.Records, change(n - 2).Writes[1])
		}
		want.Records = append(want.Records, change(n - 1).Writes[1])
		if n > 1 && want.Records[2].Name > want.Records[3].Name { // "own/10" < "own/9"
			want.Records[2], want.Records[3] = want.Records[3], want.Records[2]
		}
	}
	if diff := cmp.Diff(want, loadAll(t, s)); diff != "" {
		t.Fatalf("after %d changes: -want +got\n%s", n, diff)
	}
}

func loadAll(t *testing.T, s *store) *vaultlink.Load {
	t.Helper()
	all := &vaultlink.Load{}
	if err := s.load(func(part *vaultlink.Load) error {
		if all.Last {
			t.Fatal("a part after the last one")
		}
		b := vaultlink.Encode(part)
		if _, err := vaultlink.Decode(b); err != nil {
			t.Fatalf("a part that the vault refuses: %v", err)
		}
		if len(b) > loadPart+vaultlink.MaxValue+(64<<10) {
			t.Fatalf("a part of %d bytes", len(b))
		}
		all.Records = append(all.Records, part.Records...)
		all.Entries = append(all.Entries, part.Entries...)
		all.Checkpoint, all.Last = part.Checkpoint, part.Last
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range all.Records {
		if len(all.Records[i].Value) == 0 {
			all.Records[i].Value = nil // as the wire gives it
		}
	}
	return all
}

func closeStore(t testing.TB, s *store) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

func persist(t testing.TB, s *store, n uint64) {
	t.Helper()
	if err := s.persist(change(n)); err != nil {
		t.Fatal(err)
	}
}

func TestStoreReopens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for n := range uint64(12) {
		s := openBound(t, dir)
		whole(t, s, n)
		persist(t, s, n)
		whole(t, s, n+1)
		closeStore(t, s)
	}
	// The log's folder is a complete copy for auditors.
	c, err := logfile.Read(filepath.Join(dir, logDir))
	if err != nil || len(c.Entries) != 12 || string(c.Checkpoint) != "checkpoint 11" || c.Damage != nil {
		t.Fatalf("%d entries, checkpoint %q, %v, %v", len(c.Entries), c.Checkpoint, c.Damage, err)
	}
}

func TestStoreInParts(t *testing.T) {
	s := openBound(t, t.TempDir())
	defer closeStore(t, s)
	const n = 9
	for i := range uint64(n) {
		if err := s.persist(&vaultlink.Persist{Index: i,
			Writes:  []vaultlink.Record{{Name: fmt.Sprint("r", i), Value: make([]byte, 500<<10)}},
			Entries: [][]byte{make([]byte, 700<<10)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	all := loadAll(t, s)
	if len(all.Records) != n || len(all.Entries) != n {
		t.Fatalf("%d records, %d entries", len(all.Records), len(all.Entries))
	}
	boom := errors.New("the vault went away")
	if err := s.load(func(*vaultlink.Load) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("a failed send: %v", err)
	}
}

func TestStoreRefuses(t *testing.T) {
	t.Run("two nodes on one directory", func(t *testing.T) {
		dir := t.TempDir()
		s := openBound(t, dir)
		if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "another node works on directory") {
			t.Fatalf("a second node: %v", err)
		}
		persist(t, s, 0)
		whole(t, s, 1)
		closeStore(t, s)
	})
	t.Run("gap", func(t *testing.T) {
		s := openBound(t, t.TempDir())
		defer closeStore(t, s)
		if err := s.persist(change(1)); err == nil || !strings.Contains(err.Error(), "the vault's log has 1 entries, the disk's 0") {
			t.Fatalf("a gap: %v", err)
		}
		if err := s.persist(change(0)); err == nil || !strings.Contains(err.Error(), "earlier write failed") {
			t.Fatalf("after a failure: %v", err)
		}
		whole(t, s, 0)
	})
	t.Run("another vault", func(t *testing.T) {
		dir := t.TempDir()
		s := openBound(t, dir)
		defer closeStore(t, s)
		for _, c := range []struct {
			vault   uint16
			cluster [32]byte
			want    string
		}{
			{2, testCluster, "belongs to vault 1, but vault 2 is at the socket"},
			{1, [32]byte{9}, "belongs to cluster c0ffee00, but the vault is one of cluster 09000000"},
			{1, [32]byte{}, "the vault starts without a genesis"},
		} {
			if err := s.bind(c.vault, c.cluster); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("vault %d of %x: %v, want %q", c.vault, c.cluster[:4], err, c.want)
			}
		}
		if err := s.bind(1, testCluster); err != nil { // a vault that was restarted
			t.Fatal(err)
		}
	})
	t.Run("entries without a cluster", func(t *testing.T) {
		dir := t.TempDir()
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.bind(1, [32]byte{}); err != nil {
			t.Fatal(err)
		}
		if err := s.persist(&vaultlink.Persist{Writes: []vaultlink.Record{{Name: "root", Value: []byte{1}}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.persist(change(0)); err == nil || !strings.Contains(err.Error(), "belongs to no cluster yet") {
			t.Fatalf("log entries of an enrolling vault: %v", err)
		}
		closeStore(t, s)
		// It joins its cluster and finds its keys.
		s = openBound(t, dir)
		defer closeStore(t, s)
		if got := loadAll(t, s); len(got.Records) != 1 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("records lost", func(t *testing.T) {
		dir := t.TempDir()
		s := openBound(t, dir)
		persist(t, s, 0)
		closeStore(t, s)
		if err := os.Remove(filepath.Join(dir, recordsFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "but no records.db") {
			t.Fatalf("without its records: %v", err)
		}
	})
	t.Run("log of nobody", func(t *testing.T) {
		dir := t.TempDir()
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, s)
		l, err := logfile.Create(filepath.Join(dir, logDir), logfile.Header{Cluster: testCluster, Vault: 1})
		if err == nil {
			err = errors.Join(l.Append([][]byte{[]byte("precious")}), l.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.bind(1, testCluster); err == nil || !strings.Contains(err.Error(), "a log of 1 entries that records.db does not know") {
			t.Fatalf("beside a log of nobody: %v", err)
		}
	})
	t.Run("another release", func(t *testing.T) {
		dir := t.TempDir()
		s := openBound(t, dir)
		if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyVersion, []byte{9}) }); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "format version 09, want 1") {
			t.Fatalf("a format of another release: %v", err)
		}
	})
	t.Run("log cut", func(t *testing.T) {
		dir := t.TempDir()
		s := openBound(t, dir)
		persist(t, s, 0)
		closeStore(t, s)
		path := filepath.Join(dir, logDir, logfile.EntriesFile)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()-1); err != nil {
			t.Fatal(err)
		}
		if s, err = openStore(dir); err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, s)
		if err := s.bind(1, testCluster); err == nil || !strings.Contains(err.Error(), "0 whole entries, but 1 were durable") {
			t.Fatalf("a log that lost what was durable: %v", err)
		}
	})
	t.Run("bad directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"", file, filepath.Join(file, "x")} {
			if _, err := openStore(dir); err == nil {
				t.Errorf("opened %q", dir)
			}
		}
	})
}

// A damaged records.db is an error with a way out, never a crash.
func TestStoreDamaged(t *testing.T) {
	dir := t.TempDir()
	s := openBound(t, dir)
	for n := range uint64(20) {
		persist(t, s, n)
	}
	closeStore(t, s)
	path := filepath.Join(dir, recordsFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openStore(dir)
		if err == nil {
			if err = s.bind(1, testCluster); err == nil {
				err = s.load(func(*vaultlink.Load) error { return nil })
			}
			_ = s.close()
		}
		// Pages that are not in use may be anything.
		if err == nil && name != "page" && name != "cut" {
			t.Errorf("%s: opened", name)
		}
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error doesn't name the file: %v", name, err)
		}
		// The lock is free again, so the way out is open.
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err = openStore(dir)
		if err != nil {
			t.Fatalf("%s: afterwards the good file does not open: %v", name, err)
		}
		closeStore(t, s)
	}
	try("not a database", bytes.Repeat([]byte("junk "), 4000))
	try("empty pages", make([]byte, len(good)))
	for pages := 1; pages < 12; pages++ { // an empty file is a new one
		try("cut", good[:pages*os.Getpagesize()+pages])
	}
	for page := 2; page < len(good)/os.Getpagesize() && page < 12; page++ {
		b := bytes.Clone(good)
		clear(b[page*os.Getpagesize() : (page+1)*os.Getpagesize()])
		try("page", b)
	}
}

// Re-executing the test binary as a node's disk that meets its end.
const (
	childEnv = "COFFER_TEST_STORE_CHILD" // DIR|MODE|N
	survived = 3                         // exit status of a child that was to be killed
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		child(strings.Split(spec, "|"))
	}
	os.Exit(m.Run())
}

// child persists changes from the N-th on and ends in the manner of MODE.
func child(spec []string) {
	dir, mode := spec[0], spec[1]
	n, err := strconv.ParseUint(spec[2], 10, 64)
	check := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
	}
	check(err)
	s, err := openStore(dir)
	check(err)
	check(s.bind(1, testCluster))
	switch mode {
	case "journalled": // killed when the change is durable, before anybody is told
		check(s.persist(change(n)))
		s.journalled = kill
		check(s.persist(change(n + 1)))
	case "between": // killed after the log's append, before the commit
		check(s.persist(change(n)))
		check(s.persist(change(n + 1)))
		s.appended = kill
		check(s.flush())
	case "full": // the disk has no room for what the journal holds
		limitFile(bigLimit)
		for _, p := range big(n) {
			check(s.persist(p))
		}
		if err := s.flush(); err == nil {
			os.Exit(survived)
		} else {
			fmt.Println(err)
		}
		if err := s.persist(change(n + 2)); err == nil {
			os.Exit(survived) // a store that failed must take nothing more
		}
		kill()
	case "full-journal": // not even the journal takes a change
		limitFile(100)
		if err := s.persist(change(n)); err == nil {
			os.Exit(survived)
		} else {
			fmt.Println(err)
		}
		kill()
	case "any": // goes on until it is killed from outside, telling what is durable
		for ; ; n++ {
			check(s.persist(change(n)))
			fmt.Println(n)
		}
	}
	os.Exit(survived)
}

// limitFile refuses writes beyond the first n bytes of any file, as a full disk
// refuses them.
func limitFile(n uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
}

// big are two changes of 5 MiB together; bigLimit leaves room for them in the
// journal, but not in records.db, where a tree comes with them.
func big(n uint64) (out []*vaultlink.Persist) {
	for i, k := range []int{3, 2} {
		p := &vaultlink.Persist{Index: n + uint64(i), Entries: [][]byte{[]byte("big")}}
		for j := range k {
			p.Writes = append(p.Writes, vaultlink.Record{Name: fmt.Sprintf("big/%d/%d", i, j), Value: bytes.Repeat([]byte{7}, 1<<20)})
		}
		out = append(out, p)
	}
	return out
}

const bigLimit = 5<<20 + 16<<10

func kill() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }

func runChild(t *testing.T, dir, mode string, n uint64) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", childEnv, dir, mode, n))
	return cmd
}

func killed(t *testing.T, out []byte, err error) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v, want SIGKILL\n%s", err, out)
	}
}

// Killed between the log's append and the commit: the log is cut back, and the
// journal brings the same changes again.
func TestKilledBetweenAppendAndCommit(t *testing.T) {
	dir := t.TempDir()
	out, err := runChild(t, dir, "between", 0).CombinedOutput()
	killed(t, out, err)
	c, err := logfile.Read(filepath.Join(dir, logDir))
	if err != nil || len(c.Entries) != 2 || c.Checkpoint != nil {
		t.Fatalf("the log has %d entries, %v: the child was not killed where it should", len(c.Entries), err)
	}
	for range 2 {
		s := openBound(t, dir)
		whole(t, s, 2)
		closeStore(t, s)
	}
	s := openBound(t, dir)
	defer closeStore(t, s)
	persist(t, s, 2)
	whole(t, s, 3)
}

// Killed when the change is durable but nobody was told: it is there, whole.
func TestKilledBeforePersisted(t *testing.T) {
	dir := t.TempDir()
	out, err := runChild(t, dir, "journalled", 0).CombinedOutput()
	killed(t, out, err)
	s := openBound(t, dir)
	defer closeStore(t, s)
	whole(t, s, 2)
}

// A crash may leave the last record of the journal in any state: then that
// change never was. Damage to an earlier one is told.
func TestTornJournal(t *testing.T) {
	dir := t.TempDir()
	s, err := openStoreEvery(dir, time.Hour) // nothing is applied meanwhile
	if err == nil {
		err = s.bind(1, testCluster)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		persist(t, s, n)
	}
	journal, err := os.ReadFile(filepath.Join(dir, journalFile)) // as a crash would find it
	if err != nil {
		t.Fatal(err)
	}
	copyDir := func(b []byte) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, journalFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	flip := func(at int) []byte {
		b := bytes.Clone(journal)
		b[at] ^= 0x10
		return b
	}
	for name, c := range map[string]struct {
		journal []byte
		changes uint64
		err     string
	}{
		"whole":                {journal, 3, ""},
		"number of the last":   {flip(2*blockSize + 7), 2, ""},
		"length of the last":   {flip(2*blockSize + 10), 2, ""},
		"checksum of the last": {flip(2*blockSize + 12), 2, ""},
		"content of the last":  {flip(2*blockSize + 60), 2, ""},
		"zeros for the last":   {append(bytes.Clone(journal[:2*blockSize]), make([]byte, journalSize-2*blockSize)...), 2, ""},
		"content of the first": {flip(60), 0, "change 1 is damaged, but 2 is there"},
		"content of a middle":  {flip(blockSize + 60), 0, "change 2 is damaged, but 3 is there"},
		"cut":                  {journal[:blockSize], 0, "has 4096 bytes, want"},
		"nothing":              {make([]byte, journalSize), 0, ""},
		"first is missing":     {append(bytes.Clone(journal[blockSize:]), make([]byte, blockSize)...), 0, "it begins with change 2, records.db ends with 0"},
	} {
		to := copyDir(c.journal)
		st, err := openStore(to)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if err == nil {
			err = st.bind(1, testCluster)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		whole(t, st, c.changes)
		persist(t, st, c.changes) // it goes on from there
		closeStore(t, st)
		st = openBound(t, to)
		whole(t, st, c.changes+1)
		closeStore(t, st)
	}
	closeStore(t, s)
}

// The journal goes round: what an earlier round left in it never comes back.
func TestJournalGoesRound(t *testing.T) {
	dir := t.TempDir()
	s := openBound(t, dir)
	var n uint64
	for range 3 {
		for range 5 {
			persist(t, s, n)
			n++
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		persist(t, s, n) // over the first record of the round before
		n++
		pending, err := (&journal{file: s.journal.file}).replay(s.number - 1)
		if err != nil || len(pending) != 1 || pending[0].Index != n-1 {
			t.Fatalf("after change %d the journal holds %d, %v", n, len(pending), err)
		}
	}
	// A journal that is full is applied at once.
	for range journalSize>>20 + 3 {
		p := change(n)
		p.Writes[0].Value = make([]byte, 1<<20)
		if err := s.persist(p); err != nil {
			t.Fatal(err)
		}
		n++
	}
	closeStore(t, s)
	s = openBound(t, dir)
	defer closeStore(t, s)
	if size, _ := s.head(); size != n {
		t.Fatalf("%d entries, want %d", size, n)
	}
}

// A crash of the machine may leave half an entry.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := openBound(t, dir)
	persist(t, s, 0)
	closeStore(t, s)
	path := filepath.Join(dir, logDir, logfile.EntriesFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range [][]byte{{0}, {0, 0, 0, 9, 1, 2}, make([]byte, 5000), bytes.Repeat([]byte{0xff}, 300)} {
		if err := os.WriteFile(path, append(bytes.Clone(good), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := openBound(t, dir)
		whole(t, s, 1)
		closeStore(t, s)
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, good) {
			t.Fatalf("a tail of %d bytes was not cut off", len(tail))
		}
	}
}

// A full disk is an error. What was durable stays so, and goes on when there is
// room again; nothing half-written counts.
func TestDiskFull(t *testing.T) {
	fill := func(mode string) *store {
		dir := t.TempDir()
		s := openBound(t, dir)
		for n := range uint64(3) {
			persist(t, s, n)
		}
		closeStore(t, s)
		out, err := runChild(t, dir, mode, 3).CombinedOutput()
		killed(t, out, err)
		if !strings.Contains(string(out), "file too large") {
			t.Fatalf("the child says %q", out)
		}
		return openBound(t, dir)
	}
	s := fill("full-journal")
	whole(t, s, 3)
	persist(t, s, 3)
	whole(t, s, 4)
	closeStore(t, s)

	s = fill("full")
	defer closeStore(t, s)
	all := loadAll(t, s)
	if len(all.Entries) != 5 || string(all.Checkpoint) != "checkpoint 2" {
		t.Fatalf("%d entries, checkpoint %q", len(all.Entries), all.Checkpoint)
	}
	n := 0
	for _, r := range all.Records {
		if strings.HasPrefix(r.Name, "big/") && len(r.Value) == 1<<20 && r.Value[9] == 7 {
			n++
		}
	}
	if n != 5 {
		t.Fatalf("%d of 5 large records", n)
	}
	persist(t, s, 5)
}

// Killed at any moment: what it said is durable is there, and at most the one
// change beyond that, whole.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	var durable uint64
	for round := range 8 {
		cmd := runChild(t, dir, "any", durable)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed while it works on the change after the k-th, or a few later.
		said := durable
		lines := bufio.NewScanner(pipe)
		var out []byte
		for k := 1; lines.Scan(); k++ {
			out = append(append(out, lines.Text()...), '\n')
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatalf("the child says %q", out)
			}
			if said = n + 1; k == 1+7*round {
				_ = cmd.Process.Kill()
			}
		}
		killed(t, out, cmd.Wait())
		s := openBound(t, dir)
		size, _ := s.head()
		if size < said || size > said+1 {
			t.Fatalf("%d changes on disk, the child said %d", size, said)
		}
		whole(t, s, size)
		closeStore(t, s)
		durable = size
	}
}

// readLog gives a reader on the way every entry of the first part's checkpoint.
func TestReadLog(t *testing.T) {
	dir := t.TempDir()
	s := openBound(t, dir)
	defer closeStore(t, s)
	var file []byte
	var checkpoint []byte
	for n := range uint64(30) {
		persist(t, s, n)
		cp, b, total, err := s.readLog(uint64(len(file)), 40)
		if err != nil || total < uint64(len(file)+len(b)) {
			t.Fatalf("total %d, %v", total, err)
		}
		if checkpoint == nil {
			checkpoint = cp
		}
		file = append(file, b...)
	}
	for {
		_, b, _, err := s.readLog(uint64(len(file)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			break
		}
		file = append(file, b...)
	}
	want, err := os.ReadFile(filepath.Join(dir, logDir, logfile.EntriesFile))
	if err != nil || !bytes.Equal(file, want) || string(checkpoint) != "checkpoint 0" {
		t.Fatalf("read %d bytes of %d; checkpoint %q; %v", len(file), len(want), checkpoint, err)
	}
	if _, _, _, err := s.readLog(uint64(len(file))+1, 10); err == nil || !strings.Contains(err.Error(), "offset") {
		t.Fatalf("beyond the end: %v", err)
	}
}
