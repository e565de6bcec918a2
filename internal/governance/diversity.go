package governance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/refusal"
)

// checkDiversity sees to it that no model of a device holds as many shares as it
// takes to sign: then one flaw of that model would be enough for a thief. Vendor and
// model are what the cards say; the cards' evidence says what that is worth.
func (st *State) checkDiversity(parties []uint16, t int, insist bool) error {
	if insist {
		return nil
	}
	type device struct{ vendor, model string }
	holds := map[device][]string{}
	for _, p := range parties {
		v, ok := st.Vault(p)
		if !ok {
			continue // checkParties refuses it
		}
		d := device{v.Vendor, v.Model}
		if holds[d] = append(holds[d], fmt.Sprint(p)); len(holds[d]) < t {
			continue
		}
		all := slices.Clone(holds[d])
		for _, q := range parties {
			if w, _ := st.Vault(q); w != nil && q > p && w.Vendor == v.Vendor && w.Model == v.Model {
				all = append(all, fmt.Sprint(q))
			}
		}
		return refusal.Newf("keygen.diversity",
			fmt.Sprintf("vaults of which at most %d are %s; or, if you know what you risk, --insist", t-1, name(v.Vendor, v.Model)),
			"vaults %s have the same device, %s, and %d of them sign: one flaw of that device could be enough to steal",
			strings.Join(all, ", "), name(v.Vendor, v.Model), t)
	}
	return nil
}

func name(vendor, model string) string { return strings.TrimSpace(vendor + " " + model) }
