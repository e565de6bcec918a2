package governance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
)

// course is the package and the model, side by side.
type course struct {
	*rapid.T
	m     *model
	start *State
	st    *State
	ms    *mState
	kept  []record // as a vault keeps them
	now   uint64
	roots map[string][32]byte // of what is in force, in the model's words
}

var modelAddresses = map[rune]string{
	'x': "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7", 'y': "eip155:1:0x8617E340B3D01FA5F11F306F4090FD50E238070D",
}

var modelChains = map[rune]string{'1': "eip155:1", '2': "eip155:10", '3': "eip155:5"}

var modelPolicies = map[mPolicy]*policy.Document{}

// modelPolicy is a policy by which one approves what is known and count anything else.
func modelPolicy(p mPolicy) *policy.Document {
	if d, ok := modelPolicies[p]; ok {
		return d
	}
	var book []string
	for _, l := range p.book {
		book = append(book, `"`+modelAddresses[l]+`"`)
	}
	text := fmt.Sprintf(`
assets:
  ETH: {id: "eip155:1/slip44:60", decimals: 18}
rules:
  - name: known
    when: onlyTransfers && transfers.all(t, t.to.labelled("known"))
    then: {require: {approvers: 1}}
  - name: anybody
    when: onlyTransfers
    then: {require: {approvers: %d}}
addressBook:
  known: [%s]
`, p.count, strings.Join(book, ", "))
	if p.odd > 0 {
		text = strings.Replace(text, "addressBook:", fmt.Sprintf("  - name: odd\n    when: total(\"ETH\") + total(\"ETH\") <= amount(\"%d ETH\")\n    then: {require: {approvers: 1}}\naddressBook:", p.odd), 1)
	}
	d := compile(text)
	modelPolicies[p] = d
	return d
}

func modelRoster(t testing.TB, c *mChange) *identity.Roster {
	r := sampleRoster(t)
	r.Groups[0].Members, r.AdminQuorum = names(c.admins), uint8(c.quorum)
	r.Principals[2].Credentials = []signature.PublicKey{edPublic(c.cleos)}
	return r
}

func modelKeys(keys string) (p attest.Policy) {
	for _, k := range keys {
		p.Keys = append(p.Keys, attest.TrustedKey{AK: [32]byte{byte(k)}})
	}
	return p.Normalize()
}

func modelBook(letters string) (out []Labelled) {
	for _, l := range letters {
		out = append(out, Labelled{"known", modelAddresses[l]})
	}
	return out
}

func modelChainList(letters string) (out []string) {
	for _, l := range letters {
		out = append(out, modelChains[l])
	}
	slices.Sort(out)
	return out
}

func (c *mChange) body(t testing.TB) []byte {
	switch c.kind {
	case KindRoster:
		return modelRoster(t, c).Encode()
	case KindPolicy:
		return modelPolicy(c.policy).Encode()
	case KindBook:
		b := &Book{Add: modelBook(c.add), Remove: modelBook(c.remove)}
		b.Sort()
		return b.Encode()
	case KindChains:
		return EncodeChains(modelChainList(c.chains))
	case KindMeasurements:
		return modelKeys(c.keys).Encode()
	case KindFreeze:
		return (&Freeze{Wallet: [32]byte{c.wallet - '0'}, Thaw: c.thaw, Reason: "x"}).Encode()
	case KindVault:
		switch c.action {
		case SuspendVault:
			return suspend(2).Encode()
		case LiftVault:
			return lift(2, 0).Encode()
		}
		return resume(c.boot).Encode()
	case KindKey:
		return (&KeyOrder{Action: c.action2, Key: [32]byte{1}, Name: "treasury", Epoch: 1, Tier: c.tier}).Encode()
	}
	return (&Withdrawal{Seq: c.target, Reason: "x"}).Encode()
}

