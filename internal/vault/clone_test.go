package vault_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/passkey/passkeytest"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/sim"
	"github.com/cofferhq/coffer/mpc"
)

const site = "coffer.example"

// keyed is a world in which bob has a security key beside his plain key, and carol a
// passkey that is copied between her devices.
type keyed struct {
	*fixture
	bob, carol *passkeytest.Authenticator
	nonces     map[[32]byte]uint64 // by request
}

func startKeyed(t *testing.T) *keyed {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector")
	}
	const seed = 91
	k := &keyed{nonces: map[[32]byte]uint64{}, bob: passkeytest.New(signature.WebAuthnP256, "bob", site), carol: passkeytest.New(signature.WebAuthnEd25519, "carol", site)}
	k.carol.Synced = true
	ro := sim.Roster(seed)
	for i := range ro.Principals {
		switch p := &ro.Principals[i]; p.ID {
		case "bob":
			p.Credentials = append(p.Credentials, k.bob.Public())
		case "carol":
			p.Credentials = append(p.Credentials, k.carol.Public())
		}
	}
	for i := range ro.Groups {
		if g := &ro.Groups[i]; g.Name == identity.Admins {
			g.Members = append(slices.Clone(g.Members), "bob")
		}
	}
	ro.Origins = []string{"https://" + site}
	ro.Sort()
	w, err := sim.New(seed, 3, ro, sim.Policy())
	if err != nil {
		t.Fatal(err)
	}
	x, err := w.Keygen("treasury", 2)
	if err != nil {
		t.Fatal(err)
	}
	k.fixture = &fixture{T: t, World: w, x: x}
	return k
}

// payment is a bundle that needs two people.
func (k *keyed) payment() *request.Bundle { return k.Transfer(k.x, sim.Stranger, sim.ETH(5)) }

// approve adds an approval by a device.
func (k *keyed) approve(b *request.Bundle, who string, x *passkeytest.Authenticator) {
	a := request.Approval{Request: b.Request.ID(), Principal: who, Approve: true, Time: k.Now, Expires: b.Request.Expires, Key: x.Public()}
	a.Signature = x.Sign(a.Statement())
	b.Approvals = append(b.Approvals, a)
	b.Sort()
}

func (k *keyed) run(b *request.Bundle, signers ...mpc.ID) map[mpc.ID]*cluster.Reply {
	id := b.Request.ID()
	if k.nonces[id] == 0 {
		k.nonces[id] = uint64(2000 + len(k.nonces))
	}
	return k.sign(b, sim.Unsigned(sim.Stranger, sim.ETH(5), k.nonces[id]), signers...)
}

func (k *keyed) done(b *request.Bundle, signers ...mpc.ID) {
	k.Helper()
	for id, r := range k.run(b, signers...) {
		if r == nil || r.Outcome != cluster.OutcomeDone {
			k.Fatalf("vault %d: %s", id, show(r))
		}
	}
}

// clones are the clone entries of a vault's log.
func (k *keyed) clones(id mpc.ID) (out []*audit.Clone) {
	for _, b := range k.Parties[id].Disk.Entries {
		if e, err := audit.DecodeEntry(b); err == nil && e.Kind == audit.KindClone {
			c, err := audit.DecodeClone(e.Body)
			k.ok(err)
			k.ok(c.Verify())
			out = append(out, c)
		}
	}
	return out
}

// TestPasskeysSignInVaults: and approvals may be shown in another order than they
// were given, by devices that count and by devices that do not.
func TestPasskeysSignInVaults(t *testing.T) {
	k := startKeyed(t)
	first, second := k.payment(), k.payment()
	k.approve(first, "bob", k.bob)
	k.ok(k.Tick(3_600_000 / 4))
	k.approve(second, "bob", k.bob)
	for _, b := range []*request.Bundle{first, second} {
		k.approve(b, "carol", k.carol)
	}
	k.done(second, 1, 2)
	k.done(first, 1, 2)  // older, lower counter
	k.done(second, 2, 3) // again, in another attempt
	for _, id := range k.IDs {
		k.Crash(id)
		k.ok(k.Restart(id))
	}
	k.ok(k.Settle())
	k.done(first, 1, 3)
	for _, id := range k.IDs {
		if n := len(k.clones(id)); n != 0 {
			t.Errorf("vault %d logs %d clones", id, n)
		}
	}
}

// TestClonedPasskey: a copy of bob's security key is found out by every vault that
// sees both, also across a crash, and nothing that either signs counts any more until
// a roster without it is in force.
func TestClonedPasskey(t *testing.T) {
	k := startKeyed(t)
	thief := k.bob.Clone()
	mine := k.payment()
	k.approve(mine, "bob", k.bob)
	k.approve(mine, "carol", k.carol)
	k.done(mine, 1, 2)
	for _, id := range []mpc.ID{1, 2} {
		k.Crash(id)
		k.ok(k.Restart(id))
	}
	k.ok(k.Settle())
	theirs := k.payment()
	k.approve(theirs, "bob", thief) // the same counter over another request
	k.approve(theirs, "carol", k.carol)
	replies := k.run(theirs, 1, 2)
	r := k.refused("identity.cloned", replies)
	if !strings.Contains(r.Detail, "of bob is in two devices: it signed with counter 1 at") || strings.Count(r.Detail, "counter 1") != 2 {
		t.Errorf("the refusal says %q", r.Detail)
	}
	for _, id := range []mpc.ID{1, 2} {
		k.certified(id, replies[id])
		if c := k.clones(id); len(c) != 1 || c[0].Principal != "bob" || c[0].Key != k.bob.Public() {
			t.Errorf("vault %d logs %v", id, c)
		}
	}
	// Vault 3 has seen neither. Together with one that has, it signs nothing.
	for id, r := range k.run(theirs, 1, 3) {
		if r != nil && r.Outcome == cluster.OutcomeDone {
			t.Errorf("vault %d signs: %s", id, show(r))
		}
	}
	// Nor does bob himself approve with it, after a crash either; with his key he does.
	k.Crash(1)
	k.ok(k.Restart(1))
	k.ok(k.Settle())
	next := k.payment()
	k.approve(next, "bob", k.bob)
	k.approve(next, "carol", k.carol)
	k.refused("identity.cloned", k.run(next, 1, 2))
	if n := len(k.clones(1)); n != 1 {
		t.Errorf("%d clone entries, want one", n)
	}
	plain := k.payment()
	k.Approve(plain, "bob")
	k.approve(plain, "carol", k.carol)
	k.done(plain, 1, 2)

	// A roster without the passkey: refused by its key. With it again: the admins
	// have looked.
	with := k.Genesis.Roster
	k.publish(k.without("bob", k.bob.Public()))
	k.refused("identity.key", k.run(next, 1, 2))
	k.publish(with.Encode())
	again := k.payment()
	k.approve(again, "bob", k.bob)
	k.approve(again, "carol", k.carol)
	k.done(again, 1, 2)
}

