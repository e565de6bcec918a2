package governance

import (
	"github.com/cofferhq/coffer/internal/signature"
)

// Card is a vault's card with the change from which on it is in force.
type Card struct {
	Vault Vault
	From  uint64 // 0: the genesis
}

// Vault finds the card in force of a vault.
func (st *State) Vault(id uint16) (*Vault, bool) {
	for i := range st.Vaults {
		if st.Vaults[i].ID == id {
			return &st.Vaults[i], true
		}
	}
	return nil, false
}

// Cards are all cards that a vault has had, the one in force last.
func (st *State) Cards(id uint16) []Card {
	var out []Card
	for i := range st.cards {
		if st.cards[i].Vault.ID == id {
			out = append(out, st.cards[i])
		}
	}
	return out
}

// SignedByIdentity says whether a vault's HSM identity, the one in force or an
// earlier one, signed a statement. It is for what was signed for good, such as a
// key's certificate, which outlives the device that signed it. What is said now is
// checked under the card in force alone: an old device may be a thief's.
func (st *State) SignedByIdentity(id uint16, statement signature.Statement, sig []byte) bool {
	s, err := signature.Decode(sig)
	if err != nil {
		return false
	}
	for i := range st.cards {
		if c := &st.cards[i].Vault; c.ID == id && signature.Verify(c.Identity, statement, s) == nil {
			return true
		}
	}
	return false
}

// roleOf says what a key of the vault is for; "" if it is none of its keys.
func (v *Vault) roleOf(k signature.PublicKey) string {
	switch k {
	case v.Identity:
		return "identity"
	case v.Decision:
		return "decision"
	case v.Log:
		return "log"
	case v.Approval:
		return "approval"
	}
	return ""
}
