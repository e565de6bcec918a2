package coordinator

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the database

	"github.com/cofferhq/coffer/internal/request"
)

// ErrNotFound says that there is no such record.
var ErrNotFound = errors.New("not found")

// store is the coordinator's memory: one SQLite file. Every change is one
// transaction, and on disk when its method returns (WAL, synchronous=FULL).
type store struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
	id BLOB PRIMARY KEY, bundle BLOB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
	created INTEGER NOT NULL, updated INTEGER NOT NULL, expires INTEGER NOT NULL,
	unsigned BLOB, raw BLOB, txid TEXT NOT NULL DEFAULT '', receipt BLOB);
CREATE INDEX IF NOT EXISTS requests_state ON requests (state, created);
CREATE TABLE IF NOT EXISTS transitions (
	request BLOB NOT NULL, seq INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL,
	PRIMARY KEY (request, seq));
CREATE TABLE IF NOT EXISTS attempts (
	id BLOB PRIMARY KEY, request BLOB NOT NULL, signers TEXT NOT NULL, unsigned BLOB NOT NULL, time INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_request ON attempts (request, time);
CREATE TABLE IF NOT EXISTS replies (
	attempt BLOB NOT NULL, vault INTEGER NOT NULL, reply BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (attempt, vault));
CREATE TABLE IF NOT EXISTS nonces (
	sender TEXT NOT NULL, nonce INTEGER NOT NULL, request BLOB NOT NULL, PRIMARY KEY (sender, nonce));
CREATE TABLE IF NOT EXISTS wallets (
	id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, orders BLOB NOT NULL, certificate BLOB NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS keygens (
	orders BLOB PRIMARY KEY, name TEXT NOT NULL, attempt BLOB NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
	hash BLOB PRIMARY KEY, seq INTEGER NOT NULL, change BLOB NOT NULL, applied INTEGER NOT NULL, time INTEGER NOT NULL);
`

func openStore(path string) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("couldn't open the database %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one writer; reads are short
	if _, err := db.Exec(schema); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("couldn't open the database %s: is it a coordinator's? %w", path, err)
	}
	return &store{db}, nil
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
	FeeWei  string `json:"fee_wei"`
	Success bool   `json:"success"`
}

// Transition is one step of a request's history.
type Transition struct {
	State  State
	Reason string
	Time   uint64
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

func (s *store) tx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("couldn't begin a transaction of the database: %w", err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("couldn't commit to the database: %w", err)
	}
	return nil
}

// ErrConflict says that something else stands where this should go.
var ErrConflict = errors.New("conflict")

// insert stores a proposal. The same bytes twice are one proposal.
func (s *store) insert(ctx context.Context, b *request.Bundle) (created bool, err error) {
	id, enc, t := b.Request.ID(), b.Encode(), now()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var old []byte
		switch err := tx.QueryRow(`SELECT bundle FROM requests WHERE id = ?`, id[:]).Scan(&old); {
		case err == nil:
			return nil // the id names the request's bytes: it is the same one
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		created = true
		if _, err := tx.Exec(`INSERT INTO requests (id, bundle, state, reason, created, updated, expires) VALUES (?,?,?,?,?,?,?)`,
			id[:], enc, Draft, "proposed by "+b.Request.Initiator, t, t, b.Request.Expires); err != nil {
			return err
		}
		return history(tx, id, Draft, "proposed by "+b.Request.Initiator, t)
	})
	return created, err
}

func history(tx *sql.Tx, id [32]byte, st State, reason string, t uint64) error {
	_, err := tx.Exec(`INSERT INTO transitions (request, seq, state, reason, time)
		SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ? FROM transitions WHERE request = ?`, id[:], st, reason, t, id[:])
	return err
}

// patch is what a transition brings along.
type patch struct {
	Bundle   *request.Bundle
	Unsigned []byte
	Raw      []byte
	TxID     string
	Receipt  *Receipt
}

// move is a transition, with what it brings, in one transaction. Staying in the
// same state changes the reason only.
func (s *store) move(ctx context.Context, id [32]byte, from, to State, reason string, p patch) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		var have State
		var oldReason string
		if err := tx.QueryRow(`SELECT state, reason FROM requests WHERE id = ?`, id[:]).Scan(&have, &oldReason); err != nil {
			return lookup(err)
		}
		if have != from {
			return fmt.Errorf("%w: the request is %s by now, not %s", ErrConflict, have, from)
		}
		if from != to {
			if err := from.check(to); err != nil {
				return err
			}
		}
		t := now()
		if _, err := tx.Exec(`UPDATE requests SET state = ?, reason = ?, updated = ? WHERE id = ?`, to, reason, t, id[:]); err != nil {
			return err
		}
		if err := p.apply(tx, id); err != nil {
			return err
		}
		if from == to && reason == oldReason {
			return nil
		}
		return history(tx, id, to, reason, t)
	})
}

func (p *patch) apply(tx *sql.Tx, id [32]byte) error {
	set := func(column string, v any) error {
		_, err := tx.Exec(`UPDATE requests SET `+column+` = ? WHERE id = ?`, v, id[:])
		return err
	}
	var err error
	if p.Bundle != nil {
		err = set("bundle", p.Bundle.Encode())
	}
	if err == nil && p.Unsigned != nil {
		err = set("unsigned", p.Unsigned)
	}
	if err == nil && p.Raw != nil {
		err = set("raw", p.Raw)
	}
	if err == nil && p.TxID != "" {
		err = set("txid", p.TxID)
	}
	if err == nil && p.Receipt != nil {
		var b []byte
		if b, err = json.Marshal(p.Receipt); err == nil {
			err = set("receipt", b)
		}
	}
	return err
}

func lookup(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

const columns = `id, bundle, state, reason, created, updated, unsigned, raw, txid, receipt`

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
	return scan(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM requests WHERE id = ?`, id[:]))
}

