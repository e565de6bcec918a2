package coordinator

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
)

// Attempt is one try at a signature, with what each vault answered.
type Attempt struct {
	ID       [16]byte
	Signers  []uint16
	Unsigned []byte
	Time     uint64
	Replies  []*cluster.Reply // in the order in which they came
}

func (s *store) addAttempt(ctx context.Context, request [32]byte, a *Attempt) error {
	signers, err := json.Marshal(a.Signers)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO attempts (id, request, signers, unsigned, time) VALUES (?,?,?,?,?)`, a.ID[:], request[:], signers, a.Unsigned, a.Time)
	return err
}

func (s *store) addReplies(ctx context.Context, attempt [16]byte, replies []*cluster.Reply) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, r := range replies {
			if _, err := tx.Exec(`INSERT OR REPLACE INTO replies (attempt, vault, reply, time) VALUES (?,?,?,?)`, attempt[:], r.Vault, r.Encode(), now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *store) attempts(ctx context.Context, request [32]byte) ([]*Attempt, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, signers, unsigned, time FROM attempts WHERE request = ? ORDER BY time, rowid`, request[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Attempt
	for rows.Next() {
		a := new(Attempt)
		var id, signers []byte
		if err := rows.Scan(&id, &signers, &a.Unsigned, &a.Time); err != nil {
			return nil, err
		}
		copy(a.ID[:], id)
		if err := json.Unmarshal(signers, &a.Signers); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	_ = rows.Close() // the one connection is free for the next query
	for _, a := range out {
		if a.Replies, err = s.replies(ctx, a.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *store) replies(ctx context.Context, attempt [16]byte) ([]*cluster.Reply, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT reply FROM replies WHERE attempt = ? ORDER BY time, vault`, attempt[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*cluster.Reply
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		r, err := cluster.DecodeReply(b)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// reserveNonce takes the lowest nonce from first on that no other request holds,
// or the one that this request holds already.
func (s *store) reserveNonce(ctx context.Context, sender string, first uint64, request [32]byte) (nonce uint64, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		switch err := tx.QueryRow(`SELECT nonce FROM nonces WHERE sender = ? AND request = ?`, sender, request[:]).Scan(&nonce); {
		case err == nil:
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		for nonce = first; ; nonce++ {
			var n int
			if err := tx.QueryRow(`SELECT COUNT(*) FROM nonces WHERE sender = ? AND nonce = ?`, sender, nonce).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
		_, err := tx.Exec(`INSERT INTO nonces (sender, nonce, request) VALUES (?,?,?)`, sender, nonce, request[:])
		return err
	})
	return nonce, err
}

// releaseNonce gives a nonce back of a request that ended without a signature.
func (s *store) releaseNonce(ctx context.Context, request [32]byte) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM nonces WHERE request = ?`, request[:])
	return err
}

// Wallet is a key of the cluster.
type Wallet struct {
	ID          [32]byte
	Name        string
	Order       []byte
	Certificate []byte
	Created     uint64
}

func (s *store) addWallet(ctx context.Context, w *Wallet) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO wallets (id, name, orders, certificate, created) VALUES (?,?,?,?,?)`, w.ID[:], w.Name, w.Order, w.Certificate, w.Created)
	return err
}

func (s *store) wallets(ctx context.Context) ([]*Wallet, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, name, orders, certificate, created FROM wallets ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Wallet
	for rows.Next() {
		w := new(Wallet)
		var id []byte
		if err := rows.Scan(&id, &w.Name, &w.Order, &w.Certificate, &w.Created); err != nil {
			return nil, err
		}
		copy(w.ID[:], id)
		out = append(out, w)
	}
	return out, rows.Err()
}

// keygenAttempt returns the attempt of an order: the same order always runs
// under the same id, so that a vault which finished it earlier recognises it.
func (s *store) keygenAttempt(ctx context.Context, order []byte, name string, fresh [16]byte) (attempt [16]byte, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var b []byte
		switch err := tx.QueryRow(`SELECT attempt FROM keygens WHERE orders = ?`, order).Scan(&b); {
		case err == nil:
			copy(attempt[:], b)
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		attempt = fresh
		_, err := tx.Exec(`INSERT INTO keygens (orders, name, attempt, time) VALUES (?,?,?,?)`, order, name, fresh[:], now())
		return err
	})
	return attempt, err
}

// dropKeygen forgets the attempt of an order that failed everywhere, so that the
// next try runs under a new id.
func (s *store) dropKeygen(ctx context.Context, order []byte) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM keygens WHERE orders = ?`, order)
	return err
}

// StoredChange is a change of policy or roster with the signatures so far.
type StoredChange struct {
	Signed  *governance.SignedChange
	Applied bool
	Time    uint64
}

func (s *store) putChange(ctx context.Context, c *governance.SignedChange, applied bool) error {
	h := c.Change.Hash()
	_, err := s.db.ExecContext(ctx, `INSERT INTO changes (hash, seq, change, applied, time) VALUES (?,?,?,?,?)
		ON CONFLICT (hash) DO UPDATE SET change = excluded.change, applied = excluded.applied`, h[:], c.Change.Seq, c.Encode(), applied, now())
	return err
}

func (s *store) changes(ctx context.Context) ([]*StoredChange, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT change, applied, time FROM changes ORDER BY seq, time`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*StoredChange
	for rows.Next() {
		c := new(StoredChange)
		var b []byte
		if err := rows.Scan(&b, &c.Applied, &c.Time); err != nil {
			return nil, err
		}
		if c.Signed, err = governance.DecodeSignedChange(b); err != nil {
			return nil, fmt.Errorf("the database holds a change that does not decode: %w", err)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}
