package governance

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/refusal"
)

// devices is a cluster of five vaults with these devices.
func devices(t testing.TB, models ...string) *State {
	t.Helper()
	g := sampleGenesis(t)
	g.Enrolments = nil
	for i, m := range models {
		vendor, model, _ := strings.Cut(m, "/")
		e := enrol(t, uint16(i+1), "vault-"+string(rune('a'+i)))
		e.Vault.Vendor, e.Vault.Model = vendor, model
		g.Enrolments = append(g.Enrolments, seal(t, e))
	}
	st, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// No model of a device holds as many shares as it takes to sign, neither when a key
// is made nor when its shares move, unless an admin insists.
func TestDiversity(t *testing.T) {
	for name, c := range map[string]struct {
		models    []string
		parties   []uint16
		threshold uint16
		want      string
	}{
		"all different":           {[]string{"a/x", "a/y", "b/x"}, []uint16{1, 2, 3}, 2, ""},
		"two alike of 3, 2 sign":  {[]string{"a/x", "b/x", "a/x"}, []uint16{1, 2, 3}, 2, "vaults 1, 3 have the same device, a x, and 2 of them sign: one flaw of that device could be enough to steal (would pass: vaults of which at most 1 are a x; or, if you know what you risk, --insist)"},
		"three alike of 3":        {[]string{"a/x", "a/x", "a/x"}, []uint16{1, 2, 3}, 2, "vaults 1, 2, 3 have the same device"},
		"two alike of 5, 3 sign":  {[]string{"a/x", "a/x", "b/x", "b/x", "c/x"}, []uint16{1, 2, 3, 4, 5}, 3, ""},
		"three alike of 5":        {[]string{"a/x", "b/x", "b/x", "c/x", "b/x"}, []uint16{1, 2, 3, 4, 5}, 3, "vaults 2, 3, 5 have the same device, b x, and 3 of them sign"},
		"who is alike is no part": {[]string{"a/x", "a/x", "b/x"}, []uint16{2, 3}, 2, ""},
		"one vendor, two models":  {[]string{"a/x", "a/y", "b/x"}, []uint16{1, 2}, 2, ""},
	} {
		st := devices(t, c.models...)
		check := func(what string, insisted bool, err error) {
			t.Helper()
			r := refusal.As(err)
			switch {
			case c.want == "" || insisted:
				if err != nil {
					t.Errorf("%s, %s: %v", name, what, err)
				}
			case r == nil || r.Code != "keygen.diversity" || !strings.Contains(err.Error(), c.want):
				t.Errorf("%s, %s: %v, want %s", name, what, err, c.want)
			}
		}
		for _, insist := range []bool{false, true} {
			o := order(st)
			o.Parties, o.Threshold, o.Insist = c.parties, c.threshold, insist
			o.Signature = edSign("bob", o.Statement())
			check("keygen", insist, st.CheckKeygen(o, o.Created))
			_, err := st.Apply(keyChange(t, st, func(k *KeyOrder) { k.Parties, k.Threshold, k.Insist = c.parties, c.threshold, insist }, "alice", "bob"), 0)
			check("reshare", insist, err)
		}
	}
}

// Diversity is judged by the cards in force: a replaced device counts as what it is
// now.
func TestDiversityAfterReplace(t *testing.T) {
	st := start(t)
	o := order(st)
	if err := st.CheckKeygen(o, o.Created); err != nil {
		t.Fatal(err)
	}
	e := card(t, "spare", "spare")
	e.Vault.Vendor, e.Vault.Model = st.Vaults[0].Vendor, st.Vaults[0].Model
	st = apply(t, st, replace(sign(t, e, "spare", "spare"), 2))
	if err := st.CheckKeygen(o, o.Created); err == nil || refusal.As(err).Code != "keygen.diversity" {
		t.Errorf("vaults 1 and 2 have one device now: %v", err)
	}
}
