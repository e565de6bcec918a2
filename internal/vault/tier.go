package vault

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/wire"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// Custody tiers (docs/spec/vault-store.md). A hot key's share is in memory while the
// vault runs. A warm or cold one's rests as the device has sealed it, in memory and
// on disk; one device command opens it for one session, before anything is reserved
// for that, and it is wiped when the session ends. For a cold one the device asks
// its operator each time.

// held is a share as this vault keeps it.
type held struct {
	tier  governance.Tier
	share *dkg.KeyShare // hot
	epoch uint64        // warm, cold: of the device's seal key
	blob  []byte        // warm, cold
	// dormant: the share was repaired, and signs after the next refresh only.
	dormant bool
}

// sealed says that the device must open it.
func (h *held) sealed() bool { return h.tier != governance.TierHot }

func (h *held) destroy() {
	if h != nil && h.share != nil {
		h.share.Destroy()
	}
}

func classOf(t governance.Tier) hsm.Class {
	if t == governance.TierCold {
		return hsm.ClassCold
	}
	return hsm.ClassState
}

// write puts the share into a record, which is sealed and wiped.
func (h *held) write(w *wire.Writer) {
	w.Uint8(uint8(h.tier))
	if h.sealed() {
		w.Bool(h.dormant).Uint64(h.epoch).Var(h.blob)
		return
	}
	s := h.share.Encode()
	w.Var(s)
	clear(s)
}

func readHeld(r *wire.Reader) *held {
	h := &held{tier: governance.Tier(r.Uint8("tier"))}
	switch {
	case r.Err() != nil:
	case h.tier < governance.TierHot || h.tier > governance.TierCold:
		r.Failf("tier: unknown value %d, want 1 (hot), 2 (warm) or 3 (cold)", h.tier)
	case h.sealed():
		h.dormant = r.Bool("dormant")
		h.epoch, h.blob = r.Uint64("seal epoch"), r.Var("sealed share", 1<<17)
	default:
		s := r.Var("share", 1<<16)
		defer clear(s)
		if r.Err() == nil {
			var err error
			if h.share, err = dkg.DecodeKeyShare(s); err != nil {
				r.Fail(err)
			} else {
				h.dormant = h.share.Dormant()
			}
		}
	}
	return h
}

// activate demands that all parties have certified the share. One that rests sealed
// is checked against the certificate when it is opened.
func (h *held) activate(cert *dkg.Certificate, verify func(mpc.ID, [32]byte, []byte) bool) error {
	if h.share != nil {
		return h.share.Activate(cert, verify)
	}
	return cert.Complete(verify)
}

// tier is how this vault keeps its share of the key.
func (k *key) tier() governance.Tier {
	if k == nil || k.held == nil {
		return governance.TierHot
	}
	return k.held.tier
}

// tiers are those that this vault's device can serve. Where it asks nobody before the
// use of a cold key, a cold key would be a warm one that looks better.
func (v *Vault) tiers() []uint8 {
	out := []uint8{uint8(governance.TierHot), uint8(governance.TierWarm)}
	if v.cfg.Info.PerUse != hsm.GradeNone {
		out = append(out, uint8(governance.TierCold))
	}
	return out
}

// checkTier refuses a tier that this vault's device does not serve.
func (v *Vault) checkTier(t governance.Tier) *refusal.Refusal {
	if slices.Contains(v.tiers(), uint8(t)) {
		return nil
	}
	return refusal.New("key.tier", "", fmt.Sprintf("vault %d's device (%s %s) asks nobody before the use of a cold key", v.cfg.ID, v.cfg.Info.Vendor, v.cfg.Info.Model),
		"tier warm, or vaults whose devices authorise each use (coffer node list)")
}

// holds says that this vault has a share of the key.
func (k *key) holds() bool { return k.held != nil }

// tierOf is the custody tier that the key's share is to have.
func (v *Vault) tierOf(kid [32]byte, made governance.Tier) governance.Tier {
	return v.gov.Tier(kid, made)
}

func (v *Vault) shareAAD(kid [32]byte, epoch uint64) []byte {
	return []byte(fmt.Sprintf("coffer/share/v1/%d/%x/%d", v.cfg.ID, kid, epoch))
}