func (x *course) draw() *mChange {
	one := func(what string, of ...string) string { return rapid.SampledFrom(of).Draw(x.T, what) }
	people := []string{"alice", "bob", "carol", "dave"}
	c := &mChange{kind: rapid.SampledFrom([]Kind{1, 1, 2, 2, 2, 3, 4, 5, 6, 6, 7, 8, 9, 9, 9}).Draw(x.T, "kind"), author: "alice"}
	c.signers = names(one("signers", "ab", "abc", "abcd", "bc", "abc", "abcd", "abd", "a", "c"))
	switch c.kind {
	case KindRoster:
		c.admins, c.cleos = one("admins", "ab", "abc", "abcd", "abd", "ac", "bc"), one("key", "carol", "carol", "carol2")
		c.quorum = rapid.IntRange(1, len(c.admins)).Draw(x.T, "quorum")
	case KindPolicy:
		c.policy = mPolicy{rapid.IntRange(2, 3).Draw(x.T, "count"), one("book", "", "x", "y", "xy"), rapid.SampledFrom([]int{0, 0, 4, 5}).Draw(x.T, "odd")}
	case KindBook:
		both := [][2]string{{"x", ""}, {"y", ""}, {"xy", ""}, {"", "x"}, {"", "y"}, {"x", "y"}}
		p := rapid.SampledFrom(both).Draw(x.T, "book")
		c.add, c.remove = p[0], p[1]
	case KindChains:
		c.chains = one("chains", "", "1", "2", "12", "123")
	case KindMeasurements:
		c.keys = one("keys", "", "1", "2", "12")
	case KindFreeze:
		c.wallet, c.thaw = one("wallet", "0", "7")[0], rapid.Bool().Draw(x.T, "thaw")
	case KindVault:
		c.action = rapid.SampledFrom([]VaultAction{SuspendVault, LiftVault, ResumeVault}).Draw(x.T, "action")
		if c.action == ResumeVault {
			c.boot = rapid.Uint64Range(1, 6).Draw(x.T, "boot")
		}
	case KindKey:
		if c.action2 = rapid.SampledFrom([]Action{Refresh, SetTier, SetTier}).Draw(x.T, "key"); c.action2 == SetTier {
			c.tier = rapid.SampledFrom([]Tier{TierHot, TierWarm, TierCold}).Draw(x.T, "tier")
		}
	case KindWithdraw:
		c.target = rapid.Uint64Range(0, uint64(len(x.ms.changes))+1).Draw(x.T, "target")
		if n := len(x.ms.pending); n > 0 && rapid.IntRange(0, 3).Draw(x.T, "which") > 0 {
			c.target = x.ms.pending[rapid.IntRange(0, n-1).Draw(x.T, "pending")]
		}
		c.author = rapid.SampledFrom(people).Draw(x.T, "author")
		if n := len(x.ms.leavers); n > 0 && rapid.Bool().Draw(x.T, "leaver") {
			c.author = x.ms.leavers[n-1].who
		}
		c.signers, c.key = []string{c.author}, c.author
		if c.author == "carol" {
			c.key = one("whose", "carol", "carol2")
		}
	}
	return c
}

func (x *course) sign(c *mChange, t testing.TB) *SignedChange {
	s := next(x.st, c.kind, c.body(t))
	s.Change.Author = c.author
	for _, w := range c.signers {
		k := w
		if c.key != "" {
			k = c.key
		}
		s.Signatures = append(s.Signatures, AdminSignature{w, edPublic(k), edSign(k, s.Change.Statement())})
	}
	return s
}

