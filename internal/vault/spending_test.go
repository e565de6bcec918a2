package vault

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/mpc"
)

const (
	testETH = "eip155:1/slip44:60"
	testDAI = "eip155:1/erc20:0x6b175474e89094c44da98b954eedeac495271d0f"
)

func account(n int) string { return fmt.Sprintf("eip155:1:0x%040x", n) }

func moving(initiator, asset string, to int, amount uint64) *policy.Movement {
	m := &policy.Movement{Initiator: initiator, Chain: "eip155:1", Moves: []policy.Move{{Asset: asset, To: account(to)}}}
	m.Moves[0].Amount.SetUint64(amount)
	return m
}

func reserving(attempt byte, request byte, time uint64, m *policy.Movement, parties ...mpc.ID) *event {
	return &event{Kind: eventReserve, Time: time, Attempt: [16]byte{attempt}, Request: [32]byte{request}, Key: [32]byte{7}, Parties: parties, Movement: m.Encode()}
}

func usedOf(t *testing.T, l policy.Ledger, q policy.Query) uint64 {
	t.Helper()
	n, err := l.Used(&q)
	if err != nil {
		t.Fatal(err)
	}
	return n.Uint64()
}

var ethQuery = policy.Query{Measure: policy.MeasureAmount, Asset: testETH}

// An allowance comes back when all signers have released the attempt, and not before:
// not by one of them, not by a witness, a stranger, or expiry.
func TestAllowanceComesBack(t *testing.T) {
	x := newRequestIndex(1)
	e := reserving(1, 1, 1000, moving("ada", testETH, 1, 5), 1, 2)
	e.Witnesses, e.Faults, e.Expires = []mpc.ID{3}, 1, 1001
	release := &event{Kind: eventRelease, Attempt: e.Attempt}
	for _, id := range []mpc.ID{1, 2, 3} {
		x.add(id, e)
	}
	for i, id := range []mpc.ID{3, 4, 1} {
		x.add(id, release)
		if got := usedOf(t, x, ethQuery); got != 5 {
			t.Fatalf("after %d releases %d counts, want 5", i+1, got)
		}
	}
	x.add(2, release)
	if got := usedOf(t, x, ethQuery); got != 0 {
		t.Errorf("all signers have released, and %d counts", got)
	}
	// Who says never that it was asked, counts as one who has released.
	x.add(1, reserving(2, 2, 1000, moving("ada", testETH, 1, 7), 1, 2))
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{2}})
	if got := usedOf(t, x, ethQuery); got != 7 {
		t.Errorf("%d counts, want 7", got)
	}
	x.add(2, &event{Kind: eventRelease, Attempt: [16]byte{2}})
	if got := usedOf(t, x, ethQuery); got != 0 {
		t.Errorf("one signer released, the other never takes part, and %d counts", got)
	}
	// A final share that may have left is not taken back.
	x.add(1, reserving(3, 3, 1000, moving("ada", testETH, 1, 9), 1, 2))
	x.add(1, &event{Kind: eventFinal, Attempt: [16]byte{3}})
	for _, id := range []mpc.ID{1, 2} {
		x.add(id, &event{Kind: eventRelease, Attempt: [16]byte{3}})
	}
	if got := usedOf(t, x, ethQuery); got != 9 {
		t.Errorf("a share may have left, and %d counts", got)
	}
	// Nor does one word of never undo a reservation that comes to light after it.
	x.add(2, &event{Kind: eventRelease, Attempt: [16]byte{4}})
	x.add(2, reserving(4, 4, 1000, moving("ada", testETH, 1, 1), 1, 2))
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{4}})
	if got := usedOf(t, x, ethQuery); got != 10 {
		t.Errorf("%d counts, want 10", got)
	}
}

// A request counts once, with the largest of its reservations that count.
func TestRequestCountsOnce(t *testing.T) {
	x := newRequestIndex(1)
	for i, amount := range []uint64{5, 8, 6} {
		e := reserving(byte(i+1), 1, 1000, moving("ada", testETH, 1, amount), 1, 2)
		e.Slots = []string{"nonce/7"}
		x.add(1, e)
		x.add(2, e)
	}
	if got := usedOf(t, x, ethQuery); got != 8 {
		t.Errorf("%d counts, want 8", got)
	}
	for _, id := range []mpc.ID{1, 2} {
		x.add(id, &event{Kind: eventRelease, Attempt: [16]byte{2}})
	}
	if got := usedOf(t, x, ethQuery); got != 6 {
		t.Errorf("the largest was released, %d counts, want 6", got)
	}
	q := ethQuery
	q.Exclude = [32]byte{1}
	if got := usedOf(t, x, q); got != 0 {
		t.Errorf("the request that is decided counts %d itself", got)
	}
	// One attempt id, told to two vaults for two things: each of them counts.
	x.add(1, reserving(9, 2, 1000, moving("ada", testETH, 1, 1), 1, 3))
	x.add(2, reserving(9, 3, 1000, moving("ada", testETH, 1, 100), 2, 3))
	x.add(1, &event{Kind: eventRelease, Attempt: [16]byte{9}})
	if got := usedOf(t, x, ethQuery); got != 107 {
		t.Errorf("%d counts, want 107", got)
	}
}

