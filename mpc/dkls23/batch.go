package dkls23

import (
	"errors"
	"fmt"
	"io"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/ecdsa"
	"github.com/cofferhq/coffer/mpc/group/secp256k1"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/pair"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Item is one message of a batch; the fields are those of Config.
type Item struct {
	MessageHash [32]byte
	Tweak       *secp256k1.Scalar
	Path        []byte
}

// BatchConfig is a batch of signatures with one key; the fields are those of
// Config.
type BatchConfig struct {
	Key     *dkg.KeyShare
	Signers []mpc.ID
	Setups  map[mpc.ID]*pair.Setup

	AttemptID   [16]byte
	RequestHash [32]byte // of the batch as a whole
	Items       []Item   // 1 … MaxBatch, in the order that all signers agree on
	Purpose     string
}

// Batch is one signer's run of a session that makes a signature of every item:
// one R0, one echo, one sk and, of each pair, one OT extension and one check of the
// products; each signature has its own β, χ, φ, r and commitments. Its rounds are
// called once, in order.
//
// Up to the final share the session is all or nothing: a check that fails in one
// item ends it for all. After that it is not, see CombineBatch.
type Batch struct {
	*run
	items []item
}

// Format writes the party only, whatever the verb.
func (b Batch) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "dkls23.Batch(%d of %v, %d items)", b.self, b.signers, len(b.items))
}

// NewBatch checks the configuration. rand is as in New.
func NewBatch(cfg BatchConfig, rand io.Reader) (*Batch, error) {
	if cfg.Key == nil {
		return nil, errors.New("dkls23: no key share")
	}
	if len(cfg.Items) < 1 || len(cfg.Items) > MaxBatch {
		return nil, fmt.Errorf("dkls23: %d items in a batch, want 1 to %d", len(cfg.Items), MaxBatch)
	}
	items := make([]item, len(cfg.Items))
	jobs := make([][]byte, len(cfg.Items))
	for k, x := range cfg.Items {
		it, err := newItem(cfg.Key, cfg.RequestHash, x.MessageHash, x.Tweak, x.Path)
		if err != nil {
			return nil, fmt.Errorf("dkls23: item %d: %w", k, err)
		}
		items[k], jobs[k] = it, it.job[:]
	}
	r, err := newRun(frame{
		protocol: session.DKLS23Batch,
		key:      cfg.Key,
		signers:  cfg.Signers,
		setups:   cfg.Setups,
		attempt:  cfg.AttemptID,
		request:  cfg.RequestHash,
		job:      transcript.Sum(transcript.TagJobs, jobs...),
		purpose:  cfg.Purpose,
		slots:    len(items),
	}, rand)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return &Batch{run: r, items: items}, nil
}

// Round3 takes the peers' R2 and returns the final share, of all items. It is as
// Session.Round3.
func (b *Batch) Round3(r2, private map[mpc.ID][]byte) (out *BatchShare, err error) {
	if err := b.order.Begin(3); err != nil {
		return nil, err
	}
	defer func() { b.order.End(err, b.Destroy); b.Destroy() }()
	if err := b.finish(r2, private); err != nil {
		return nil, err
	}
	f := &BatchShare{From: b.self, SID: b.sid, Epoch: b.key.Epoch, Echo: b.echo[2], Slots: make([]SlotShare, len(b.slots))}
	for k, s := range b.slots {
		x := &f.Slots[k]
		x.R = s.totalBytes
		s.sign(&b.items[k], &x.W, &x.U)
	}
	return f, nil
}

// BatchShare is a signer's last message of a batch: FinalShare for every item.
type BatchShare struct {
	From  mpc.ID
	SID   [32]byte
	Epoch uint64
	Echo  [32]byte // h₂
	Slots []SlotShare
}

// SlotShare is the part of one item.
type SlotShare struct {
	R    [33]byte
	W, U secp256k1.Scalar
}

// MarshalBinary encodes the share. It never fails.
func (f *BatchShare) MarshalBinary() ([]byte, error) {
	h := session.Header{Protocol: session.DKLS23Batch, Round: 3, Session: f.SID, Epoch: f.Epoch, From: f.From, To: session.Broadcast}
	out := h.Writer().Fixed(f.Echo[:]).Count(len(f.Slots))
	for k := range f.Slots {
		w, u := f.Slots[k].W.Bytes(), f.Slots[k].U.Bytes()
		out.Fixed(f.Slots[k].R[:]).Fixed(w[:]).Fixed(u[:])
	}
	return out.Bytes(), nil
}

