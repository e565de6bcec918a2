package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// replayEpoch checks that a key went to its next epoch as the admins ordered, and
// that everybody who had to had voted for it (docs/spec/handover.md).
func (v *verifier) replayEpoch(l *vaultLog, i uint64, e *audit.Entry) error {
	x, err := audit.DecodeEpochEntry(e.Body)
	if err != nil {
		return err
	}
	cert, err := dkg.DecodeCertificate(x.Certificate)
	if err != nil {
		return err
	}
	commit, err := handover.DecodeBundle(x.Commit)
	if err != nil {
		return err
	}
	if err := l.checkEpochOrder(x, &commit.Plan); err != nil {
		v.entryFault(l, i, EpochOrder, "wallet %q: %v", x.Name, err)
		return nil
	}
	err = commit.VerifyCommit(handover.Verifier{Signature: l.voted, Certificate: planned, Proof: proven})
	if err == nil {
		err = l.sameCertificate(cert, commit)
	}
	if err != nil {
		v.entryFault(l, i, EpochCommit, "wallet %q: %v", x.Name, err)
		return nil
	}
	v.checkInForce(l, i, "enters an epoch of a key")
	v.enterEpoch(l, i, x, cert)
	return nil
}

// checkEpochOrder: the plan is that of an order in force, for the epoch that the
// log is in.
func (l *vaultLog) checkEpochOrder(x *audit.EpochEntry, p *handover.Plan) error {
	o, ok := l.state().FindOrder(p.Order)
	if !ok {
		return errors.New("no change in this log orders it")
	}
	parties, threshold := p.Old, p.OldThreshold
	if o.Action == governance.Reshare {
		parties, threshold = nil, int(o.Threshold)
		for _, id := range o.Parties {
			parties = append(parties, mpc.ID(id))
		}
	}
	switch {
	case o.Action != governance.Refresh && o.Action != governance.Reshare:
		return fmt.Errorf("change %d orders to %s, which makes no epoch", o.Seq, o.Action)
	case p.Previous != o.Certificate:
		return fmt.Errorf("change %d is about the epoch of another certificate", o.Seq)
	case p.Key != x.Key || o.Key != x.Key || o.Name != x.Name || o.Epoch != p.From:
		return fmt.Errorf("change %d is about wallet %q in epoch %d, the entry about %q in epoch %d", o.Seq, o.Name, o.Epoch, x.Name, p.From)
	case !slices.Equal(p.New, parties) || p.NewThreshold != threshold:
		return fmt.Errorf("change %d orders %d of %v, done was %d of %v", o.Seq, threshold, parties, p.NewThreshold, p.New)
	}
	if known := l.keys[x.Key]; known != nil {
		switch {
		case known.Epoch > p.From:
			return fmt.Errorf("epoch %d after epoch %d", p.To(), known.Epoch)
		case known.Epoch == p.From && (known.Digest() != p.Previous || !slices.Equal(known.Parties, p.Old) || known.Threshold != p.OldThreshold):
			return fmt.Errorf("it leaves another epoch %d than the log's", p.From)
		}
	}
	return nil
}

// voteDomain is the domain of the HSM identities' votes, but for PREPARED, which is
// the signature on the certificate.
const voteDomain = "coffer/handover/v1"

func (l *vaultLog) voted(k handover.Kind, id mpc.ID, digest [32]byte, sig []byte) bool {
	if k == handover.Prepared {
		return l.certified(id, digest, sig)
	}
	return l.state().SignedByIdentity(uint16(id), signature.Statement{Domain: voteDomain, Body: digest[:]}, sig)
}

func planned(p *handover.Plan, body []byte) ([32]byte, error) {
	c, err := dkg.DecodeCertificate(body)
	if err != nil {
		return [32]byte{}, err
	}
	if c.KeyID() != p.Key || c.Epoch != p.To() || c.Previous != p.Previous || c.Threshold != p.NewThreshold || !slices.Equal(c.Parties, p.New) {
		return [32]byte{}, errors.New("it is not of the epoch that the plan leads to")
	}
	return c.Digest(), nil
}

func proven(p *handover.Plan, body []byte, id mpc.ID, proof []byte) error {
	c, err := dkg.DecodeCertificate(body)
	if err != nil {
		return err
	}
	plan, digest := p.ID(), c.Digest()
	return lifecycle.VerifyShareProof(c.PublicShares[id], wire.Hash("coffer/handover-proof/v1", plan[:], digest[:]), proof)
}

// sameCertificate: the entry's certificate is the one that was voted for, and all
// new parties' devices signed it.
func (l *vaultLog) sameCertificate(cert *dkg.Certificate, commit *handover.Bundle) error {
	voted, err := dkg.DecodeCertificate(commit.Body)
	if err != nil {
		return err
	}
	if cert.Digest() != voted.Digest() {
		return errors.New("its certificate is not the one that was voted for")
	}
	return cert.Complete(l.certified)
}

func (v *verifier) enterEpoch(l *vaultLog, i uint64, x *audit.EpochEntry, cert *dkg.Certificate) {
	if other, ok := v.names[x.Name]; ok && other != x.Key {
		v.entryFault(l, i, KeyDiffers, "wallet %q is key %x here and key %x elsewhere", x.Name, x.Key[:8], other[:8])
		return
	}
	l.keys[x.Key], v.names[x.Name] = cert, x.Key
	known := v.keys[x.Key]
	if known == nil {
		known = &keyInfo{id: x.Key, name: x.Name, cert: cert, vault: l.id, epochs: map[uint64]epochSeen{}}
		v.keys[x.Key] = known
		v.report.Counts.Keys++
	}
	if seen, ok := known.epochs[cert.Epoch]; !ok {
		known.epochs[cert.Epoch] = epochSeen{cert, l.id, i}
		v.report.Counts.Epochs++
	} else if seen.cert.Digest() != cert.Digest() {
		v.entryFault(l, i, EpochForked, "wallet %q: epoch %d is another one than in the log of vault %d: a vault has voted for both", x.Name, cert.Epoch, seen.vault)
	}
}

// crossEpochs: each epoch follows the one before it, with the same public key.
func (v *verifier) crossEpochs() {
	for _, id := range sortedKeys(v.keys) {
		k := v.keys[id]
		for n, x := range k.epochs {
			if n == dkg.FirstEpoch {
				continue
			}
			before, ok := k.epochs[n-1]
			switch {
			case !ok:
				v.report.note("wallet %q: no log tells of epoch %d, from which epoch %d was made", k.name, n-1, n)
			case x.cert.Previous != before.cert.Digest() || x.cert.PublicKey().Equal(before.cert.PublicKey()) != 1 || x.cert.Suite != before.cert.Suite || x.cert.Purpose != before.cert.Purpose:
				v.report.fault(x.vault, entry(x.entry), EpochForked, "wallet %q: epoch %d does not follow epoch %d, of which vault %d's log tells", k.name, n, n-1, before.vault)
			}
		}
	}
}

func sortedKeys(m map[[32]byte]*keyInfo) [][32]byte {
	var ids [][32]byte
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
	return ids
}