// propose has both adopt a change, now or as if by others' word before.
func (x *course) propose(t testing.TB) {
	c, told := x.draw(), x.now
	if rapid.IntRange(0, 4).Draw(x.T, "late") == 0 {
		told -= rapid.Uint64Range(0, 2*day).Draw(x.T, "by")
	}
	s := x.sign(c, t)
	if f, err := x.st.Forecast(&s.Change, x.now); err == nil && told == x.now {
		if a, err := x.st.Apply(s, told); err == nil {
			if got, _ := a.Fate(a.Seq); got.Due != f.Due || got.Class != f.Class || got.Quorum != f.Quorum {
				x.Fatalf("%s %+v was foretold %+v", c.kind, got, f)
			}
		}
	}
	after, err := x.st.Apply(s, told)
	want, code := x.m.adopt(x.ms, c, told, told)
	switch r := refusal.As(err); {
	case err == nil && code == "":
		f, _ := after.Fate(after.Seq)
		x.kept = append(x.kept, record{s, f.Adopted, told})
		x.st, x.ms = after.At(x.now), want.at(x.now)
	case err == nil || code == "" || r == nil || r.Code != code:
		x.Fatalf("%s %+v: %v, the model says %q", c.kind, c, err, code)
	}
}

// pass lets time pass, often to the very moment or the last before it.
func (x *course) pass() {
	to := x.now + rapid.Uint64Range(0, day).Draw(x.T, "ms")
	if due := x.st.NextDue(); due > x.now && rapid.Bool().Draw(x.T, "just") {
		to = due - rapid.Uint64Range(0, 1).Draw(x.T, "before")
	}
	x.now = max(x.now, to)
	x.st, x.ms = x.st.At(x.now), x.ms.at(x.now)
}

// backdate takes others' word, later, of when they adopted what waits.
func (x *course) backdate() {
	if len(x.kept) == 0 {
		return
	}
	i := rapid.IntRange(max(0, len(x.kept)-4), len(x.kept)-1).Draw(x.T, "change")
	f, told := x.ms.fates[i], x.kept[i].told
	to := told - rapid.Uint64Range(0, day).Draw(x.T, "earlier")
	after, err := x.st.Backdate(uint64(i)+1, to)
	target := x.ms.changes[i].target
	may := f.status == Waiting || f.status == NoEffect && f.leaver && slices.Contains(x.ms.pending, target)
	if !may || to == told {
		if err == nil && after != x.st {
			x.Fatalf("change %d %+v was backdated", i+1, f)
		}
		return
	}
	kept := slices.Clone(x.kept)
	kept[i].at, kept[i].told = max(to, x.ms.enacted), to
	ms, code := x.firstModel(), ""
	for j, r := range kept {
		if ms, code = x.m.adopt(ms, x.ms.changes[j], r.at, r.told); code != "" {
			break
		}
		kept[j].at = ms.fates[j].adopted
	}
	if (code == "") != (err == nil) {
		x.Fatalf("backdate change %d: %v, the model says %q", i+1, err, code)
	}
	if err == nil {
		x.kept, x.st, x.ms = kept, after.At(x.now), ms.at(x.now)
	}
}

func (x *course) firstModel() *mState {
	return &mState{admins: "abc", quorum: 2, cleos: "carol", written: mPolicy{count: 3}}
}

// restart replays what a vault keeps.
func (x *course) restart() {
	st := x.start
	var err error
	for i, r := range x.kept {
		if st, err = st.Replay(r.signed, r.at, r.told); err != nil {
			x.Fatalf("change %d does not replay: %v", i+1, err)
		}
	}
	x.st = st.At(x.now)
}

