package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// Rotation (docs/spec/repair.md): a vault moves to another device without losing its
// disk. With both devices at hand it seals its root key, and what only the old one
// opens, for the new one too, beside what is there; the old device goes on as before.
// When the admins have put the new card in force, the vault starts on the new device
// and what was sealed for the old one goes.

// NextDevice is the device to which a vault moves.
type NextDevice struct {
	Info     hsm.Info
	Identity signature.PublicKey
	Decision signature.PublicKey

	// For the card, as in Config.
	Approval     signature.PublicKey
	ApprovalArea []byte
	Evidence     []byte
}

const (
	recordNextRoot = "next/root" // the root key, sealed by the next device
	recordNext     = "next/info"
)

// nextInfo is what else the next device needs.
type nextInfo struct {
	identity signature.PublicKey
	epoch    uint64 // of its seal key
	shares   []nextShare
}

// nextShare is a share that the next device has sealed.
type nextShare struct {
	key   [32]byte
	epoch uint64 // the key's
	held  *held
}

func (x *nextInfo) encode() []byte {
	w := wire.NewWriter(1).Var(x.identity.Bytes()).Uint64(x.epoch).Count(len(x.shares))
	for i := range x.shares {
		s := &x.shares[i]
		w.Fixed(s.key[:]).Uint64(s.epoch)
		s.held.write(w)
	}
	return w.Bytes()
}

func decodeNextInfo(b []byte) (*nextInfo, error) {
	r := wire.NewReader(b, 1)
	x := new(nextInfo)
	identity := r.Var("identity", signature.MaxKey)
	x.epoch = r.Uint64("seal epoch")
	for range r.Count("shares", 1<<12, 53) {
		var s nextShare
		r.Into("key", s.key[:])
		s.epoch = r.Uint64("epoch")
		s.held = readHeld(r)
		x.shares = append(x.shares, s)
	}
	err := r.Done()
	if err == nil {
		x.identity, err = signature.DecodePublicKey(identity)
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", recordNext, err)
	}
	return x, nil
}

// RotationStatement is what the old device's identity signs about the card of the
// next one.
func RotationStatement(card *governance.Enrolment) signature.Statement {
	return signature.Statement{Domain: "coffer/vault-rotation/v1", Body: card.Encode()}
}

// Rotation is the next device's card with the old device's word that it is of the
// same vault.
type Rotation struct {
	Card *governance.Enrolment
	Old  signature.Signature
}

// Encode is the canonical encoding.
func (x *Rotation) Encode() []byte {
	return wire.NewWriter(1).Var(x.Card.Encode()).Var(x.Old.Encode()).Bytes()
}

// DecodeRotation is the inverse of Encode. It verifies nothing: Verify does.
func DecodeRotation(b []byte) (*Rotation, error) {
	r := wire.NewReader(b, 1)
	card, sig := r.Var("card", governance.MaxEnrolment), r.Var("signature", signature.MaxSignature)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode rotation: %w", err)
	}
	x := new(Rotation)
	var err error
	if x.Card, err = governance.DecodeEnrolment(card); err == nil {
		x.Old, err = signature.Decode(sig)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode rotation: %w", err)
	}
	return x, nil
}

// Verify checks both devices' signatures: the card's own, and that of the identity
// which is in force.
func (x *Rotation) Verify(old *governance.Vault) error {
	if err := x.Card.Verify(); err != nil {
		return err
	}
	if x.Card.Vault.ID != old.ID || x.Card.Vault.Name != old.Name || x.Card.Vault.Log != old.Log {
		return fmt.Errorf("the card is of vault %d, %s, or of another log; want vault %d, %s, with its log", x.Card.Vault.ID, x.Card.Vault.Name, old.ID, old.Name)
	}
	if err := signature.Verify(old.Identity, RotationStatement(x.Card), x.Old); err != nil {
		return fmt.Errorf("the old device has not signed for the new one: %w", err)
	}
	return nil
}

// rotate seals for the next device what this one opens, and makes the next one's card.
func (v *Vault) rotate(root secret.Bytes, m *manifest) error {
	v.phase = phaseEnrol
	v.boot = m.Boot
	for _, h := range v.restings() {
		if !v.ofKey(h) {
			return errors.New("a key generation, refresh or reshare is under way: let it end, or abandon it, then rotate")
		}
	}
	x := &nextInfo{identity: v.cfg.Next.Identity, epoch: firstSealEpoch}
	v.nextEpoch(x, func() error {
		v.ask(DeviceCommand{Next: true, Kind: DeviceSeal, Class: hsm.ClassState, Epoch: x.epoch, Data: root.Reveal(), AAD: v.rootAAD()}, func(res DeviceResult) error {
			defer root.Destroy()
			if res.Err != "" {
				return fmt.Errorf("the new device does not seal the root key: %s", res.Err)
			}
			return v.rotateShares(x, v.sealedKeys(), func() error { return v.makeNextCard(x, res.Data) })
		})
		return nil
	})
	return nil
}

// ofKey says that a resting share is an active key's.
func (v *Vault) ofKey(h *held) bool {
	for _, k := range v.keys {
		if k.held == h {
			return true
		}
	}
	return false
}

func (v *Vault) sealedKeys() (ks []*key) {
	for _, k := range v.sortedKeys() {
		if k.holds() && k.held.sealed() {
			ks = append(ks, k)
		}
	}
	return ks
}

func (v *Vault) nextEpoch(x *nextInfo, then func() error) {
	if !hasRatchet(v.cfg.Next.Info) {
		_ = then() // asks the device
		return
	}
	v.ask(DeviceCommand{Next: true, Kind: DeviceEpoch}, func(res DeviceResult) error {
		if res.Err != "" {
			return fmt.Errorf("the new device does not say in which epoch its seal key is: %s", res.Err)
		}
		x.epoch = res.Epoch
		return then()
	})
}

