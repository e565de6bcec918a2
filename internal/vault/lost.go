package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// The side of a repair that lost its share.

// lostShares is what a vault with a fresh log knows of the keys that it had.
type lostShares struct {
	done    uint64 // the change whose repair is over
	asked   map[mpc.ID]uint64
	after   map[mpc.ID][32]byte // how far a peer has told
	told    map[mpc.ID]bool     // it has told all
	claims  map[[32]byte]*claim
	refused map[mpc.ID]string
}

// claim is what others say of a key of which this vault is a party.
type claim struct {
	cert     *dkg.Certificate
	offers   map[mpc.ID]*offer
	imports  imports
	liars    map[mpc.ID]bool
	started  uint64 // the last attempt
	attempts int
	told     bool // the operator was told what is missing
}

func newLostShares() lostShares {
	return lostShares{asked: map[mpc.ID]uint64{}, after: map[mpc.ID][32]byte{}, told: map[mpc.ID]bool{}, claims: map[[32]byte]*claim{}, refused: map[mpc.ID]string{}}
}

func (v *Vault) loadRepairs(records map[string][]byte) error {
	v.lost = newLostShares()
	for name, b := range records {
		if name != recordRepaired && !strings.HasPrefix(name, recordHelped) {
			continue
		}
		r := wire.NewReader(b, 1)
		x := helpGiven{seq: r.Uint64("seq")}
		if name != recordRepaired {
			r.Into("start", x.start[:])
		}
		if err := r.Done(); err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		if name == recordRepaired {
			v.lost.done = x.seq
		} else {
			v.helps[name] = x
		}
	}
	return nil
}

// needsRepair is the change that gave this vault a fresh log, while shares may be
// missing that it had before.
func (v *Vault) needsRepair() (seq uint64, ok bool) {
	card, fresh := v.freshCard(v.cfg.ID)
	if !fresh || v.outside {
		return 0, false
	}
	return card.From, v.lost.done < card.From
}

// tickLost asks for what is missing, and begins a repair.
func (v *Vault) tickLost() {
	seq, ok := v.needsRepair()
	if !ok || v.hello == nil {
		return
	}
	for _, id := range sortedIDs(v.peers) {
		p := v.peers[id]
		if p.confirmed && !v.lost.told[id] && (v.lost.asked[id] == 0 || v.now-v.lost.asked[id] >= repairEvery) {
			v.askOffers(p)
		}
	}
	missing := false
	for _, kid := range sortedHashes(v.lost.claims) {
		if k := v.keys[kid]; k != nil && (k.holds() || k.cert.Epoch > v.lost.claims[kid].cert.Epoch) {
			continue
		}
		missing = true
		v.tryRepair(kid, v.lost.claims[kid], seq)
	}
	// Over when every other vault has told, and nothing is missing.
	if !missing && len(v.lost.told) == len(v.peers) && len(v.repairs) == 0 {
		v.lost.done = seq
		if err := v.store.put(recordRepaired, wire.NewWriter(1).Uint64(seq).Bytes()); err != nil {
			panic("vault: randomness ended: " + err.Error())
		}
		v.note("all shares that the others know of are repaired: refresh the wallets", "keys", len(v.lost.claims))
	}
}

func (v *Vault) askOffers(p *peer) {
	after := v.lost.after[p.id]
	v.lost.asked[p.id] = max(v.now, 1)
	v.sendSealed(p, &inner{Kind: innerRepair, Round: repairAsk, Private: wire.NewWriter(1).Fixed(after[:]).Bytes()})
}

// onOffers takes what a peer knows of this vault's keys.
func (v *Vault) onOffers(p *peer, b []byte) {
	if _, ok := v.needsRepair(); !ok || v.lost.told[p.id] || !p.repairPace.spend(v.now, repairCost, repairBurst) {
		return
	}
	os, last, err := decodeOffers(b)
	if err != nil || len(os) == 0 && !last {
		return
	}
	after := v.lost.after[p.id]
	for i := range os {
		o := &os[i]
		kid := o.cert.KeyID()
		if slices.Compare(kid[:], after[:]) <= 0 {
			return // of an earlier question
		}
		after = kid
		im, err := v.checkOffer(p, o)
		if err != nil {
			v.notePeer(p, "this peer's offer to repair a share is worth nothing", "wallet", o.name, "error", err.Error())
			continue
		}
		v.takeOffer(p, o, im)
	}
	v.lost.after[p.id] = after
	if last {
		v.lost.told[p.id] = true
		return
	}
	v.askOffers(p)
}

// takeOffer keeps an offer of the newest epoch that is known.
func (v *Vault) takeOffer(p *peer, o *offer, im imports) {
	kid := o.cert.KeyID()
	c := v.lost.claims[kid]
	if c == nil || c.cert.Epoch < o.cert.Epoch {
		c = &claim{cert: o.cert, offers: map[mpc.ID]*offer{}, liars: map[mpc.ID]bool{}}
		v.lost.claims[kid] = c
	}
	if o.cert.Digest() != c.cert.Digest() {
		return
	}
	c.offers[p.id] = o
	c.imports.merge(im)
}

