package vault

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// What a vault remembers of passkeys, so that it notices when there are two of one
// (docs/spec/passkey.md, Counters).

const (
	recordPasskey  = "passkey/"
	passkeyVersion = 1
	// maxUses bounds what is kept of one passkey: its newest by counter.
	maxUses = 16
)

// passkeys is what was seen of every passkey of the roster that counts.
type passkeys struct {
	seen  map[signature.PublicKey]*passkeySeen
	under *identity.Roster // that the records were last compared with
}

type passkeySeen struct {
	uses   []signature.Use // by counter, none 0
	cloned *audit.Clone    // found out; nothing that it signs counts any more
}

func passkeyRecord(k signature.PublicKey) string {
	id := k.KeyID()
	return recordPasskey + hex.EncodeToString(id[:])
}

func (s *passkeySeen) encode(k signature.PublicKey) []byte {
	w := wire.NewWriter(passkeyVersion)
	signature.WriteKey(w, k)
	w.Count(len(s.uses))
	for i := range s.uses {
		signature.WriteUse(w, &s.uses[i])
	}
	w.Bool(s.cloned != nil)
	if s.cloned != nil {
		w.Var(s.cloned.Encode())
	}
	return w.Bytes()
}

func decodePasskeySeen(b []byte) (signature.PublicKey, *passkeySeen, error) {
	r := wire.NewReader(b, passkeyVersion)
	k, s := signature.ReadKey(r, "key"), new(passkeySeen)
	for i := range r.Count("uses", maxUses, signature.MinUse) {
		s.uses = append(s.uses, signature.ReadUse(r, "use"))
		if r.Err() == nil && i > 0 && s.uses[i-1].Counter() >= s.uses[i].Counter() {
			r.Failf("uses[%d]: counter %d after %d", i, s.uses[i].Counter(), s.uses[i-1].Counter())
		}
	}
	if r.Bool("cloned") {
		c, err := audit.DecodeClone(r.Var("clone", 4096))
		if err != nil {
			r.Fail(err)
		}
		s.cloned = c
	}
	return k, s, r.Done()
}

func (v *Vault) loadPasskeys(records map[string][]byte) error {
	v.passkeys.seen = map[signature.PublicKey]*passkeySeen{}
	for name, b := range records {
		if !strings.HasPrefix(name, recordPasskey) {
			continue
		}
		k, s, err := decodePasskeySeen(b)
		if err == nil && passkeyRecord(k) != name {
			err = fmt.Errorf("it is about the passkey %s", k.Fingerprint())
		}
		if err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
		v.passkeys.seen[k] = s
	}
	return nil
}

// forgetPasskeys drops what is known of passkeys that the roster in force does not
// list. Whoever gets the same one back starts anew: the admins signed for it.
func (v *Vault) forgetPasskeys() {
	if v.gov == nil || v.passkeys.under == v.gov.Roster {
		return
	}
	v.passkeys.under = v.gov.Roster
	for k := range v.passkeys.seen {
		if _, ok := v.gov.Roster.Owner(k); !ok {
			delete(v.passkeys.seen, k)
			v.store.remove(passkeyRecord(k))
		}
	}
}

// seeBundle remembers the passkeys of a bundle whose signatures all verified, and
// refuses it if one of them is in two devices.
func (v *Vault) seeBundle(b *request.Bundle) *refusal.Refusal {
	var out *refusal.Refusal
	for _, u := range b.PasskeyUses() {
		if u.Time > v.now && u.Time-v.now > request.MaxSkew {
			continue // it does not count, and says nothing of the order yet
		}
		if r := v.seePasskey(u.Principal, u.Key, &u.Use); r != nil && out == nil {
			out = r
		}
	}
	return out
}

// seeChange remembers the passkeys that signed a change which is adopted. A clone that
// shows here is logged, and refused in bundles from now on; the change stands, or vaults
// that have seen different things would follow different ones. A change fixes no time of
// a signature: only a counter that served twice tells.
func (v *Vault) seeChange(s *governance.SignedChange) {
	for i := range s.Signatures {
		sig := &s.Signatures[i]
		owner, ok := v.gov.Roster.Owner(sig.Key)
		if !sig.Key.Algorithm.IsPasskey() || !ok || owner.ID != sig.Principal {
			continue // a leaver's key is nobody's any more, and counts for nothing else
		}
		if r := v.seePasskey(sig.Principal, sig.Key, &signature.Use{Digest: s.Change.Statement().Digest(), Signature: sig.Signature}); r != nil {
			v.note("an admin's passkey is in two devices", "change", s.Change.Seq, "detail", r.Detail)
		}
	}
}

// seePasskey remembers one verified signature.
func (v *Vault) seePasskey(who string, k signature.PublicKey, u *signature.Use) *refusal.Refusal {
	s := v.passkeys.seen[k]
	if s == nil {
		s = new(passkeySeen)
	}
	if s.cloned == nil {
		if i := slices.IndexFunc(s.uses, func(o signature.Use) bool { return u.Contradicts(&o) }); i >= 0 {
			s.cloned = &audit.Clone{Principal: who, Key: k, First: s.uses[i], Second: *u}
			v.appendLog(audit.KindClone, s.cloned.Encode())
			v.keepPasskey(k, s)
		}
	}
	if c := s.cloned; c != nil {
		return refusal.New("identity.cloned", "", fmt.Sprintf("the passkey %s of %s is in two devices: it signed with counter %d at %s and with counter %d at %s",
			k.Fingerprint(), who, c.First.Counter(), request.Instant(c.First.Time), c.Second.Counter(), request.Instant(c.Second.Time)),
			"a roster without this passkey, and approvals by another credential")
	}
	if u.Counter() == 0 || slices.ContainsFunc(s.uses, func(o signature.Use) bool { return o.Counter() == u.Counter() }) {
		return nil // it does not count, or was seen
	}
	s.uses = append(s.uses, *u)
	slices.SortFunc(s.uses, func(a, b signature.Use) int { return cmp.Compare(a.Counter(), b.Counter()) })
	if len(s.uses) > maxUses {
		s.uses = slices.Delete(s.uses, 0, len(s.uses)-maxUses)
	}
	v.keepPasskey(k, s)
	return nil
}

// keepPasskey makes it durable with whatever this step lets out.
func (v *Vault) keepPasskey(k signature.PublicKey, s *passkeySeen) {
	v.passkeys.seen[k] = s
	if err := v.store.put(passkeyRecord(k), s.encode(k)); err != nil {
		panic("vault: randomness ended: " + err.Error()) // as in flush: crypto/rand does not fail
	}
}
