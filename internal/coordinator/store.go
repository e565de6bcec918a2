package coordinator

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	_ "modernc.org/sqlite" // the database

	"github.com/cofferhq/coffer/internal/request"
)

// ErrNotFound says that there is no such record.
var ErrNotFound = errors.New("not found")

// ErrConflict says that something else stands where this should go.
var ErrConflict = errors.New("conflict")

// store is the coordinator's memory: one SQLite file. Every change is one
// transaction, and on disk when its method returns (WAL, synchronous=FULL). The
// file is locked for one process.
type store struct {
	db  *sql.DB
	now func() uint64
	// fault is set by tests only. It is asked before and after every commit; an
	// error before it means that the process died before the commit, one after it
	// that it died right then.
	fault atomic.Pointer[func(committed bool) error]
	// compiled holds the statements of every request's way; compiling them takes
	// longer than running them.
	compiled map[string]*sql.Stmt
}

// txn is one transaction.
type txn struct {
	tx       *sql.Tx
	compiled map[string]*sql.Stmt
}

// Exec runs a statement.
func (t *txn) Exec(q string, args ...any) (sql.Result, error) {
	if st := t.compiled[q]; st != nil {
		return t.tx.Stmt(st).Exec(args...)
	}
	return t.tx.Exec(q, args...)
}

// QueryRow reads one row.
func (t *txn) QueryRow(q string, args ...any) *sql.Row {
	if st := t.compiled[q]; st != nil {
		return t.tx.Stmt(st).QueryRow(args...)
	}
	return t.tx.QueryRow(q, args...)
}

func (s *store) row(ctx context.Context, q string, args ...any) *sql.Row {
	if st := s.compiled[q]; st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return s.db.QueryRowContext(ctx, q, args...)
}

func (s *store) rows(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if st := s.compiled[q]; st != nil {
		return st.QueryContext(ctx, args...)
	}
	return s.db.QueryContext(ctx, q, args...)
}

// The statements that are compiled once.
const (
	selectRequests = `SELECT id, bundle, state, reason, created, updated, unsigned, raw, txid, receipt FROM requests`
	sqlRequest     = selectRequests + ` WHERE id = ?`
	sqlPropose     = `INSERT INTO requests (id, wallet, bundle, state, reason, created, updated) VALUES (?,?,?,?,?,?,?)`
	sqlMove        = `UPDATE requests SET state = ?, reason = ?, updated = ?, bundle = COALESCE(?, bundle), unsigned = COALESCE(?, unsigned),
		raw = COALESCE(?, raw), txid = COALESCE(?, txid), receipt = COALESCE(?, receipt) WHERE id = ?`
	sqlStep = `INSERT INTO transitions (request, seq, state, reason, time)
		SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ? FROM transitions WHERE request = ?`
	sqlStanding   = `SELECT state, reason, (SELECT MAX(seq) FROM transitions WHERE request = id) FROM requests WHERE id = ?`
	sqlSteps      = `SELECT state, reason, time FROM transitions WHERE request = ? ORDER BY seq`
	sqlAttempt    = `INSERT INTO attempts (id, request, signers, unsigned, time) VALUES (?,?,?,?,?)`
	sqlAttempts   = `SELECT id, signers, unsigned, time FROM attempts WHERE request = ? ORDER BY rowid`
	sqlReply      = `INSERT OR REPLACE INTO replies (attempt, vault, reply, time) VALUES (?,?,?,?)`
	sqlReplies    = `SELECT reply FROM replies WHERE attempt = ? ORDER BY vault`
	sqlDelivery   = `INSERT OR IGNORE INTO deliveries (attempt, vault, receipt) VALUES (?,?,?)`
	sqlDeliveries = `SELECT attempt, vault, receipt FROM deliveries WHERE vault = ? ORDER BY rowid LIMIT ?`
	sqlDelivered  = `DELETE FROM deliveries WHERE attempt = ? AND vault = ?`
	sqlNonce      = `SELECT nonce FROM nonces WHERE request = ?`
	sqlTaken      = `SELECT COUNT(*) FROM nonces WHERE sender = ? AND nonce = ?`
	sqlReserve    = `INSERT INTO nonces (sender, nonce, request) VALUES (?,?,?)`
	sqlRelease    = `DELETE FROM nonces WHERE request = ?`
)

