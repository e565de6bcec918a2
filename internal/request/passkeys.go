package request

import "github.com/cofferhq/coffer/internal/signature"

// PasskeyUse is a signature of a passkey in a bundle.
type PasskeyUse struct {
	Principal string
	Key       signature.PublicKey
	signature.Use
}

// PasskeyUses lists the signatures of passkeys in the bundle, the initiator's first.
// It verifies none. Nobody approves a request before it is created, so an approval
// that is dated earlier counts as given then.
func (b *Bundle) PasskeyUses() []PasskeyUse {
	var out []PasskeyUse
	add := func(who string, key signature.PublicKey, st signature.Statement, time uint64, sig signature.Signature) {
		if key.Algorithm.IsPasskey() {
			out = append(out, PasskeyUse{who, key, signature.Use{Digest: st.Digest(), Time: time, Signature: sig}})
		}
	}
	q := b.Request
	add(q.Initiator, b.ProposeKey, ProposeStatement(q.ID()), q.Created, b.ProposeSignature)
	for i := range b.Approvals {
		a := &b.Approvals[i]
		add(a.Principal, a.Key, a.Statement(), max(a.Time, q.Created), a.Signature)
	}
	return out
}
