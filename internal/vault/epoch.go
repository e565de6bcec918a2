package vault

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
	"github.com/cofferhq/coffer/mpc/lifecycle"
)

// A key's epochs on disk (docs/spec/vault-store.md): the share of each under a
// record of its own, and one record for what this vault has promised about them.
// What a promise rests on is durable before it is signed, and it is signed before
// it leaves (package handover).

// candidate is a share of an epoch that has not begun.
type candidate struct {
	held *held
	made making           // the key's, for who has come new
	cert *dkg.Certificate // unsigned
}

func handoverName(kid [32]byte) string   { return recordHandover + fmt.Sprintf("%x", kid) }
func candidateName(plan [32]byte) string { return recordCandidate + fmt.Sprintf("%x", plan) }
func leftName(kid [32]byte) string       { return recordLeft + fmt.Sprintf("%x", kid) }

// shareName is the record of a share that no key generation here wrote; that one's
// is keyName.
func shareName(kid [32]byte, epoch uint64) string {
	return fmt.Sprintf("%s%x/%016x", recordShare, kid, epoch)
}

func keyName(kid [32]byte) string { return recordKey + fmt.Sprintf("%x", kid) }

// removeShare erases the share of an epoch.
func (v *Vault) removeShare(kid [32]byte, epoch uint64) {
	if epoch == dkg.FirstEpoch {
		v.store.remove(keyName(kid))
	}
	v.store.remove(shareName(kid, epoch))
}

// verifier is what a handover's machine asks of this vault.
func (v *Vault) verifier() handover.Verifier {
	return handover.Verifier{Signature: v.verifyVote, Certificate: v.checkNewCertificate, Proof: v.checkShareProof, Closing: v.closing}
}

// VoteStatement is what a vault's HSM identity signs when it votes on a handover.
// A PREPARED is its signature on the new epoch's certificate.
func VoteStatement(kind handover.Kind, digest [32]byte) signature.Statement {
	if kind == handover.Prepared {
		return CertificateStatement(digest)
	}
	return signature.Statement{Domain: "coffer/handover/v1", Body: digest[:]}
}

func (v *Vault) verifyVote(kind handover.Kind, id mpc.ID, digest [32]byte, sig []byte) bool {
	return v.gov.SignedByIdentity(uint16(id), VoteStatement(kind, digest), sig)
}

// checkNewCertificate checks that a certificate without signatures is of the epoch
// that a plan leads to.
func (v *Vault) checkNewCertificate(p *handover.Plan, body []byte) ([32]byte, error) {
	c, err := dkg.DecodeCertificate(body)
	if err != nil {
		return [32]byte{}, err
	}
	if err := CheckPlanned(p, c); err != nil {
		return [32]byte{}, err
	}
	for _, id := range c.Parties {
		if c.Signature(id) != nil {
			return [32]byte{}, errors.New("the certificate carries signatures: they are votes of their own")
		}
	}
	if k := v.keys[p.Key]; k != nil && (k.cert.PublicKey().Equal(c.PublicKey()) != 1 || k.cert.Suite != c.Suite || k.cert.Purpose != c.Purpose) {
		return [32]byte{}, errors.New("the certificate is of another public key, suite or purpose than the wallet's")
	}
	return c.Digest(), nil
}

// CheckPlanned checks that a certificate is of the epoch that a plan leads to.
func CheckPlanned(p *handover.Plan, c *dkg.Certificate) error {
	switch {
	case c.KeyID() != p.Key:
		return fmt.Errorf("the certificate is of key %x, the plan of key %x", c.KeyID(), p.Key)
	case c.Epoch != p.To() || c.Previous != p.Previous:
		return fmt.Errorf("the certificate of epoch %d does not follow the one that the plan leaves", c.Epoch)
	case c.Threshold != p.NewThreshold || !equalIDs(c.Parties, p.New):
		return fmt.Errorf("the certificate is for %d of %v, the plan for %d of %v", c.Threshold, c.Parties, p.NewThreshold, p.New)
	}
	return nil
}

// ProofDigest is what the proof of knowledge of a new share is bound to.
func ProofDigest(plan, certificate [32]byte) [32]byte {
	return wire.Hash("coffer/handover-proof/v1", plan[:], certificate[:])
}

func (v *Vault) checkShareProof(p *handover.Plan, body []byte, id mpc.ID, proof []byte) error {
	return VerifyShareProof(p, body, id, proof)
}

