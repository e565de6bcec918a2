package frost

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/group"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// Combine makes the signatures, by job, from the shares of all signers of one
// session, by author. Nothing here is secret; a coordinator can do it. Each
// signature is verified by a verifier that is not ours before any is returned.
//
// commitments are the signers' R0. They are needed to name those whose shares
// are wrong, and for nothing else: without them (nil) such an abort is
// unattributed. Shares that do not belong together, or not to these
// commitments, are a benign abort and blame nobody.
func Combine(pub *Public, terms Terms, commitments, shares map[mpc.ID][]byte) ([][]byte, error) {
	v, err := newView(pub, &terms)
	if err != nil {
		return nil, fmt.Errorf("frost: %w", err)
	}
	points, err := v.hearCommitments(commitments)
	if err != nil {
		return nil, err
	}
	box := session.Box{Messages: shares, Want: v.want(v.last()), Echo: new([32]byte)}
	*box.Echo = v.said(shares, &box.Want)
	in, err := session.Open(stepCombine, v.terms.Signers, box)
	if err != nil {
		return nil, err
	}
	all := make(map[mpc.ID]*said)
	if err := v.readSaid(v.terms.Signers, in[0], all); err != nil {
		return nil, err
	}
	out, err := v.add(all)
	if err == nil {
		return out, nil
	}
	if commitments == nil {
		return nil, session.Unattributed(stepCombine, fmt.Errorf("%w; without the commitments nobody can be named", err))
	}
	return nil, v.blame(points, all)
}

// hearCommitments takes the R0 of all signers, if there are any, and fixes the
// sid. The points are not looked at yet.
func (v *view) hearCommitments(r0 map[mpc.ID][]byte) (map[mpc.ID][]byte, error) {
	if r0 == nil {
		return nil, nil
	}
	in, err := session.Open(stepCombine, v.terms.Signers, session.Box{Messages: r0, Want: v.want(0)})
	if err != nil {
		return nil, err
	}
	points := make(map[mpc.ID][]byte)
	if err := v.readList(stepCombine, v.terms.Signers, in[0], points, nil); err != nil {
		return nil, err
	}
	v.fixSID(points)
	return points, nil
}

// said is the echo that all shares must carry, that of the first which is in
// form: the combiner need not have seen the broadcasts. Without commitments it
// is also where the sid comes from.
func (v *view) said(shares map[mpc.ID][]byte, want *session.Header) (echo [32]byte) {
	for _, id := range v.terms.Signers {
		r := wire.NewReader(shares[id], session.Version)
		h := session.ReadHeader(r)
		r.Into("echo", echo[:])
		if r.Err() != nil {
			continue
		}
		if v.sid == [32]byte{} {
			want.Session = h.Session
		}
		return echo
	}
	return echo
}

// blame names those whose commitments are no points or whose shares are wrong.
func (v *view) blame(points map[mpc.ID][]byte, all map[mpc.ID]*said) error {
	list := make(map[mpc.ID][]*Commitment)
	faults := make(map[mpc.ID]error)
	for _, id := range v.terms.Signers {
		list[id], faults[id] = v.decode(id, points[id])
	}
	if err := session.Blame(stepCombine, v.terms.Signers, faults); err != nil {
		return err
	}
	pkgs, err := v.packages(list)
	if err != nil {
		return session.Unattributed(stepCombine, err)
	}
	return v.judge(all, pkgs)
}

// said is what a signer's share says: R and z by job.
type said struct {
	r [][]byte
	z []group.Scalar
}

// readSaid decodes the shares of ids; one that is not in form is its author's
// fault.
func (v *view) readSaid(ids []mpc.ID, in session.Readers, out map[mpc.ID]*said) error {
	faults := make(map[mpc.ID]error)
	for _, id := range ids {
		out[id], faults[id] = v.readShare(in[id])
	}
	return session.Blame(stepCombine, ids, faults)
}

func (v *view) readShare(r *wire.Reader) (*said, error) {
	rs, zs := v.suite.readShares(r)
	if err := r.Done(); err != nil {
		return nil, err
	}
	if len(zs) != len(v.terms.Jobs) {
		return nil, fmt.Errorf("%d signature shares, want %d", len(zs), len(v.terms.Jobs))
	}
	x := &said{r: rs}
	for k := range zs {
		z := v.suite.curve.NewScalar()
		if err := z.Decode(zs[k]); err != nil {
			return nil, fmt.Errorf("signature share of job %d: %w", k, err)
		}
		x.z = append(x.z, z)
	}
	return x, nil
}

// add makes the signatures and has them judged. Whether a share is right is not
// asked: all of them are when the signatures are.
func (v *view) add(all map[mpc.ID]*said) ([][]byte, error) {
	out := make([][]byte, len(v.terms.Jobs))
	for k := range out {
		r := all[v.terms.Signers[0]].r[k]
		z := v.suite.curve.NewScalar()
		for _, id := range v.terms.Signers {
			if !bytes.Equal(all[id].r[k], r) {
				return nil, fmt.Errorf("job %d: participants %d and %d hold different R", k, v.terms.Signers[0], id)
			}
			z.Add(z, all[id].z[k])
		}
		out[k] = v.suite.signature(r, z)
		if err := v.suite.verify(v.children[k].qb, v.terms.Jobs[k].Message, out[k]); err != nil {
			return nil, fmt.Errorf("job %d: %w", k, err)
		}
	}
	return out, nil
}

// judge looks at each share, after the signatures were refused. All signers of
// one sid hold the same B, and so the same R.
func (v *view) judge(all map[mpc.ID]*said, pkgs []*Package) error {
	faults := make(map[mpc.ID]error)
	for k, x := range pkgs {
		for _, id := range v.terms.Signers {
			switch {
			case faults[id] != nil:
			case !bytes.Equal(all[id].r[k], x.rb):
				faults[id] = fmt.Errorf("job %d: R is %x, want %x", k, all[id].r[k], x.rb)
			default:
				if err := x.VerifyShare(id, all[id].z[k]); err != nil {
					faults[id] = fmt.Errorf("job %d: %w", k, err)
				}
			}
		}
	}
	if err := session.Blame(stepCombine, v.terms.Signers, faults); err != nil {
		return err
	}
	return session.Unattributed(stepCombine, errors.New("every share is valid, and yet the signatures are not"))
}
