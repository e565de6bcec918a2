package frost

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/internal/session"
)

// The steps that aborts name.
const (
	stepCommit   = "frost commitments"
	stepExchange = "frost exchange"
	stepShare    = "frost share"
	stepCombine  = "frost combine"
)

// Round0 returns R0, with this signer's nonce commitments. What is signed and by
// whom is fixed from here on.
func (s *Session) Round0(attachment []byte) (broadcast []byte, err error) {
	if err := s.order.Begin(0); err != nil {
		return nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := s.draw(); err != nil {
		return nil, err
	}
	for _, n := range *s.nonces {
		s.own = append(s.own, n.commitment.enc...)
	}
	b := body0{job: s.job, commitments: s.own, attachment: attachment}
	w := s.header(0).Writer()
	b.write(w)
	s.sent = w.Bytes()
	return slices.Clone(s.sent), nil
}

// draw makes the nonces, or takes those of the pool: they are this session's
// alone from here on, whoever else holds a copy.
func (s *Session) draw() error {
	fresh := make([]*Nonce, 0, len(s.terms.Jobs))
	defer func() {
		*s.nonces = fresh // Destroy wipes them
	}()
	for i := range s.terms.Jobs {
		if i >= len(*s.nonces) {
			n, err := newNonce(s.key, s.terms.Signers, s.rand)
			if err != nil {
				return session.Benign(stepCommit, err)
			}
			fresh = append(fresh, n)
			continue
		}
		n := *(*s.nonces)[i]
		p, err := n.take()
		if err != nil {
			return session.Benign(stepCommit, fmt.Errorf("job %d: %w", i, err))
		}
		n.secret = &p
		fresh = append(fresh, &n)
	}
	return nil
}

// Exchange takes the peers' broadcasts of the round before and returns this
// round's, which carries the attachment only. It is called as often as the
// terms say, between Round0 and Share.
func (s *Session) Exchange(before map[mpc.ID][]byte, attachment []byte) (broadcast []byte, err error) {
	round := max(s.order.Next(), 1)
	if int(round) > s.terms.Exchanges {
		return nil, fmt.Errorf("frost: the session has %d exchanges", s.terms.Exchanges)
	}
	if err := s.order.Begin(round); err != nil {
		return nil, err
	}
	if err := checkAttachment(attachment); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := s.take(before); err != nil {
		return nil, err
	}
	s.sent = s.header(round).Writer().Fixed(s.echo[:]).Var(attachment).Bytes()
	return slices.Clone(s.sent), nil
}

// take works on the peers' broadcasts of the round before the one that is
// called.
func (s *Session) take(before map[mpc.ID][]byte) error {
	round := s.order.Next() - 1
	if round == 0 {
		if err := s.commitments(before); err != nil {
			return err
		}
	} else {
		in, err := session.Open(stepExchange, s.peers, session.Box{Messages: before, Want: s.want(round), Echo: &s.echo})
		if err != nil {
			return err
		}
		faults := make(map[mpc.ID]error)
		for _, id := range s.peers {
			_, faults[id] = readExchange(in[0][id])
		}
		if err := session.Blame(stepExchange, s.peers, faults); err != nil {
			return err
		}
	}
	all := maps.Clone(before)
	all[s.self] = s.sent
	s.echo = s.hear(round, all)
	return nil
}

// commitments takes the peers' R0 and fixes B: it is made from what the signers
// themselves broadcast, this one's own entry from its own memory.
func (s *Session) commitments(r0 map[mpc.ID][]byte) error {
	in, err := session.Open(stepCommit, s.peers, session.Box{Messages: r0, Want: s.want(0)})
	if err != nil {
		return err
	}
	points := map[mpc.ID][]byte{s.self: s.own}
	list := map[mpc.ID][]*Commitment{s.self: s.ownCommitments()}
	if err := s.readList(stepCommit, s.peers, in[0], points, list); err != nil {
		return err
	}
	s.list = list
	s.fixSID(points)
	return nil
}

// readList reads R0 bodies: first all are in form and of this job, differences
// being benign; then the points, by which a signer is blamed.
func (v *view) readList(step string, ids []mpc.ID, in session.Readers, points map[mpc.ID][]byte, list map[mpc.ID][]*Commitment) error {
	faults := make(map[mpc.ID]error)
	for _, id := range ids {
		b, err := readBody0(in[id])
		if err != nil {
			faults[id] = err
			continue
		}
		if b.job != v.job {
			return session.Benign(step, fmt.Errorf("participant %d wants to sign something else: the context, the request, the messages or the tweaks differ", id))
		}
		points[id] = b.commitments
	}
	for _, id := range ids {
		if faults[id] == nil && list != nil {
			list[id], faults[id] = v.decode(id, points[id])
		}
	}
	return session.Blame(step, ids, faults)
}

// Share takes the peers' broadcasts of the last round and returns this signer's
// shares. The nonces are consumed before the shares exist: whatever happens
// then, they answer no second time.
func (s *Session) Share(before map[mpc.ID][]byte) (share []byte, err error) {
	if err := s.order.Begin(s.last()); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	if err := s.take(before); err != nil {
		return nil, err
	}
	secrets := make([]*noncePair, len(*s.nonces))
	for i, n := range *s.nonces {
		if secrets[i], err = n.take(); err != nil {
			return nil, session.Benign(stepShare, err)
		}
		defer secrets[i].destroy()
	}
	if s.pkgs, err = s.packages(s.list); err != nil {
		return nil, session.Unattributed(stepShare, err)
	}
	if !s.key.Active() {
		return nil, session.Benign(stepShare, errors.New("the key share was destroyed"))
	}
	x := s.key.Share()
	defer x.Destroy()
	out := &Share{From: s.self, Round: s.last(), SID: s.sid, Epoch: s.pub.Epoch, Echo: s.echo}
	s.said = new(said)
	for k, p := range s.pkgs {
		z, err := p.sign(s.self, x, (*s.nonces)[k].commitment.enc, secrets[k])
		if err != nil {
			return nil, session.Unattributed(stepShare, err)
		}
		s.said.r, s.said.z = append(s.said.r, p.rb), append(s.said.z, z)
		out.R, out.Z = append(out.R, p.rb), append(out.Z, z.Encode())
	}
	s.sent = out.Encode()
	return slices.Clone(s.sent), nil
}

// Combine takes the peers' shares and returns the signatures, by job, each
// verified by a verifier that is not ours. If one is refused, everybody whose
// share is wrong is blamed. A signer that saw other broadcasts than this one is
// blamed for nothing: the abort is benign.
func (s *Session) Combine(shares map[mpc.ID][]byte) (signatures [][]byte, err error) {
	if err := s.order.Begin(s.last() + 1); err != nil {
		return nil, err
	}
	defer func() { s.order.End(err, s.Destroy) }()
	in, err := session.Open(stepCombine, s.peers, session.Box{Messages: shares, Want: s.want(s.last()), Echo: &s.echo})
	if err != nil {
		return nil, err
	}
	said := map[mpc.ID]*said{s.self: s.said}
	if err := s.readSaid(s.peers, in[0], said); err != nil {
		return nil, err
	}
	if out, _ := s.add(said); out != nil {
		return out, nil
	}
	return nil, s.judge(said, s.pkgs)
}

func checkAttachment(b []byte) error {
	if len(b) > MaxAttachment {
		return fmt.Errorf("frost: attachment of %d bytes, at most %d", len(b), MaxAttachment)
	}
	return nil
}