func (s *store) compile() error {
	s.compiled = map[string]*sql.Stmt{}
	for _, q := range []string{
		sqlRequest, sqlPropose, sqlMove, sqlStep, sqlStanding, sqlSteps, sqlAttempt, sqlAttempts, sqlReply, sqlReplies,
		sqlDelivery, sqlDeliveries, sqlDelivered, sqlNonce, sqlTaken, sqlReserve, sqlRelease,
	} {
		st, err := s.db.Prepare(q)
		if err != nil {
			return fmt.Errorf("couldn't compile %q: %w", q, err)
		}
		s.compiled[q] = st
	}
	return nil
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
	id BLOB PRIMARY KEY, wallet BLOB NOT NULL, bundle BLOB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
	created INTEGER NOT NULL, updated INTEGER NOT NULL,
	unsigned BLOB, raw BLOB, txid TEXT NOT NULL DEFAULT '', receipt BLOB);
CREATE INDEX IF NOT EXISTS requests_created ON requests (created);
CREATE INDEX IF NOT EXISTS requests_state ON requests (state, created);
CREATE INDEX IF NOT EXISTS requests_wallet ON requests (wallet, state, updated);
CREATE TABLE IF NOT EXISTS transitions (
	request BLOB NOT NULL, seq INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL,
	PRIMARY KEY (request, seq));