// VerifyShareProof checks the proof that stands in a READY.
func VerifyShareProof(p *handover.Plan, body []byte, id mpc.ID, proof []byte) error {
	c, err := dkg.DecodeCertificate(body)
	if err != nil {
		return err
	}
	return lifecycle.VerifyShareProof(c.PublicShares[id], ProofDigest(p.ID(), c.Digest()), proof)
}

// closing ends what signs in an epoch that this vault is about to close, and states
// how far its ledger has come: nothing is reserved in that epoch after it. Nil: it can
// state nothing.
func (v *Vault) closing(p *handover.Plan) []byte {
	v.endKeySessions(p.Key, fmt.Errorf("the wallet goes to epoch %d: retry", p.To()))
	if k := v.keys[p.Key]; k == nil || v.imported(k) != nil {
		return nil // others have ended the epoch, and this vault does not know all that was promised before it
	}
	v.restate(p)
	h := v.ledgers[v.cfg.ID].head()
	return wire.NewWriter(1).Uint64(h.Seq).Fixed(h.Hash[:]).Bytes()
}

func (v *Vault) endKeySessions(kid [32]byte, why error) {
	for _, a := range sortedAttempts(v.signs) {
		if s := v.signs[a]; s != nil && s.key.id == kid {
			v.abortSign(s, benign("sign", why))
		}
	}
}

// machine finds a key's handover machine, or makes it.
func (v *Vault) machine(kid [32]byte) (*handover.Machine, error) {
	if m := v.machines[kid]; m != nil {
		return m, nil
	}
	var e *handover.Epoch
	if k := v.keys[kid]; k != nil && k.holds() {
		e = &handover.Epoch{Number: k.cert.Epoch, Certificate: k.cert.Digest(), Parties: k.cert.Parties, Threshold: k.cert.Threshold}
	}
	m, err := handover.New(v.cfg.ID, kid, e, v.verifier())
	if err != nil {
		return nil, err
	}
	v.machines[kid] = m
	return m, nil
}

// maySign says whether this vault's promises let it sign with the key now.
func (v *Vault) maySign(k *key) error {
	m := v.machines[k.id]
	if err := v.mayReserve(k.cert.Parties, k.cert.Threshold); err != nil {
		return err
	}
	switch {
	case !k.holds():
		return fmt.Errorf("vault %d holds no share of the wallet since epoch %d", v.cfg.ID, k.cert.Epoch)
	case k.held.dormant:
		return fmt.Errorf("vault %d's share of the wallet was repaired or imported: it signs after the wallet's next refresh (coffer key refresh)", v.cfg.ID)
	case m != nil && !m.MaySign(k.cert.Epoch):
		return fmt.Errorf("the wallet is going from epoch %d to the next: retry", k.cert.Epoch)
	}
	return v.imported(k)
}

// carryOut does what a handover's machine says: what must be durable goes into
// this step's writes, and what is sent leaves after them.
func (v *Vault) carryOut(kid [32]byte, m *handover.Machine, out handover.Effects) {
	if out.Committed != nil {
		if err := v.commitEpoch(kid, out.Committed); err != nil {
			v.note("couldn't take up the new epoch", "key", fmt.Sprintf("%x", kid[:8]), "error", err.Error())
		}
	}
	for _, plan := range out.Discard {
		v.discard(plan)
	}
	for _, epoch := range out.Erase {
		v.removeShare(kid, epoch)
		v.note("share of an ended epoch erased", "key", fmt.Sprintf("%x", kid[:8]), "epoch", epoch)
	}
	if len(out.Erase) > 0 {
		v.pairAnew(kid)
		v.wantRatchet()
	}
	if out.Save {
		if err := v.store.put(handoverName(kid), m.Encode()); err != nil {
			panic("vault: randomness ended: " + err.Error())
		}
	}
	for _, r := range out.Sign {
		v.signVote(kid, m, r)
	}
	for _, msg := range out.Send {
		if p := v.peers[msg.To]; p != nil {
			v.sendSealed(p, &inner{Kind: innerVotes, Private: msg.Body})
		}
	}
	for _, b := range out.Blame {
		if p := v.peers[b.Party]; p != nil {
			evidence := &handover.Bundle{Votes: b.Evidence}
			w := wire.NewWriter(1).Fixed(b.Plan[:]).Var(encodeVotes(evidence.Votes))
			v.incident(p, mpc.Attributed.String(), "handover", b.Err.Error(), w.Bytes())
		}
	}
}