// The time of an attempt is the newest of its members', and it counts for the window
// and 60 s more.
func TestEntryTime(t *testing.T) {
	x := newRequestIndex(1)
	early, late := reserving(1, 1, 100_000, moving("ada", testETH, 1, 5), 1, 2), reserving(1, 1, 120_000, moving("ada", testETH, 1, 5), 1, 2)
	x.add(1, early)
	x.add(2, late)
	x.add(3, reserving(1, 1, 900_000, moving("ada", testETH, 1, 5), 1, 2)) // no member: only its own word is as late
	for _, c := range []struct{ since, want uint64 }{{0, 5}, {180_000, 5}, {180_001, 5}, {960_000, 5}, {960_001, 0}} {
		q := ethQuery
		q.Since = c.since
		if got := usedOf(t, x, q); got != c.want {
			t.Errorf("since %d: %d counts, want %d", c.since, got, c.want)
		}
	}
	y := newRequestIndex(1)
	y.add(1, early)
	y.add(2, late)
	for _, c := range []struct{ since, want uint64 }{{160_001, 5}, {180_000, 5}, {180_001, 0}} {
		q := ethQuery
		q.Since = c.since
		if got := usedOf(t, y, q); got != c.want {
			t.Errorf("since %d: %d counts, want %d", c.since, got, c.want)
		}
	}
}

// What may still come to nothing is worth another attempt; what stays is not.
func TestSettled(t *testing.T) {
	x := newRequestIndex(1)
	x.add(1, reserving(1, 1, 100_000, moving("ada", testETH, 1, 5), 1, 2))
	x.add(1, reserving(2, 2, 100_000, moving("ada", testETH, 1, 7), 1, 2))
	x.add(2, reserving(2, 2, 100_000, moving("ada", testETH, 1, 7), 1, 2))
	x.add(2, &event{Kind: eventFinal, Attempt: [16]byte{2}})
	if got := usedOf(t, settled{x, 110_000}, ethQuery); got != 7 {
		t.Errorf("%d is settled, want 7", got)
	}
	if got := usedOf(t, settled{x, 100_001 + settlesWithin}, ethQuery); got != 12 {
		t.Errorf("%d is settled after a minute, want 12", got)
	}
}

// The index answers as a walk over everything does, whatever the question.
func TestSpendingIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := newRequestIndex(1)
	type entry struct {
		attempt byte
		party   mpc.ID
	}
	reserved := map[entry]*event{}
	released := map[entry]bool{}
	naive := func(q *policy.Query) uint64 {
		most := map[[32]byte]uint64{}
		for k, e := range reserved {
			if all := released[entry{k.attempt, 1}] && released[entry{k.attempt, 2}]; all || e.Request == q.Exclude || q.Wallet != nil && *q.Wallet != e.Key {
				continue
			}
			time := e.Time
			if o := reserved[entry{k.attempt, 3 - k.party}]; o != nil {
				time = max(time, o.Time)
			}
			m, err := policy.DecodeMovement(e.Movement)
			if err != nil {
				t.Fatal(err)
			}
			n, err := m.Counts(q)
			if err != nil {
				t.Fatal(err)
			}
			if time+policy.Margin >= q.Since {
				most[e.Request] = max(most[e.Request], n.Uint64())
			}
		}
		sum := uint64(0)
		for _, n := range most {
			sum += n
		}
		return sum
	}
	for i := range 3000 {
		attempt, party := byte(r.IntN(200)), mpc.ID(1+r.IntN(2))
		k := entry{attempt, party}
		if _, other := reserved[k]; !other && !released[k] && r.IntN(3) > 0 {
			e := reserving(attempt, attempt/4, r.Uint64N(400_000), moving([]string{"ada", "ben"}[attempt%2], []string{testETH, testDAI}[attempt/2%2], int(attempt%5), uint64(attempt)), 1, 2)
			e.Key[0] = attempt % 3
			x.add(party, e)
			reserved[k] = e
		} else if !released[k] && other && r.IntN(3) == 0 {
			x.add(party, &event{Kind: eventRelease, Attempt: [16]byte{attempt}})
			released[k] = true
		}
		q := policy.Query{Measure: policy.MeasureAmount, Asset: []string{testETH, testDAI}[i%2], Since: r.Uint64N(500_000), Exclude: [32]byte{byte(r.IntN(60))}}
		if r.IntN(2) == 0 {
			q.Wallet = &[32]byte{byte(r.IntN(4))}
		}
		if r.IntN(3) == 0 {
			q.Initiator = []string{"ada", "ben", "cyd"}[r.IntN(3)]
		}
		if r.IntN(3) == 0 {
			q.Destination = account(r.IntN(6))
		}
		if r.IntN(4) == 0 {
			q.Measure, q.Asset = policy.MeasureCount, ""
		}
		if got, want := usedOf(t, x, q), naive(&q); got != want {
			t.Fatalf("step %d: %+v: %d, want %d", i, q, got, want)
		}
	}
}

// A sum that does not fit denies, and so does what cannot be valued.
func TestUsedErrors(t *testing.T) {
	x := newRequestIndex(1)
	huge := moving("ada", testETH, 1, 0)
	huge.Moves[0].Amount = *new(chain.Amount).SetAllOne()
	for i := range byte(2) {
		x.add(1, reserving(i+1, i+1, 1, huge, 1, 2))
	}
	if _, err := x.Used(&ethQuery); err == nil {
		t.Error("2 · (2^256 − 1) is a sum")
	}
	if _, err := x.Used(&policy.Query{Measure: policy.MeasureMoney, Currency: "USD"}); err == nil {
		t.Error("what has no price has a value")
	}
}

func BenchmarkUsed(b *testing.B) {
	x := newRequestIndex(1)
	for i := range 100_000 {
		e := reserving(0, 0, uint64(i)*1000, moving("ada", testETH, i%1000, 1), 1, 2)
		e.Attempt, e.Request = [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}, [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}
		x.add(1, e)
	}
	q := ethQuery
	q.Since, q.Destination = 100_000_000-3_600_000, account(1)
	for b.Loop() {
		if _, err := x.Used(&q); err != nil {
			b.Fatal(err)
		}
	}
}