// TestClonedPasskeyLater: a copy whose counter lags is found out by time.
func TestClonedPasskeyLater(t *testing.T) {
	k := startKeyed(t)
	thief := k.bob.Clone()
	for range 3 {
		b := k.payment()
		k.approve(b, "bob", k.bob)
		k.approve(b, "carol", k.carol)
		k.done(b, 2, 3)
	}
	k.Now += signature.CounterSlack + 1
	for _, id := range k.IDs {
		k.Crash(id)
		k.ok(k.Restart(id))
	}
	k.ok(k.Settle())
	thief.Counter = 1 // 2: bob's own 2 was over something else, too
	b := k.payment()
	k.approve(b, "bob", thief)
	k.approve(b, "carol", k.carol)
	k.refused("identity.cloned", k.run(b, 2, 3))
	// A thief who sets the counter to 0 is found out the same way.
	other := startKeyed(t)
	b = other.payment()
	other.approve(b, "bob", other.bob)
	other.approve(b, "carol", other.carol)
	other.done(b, 1, 2)
	other.Now += signature.CounterSlack + 1
	ghost := other.bob.Clone()
	ghost.Counter, ghost.Synced = 0, true
	b = other.payment()
	other.approve(b, "bob", ghost)
	other.approve(b, "carol", other.carol)
	other.refused("identity.cloned", other.run(b, 1, 2))
}

func (k *keyed) without(who string, key signature.PublicKey) []byte {
	ro := sim.Roster(k.Seed)
	for i := range ro.Principals {
		if p := &ro.Principals[i]; p.ID == "carol" && who != "carol" {
			p.Credentials = append(p.Credentials, k.carol.Public())
		}
	}
	ro.Origins = []string{"https://" + site}
	ro.Sort()
	return ro.Encode()
}

func (k *keyed) publish(body []byte) {
	k.Helper()
	_, err := k.Publish(governance.KindRoster, body)
	k.ok(err)
	k.ok(k.CatchUpAll())
}

// TestRevokedCredential: an approval that was good when it was given is refused by
// each vault, once the roster does not list its credential any more.
func TestRevokedCredential(t *testing.T) {
	k := startKeyed(t)
	b := k.payment()
	k.approve(b, "bob", k.bob)
	k.approve(b, "carol", k.carol)
	k.done(b, 1, 2)
	k.publish(k.without("bob", k.bob.Public()))
	for _, pair := range [][]mpc.ID{{1, 2}, {2, 3}, {1, 3}} {
		r := k.refused("identity.key", k.run(b, pair...))
		if !strings.Contains(r.Detail, "is not one of the 1 keys of bob") {
			t.Errorf("the refusal says %q", r.Detail)
		}
	}
}

// TestClonedPasskeyOfAnAdmin: a copy that signs a change is found out, too. The change
// stands in every vault; a payment that rests on the passkey does not.
func TestClonedPasskeyOfAnAdmin(t *testing.T) {
	k := startKeyed(t)
	thief := k.bob.Clone()
	gov, err := governance.Start(k.Genesis)
	k.ok(err)
	freeze := func(x *passkeytest.Authenticator, wallet byte) {
		s := &governance.SignedChange{Change: governance.Change{Cluster: gov.Cluster, Seq: gov.Seq + 1, Prev: gov.Head, Kind: governance.KindFreeze,
			Body: (&governance.Freeze{Wallet: [32]byte{wallet}, Reason: "drill"}).Encode(), Created: k.Now, Author: "bob"}}
		s.Signatures = []governance.AdminSignature{{Principal: "bob", Key: x.Public(), Signature: x.Sign(s.Change.Statement())}}
		gov, err = gov.Apply(s, k.Now)
		k.ok(err)
		for _, id := range k.IDs {
			k.adopts(id, s, nil, "")
		}
	}
	freeze(k.bob, 1)
	for _, id := range k.IDs {
		if n := len(k.clones(id)); n != 0 {
			t.Errorf("vault %d logs %d clones of one device", id, n)
		}
	}
	freeze(thief, 2) // the same counter over another change
	for _, id := range k.IDs {
		if c := k.clones(id); len(c) != 1 || c[0].Principal != "bob" || c[0].First.Time != 0 || c[0].Second.Digest != gov.Head {
			t.Errorf("vault %d logs %v", id, c)
		}
	}
	b := k.payment()
	k.approve(b, "bob", k.bob)
	k.approve(b, "carol", k.carol)
	k.refused("identity.cloned", k.run(b, 1, 2))
}