// pairAnew makes the pair setups of a key's parties afresh, once an epoch is over:
// what anybody learnt of one in that epoch is worthless in the next. Of each pair
// the lower id begins.
func (v *Vault) pairAnew(kid [32]byte) {
	k := v.keys[kid]
	if k == nil || !k.holds() || !k.cert.Suite.ZeroShares() {
		return
	}
	for _, id := range k.cert.Parties {
		if p := v.peers[id]; p != nil && v.cfg.ID < id && p.confirmed {
			v.startPairing(p, p.pairAttempt+1)
		}
	}
}

func encodeVotes(votes []handover.Vote) []byte {
	w := wire.NewWriter(1).Count(len(votes))
	for i := range votes {
		x := &votes[i]
		w.Uint8(uint8(x.Kind)).Uint16(uint16(x.From)).Fixed(x.Certificate[:]).Var(x.Proof).Var(x.Signature)
	}
	return w.Bytes()
}

func (v *Vault) signVote(kid [32]byte, m *handover.Machine, r handover.Request) {
	v.ask(DeviceCommand{Kind: DeviceSign, Role: hsm.RoleIdentity, Statement: VoteStatement(r.Kind, r.Digest)}, func(res DeviceResult) error {
		if res.Err != "" {
			// The vote is decided and durable: it is signed at the next start, or the
			// next time that somebody asks.
			v.note("the device does not sign a vote on a handover", "vote", r.Kind.String(), "error", res.Err)
			v.unsigned = append(v.unsigned, unsignedVote{kid, r, v.now})
			return nil
		}
		out, err := m.Signed(r.Plan, r.Kind, res.Signature.Encode())
		if err != nil {
			v.note("a vote's signature came too late", "vote", r.Kind.String(), "error", err.Error())
			return nil
		}
		v.carryOut(kid, m, out)
		return nil
	})
}

// unsignedVote is one that the device refused to sign.
type unsignedVote struct {
	key [32]byte
	r   handover.Request
	at  uint64
}

func (v *Vault) discard(plan [32]byte) {
	if c := v.candidates[plan]; c != nil {
		c.held.destroy()
		delete(v.candidates, plan)
	}
	v.store.remove(candidateName(plan))
}

// commitEpoch makes the share of the new epoch the key's, in the log too.
func (v *Vault) commitEpoch(kid [32]byte, commit *handover.Bundle) error {
	plan := &commit.Plan
	id := plan.ID()
	cert, err := CommitCertificate(commit)
	if err != nil {
		return err
	}
	k := v.keys[kid]
	name, made := "", making{}
	var order []byte
	switch {
	case k != nil:
		name, order, made = k.name, k.order, k.made
	default:
		if o, ok := v.gov.FindOrder(plan.Order); ok {
			name = o.Name
		}
	}
	v.endKeySessions(kid, fmt.Errorf("the wallet has gone to epoch %d: retry", cert.Epoch))
	if k != nil {
		v.moved(k, errors.New("the wallet has gone to its next epoch: retry"))
		k.held.destroy()
	}
	next := &key{id: kid, name: name, order: order, made: made, cert: cert}
	if c := v.candidates[id]; c != nil {
		if err := c.held.activate(cert, v.verifyCertificate); err != nil {
			return err
		}
		next.held, next.made = c.held, cmp.Or(made, c.made)
		next.imports = importsOf(commit).under(next.made.faults)
		if err := v.storeShare(next); err != nil {
			return err
		}
		delete(v.candidates, id)
		v.store.remove(candidateName(id))
		v.store.remove(leftName(kid))
	} else if err := v.store.put(leftName(kid), encodeShareRecord(next)); err != nil {
		return err
	}
	v.keys[kid] = next
	v.wantRatchet()
	if next.holds() {
		_ = v.imported(next) // asks for what is missing
	}
	entry := audit.EpochEntry{Key: kid, Name: name, Certificate: cert.Encode(), Commit: commit.Encode()}
	v.appendLog(audit.KindEpoch, entry.Encode())
	v.note("the wallet has gone to its next epoch", "wallet", name, "epoch", cert.Epoch, "parties", cert.Parties)
	v.finishHandovers(kid, cert)
	return nil
}