// find looks a request up by the first bytes of its id.
func (s *store) find(ctx context.Context, prefix []byte) ([]*Record, error) {
	return s.query(ctx, `SELECT `+columns+` FROM requests WHERE substr(id, 1, ?) = ? LIMIT 2`, len(prefix), prefix)
}

func (s *store) list(ctx context.Context, st State, limit int) ([]*Record, error) {
	if st == "" {
		return s.query(ctx, `SELECT `+columns+` FROM requests ORDER BY created DESC LIMIT ?`, limit)
	}
	return s.query(ctx, `SELECT `+columns+` FROM requests WHERE state = ? ORDER BY created DESC LIMIT ?`, st, limit)
}

// unfinished are the requests to carry on with after a start.
func (s *store) unfinished(ctx context.Context) ([]*Record, error) {
	return s.query(ctx, `SELECT `+columns+` FROM requests WHERE state NOT IN (?,?,?,?,?,?) ORDER BY created`,
		Confirmed, Denied, Rejected, Expired, Cancelled, Failed)
}

func (s *store) query(ctx context.Context, q string, args ...any) ([]*Record, error) {
	rows, err := s.db.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func (s *store) history(ctx context.Context, id [32]byte) ([]Transition, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT state, reason, time FROM transitions WHERE request = ? ORDER BY seq`, id[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Transition
	for rows.Next() {
		var t Transition
		if err := rows.Scan(&t.State, &t.Reason, &t.Time); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// setBundle stores a request's bundle with one more approval.
func (s *store) setBundle(ctx context.Context, id [32]byte, add func(*request.Bundle) error) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		r, err := scan(tx.QueryRow(`SELECT `+columns+` FROM requests WHERE id = ?`, id[:]))
		if err != nil {
			return err
		}
		if r.State.Final() || r.State == Signed || r.State == Broadcast {
			return fmt.Errorf("%w: the request is %s: nothing can be added any more", ErrConflict, r.State)
		}
		if err := add(r.Bundle); err != nil {
			return err
		}
		r.Bundle.Sort()
		if err := r.Bundle.Check(); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE requests SET bundle = ?, updated = ? WHERE id = ?`, r.Bundle.Encode(), now(), id[:])
		return err
	})
}