// rotateShares seals the shares that the old device has sealed, one after another.
func (v *Vault) rotateShares(x *nextInfo, ks []*key, then func() error) error {
	if len(ks) == 0 {
		return then()
	}
	k := ks[0]
	fail := func(what, err string) error {
		return fmt.Errorf("wallet %q: %s: %s; nothing was changed, run it again", k.name, what, err)
	}
	aad := v.shareAAD(k.id, k.cert.Epoch)
	v.ask(DeviceCommand{Kind: DeviceUnseal, Class: classOf(k.held.tier), Data: k.held.blob, AAD: aad}, func(res DeviceResult) error {
		if res.Err != "" {
			return fail("the old device does not open this vault's share", res.Err)
		}
		plain := secret.New(res.Data)
		v.ask(DeviceCommand{Next: true, Kind: DeviceSeal, Class: classOf(k.held.tier), Epoch: x.epoch, Data: plain.Reveal(), AAD: aad}, func(res DeviceResult) error {
			plain.Destroy()
			if res.Err != "" {
				return fail("the new device does not seal this vault's share", res.Err)
			}
			x.shares = append(x.shares, nextShare{k.id, k.cert.Epoch, &held{tier: k.held.tier, epoch: x.epoch, blob: res.Data, dormant: k.held.dormant}})
			return v.rotateShares(x, ks[1:], then)
		})
		return nil
	})
	return nil
}

// makeNextCard has both devices sign. All that the next one needs is durable in the
// step that lets the card out.
func (v *Vault) makeNextCard(x *nextInfo, sealedRoot []byte) error {
	n := v.cfg.Next
	e := &governance.Enrolment{Vault: governance.Vault{
		ID: uint16(v.cfg.ID), Name: v.cfg.Name, Identity: n.Identity, Decision: n.Decision, Log: v.logPublic(),
		Vendor: n.Info.Vendor, Model: n.Info.Model, Sealing: suites(n.Info.Suites),
		Approval: n.Approval, ApprovalArea: n.ApprovalArea, Evidence: n.Evidence,
	}}
	st := e.Vault.Statement()
	d := st.Digest()
	e.Log = signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.logKey, d[:])}
	sign := func(next bool, role hsm.Role, st signature.Statement, then func(signature.Signature)) {
		v.ask(DeviceCommand{Next: next, Kind: DeviceSign, Role: role, Statement: st}, func(res DeviceResult) error {
			if res.Err != "" {
				return fmt.Errorf("a device does not sign the new card with its %v key: %s", role, res.Err)
			}
			then(res.Signature)
			return nil
		})
	}
	sign(true, hsm.RoleIdentity, st, func(sig signature.Signature) {
		e.Identity = sig
		sign(true, hsm.RoleDecision, st, func(sig signature.Signature) {
			e.Decision = sig
			sign(false, hsm.RoleIdentity, RotationStatement(e), func(sig signature.Signature) {
				if err := v.store.put(recordNext, x.encode()); err != nil {
					panic("vault: randomness ended: " + err.Error())
				}
				v.store.raw(recordNextRoot, sealedRoot)
				v.card, v.rotation = e.Encode(), (&Rotation{e, sig}).Encode()
			})
		})
	})
	return nil
}

// Rotation returns the new card with the old device's signature, once both are there.
func (v *Vault) Rotation() ([]byte, bool) { return v.rotation, v.rotation != nil }

// dropRotation: what was sealed for the next device is of the past.
func (v *Vault) dropRotation(why string) {
	if _, ok := v.store.sums[recordNextRoot]; !ok || v.onNext {
		return
	}
	v.store.remove(recordNextRoot)
	v.store.remove(recordNext)
	v.note("the rotation that was prepared is void: run coffer vault --rotate once more; the card stays the same", "why", why)
}

// settleOnNext makes the device on which this vault was started the only one that
// opens its disk: its card is in force.
func (v *Vault) settleOnNext() error {
	if !v.onNext {
		return nil
	}
	b, err := v.store.open(recordNext, v.store.kept[recordNext])
	if err != nil {
		return err
	}
	x, err := decodeNextInfo(b)
	if err != nil {
		return err
	}
	if x.identity != v.cfg.Identity {
		return fmt.Errorf("the disk was made ready for the device %s, this is %s: use that one", x.identity.Fingerprint(), v.cfg.Identity.Fingerprint())
	}
	for i := range x.shares {
		s := &x.shares[i]
		k := v.keys[s.key]
		if k == nil || !k.holds() || k.cert.Epoch != s.epoch {
			continue
		}
		k.held = s.held
		if err := v.storeShare(k); err != nil {
			return err
		}
	}
	v.store.raw(recordRoot, v.nextRoot)
	v.store.remove(recordNextRoot)
	v.store.remove(recordNext)
	v.onNext, v.nextRoot = false, nil
	v.ratchet.epoch = x.epoch
	v.storeSealEpoch()
	v.note("this vault has moved to another device: the old one does not open its disk any more", "identity", v.cfg.Identity.Fingerprint())
	return nil
}

// unsealNext opens the disk with the device that it was made ready for.
func (v *Vault) unsealNext(next []byte, loaded Loaded, refused DeviceResult) {
	v.ask(DeviceCommand{Kind: DeviceUnseal, Class: hsm.ClassState, Data: next, AAD: v.rootAAD()}, func(res DeviceResult) error {
		if res.Err != "" {
			return notOpen(refused)
		}
		v.onNext, v.nextRoot = true, next
		return v.open(res.Data, loaded)
	})
}

func notOpen(res DeviceResult) error {
	return fmt.Errorf("this disk does not open: the device refuses its root key: %s", res.Err)
}