// keep brings a share to rest in a tier: at once if that is hot, else once the
// device has sealed it. Then it is destroyed here, unless it came only to be sealed
// again (lent).
func (v *Vault) keep(share *dkg.KeyShare, lent bool, tier governance.Tier, then func(*held, error)) {
	if tier == governance.TierHot {
		then(&held{tier: tier, share: share, dormant: share.Dormant()}, nil)
		return
	}
	plain := secret.New(share.Encode())
	aad, dormant := v.shareAAD(share.KeyID, share.Epoch), share.Dormant()
	if !lent {
		share.Destroy()
	}
	v.sealShare(plain, tier, aad, func(h *held, err error) {
		if err == nil {
			h.dormant = dormant
		}
		then(h, err)
	})
}

// sealShare has the device seal a share in the newest epoch, which may have changed
// when the device answers.
func (v *Vault) sealShare(plain secret.Bytes, tier governance.Tier, aad []byte, then func(*held, error)) {
	epoch := v.sealEpoch()
	v.ask(DeviceCommand{Kind: DeviceSeal, Class: classOf(tier), Epoch: epoch, Data: plain.Reveal(), AAD: aad}, func(res DeviceResult) error {
		switch {
		case res.Err != "":
			plain.Destroy()
			then(nil, errors.New("the device does not seal the share: "+res.Err))
		case epoch < v.sealEpoch():
			v.sealShare(plain, tier, aad, then)
		default:
			plain.Destroy()
			then(&held{tier: tier, epoch: epoch, blob: res.Data}, nil)
		}
		return nil
	})
}

// lend opens a key's share for one use. A sealed one is the borrower's, who
// destroys it.
func (v *Vault) lend(k *key, then func(share *dkg.KeyShare, own bool, err error)) {
	h := k.held
	switch {
	case h == nil:
		then(nil, false, fmt.Errorf("vault %d holds no share of the wallet", v.cfg.ID))
		return
	case !h.sealed():
		then(h.share, false, nil)
		return
	case h.tier == governance.TierCold && v.coldUses >= maxColdUses:
		then(nil, false, fmt.Errorf("%d uses of cold keys wait for this device's operator already: retry when they are done", v.coldUses))
		return
	}
	if h.tier == governance.TierCold {
		v.coldUses++
	}
	v.ask(DeviceCommand{Kind: DeviceUnseal, Class: classOf(h.tier), Data: h.blob, AAD: v.shareAAD(k.id, k.cert.Epoch)}, func(res DeviceResult) error {
		if h.tier == governance.TierCold {
			v.coldUses--
		}
		if res.Err != "" {
			then(nil, false, v.notOpened(h, res))
			return nil
		}
		share, err := v.openedShare(k, res.Data)
		if err != nil {
			then(nil, false, err)
			return nil
		}
		v.mendWith(k, h, share, func(error) {})
		then(share, true, nil)
		return nil
	})
}

// maxColdUses bounds the uses of cold keys that wait for the device's operator at
// once.
const maxColdUses = 4

// notOpened says why the device opened no share, and what would make it.
func (v *Vault) notOpened(h *held, res DeviceResult) error {
	if h.tier == governance.TierCold {
		return fmt.Errorf("vault %d's device did not open its share of this cold key: %s; its operator authorises each use within two minutes (coffer hsm pending, coffer hsm authorize): retry", v.cfg.ID, res.Err)
	}
	return fmt.Errorf("vault %d's device did not open its share: %s", v.cfg.ID, res.Err)
}

// openedShare decodes what the device opened, and wipes it.
func (v *Vault) openedShare(k *key, plain []byte) (*dkg.KeyShare, error) {
	defer secret.Wipe(plain)
	share, err := dkg.DecodeKeyShare(plain)
	if err != nil {
		return nil, err
	}
	if share.ID != v.cfg.ID {
		err = fmt.Errorf("the sealed share is vault %d's", share.ID)
	} else {
		err = share.Activate(k.cert, v.verifyCertificate)
	}
	if err != nil {
		share.Destroy()
		return nil, fmt.Errorf("the share that the device opened is not that of the wallet's certificate: %w", err)
	}
	return share, nil
}

