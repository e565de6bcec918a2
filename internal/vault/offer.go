package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
	"github.com/cofferhq/coffer/mpc/handover"
)

// What a vault that lost its disk must know before its shares are repaired: of which
// keys it is a party, and what they are called. It asks every other vault, and
// believes what t parties of a key say alike, one of whom is honest; a certificate
// proves itself by the signatures of all parties.

// Rounds of innerRepair beside those of the protocol, 0 to 3.
const (
	repairAsk    = 8  // private: 01 ‖ key id after which to go on
	repairOffers = 9  // private: offers
	repairBegin  = 10 // private: begin
	repairNo     = 11 // private: 01 ‖ text: this vault does not help
)

// offer is a key of which the asker is a party, as another party has it.
type offer struct {
	cert   *dkg.Certificate
	name   string
	made   making
	commit *handover.Bundle // by which the key came to this epoch; nil in the first, or if it is not known
	helped bool             // this vault has helped the asker's card to its share already
}

// Bounds of one frame of offers.
const (
	maxOffers     = 32
	maxOfferBytes = MaxFrame / 4
)

func encodeOffers(os []offer, last bool) []byte {
	w := wire.NewWriter(2).Bool(last).Count(len(os))
	for i := range os {
		o := &os[i]
		var commit []byte
		if o.commit != nil {
			commit = o.commit.Encode()
		}
		w.Var(o.cert.Encode()).String(o.name).Uint8(uint8(o.made.tier)).Uint16(o.made.faults).Var(commit).Bool(o.helped)
	}
	return w.Bytes()
}

func decodeOffers(b []byte) (os []offer, last bool, err error) {
	r := wire.NewReader(b, 2)
	last = r.Bool("last")
	for range r.Count("offers", maxOffers, 16) {
		c := r.Var("certificate", 1<<16)
		o := offer{name: r.Name("name"), made: readMaking(r)}
		commit := r.Var("commit", maxOfferBytes)
		o.helped = r.Bool("helped")
		if r.Err() == nil {
			if o.cert, err = dkg.DecodeCertificate(c); err != nil {
				r.Fail(err)
			}
		}
		if r.Err() == nil && len(commit) > 0 {
			if o.commit, err = handover.DecodeBundle(commit); err != nil {
				r.Fail(err)
			}
		}
		os = append(os, o)
	}
	if err := r.Done(); err != nil {
		return nil, false, fmt.Errorf("couldn't decode offers: %w", err)
	}
	return os, last, nil
}

// offersFor are the keys that a peer has a right to have repaired, from one on.
func (v *Vault) offersFor(p *peer, after [32]byte) (os []offer, last bool) {
	size := 0
	for _, kid := range sortedHashes(v.keys) {
		k := v.keys[kid]
		if slices.Compare(kid[:], after[:]) <= 0 || !k.holds() || !containsID(k.cert.Parties, p.id) {
			continue
		}
		o := offer{cert: k.cert, name: k.name, made: k.made, helped: v.helped(k, p.id) != nil}
		if m := v.machines[kid]; m != nil && m.Commit() != nil && m.Commit().Plan.To() == k.cert.Epoch {
			o.commit = m.Commit()
		}
		if size += len(encodeOffers([]offer{o}, false)); len(os) == maxOffers || size > maxOfferBytes && len(os) > 0 {
			return os, false
		}
		os = append(os, o)
	}
	return os, true
}

// onRepairAsk answers a vault whose new card is in force.
func (v *Vault) onRepairAsk(p *peer, b []byte) {
	r := wire.NewReader(b, 1)
	after := r.Fixed("after", 32)
	if _, fresh := v.freshCard(p.id); r.Done() != nil || !fresh || !p.repairPace.spend(v.now, repairCost, repairBurst) {
		return
	}
	os, last := v.offersFor(p, [32]byte(after))
	v.sendSealed(p, &inner{Kind: innerRepair, Round: repairOffers, Private: encodeOffers(os, last)})
}

// Bounds of what one peer asks for: one a second after a burst.
const (
	repairCost  = 1_000
	repairBurst = 32 * repairCost
)

// checkOffer checks what can be checked of an offer by itself, and returns the heads
// of the ledgers that closed the epoch before.
func (v *Vault) checkOffer(p *peer, o *offer) (none imports, err error) {
	c := o.cert
	switch {
	case !containsID(c.Parties, v.cfg.ID):
		return none, fmt.Errorf("vault %d is not one of the key's parties %v", v.cfg.ID, c.Parties)
	case !containsID(c.Parties, p.id):
		return none, fmt.Errorf("vault %d, which offers help, is not one of the key's parties %v", p.id, c.Parties)
	case o.made.tier < governance.TierHot || o.made.tier > governance.TierCold:
		return none, fmt.Errorf("custody tier %d", o.made.tier)
	case int(o.made.faults) >= mpc.MaxParties:
		return none, fmt.Errorf("%d faults", o.made.faults)
	}
	if err := c.Complete(v.verifyCertificate); err != nil {
		return none, err
	}
	if o.commit == nil {
		return none, nil
	}
	if o.commit.Plan.To() != c.Epoch || o.commit.Plan.Key != c.KeyID() {
		return none, errors.New("the commit certificate is of another key or epoch")
	}
	planned := func(p *handover.Plan, body []byte) ([32]byte, error) {
		x, err := dkg.DecodeCertificate(body)
		if err != nil {
			return [32]byte{}, err
		}
		return x.Digest(), CheckPlanned(p, x)
	}
	if err := o.commit.VerifyCommit(handover.Verifier{Signature: v.verifySigned, Certificate: planned, Proof: VerifyShareProof}); err != nil {
		return none, err
	}
	committed, err := CommitCertificate(o.commit)
	if err == nil && committed.Digest() != c.Digest() {
		err = errors.New("the commit certificate is of another certificate")
	}
	if err != nil {
		return none, err
	}
	return importsOf(o.commit), nil
}

// verifySigned checks a vote of the past, whichever device signed it.
func (v *Vault) verifySigned(kind handover.Kind, id mpc.ID, digest [32]byte, sig []byte) bool {
	return v.gov.SignedByIdentity(uint16(id), VoteStatement(kind, digest), sig)
}
