package coordinator

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
)

// Attempt is one try at a signature, with what each vault answered.
type Attempt struct {
	ID       [16]byte
	Signers  []uint16
	Unsigned []byte
	Time     uint64
	Replies  []*cluster.Reply // by vault

	Witnesses []uint16 // of the key's ledger quorum, who do not sign
}

// members are all vaults that take part, sorted.
func (a *Attempt) members() []uint16 {
	ids := slices.Concat(a.Signers, a.Witnesses)
	slices.Sort(ids)
	return ids
}

// set names who signs and who witnesses.
func (a *Attempt) set() string { return fmt.Sprint(a.Signers, a.Witnesses) }

// shares are the answers of those who sign.
func (a *Attempt) shares() (replies []*cluster.Reply) {
	for _, p := range a.Replies {
		if slices.Contains(a.Signers, p.Vault) {
			replies = append(replies, p)
		}
	}
	return replies
}

// parties is how an attempt's vaults are stored: a list of the signers, or both lists.
type parties struct {
	Signers   []uint16 `json:"signers"`
	Witnesses []uint16 `json:"witnesses"`
}

func (a *Attempt) parties() ([]byte, error) {
	if len(a.Witnesses) == 0 {
		return json.Marshal(a.Signers)
	}
	return json.Marshal(parties{a.Signers, a.Witnesses})
}

func (a *Attempt) setParties(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, &a.Signers)
	}
	var p parties
	err := json.Unmarshal(b, &p)
	a.Signers, a.Witnesses = p.Signers, p.Witnesses
	return err
}