// CommitCertificate is the certificate of the new epoch with the signatures that
// stand in the votes of a commit certificate.
func CommitCertificate(commit *handover.Bundle) (*dkg.Certificate, error) {
	cert, err := dkg.DecodeCertificate(commit.Body)
	if err != nil {
		return nil, err
	}
	digest := cert.Digest()
	for i := range commit.Votes {
		if x := &commit.Votes[i]; x.Kind == handover.Prepared && x.Certificate == digest {
			if err := cert.AddSignature(x.From, x.Signature); err != nil {
				return nil, err
			}
		}
	}
	return cert, nil
}

// A share's record of a later epoch, or, without share, that of a key which this
// vault has left.
func encodeShareRecord(k *key) []byte {
	w := wire.NewWriter(recordVersion).String(k.name).Var(k.order).Uint8(uint8(k.made.tier)).Uint16(k.made.faults).Var(k.cert.Encode())
	k.imports.write(w)
	w.Bool(k.holds())
	if k.holds() {
		k.held.write(w)
	}
	return w.Bytes()
}

func decodeShareRecord(b []byte) (*key, error) {
	r := wire.NewReader(b, recordVersion)
	k := &key{name: r.Name("name"), order: r.Var("order", cluster.MaxBody), made: readMaking(r)}
	c := r.Var("certificate", 1<<16)
	k.imports = readImports(r)
	if r.Bool("share") {
		k.held = readHeld(r)
	}
	err := r.Done()
	if err == nil {
		k.cert, err = dkg.DecodeCertificate(c)
	}
	if err != nil {
		k.held.destroy()
		return nil, err
	}
	k.id = k.cert.KeyID()
	return k, nil
}

func encodeCandidate(c *candidate) []byte {
	w := wire.NewWriter(recordVersion).Var(c.cert.Encode()).Uint8(uint8(c.made.tier)).Uint16(c.made.faults)
	c.held.write(w)
	return w.Bytes()
}

func decodeCandidate(b []byte) (*candidate, error) {
	r := wire.NewReader(b, recordVersion)
	cert := r.Var("certificate", 1<<16)
	c := &candidate{made: readMaking(r), held: readHeld(r)}
	err := r.Done()
	if err == nil {
		c.cert, err = dkg.DecodeCertificate(cert)
	}
	if err != nil {
		c.held.destroy()
		return nil, err
	}
	return c, nil
}

// loadEpochs loads the machines, then of each key the share of the epoch that it
// is in. Shares of ended epochs stay on disk, unread, until they are erased.
func (v *Vault) loadEpochs(records map[string][]byte) error {
	for name, b := range records {
		if !strings.HasPrefix(name, recordHandover) {
			continue
		}
		m, err := handover.Load(b, v.verifier())
		if err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		if name != handoverName(m.Key()) {
			return fmt.Errorf("record %s is of key %x", name, m.Key())
		}
		v.machines[m.Key()] = m
	}
	for name, b := range records {
		switch {
		case strings.HasPrefix(name, recordShare), strings.HasPrefix(name, recordLeft):
			if err := v.loadShare(name, b); err != nil {
				return fmt.Errorf("record %s: %w", name, err)
			}
		case strings.HasPrefix(name, recordCandidate):
			c, err := decodeCandidate(b)
			clear(b)
			if err != nil {
				return fmt.Errorf("record %s: %w", name, err)
			}
			plan, err := hex.DecodeString(strings.TrimPrefix(name, recordCandidate))
			if err != nil || len(plan) != 32 {
				return fmt.Errorf("record %s has no plan's name", name)
			}
			v.candidates[[32]byte(plan)] = c
		}
	}
	return nil
}

func (v *Vault) loadShare(name string, b []byte) error {
	k, err := decodeShareRecord(b)
	clear(b)
	if err != nil {
		return err
	}
	m := v.machines[k.id]
	// A share that was repaired has no machine before its first handover.
	if m != nil && (m.Epoch() == nil || m.Epoch().Number != k.cert.Epoch) {
		k.held.destroy()
		return nil // of an ended epoch
	}
	if k.holds() {
		if err := k.held.activate(k.cert, v.verifyCertificate); err != nil {
			return err
		}
	}
	v.keys[k.id] = k
	return nil
}
