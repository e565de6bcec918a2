package lifecycle

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
	"github.com/cofferhq/coffer/mpc/sharing"
	"github.com/cofferhq/coffer/mpc/transcript"
)

// Kind says how the shares of the next epoch come about.
type Kind uint8

const (
	// Refresh: all n parties add a sharing of zero. Parties and threshold stay.
	Refresh Kind = 1
	// Reshare: a quorum of t old parties deals its shares to new parties.
	Reshare Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Refresh:
		return "refresh"
	case Reshare:
		return "reshare"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

const jobVersion = 1

// job is what a redistribution does, and what the evidence of a lie in it is
// about. Everything in it is public.
type job struct {
	kind      Kind
	old       *dkg.Certificate
	dealers   []mpc.ID
	threshold int      // t'
	parties   []mpc.ID // the new ones
}

func (j *job) curve() group.Curve { return j.old.Feldman[0].Curve() }

// epoch is the one that the redistribution makes.
func (j *job) epoch() uint64 { return j.old.Epoch + 1 }

func (j *job) check() error {
	if err := sharing.CheckIDs(j.parties); err != nil {
		return fmt.Errorf("new parties: %w", err)
	}
	if err := sharing.CheckIDs(j.dealers); err != nil {
		return fmt.Errorf("dealers: %w", err)
	}
	if err := sharing.CheckThreshold(j.threshold, len(j.parties)); err != nil {
		return fmt.Errorf("new parties: %w", err)
	}
	for _, id := range j.dealers {
		if !sharing.Contains(j.old.Parties, id) {
			return fmt.Errorf("dealer %d is not one of the old parties %v", id, j.old.Parties)
		}
	}
	if j.old.Epoch+1 == 0 {
		return errors.New("the old epoch is the last that there can be")
	}
	switch j.kind {
	case Refresh:
		if !slices.Equal(j.dealers, j.old.Parties) || !slices.Equal(j.parties, j.old.Parties) || j.threshold != j.old.Threshold {
			return fmt.Errorf("refresh by %v for %d of %v, want by and for all old parties %v and their threshold %d",
				j.dealers, j.threshold, j.parties, j.old.Parties, j.old.Threshold)
		}
	case Reshare:
		if len(j.dealers) != j.old.Threshold {
			return fmt.Errorf("%d dealers %v, want exactly the old threshold, %d", len(j.dealers), j.dealers, j.old.Threshold)
		}
	default:
		return fmt.Errorf("kind %d, want %d (refresh) or %d (reshare)", j.kind, Refresh, Reshare)
	}
	return nil
}

// write is the part of the job that its certificate does not say.
func (j *job) write(w *wire.Writer) *wire.Writer {
	w.Uint8(uint8(j.kind))
	session.WriteIDs(w, j.dealers)
	w.Uint16(uint16(j.threshold))
	session.WriteIDs(w, j.parties)
	return w
}

// readJob is the inverse of write.
func readJob(r *wire.Reader, old *dkg.Certificate) *job {
	j := &job{old: old}
	j.kind = Kind(r.Uint8("kind"))
	j.dealers = session.ReadIDs(r, "dealers")
	j.threshold = int(r.Uint16("threshold"))
	j.parties = session.ReadIDs(r, "parties")
	if r.Err() == nil {
		if err := j.check(); err != nil {
			r.Fail(err)
		}
	}
	return j
}

// hash is the item of the session id, and of what dealers sign.
func (j *job) hash() [32]byte {
	digest := j.old.Digest()
	w := wire.NewWriter(jobVersion).Fixed(digest[:]).Uint64(j.epoch())
	return transcript.Sum(transcript.TagLifeJob, j.write(w).Bytes())
}

// full completes a vector as it is sent: that of a refresh lacks the constant
// term, which is 0.
func (j *job) full(vector sharing.Commitment) sharing.Commitment {
	if j.kind == Refresh {
		return append(sharing.Commitment{j.curve().NewPoint()}, vector...)
	}
	return vector
}

// checkVector says whether a dealer may deal by this vector.
func (j *job) checkVector(dealer mpc.ID, vector sharing.Commitment) error {
	want := j.threshold
	if j.kind == Refresh {
		want-- // no constant term
	}
	if len(vector) != want {
		return fmt.Errorf("feldman vector of %d points, want %d", len(vector), want)
	}
	if j.kind == Refresh {
		return nil
	}
	constant, err := j.constant(dealer)
	if err != nil {
		return err
	}
	if vector[0].Equal(constant) != 1 {
		return errors.New("feldman vector does not start with the dealer's weighted public share")
	}
	return nil
}

// constant is λᵢ·Xᵢ, the constant term of a dealer of a reshare.
func (j *job) constant(dealer mpc.ID) (group.Point, error) {
	l, err := sharing.Lagrange(j.curve(), j.dealers, dealer)
	if err != nil {
		return nil, err
	}
	return j.curve().NewPoint().ScalarMult(l, j.old.PublicShares[dealer]), nil
}

// sum is the Feldman vector of the new epoch.
func (j *job) sum(vectors []sharing.Commitment) (sharing.Commitment, error) {
	if j.kind == Refresh {
		vectors = append(vectors, j.old.Feldman)
	}
	sum, err := sharing.SumCommitments(vectors...)
	if err != nil {
		return nil, err
	}
	if sum[0].Equal(j.old.PublicKey()) != 1 {
		return nil, errors.New("new shares are of another public key than the old ones")
	}
	for _, id := range j.parties {
		if sum.Eval(id).IsIdentity() == 1 {
			return nil, fmt.Errorf("new public share of participant %d is the identity", id)
		}
	}
	return sum, nil
}

// union is the ascending union of two ascending lists.
func union(a, b []mpc.ID) []mpc.ID {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}