// asItShould says that a share rests in the tier and seal epoch that it should.
func (v *Vault) asItShould(k *key) bool {
	h := k.held
	t := v.tierOf(k.id, k.made.tier)
	if v.checkTier(t) != nil {
		t = h.tier
	}
	return h.tier == t && (!h.sealed() || h.epoch >= v.sealEpoch())
}

// mendWith brings a share that is open to rest as it should, in passing: so a cold
// one follows the ratchet, or moves to another tier, without being authorised twice.
func (v *Vault) mendWith(k *key, was *held, share *dkg.KeyShare, done func(error)) {
	if v.keys[k.id] != k || k.held != was || v.asItShould(k) {
		done(nil)
		return
	}
	then := func(h *held, err error) {
		if err == nil {
			err = v.mended(k, was, h)
		}
		if err != nil {
			v.note("a share does not rest as it should yet", "wallet", k.name, "error", err.Error())
		}
		v.moved(k, err)
		done(err)
	}
	tier := v.tierOf(k.id, k.made.tier)
	if v.checkTier(tier) != nil {
		tier = was.tier
	}
	if tier != governance.TierHot {
		v.keep(share, true, tier, then)
		return
	}
	plain := share.Encode()
	defer clear(plain)
	own, err := dkg.DecodeKeyShare(plain)
	then(&held{tier: governance.TierHot, share: own, dormant: was.dormant}, err)
}

// mended replaces the resting share, if it is still that one.
func (v *Vault) mended(k *key, was, h *held) error {
	if v.keys[k.id] != k || k.held != was || was.share != nil && v.dealing(k.id) {
		h.destroy()
		return errors.New("it is in use by a refresh or reshare, or has gone: retry")
	}
	if was.share != nil {
		v.endKeySessions(k.id, errors.New("the share moves to another custody tier: retry"))
	}
	k.held = h
	if err := v.storeShare(k); err != nil {
		return err
	}
	was.destroy()
	if was.tier != h.tier {
		v.note("a share moved to another custody tier", "wallet", k.name, "from", was.tier.String(), "to", h.tier.String())
		v.wantRatchet()
	}
	return nil
}

// storeShare writes the record of the key's share.
func (v *Vault) storeShare(k *key) error {
	if k.holds() && k.held.sealed() {
		v.dropRotation("a share that the device seals is new")
	}
	name, rec := shareName(k.id, k.cert.Epoch), []byte(nil)
	if k.cert.Epoch == dkg.FirstEpoch && len(k.order) > 0 {
		name, rec = keyName(k.id), encodeKeyRecord(k.order, k.held, k.cert)
	} else {
		rec = encodeShareRecord(k)
	}
	defer clear(rec)
	return v.store.put(name, rec)
}

// resealStale mends one share that does not rest as it should and that no operator
// must open. It says whether there was one.
func (v *Vault) resealStale() bool {
	for _, k := range v.sortedKeys() {
		if !k.holds() || v.asItShould(k) || k.held.tier == governance.TierCold || v.dealing(k.id) {
			continue
		}
		v.ratchet.busy = true
		v.mend(k, func(err error) {
			v.ratchet.busy = false
			if err != nil {
				v.ratchetFailed("a share is not sealed again", DeviceResult{Err: err.Error()})
			}
		})
		return true
	}
	return false
}

// dealing says that this vault's share is in use by a dealing.
func (v *Vault) dealing(kid [32]byte) bool {
	for _, s := range v.handovers {
		if s.plan.Key == kid && s.run != nil && s.round < 4 {
			return true
		}
	}
	return false
}

// restings are all shares that rest sealed by the device.
func (v *Vault) restings() []*held {
	var out []*held
	for _, k := range v.keys {
		out = append(out, k.held)
	}
	for _, p := range v.pending {
		out = append(out, p.held)
	}
	for _, c := range v.candidates {
		out = append(out, c.held)
	}
	kept := out[:0]
	for _, h := range out {
		if h != nil && h.sealed() {
			kept = append(kept, h)
		}
	}
	return kept
}

// patience is how long a session of a key may wait: for a cold one each vault's
// operator has two minutes.
func patience(t governance.Tier) uint64 {
	if t == governance.TierCold {
		return maxSession + maxColdWait
	}
	return maxSession
}