// begin stores an attempt before anybody hears of it, with the nonce and the
// transaction that it is for.
func (s *store) begin(ctx context.Context, id [32]byte, a *Attempt, v *version) (r *Record, err error) {
	err = s.tx(ctx, func(tx *txn) error {
		if r, err = scan(tx.QueryRow(sqlRequest, id[:])); err != nil {
			return err
		}
		if r.State != Signing {
			return fmt.Errorf("%w: the request is %s by now", ErrConflict, r.State)
		}
		if v.latest {
			v.stored = r.Unsigned
		}
		if a.Unsigned = v.stored; a.Unsigned == nil {
			nonce := v.first
			if !v.loose {
				if nonce, err = reserve(tx, r.Bundle.Request.Sender, v.first, id); err != nil {
					return err
				}
			}
			if a.Unsigned, err = v.build(nonce); err != nil {
				return err
			}
		}
		if err := addAttempt(tx, id, a); err != nil {
			return err
		}
		return s.apply(tx, r, &move{To: Signing, Reason: r.Reason, Unsigned: a.Unsigned})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func addAttempt(tx *txn, request [32]byte, a *Attempt) error {
	signers, err := a.parties()
	if err != nil {
		return err
	}
	_, err = tx.Exec(sqlAttempt, a.ID[:], request[:], signers, a.Unsigned, a.Time)
	return err
}

func (s *store) addReplies(tx *txn, attempt [16]byte, replies []*cluster.Reply) error {
	for _, r := range replies {
		if _, err := tx.Exec(sqlReply, attempt[:], r.Vault, r.Encode(), s.now()); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) attempts(ctx context.Context, request [32]byte) ([]*Attempt, error) {
	out, err := collect(ctx, s, func(rows *sql.Rows) (*Attempt, error) {
		a := new(Attempt)
		var id, signers []byte
		if err := rows.Scan(&id, &signers, &a.Unsigned, &a.Time); err != nil {
			return nil, err
		}
		copy(a.ID[:], id)
		return a, a.setParties(signers)
	}, sqlAttempts, request[:])
	if err != nil {
		return nil, err
	}
	for _, a := range out {
		a.Replies, err = collect(ctx, s, func(rows *sql.Rows) (*cluster.Reply, error) {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				return nil, err
			}
			return cluster.DecodeReply(b)
		}, sqlReplies, a.ID[:])
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// nonceOf returns the nonce that a request holds.
func (s *store) nonceOf(ctx context.Context, request [32]byte) (nonce uint64, ok bool, err error) {
	err = s.row(ctx, sqlNonce, request[:]).Scan(&nonce)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return nonce, err == nil, err
}

// reserve takes the lowest nonce from first on that no other request holds, or the
// one that this request holds already.
func reserve(tx *txn, sender string, first uint64, request [32]byte) (nonce uint64, err error) {
	switch err := tx.QueryRow(sqlNonce, request[:]).Scan(&nonce); {
	case err == nil:
		return nonce, nil
	case !errors.Is(err, sql.ErrNoRows):
		return 0, err
	}
	if nonce, err = freeNonce(tx, sender, first); err != nil {
		return 0, err
	}
	_, err = tx.Exec(sqlReserve, sender, nonce, request[:])
	return nonce, err
}

func freeNonce(tx *txn, sender string, first uint64) (uint64, error) {
	for nonce := first; ; nonce++ {
		var n int
		if err := tx.QueryRow(sqlTaken, sender, nonce).Scan(&n); err != nil {
			return 0, err
		}
		if n == 0 {
			return nonce, nil
		}
	}
}

// Delivery is a receipt that a vault does not have in its log yet.
type Delivery struct {
	Attempt [16]byte
	Vault   uint16
	Receipt []byte
}

func addDeliveries(tx *txn, attempt [16]byte, vaults []uint16, receipt []byte) error {
	for _, v := range vaults {
		if _, err := tx.Exec(sqlDelivery, attempt[:], v, receipt); err != nil {
			return err
		}
	}
	return nil
}

// deliveries are the oldest that are due to a vault.
func (s *store) deliveries(ctx context.Context, vault uint16, limit int) ([]*Delivery, error) {
	return collect(ctx, s, func(rows *sql.Rows) (*Delivery, error) {
		d := new(Delivery)
		var attempt []byte
		err := rows.Scan(&attempt, &d.Vault, &d.Receipt)
		copy(d.Attempt[:], attempt)
		return d, err
	}, sqlDeliveries, vault, limit)
}

func (s *store) delivered(ctx context.Context, done []*Delivery) error {
	return s.tx(ctx, func(tx *txn) error {
		for _, d := range done {
			if _, err := tx.Exec(sqlDelivered, d.Attempt[:], d.Vault); err != nil {
				return err
			}
		}
		return nil
	})
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

// setCertificate is a wallet's way to its next epoch.
func (s *store) setCertificate(ctx context.Context, id [32]byte, certificate []byte) error {
	return s.tx(ctx, func(tx *txn) error {
		_, err := tx.Exec(`UPDATE wallets SET certificate = ? WHERE id = ?`, certificate, id[:])
		return err
	})
}

func (s *store) wallets(ctx context.Context) ([]*Wallet, error) {
	return collect(ctx, s, func(rows *sql.Rows) (*Wallet, error) {
		w := new(Wallet)
		var id []byte
		err := rows.Scan(&id, &w.Name, &w.Order, &w.Certificate, &w.Created)
		copy(w.ID[:], id)
		return w, err
	}, `SELECT id, name, orders, certificate, created FROM wallets ORDER BY name`)
}

// keygenAttempt returns the attempt of an order: the same order always runs
// under the same id, so that a vault which finished it earlier recognises it.
func (s *store) keygenAttempt(ctx context.Context, order []byte, name string, fresh [16]byte) (attempt [16]byte, err error) {
	err = s.tx(ctx, func(tx *txn) error {
		var b []byte
		switch err := tx.QueryRow(`SELECT attempt FROM keygens WHERE orders = ?`, order).Scan(&b); {
		case err == nil:
			copy(attempt[:], b)
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		attempt = fresh
		_, err := tx.Exec(`INSERT INTO keygens (orders, name, attempt, time) VALUES (?,?,?,?)`, order, name, fresh[:], s.now())
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
	Time    uint64 // of the newest signature; Applied: when it was adopted
}

func (s *store) putChange(ctx context.Context, c *governance.SignedChange, applied bool, t uint64) (*StoredChange, error) {
	h := c.Change.Hash()
	_, err := s.db.ExecContext(ctx, `INSERT INTO changes (hash, seq, change, applied, time) VALUES (?,?,?,?,?)
		ON CONFLICT (hash) DO UPDATE SET change = excluded.change, applied = excluded.applied, time = excluded.time`, h[:], c.Change.Seq, c.Encode(), applied, t)
	return &StoredChange{Signed: c, Applied: applied, Time: t}, err
}

func (s *store) changes(ctx context.Context) ([]*StoredChange, error) {
	return collect(ctx, s, func(rows *sql.Rows) (*StoredChange, error) {
		c := new(StoredChange)
		var b []byte
		if err := rows.Scan(&b, &c.Applied, &c.Time); err != nil {
			return nil, err
		}
		var err error
		if c.Signed, err = governance.DecodeSignedChange(b); err != nil {
			return nil, fmt.Errorf("the database holds a change that does not decode: %w", err)
		}
		return c, nil
	}, `SELECT change, applied, time FROM changes ORDER BY seq, time, hash`)
}

// prefixRange is the smallest and the largest id that begin with prefix.
func prefixRange(prefix []byte) (from, to [32]byte) {
	copy(from[:], prefix)
	copy(to[:], bytes.Repeat([]byte{0xff}, 32))
	copy(to[:], prefix)
	return from, to
}

// releaseNonce gives up the nonce of a request.
func (s *store) releaseNonce(ctx context.Context, request [32]byte) error {
	_, err := s.db.ExecContext(ctx, sqlRelease, request[:])
	return err
}
