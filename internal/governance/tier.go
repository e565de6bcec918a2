package governance

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/refusal"
)

// Tier is how a vault keeps the share of a key between signatures.
type Tier uint8

// The tiers. Numbers are never reused.
const (
	TierHot  Tier = 1 // open in the running vault's memory
	TierWarm Tier = 2 // sealed by the device, opened for one signing session
	TierCold Tier = 3 // sealed by the device, which asks for authorisation at every use
)

func (t Tier) String() string {
	switch t {
	case TierHot:
		return "hot"
	case TierWarm:
		return "warm"
	case TierCold:
		return "cold"
	}
	return fmt.Sprintf("tier-%d", uint8(t))
}

// ParseTier is the inverse of String.
func ParseTier(s string) (Tier, error) {
	for t := TierHot; t <= TierCold; t++ {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, fmt.Errorf("tier %.20q: want hot, warm or cold", s)
}

func (t Tier) check(bad func(fix, format string, args ...any) error) error {
	if t < TierHot || t > TierCold {
		return bad("hot (1), warm (2) or cold (3)", "custody tier: unknown value %d", t)
	}
	return nil
}

// Tier is the custody tier of a key that was made with a tier: the newest order's,
// or the one that it was made with.
func (st *State) Tier(key [32]byte, made Tier) Tier {
	for i := len(st.Orders) - 1; i >= 0; i-- {
		if o := &st.Orders[i]; o.Action == SetTier && o.Key == key {
			return o.Tier
		}
	}
	return made
}

// checkTier checks an order that moves a key to another custody tier.
func (o *KeyOrder) checkTier() error {
	bad := func(fix, format string, args ...any) error {
		return refusal.Newf("change.body", fix, format, args...)
	}
	if o.Action == SetTier {
		return o.Tier.check(bad)
	}
	if o.Tier != 0 {
		return bad("", "%s: it names a custody tier, which stays as it is", o.Action)
	}
	return nil
}

// Approves is the card of a vault whose decisions about this key need the signature
// of the vault's approval key; nil: they don't. That is so for cold keys, at vaults
// whose device has such a key.
func (st *State) Approves(vault uint16, key [32]byte, made Tier) *Vault {
	card, ok := st.Vault(vault)
	if !ok || !card.HasApproval() || st.Tier(key, made) != TierCold {
		return nil
	}
	return card
}