// helpers are t parties that say the same of a key and have not helped yet; and if
// there are none, why not.
func (v *Vault) helpersFor(c *claim) ([]mpc.ID, *offer, error) {
	t := c.cert.Threshold
	var helped []mpc.ID
	for _, id := range sortedIDs(c.offers) {
		lead := c.offers[id]
		var group []mpc.ID
		for _, other := range sortedIDs(c.offers) {
			o, p := c.offers[other], v.peers[other]
			switch {
			case o.name != lead.name || o.made != lead.made || c.liars[other] || p == nil || !p.confirmed || p.quarantined:
			case o.helped:
				if !containsID(helped, other) {
					helped = append(helped, other)
				}
			default:
				group = append(group, other)
			}
		}
		if len(group) >= t {
			// Another choice each time: of two that accuse each other the one that lies is
			// not known here.
			first := c.attempts % len(group)
			helpers := append(slices.Clone(group[first:]), group[:first]...)[:t]
			slices.Sort(helpers)
			return helpers, lead, nil
		}
	}
	if len(helped) > 0 {
		return nil, nil, fmt.Errorf("vaults %v have given their parts to this card already: enrol this vault again on an empty disk and put that card in force, or reshare the wallet", helped)
	}
	return nil, nil, fmt.Errorf("%d parties of the wallet must say the same and be connected; heard are %v", t, sortedIDs(c.offers))
}

// tryRepair begins a repair, one attempt after another.
func (v *Vault) tryRepair(kid [32]byte, c *claim, seq uint64) {
	if len(v.repairs) >= maxRepairs || c.started > 0 && v.now-c.started < repairEvery {
		return
	}
	for _, s := range v.repairs {
		if s.key == kid {
			return
		}
	}
	helpers, o, err := v.helpersFor(c)
	if err != nil {
		if len(v.lost.told) == len(v.peers) && !c.told {
			c.told = true
			v.note("a share cannot be repaired yet", "key", fmt.Sprintf("%x", kid[:8]), "error", err.Error())
		}
		return
	}
	c.started, c.told = max(v.now, 1), false
	c.attempts++
	var attempt [16]byte
	if err := v.draw(attempt[:]); err != nil {
		return
	}
	s := newRepairSession(attempt, v.now)
	s.key, s.lost, s.helpers, s.peers, s.cert, s.seq, s.tier = kid, v.cfg.ID, helpers, helpers, c.cert, seq, v.tierOf(kid, o.made.tier)
	s.claim = c
	v.repairs[attempt] = s
	x := begin{key: kid, cert: c.cert.Digest(), helpers: helpers}
	for _, id := range helpers {
		v.sendSealed(v.peers[id], &inner{Kind: innerRepair, Attempt: attempt, Round: repairBegin, Private: x.encode()})
	}
	if err := v.runRepair(s); err != nil {
		v.abortRepair(s, asAbort("repair", err))
	}
}

// onRepairNo ends an attempt in which a helper does not take part.
func (v *Vault) onRepairNo(p *peer, in *inner) {
	s := v.repairs[in.Attempt]
	r := wire.NewReader(in.Private, 1)
	text := r.Text("why", 1024)
	if s == nil || s.lost != v.cfg.ID || !s.has(p.id) || r.Done() != nil {
		return
	}
	v.abortRepair(s, benign("repair", fmt.Errorf("vault %d does not help: %s", p.id, text)))
}

// repairFailed: who lied is asked no more; what the others know may have changed.
func (v *Vault) repairFailed(s *repairSession, a *mpc.Abort) {
	for _, id := range a.Culprits {
		s.claim.liars[id] = true
	}
	clear(v.lost.told)
	clear(v.lost.after)
}

// restRepaired brings the share to rest. It is dormant: the next refresh makes it one
// that signs.
func (v *Vault) restRepaired(s *repairSession, share *dkg.KeyShare) {
	o := s.claim.offers[s.helpers[0]]
	v.endRepair(s)
	s.claim.started = max(v.now, 1)
	v.keep(share, false, v.tierOf(s.key, o.made.tier), func(h *held, err error) {
		if err == nil && v.keys[s.key] != nil {
			h.destroy()
			err = errors.New("the wallet is known here meanwhile")
		}
		k := &key{id: s.key, name: o.name, made: o.made, cert: s.cert, imports: s.claim.imports.under(o.made.faults), held: h}
		if err == nil {
			err = v.storeShare(k)
		}
		if err != nil {
			v.note("a repaired share does not rest", "wallet", o.name, "error", err.Error())
			return
		}
		v.keys[k.id] = k
		if v.machines[k.id] != nil { // of attempts that came to nothing while there was no share
			delete(v.machines, k.id)
			v.store.remove(handoverName(k.id))
		}
		v.note("a share is repaired: it signs after the wallet's next refresh", "wallet", k.name, "epoch", k.cert.Epoch, "helpers", s.helpers)
	})
}