// check compares all that both know.
func (x *course) check(t testing.TB) {
	st, ms := x.st, x.ms
	if len(st.Fates) != len(ms.fates) || st.Clock != ms.clock {
		x.Fatalf("%d changes at %d, the model has %d at %d", len(st.Fates), st.Clock, len(ms.fates), ms.clock)
	}
	for i, f := range st.Fates {
		w := ms.fates[i]
		if f.Class != w.class || f.Adopted != w.adopted || f.Due != w.due || f.Status != w.status || f.Leaver != w.leaver {
			x.Fatalf("change %d (%s): %+v, the model says %+v", i+1, f.Kind, f, w)
		}
		waits := f.Class != Tightening && f.Kind != KindFreeze
		if waits && f.Status == InForce && (f.Since < f.Adopted+day || f.Since > x.now) || f.Status == Waiting && f.Due <= x.now {
			x.Fatalf("change %d: %+v at %d", i+1, f, x.now)
		}
	}
	var pending []uint64
	for _, p := range st.Pending {
		pending = append(pending, p.Change.Seq)
	}
	var orders, tiers []uint64
	for _, o := range st.VaultOrders {
		orders = append(orders, o.Seq)
	}
	for _, o := range st.Orders {
		if o.Action == SetTier {
			tiers = append(tiers, o.Seq)
		}
	}
	frozen := ""
	for _, f := range st.Frozen {
		frozen += string('0' + rune(f.Wallet[0]))
	}
	roster := modelRoster(t, &mChange{admins: ms.admins, quorum: ms.quorum, cleos: ms.cleos})
	for what, same := range map[string]bool{
		"pending": slices.Equal(pending, ms.pending), "orders": slices.Equal(orders, ms.orders), "tiers": slices.Equal(tiers, ms.tiers),
		"roster": st.Roster.Root() == roster.Root(), "policy": st.Policy.Root() == modelPolicy(ms.inForce()).Root(), "frozen": letters(frozen, "", "") == ms.frozen,
		"chains":       slices.Equal(st.Chains, modelChainList(ms.chains)),
		"measurements": string(st.Measurements.Normalize().Encode()) == string(modelKeys(ms.keys).Encode()),
	} {
		if !same {
			x.Fatalf("%s: %+v, the model has %+v", what, st, ms)
		}
	}
	x.checkRoot(ms)
}

// checkRoot sees to it that the in-force root tells apart what is in force, and nothing
// else.
func (x *course) checkRoot(ms *mState) {
	refreshes := []uint64{}
	for _, o := range x.st.Orders {
		refreshes = append(refreshes, o.Seq)
	}
	frozen := []uint64{}
	for _, f := range x.st.Frozen {
		frozen = append(frozen, f.Seq)
	}
	words := fmt.Sprint(ms.admins, ms.quorum, ms.cleos, ms.inForce(), ms.chains, "/", ms.keys, slices.Sorted(slices.Values(frozen)), ms.speaking(), refreshes)
	for _, s := range append(ms.speaking(), append(refreshes, frozen...)...) { // a change's hash depends on those before
		h := x.st.Fates[s-1].Hash
		words += fmt.Sprintf(" %x", h[:4])
	}
	root := x.st.InForce()
	if was, ok := x.roots[words]; ok && was != root {
		x.Fatalf("two roots of %s", words)
	}
	x.roots[words] = root
}

// Random courses of the governance: the same state as in the model, the same refusals,
// nothing in force before its time, and after a restart what was before it.
func TestRandomCourse(t *testing.T) {
	g := sampleGenesis(t)
	g.Cooling, g.Policy = day, modelPolicy(mPolicy{count: 3})
	first, err := Start(g)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{cooling: day, roster: g.Roster, policy: modelPolicy, seen: map[[2]mPolicy]Class{}}
	tally := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		x := &course{T: rt, m: m, start: first, st: first, now: t0, roots: map[string][32]byte{}}
		x.ms = x.firstModel()
		rt.Repeat(map[string]func(*rapid.T){
			"propose": func(*rapid.T) { x.propose(t) }, "propose again": func(*rapid.T) { x.propose(t) },
			"pass": func(*rapid.T) { x.pass() }, "backdate": func(*rapid.T) { x.backdate() }, "restart": func(*rapid.T) { x.restart() },
			"": func(*rapid.T) { x.check(t) },
		})
		for _, f := range x.st.Fates {
			tally[f.Class.String()+" "+f.Status.String()]++
			if f.Leaver {
				tally["leaver "+f.Status.String()]++
			}
		}
	})
	t.Log(tally)
	for _, want := range []string{"loosening waiting", "loosening in-force", "loosening superseded", "loosening withdrawn"} { // each in most courses
		if tally[want] == 0 {
			t.Errorf("no course came to %q", want)
		}
	}
}