// UnmarshalBinary decodes strictly.
func (f *BatchShare) UnmarshalBinary(b []byte) error {
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Protocol != session.DKLS23Batch || h.Round != 3 || h.To != session.Broadcast || h.From == 0) {
		r.Failf("not a final share of a dkls23 batch")
	}
	t := BatchShare{From: h.From, SID: h.Session, Epoch: h.Epoch}
	r.Into("echo", t.Echo[:])
	t.Slots = make([]SlotShare, r.Count("signatures", MaxBatch, 33+32+32))
	for k := range t.Slots {
		if err := t.Slots[k].read(r); err != nil {
			return fmt.Errorf("couldn't decode final share of a batch: signature %d: %w", k, err)
		}
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("couldn't decode final share of a batch: %w", err)
	}
	if len(t.Slots) == 0 {
		return errors.New("couldn't decode final share of a batch: it has no signature")
	}
	*f = t
	return nil
}

func (s *SlotShare) read(r *wire.Reader) error {
	var w, u [32]byte
	r.Into("R", s.R[:])
	r.Into("w", w[:])
	r.Into("u", u[:])
	if err := r.Err(); err != nil {
		return err
	}
	return errors.Join(secp256k1.NewPoint().SetBytes(s.R[:]), s.W.SetBytes(w[:]), s.U.SetBytes(u[:]))
}

// CombineBatch makes the signatures from the final shares of all signers of one
// batch, each checked as Combine does.
//
// Shares that do not belong together give no output (benign). Otherwise every
// item has its own result: the signatures that verify are returned, in the order
// of the items, with nil for those that do not, and then the error is an
// unattributed abort that names them. They are not held back for the others'
// sake: whoever has the final shares can make them, so they exist, and a caller
// that did not hear of them would sign the same again.
func CombineBatch(publicKey *secp256k1.Point, signers []mpc.ID, items []Item, shares []*BatchShare) ([]*ecdsa.Signature, error) {
	parts := make([][]part, len(items))
	for _, f := range shares {
		if len(f.Slots) != len(items) {
			return nil, session.Benign(stepCombine, fmt.Errorf("final share of participant %d is of %d signatures, want %d", f.From, len(f.Slots), len(items)))
		}
		for k := range f.Slots {
			x := &f.Slots[k]
			parts[k] = append(parts[k], part{from: f.From, session: f.SID, epoch: f.Epoch, echo: f.Echo, point: x.R, w: &x.W, u: &x.U})
		}
	}
	for k := range parts {
		if err := belong(signers, parts[k]); err != nil {
			return nil, session.Benign(stepCombine, fmt.Errorf("item %d: %w", k, err))
		}
	}
	keys, err := batchKeys(publicKey, items)
	if err != nil {
		return nil, fmt.Errorf("dkls23: %w", err)
	}
	return releaseAll(parts, keys, items)
}

// releaseAll is release for all items. They are checked together; if that fails,
// one after another.
func releaseAll(parts [][]part, keys []*ecdsa.Key, items []Item) ([]*ecdsa.Signature, error) {
	out := make([]*ecdsa.Signature, len(items))
	checks := make([]ecdsa.BatchItem, len(items))
	var errs []error
	for k := range items {
		var err error
		if out[k], err = sum(parts[k]); err != nil {
			errs = append(errs, fmt.Errorf("item %d: %w", k, err))
		}
		checks[k] = ecdsa.BatchItem{Key: keys[k], Hash: items[k].MessageHash, Sig: out[k], Point: parts[k][0].point}
	}
	if errs == nil && ecdsa.CheckBatch(checks) == nil {
		return out, nil
	}
	for k := range items {
		if out[k] == nil {
			continue
		}
		if err := ecdsa.Check(keys[k].Bytes(), items[k].MessageHash, out[k]); err != nil {
			out[k] = nil
			errs = append(errs, fmt.Errorf("item %d: %w", k, err))
		}
	}
	if errs == nil {
		return out, nil // each verifies, though the sum did not: not to be expected
	}
	return out, session.Unattributed(stepCombine, errors.Join(errs...))
}

// batchKeys are the items' keys, one for all that have the same tweak.
func batchKeys(publicKey *secp256k1.Point, items []Item) ([]*ecdsa.Key, error) {
	out := make([]*ecdsa.Key, len(items))
	seen := make(map[[33]byte]*ecdsa.Key)
	for k, it := range items {
		child, err := childKey(publicKey, it.Tweak)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", k, err)
		}
		encoded := child.Bytes()
		if seen[encoded] == nil {
			if seen[encoded], err = ecdsa.NewKey(encoded[:]); err != nil {
				return nil, fmt.Errorf("item %d: %w", k, err)
			}
		}
		out[k] = seen[encoded]
	}
	return out, nil
}