CREATE TABLE IF NOT EXISTS attempts (
	id BLOB PRIMARY KEY, request BLOB NOT NULL, signers TEXT NOT NULL, unsigned BLOB NOT NULL, time INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_request ON attempts (request, time);
CREATE TABLE IF NOT EXISTS replies (
	attempt BLOB NOT NULL, vault INTEGER NOT NULL, reply BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (attempt, vault));
CREATE TABLE IF NOT EXISTS device_approvals (
	request BLOB NOT NULL, vault INTEGER NOT NULL, key BLOB NOT NULL, approval BLOB NOT NULL, time INTEGER NOT NULL,
	PRIMARY KEY (request, vault, key));
CREATE TABLE IF NOT EXISTS deliveries (
	attempt BLOB NOT NULL, vault INTEGER NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (attempt, vault));
CREATE INDEX IF NOT EXISTS deliveries_vault ON deliveries (vault);
CREATE TABLE IF NOT EXISTS nonces (
	sender TEXT NOT NULL, nonce INTEGER NOT NULL, request BLOB NOT NULL, PRIMARY KEY (sender, nonce));
CREATE UNIQUE INDEX IF NOT EXISTS nonces_request ON nonces (request);
CREATE TABLE IF NOT EXISTS wallets (
	id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, orders BLOB NOT NULL, certificate BLOB NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS keygens (
	orders BLOB PRIMARY KEY, name TEXT NOT NULL, attempt BLOB NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
	hash BLOB PRIMARY KEY, seq INTEGER NOT NULL, change BLOB NOT NULL, applied INTEGER NOT NULL, time INTEGER NOT NULL);
`

// schemaVersion is in the file's meta table; a file of another version is not
// touched.
const schemaVersion = "1"

func openStore(path string, cluster [32]byte, now func() uint64) (*store, error) {
	s, err := openDatabase(path, cluster, now)
	if err != nil {
		if strings.Contains(err.Error(), "SQLITE_BUSY") || strings.Contains(err.Error(), "database is locked") {
			err = errors.New("it is in use: does another coordinator run on it?")
		}
		return nil, fmt.Errorf("couldn't open the database %s: %w", path, err)
	}
	return s, nil
}

func openDatabase(path string, cluster [32]byte, now func() uint64) (*store, error) {
	// The file is made here, since SQLite would make it readable to others.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(1000)&_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one owner of the lock; every statement is short
	s := &store{db: db, now: now}
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(fmt.Errorf("is it a coordinator's? %w", err), db.Close())
	}
	err = s.checkMeta(cluster)
	if err == nil {
		err = s.compile()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// checkMeta ties the file to one cluster and one version of its tables.
func (s *store) checkMeta(cluster [32]byte) error {
	return s.tx(context.Background(), func(tx *txn) error {
		for name, want := range map[string][]byte{"cluster": cluster[:], "schema": []byte(schemaVersion)} {
			if _, err := tx.Exec(`INSERT OR IGNORE INTO meta (name, value) VALUES (?,?)`, name, want); err != nil {
				return err
			}
			var have []byte
			if err := tx.QueryRow(`SELECT value FROM meta WHERE name = ?`, name).Scan(&have); err != nil {
				return err
			}
			if !bytes.Equal(have, want) {
				return fmt.Errorf("its %s is %.16x, want %.16x", name, have, want)
			}
		}
		return nil
	})
}

func (s *store) close() error { return s.db.Close() }

// Record is a request as the coordinator keeps it.
type Record struct {
	ID       [32]byte
	Bundle   *request.Bundle
	State    State
	Reason   string // why it is there, in words
	Created  uint64
	Updated  uint64
	Unsigned []byte // the newest version, canonical
	Raw      []byte // signed
	TxID     string
	Receipt  *Receipt
}

// Receipt is what the chain says of a transaction.
type Receipt struct {
	Block   uint64 `json:"block"`
	GasUsed uint64 `json:"gas_used"`
	Fee     string `json:"fee"` // smallest unit, decimal
	Success bool   `json:"success"`
}

// Transition is one step of a request's history.
type Transition struct {
	State  State
	Reason string
	Time   uint64
}

func (s *store) tx(ctx context.Context, f func(*txn) error) error {
	begun, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("couldn't begin a transaction of the database: %w", err)
	}
	err = f(&txn{begun, s.compiled})
	fault := s.fault.Load()
	if err == nil && fault != nil {
		err = (*fault)(false)
	}
	if err != nil {
		_ = begun.Rollback()
		return err
	}
	if err := begun.Commit(); err != nil {
		return fmt.Errorf("couldn't commit to the database: %w", err)
	}
	if fault != nil {
		return (*fault)(true)
	}
	return nil
}

// insert stores a proposal, on its way to the risk engine already. The same
// request twice is one; created says whether it is new.
func (s *store) insert(ctx context.Context, b *request.Bundle, first move) (r *Record, created bool, err error) {
	id := b.Request.ID()
	err = s.tx(ctx, func(tx *txn) error {
		if r, err = scan(tx.QueryRow(sqlRequest, id[:])); !errors.Is(err, ErrNotFound) {
			return err // the id names the request's bytes: it is the same one
		}
		t, reason := s.now(), "proposed by "+b.Request.Initiator
		r, created = &Record{ID: id, Bundle: b, State: Draft, Reason: reason, Created: t, Updated: t}, true
		if _, err := tx.Exec(sqlPropose, id[:], b.Request.Wallet[:], b.Encode(), Draft, reason, t, t); err != nil {
			return err
		}
		if err := history(tx, id, Draft, reason, t); err != nil {
			return err
		}
		return s.apply(tx, r, &first)
	})
	if err != nil {
		return nil, false, err
	}
	return r, created, nil
}

func history(tx *txn, id [32]byte, st State, reason string, t uint64) error {
	_, err := tx.Exec(sqlStep, id[:], st, reason, t, id[:])
	return err
}

// move is what becomes of a request: the state that it goes to, or stays in,
// why, and what else changes with it.
type move struct {
	To       State
	Reason   string
	Bundle   *request.Bundle
	Unsigned []byte
	Raw      []byte
	TxID     string
	Receipt  *Receipt
	// Denies: whatever the engine says, the policy denies it; the vaults' signed
	// refusal is all that is missing.
	Denies bool
	// Also is done in the same transaction.
	Also func(*txn) error
}

// update changes a request in one transaction. f sees it as it is, and says what
// becomes of it; nil changes nothing. f must not use the database.
func (s *store) update(ctx context.Context, id [32]byte, f func(*Record) (*move, error)) (r *Record, err error) {
	err = s.tx(ctx, func(tx *txn) error {
		if r, err = scan(tx.QueryRow(sqlRequest, id[:])); err != nil {
			return err
		}
		m, err := f(r)
		if err != nil || m == nil {
			return err
		}
		return s.apply(tx, r, m)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// apply makes one move of r, here and in the database.
func (s *store) apply(tx *txn, r *Record, m *move) error {
	if r.State != m.To {
		if err := r.State.check(m.To); err != nil {
			return err
		}
	}
	told := r.State == m.To && r.Reason == m.Reason
	r.State, r.Reason, r.Updated = m.To, m.Reason, s.now()
	// A nil argument leaves its column as it is.
	var bundle, unsigned, raw, txid, receipt any
	if m.Bundle != nil {
		r.Bundle, bundle = m.Bundle, m.Bundle.Encode()
	}
	if m.Unsigned != nil {
		r.Unsigned, unsigned = m.Unsigned, m.Unsigned
	}
	if m.Raw != nil {
		r.Raw, r.TxID, raw, txid = m.Raw, m.TxID, m.Raw, m.TxID
	}
	if m.Receipt != nil {
		b, err := json.Marshal(m.Receipt)
		if err != nil {
			return err
		}
		r.Receipt, receipt = m.Receipt, b
	}
	if _, err := tx.Exec(sqlMove, m.To, m.Reason, r.Updated, bundle, unsigned, raw, txid, receipt, r.ID[:]); err != nil {
		return err
	}
	if !told {
		if err := history(tx, r.ID, m.To, m.Reason, r.Updated); err != nil {
			return err
		}
	}
	if m.To.frees() {
		// It ends without a transaction on the chain: its nonce is free again.
		if _, err := tx.Exec(sqlRelease, r.ID[:]); err != nil {
			return err
		}
	}
	if m.Also != nil {
		return m.Also(tx)
	}
	return nil
}

func lookup(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

func scan(row interface{ Scan(...any) error }) (*Record, error) {
	var r Record
	var id, bundle, receipt []byte
	if err := row.Scan(&id, &bundle, &r.State, &r.Reason, &r.Created, &r.Updated, &r.Unsigned, &r.Raw, &r.TxID, &receipt); err != nil {
		return nil, lookup(err)
	}
	copy(r.ID[:], id)
	var err error
	if r.Bundle, err = request.DecodeBundle(bundle); err != nil {
		return nil, fmt.Errorf("the database holds a bundle that does not decode: %w", err)
	}
	if receipt != nil {
		r.Receipt = new(Receipt)
		if err := json.Unmarshal(receipt, r.Receipt); err != nil {
			return nil, fmt.Errorf("the database holds a receipt that does not decode: %w", err)
		}
	}
	return &r, nil
}

func (s *store) get(ctx context.Context, id [32]byte) (*Record, error) {
	return scan(s.row(ctx, sqlRequest, id[:]))
}

func (s *store) standing(ctx context.Context, id [32]byte) (st State, reason string, steps int, err error) {
	err = s.row(ctx, sqlStanding, id[:]).Scan(&st, &reason, &steps)
	return st, reason, steps, lookup(err)
}

// find looks requests up by the first bytes of their id; it returns at most two.
func (s *store) find(ctx context.Context, from, to [32]byte) ([]*Record, error) {
	return s.query(ctx, selectRequests+` WHERE id BETWEEN ? AND ? LIMIT 2`, from[:], to[:])
}

func (s *store) list(ctx context.Context, st State, limit int) ([]*Record, error) {
	if st == "" {
		return s.query(ctx, selectRequests+` ORDER BY created DESC, id LIMIT ?`, limit)
	}
	return s.query(ctx, selectRequests+` WHERE state = ? ORDER BY created DESC, id LIMIT ?`, st, limit)
}

// unfinished are the requests to carry on with after a start.
func (s *store) unfinished(ctx context.Context) ([]*Record, error) {
	return s.query(ctx, selectRequests+` WHERE state NOT IN (?,?,?,?,?,?) ORDER BY created`,
		Confirmed, Denied, Rejected, Expired, Cancelled, Failed)
}

// past are the wallet's newest confirmed requests.
func (s *store) past(ctx context.Context, wallet [32]byte, limit int) ([]*Record, error) {
	return s.query(ctx, selectRequests+` WHERE wallet = ? AND state = ? ORDER BY updated DESC LIMIT ?`, wallet[:], Confirmed, limit)
}

// open are the wallet's newest requests before this one that are neither confirmed nor
// ended.
func (s *store) open(ctx context.Context, r *Record, limit int) ([]*Record, error) {
	return s.query(ctx, selectRequests+` WHERE wallet = ? AND state IN (?,?,?,?,?) AND created <= ? AND id != ? ORDER BY created DESC LIMIT ?`,
		r.Bundle.Request.Wallet[:], Screening, AwaitingApproval, Signing, Signed, Broadcast, r.Created, r.ID[:], limit)
}

func (s *store) query(ctx context.Context, q string, args ...any) ([]*Record, error) {
	return collect(ctx, s, scan0, q, args...)
}

func scan0(rows *sql.Rows) (*Record, error) { return scan(rows) }

// collect reads all rows.
func collect[T any](ctx context.Context, s *store, scan func(*sql.Rows) (T, error), q string, args ...any) ([]T, error) {
	rows, err := s.rows(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

func (s *store) history(ctx context.Context, id [32]byte) ([]Transition, error) {
	return collect(ctx, s, func(rows *sql.Rows) (t Transition, err error) {
		return t, rows.Scan(&t.State, &t.Reason, &t.Time)
	}, sqlSteps, id[:])
}