// maxColdWait is the time that a device's operator has, and a little more.
const maxColdWait = 130_000

// setTier answers an order that moves a key to another tier, once it is carried out.
// Where no operator is needed the vault does so by itself; a cold key's share leaves
// its tier by this command, or with its next use.
func (v *Vault) setTier(id uint64, k *key) {
	switch {
	case k == nil || !k.holds():
		v.refuse(id, refusal.New("tier.share", "", "this vault holds no share of that wallet", "one of the wallet's vaults"))
		return
	case v.checkTier(v.tierOf(k.id, k.made.tier)) != nil:
		v.refuse(id, v.checkTier(v.tierOf(k.id, k.made.tier)))
		return
	case v.asItShould(k):
		v.coveredReply([]uint64{id}, k.cert.Encode())
		return
	case v.dealing(k.id):
		v.reply(id, abortReply(benign("tier", errors.New("the share is in use by a refresh or reshare: retry"))))
		return
	}
	k.moves = append(k.moves, id)
	if len(k.moves) == 1 {
		v.mend(k, func(error) {})
	}
}

// mend begins to bring a share to rest as it should.
func (v *Vault) mend(k *key, done func(error)) {
	was := k.held
	if was.share != nil {
		v.mendWith(k, was, was.share, done)
		return
	}
	v.lend(k, func(share *dkg.KeyShare, own bool, err error) {
		if own {
			share.Destroy() // lend has begun to move it
		}
		if err != nil {
			v.moved(k, err)
		}
		done(err)
	})
}

// moved answers those who asked for another tier.
func (v *Vault) moved(k *key, err error) {
	moves := k.moves
	k.moves = nil
	if err == nil {
		v.coveredReply(moves, k.cert.Encode())
		return
	}
	for _, id := range moves {
		v.reply(id, abortReply(benign("tier", err)))
	}
}

// The custody tier of a key, and the faults that its ledger withstands, are in the
// order that it was made with, which a vault that comes new to it has not seen: every
// dealer tells them in the dealing. Among t
// dealers one is honest; if they differ the dealing ends.

// roundTier is the frame in which a dealer tells it: 02 ‖ u8 tier ‖ u16 faults.
const roundTier = 4

func (v *Vault) tellTier(s *handoverSession) {
	k := v.keys[s.plan.Key]
	if s.round != 3 || k == nil || k.made == (making{}) || !containsID(s.plan.Dealers, v.cfg.ID) {
		return
	}
	for _, id := range s.plan.New {
		if id != v.cfg.ID && !containsID(s.plan.Old, id) {
			v.sendSealed(v.peers[id], &inner{Kind: innerHandover, Attempt: s.attempt, Round: roundTier, Private: wire.NewWriter(2).Uint8(uint8(k.made.tier)).Uint16(k.made.faults).Bytes()})
		}
	}
}

func (v *Vault) onTier(s *handoverSession, p *peer, b []byte) {
	r := wire.NewReader(b, 2)
	t := readMaking(r)
	if r.Done() != nil || t.tier < governance.TierHot || t.tier > governance.TierCold || !containsID(s.plan.Dealers, p.id) {
		return
	}
	if s.made == nil {
		s.made = map[mpc.ID]making{}
	}
	if _, told := s.made[p.id]; told {
		return
	}
	if s.made[p.id] = t; s.out == nil {
		return
	}
	if err := v.restShare(s); err != nil {
		v.abortHandover(s, asAbort("handover", err))
	}
}

// madeTier is the tier that the key was made with; zero: not every dealer has said it.
func (v *Vault) madeTier(s *handoverSession) (making, error) {
	if k := v.keys[s.plan.Key]; k != nil && k.made != (making{}) {
		return k.made, nil
	}
	var made making
	for _, id := range s.plan.Dealers {
		t, told := s.made[id]
		switch {
		case !told:
			return making{}, nil
		case made != (making{}) && made != t:
			return making{}, benign("handover", fmt.Errorf("the dealers %v do not agree on the key's custody tier and faults: %v", s.plan.Dealers, s.made))
		}
		made = t
	}
	return made, nil
}
