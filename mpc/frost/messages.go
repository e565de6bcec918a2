package frost

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// The bodies of the messages, after header and echo. Each reader reads all of
// its message: bytes left over are an error. What is a list by job is one byte
// string, cut by the number of jobs that both sides know.

const (
	maxCommitments = MaxJobs * 2 * 33
	maxShares      = MaxJobs * (33 + 32)
)

// body0 is of R0.
type body0 struct {
	job         [32]byte
	commitments []byte // Dᵢ ‖ Eᵢ, a pair a job
	attachment  []byte
}

func (b *body0) write(w *wire.Writer) {
	w.Fixed(b.job[:]).Var(b.commitments).Var(b.attachment)
}

func readBody0(r *wire.Reader) (*body0, error) {
	b := new(body0)
	r.Into("job", b.job[:])
	b.commitments = r.Var("commitments", maxCommitments)
	b.attachment = r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// readExchange is of the rounds between: the attachment alone.
func readExchange(r *wire.Reader) ([]byte, error) {
	b := r.Var("attachment", MaxAttachment)
	return b, r.Done()
}

// Share is a signer's last message: with those of all signers of the session it
// makes the signatures, so it leaves only when that is durable.
type Share struct {
	From  mpc.ID
	Round uint8
	SID   [32]byte
	Epoch uint64
	Echo  [32]byte // h of the round before: what this signer saw
	R     [][]byte // by job
	Z     [][]byte
}

// DecodeShare decodes strictly. It does not check that R is a point and z a
// scalar: Combine does.
func DecodeShare(suite mpc.Suite, b []byte) (*Share, error) {
	s, err := suiteOf(suite)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	r := wire.NewReader(b, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Protocol != session.FROST || h.Round == 0 || h.Round > MaxExchanges+1 || h.To != session.Broadcast || h.From == 0) {
		r.Failf("not a signature share of frost")
	}
	x := &Share{From: h.From, Round: h.Round, SID: h.Session, Epoch: h.Epoch}
	r.Into("echo", x.Echo[:])
	x.R, x.Z = s.readShares(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("frost: couldn't decode share: %w", err)
	}
	return x, nil
}

// Encode is the message.
func (x *Share) Encode() []byte {
	h := session.Header{Protocol: session.FROST, Round: x.Round, Session: x.SID, Epoch: x.Epoch, From: x.From, To: session.Broadcast}
	w := h.Writer().Fixed(x.Echo[:])
	var all []byte
	for k := range x.R {
		all = append(append(all, x.R[k]...), x.Z[k]...)
	}
	return w.Var(all).Bytes()
}

// readShares reads R ‖ z of every job.
func (s *suite) readShares(r *wire.Reader) (rs, zs [][]byte) {
	size := s.curve.PointSize() + 32
	all := r.Var("signature shares", maxShares)
	if r.Err() == nil && (len(all) == 0 || len(all)%size != 0 || len(all) > MaxJobs*size) {
		r.Failf("signature shares of %d bytes, want 1 to %d times %d", len(all), MaxJobs, size)
		return nil, nil
	}
	for ; len(all) > 0; all = all[size:] {
		rs = append(rs, all[:size-32:size-32])
		zs = append(zs, all[size-32:size:size])
	}
	return rs, zs
}

// Attachment returns what the caller of the author attached to the broadcast of
// a round. It decodes and checks nothing else: the session does.
func Attachment(broadcast []byte, round int) ([]byte, error) {
	r := wire.NewReader(broadcast, session.Version)
	h := session.ReadHeader(r)
	if r.Err() == nil && (h.Protocol != session.FROST || int(h.Round) != round || h.To != session.Broadcast) {
		r.Failf("not a broadcast of frost round %d", round)
	}
	if round == 0 {
		b, err := readBody0(r)
		if err != nil {
			return nil, fmt.Errorf("frost: couldn't read the attachment of R0: %w", err)
		}
		return b.attachment, nil
	}
	var echo [32]byte
	r.Into("echo", echo[:])
	b, err := readExchange(r)
	if err != nil {
		return nil, fmt.Errorf("frost: couldn't read the attachment of R%d: %w", round, err)
	}
	return b, nil
}
