package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/policy/source"
	"github.com/cofferhq/coffer/internal/request"
)

const minute = 60_000

// limited is a world in which a wallet may send 5 ETH in 24 hours, 3 of them to one
// destination.
func limited(t testing.TB) *world {
	w := newWorldUnder(t, source.MustCompile(fmt.Sprintf(`
assets:
  ETH: {id: %s, decimals: 18}
limits:
  - {name: daily, max: 5 ETH, window: 24h, per: [wallet]}
  - {name: each, max: 3 ETH, window: 24h, per: [wallet, destination]}
rules:
  - name: ether
    when: onlyTransfers && within("daily") && within("each")
    then: allow
`, testETH)))
	w.keygen()
	return w
}

// send pays by two vaults, each of which says what it counted, in ETH: of the day, and
// to the destination.
func (w *world) send(to evm.Address, eth uint64, nonce uint64, counted map[uint16][2]uint64, h hooks) *payment {
	w.t.Helper()
	w.now += 5 * minute
	p := w.payment(to, ether(eth), nonce)
	w.sendAgain(p, counted, h)
	return p
}

func (w *world) sendAgain(p *payment, counted map[uint16][2]uint64, h hooks) {
	w.counts = func(id uint16) []audit.LimitUse {
		return []audit.LimitUse{{Name: "daily", Used: ether(counted[id][0]), Max: ether(5)}, {Name: "each", Used: ether(counted[id][1]), Max: ether(3)}}
	}
	var parties []uint16
	for id := range counted {
		parties = append(parties, id)
	}
	slices.Sort(parties)
	w.pay(p, parties, h)
}

type told map[uint16][2]uint64

// TestLimitsSummed: what the vaults counted is what the logs of all of them come to, and a
// count that is too small is found in whichever log it stands.
func TestLimitsSummed(t *testing.T) {
	other := evm.Address{0x33}
	for name, tt := range map[string]struct {
		make func(w *world) []Copy
		want map[string]Code // "vault limit" → code
		says string
		bad  Code // of another fault that is found
	}{
		"honest": {make: func(w *world) []Copy {
			w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
			w.send(known, 2, 1, told{2: {3, 3}, 3: {3, 3}}, hooks{})
			w.send(other, 1, 2, told{1: {4, 1}, 3: {4, 1}}, hooks{})
			w.now += 24*60*minute + 2*minute // the window is over
			w.send(known, 3, 3, told{1: {3, 3}, 3: {3, 3}}, hooks{})
			return w.copies()
		}},
		"more than there was": {make: func(w *world) []Copy { // a reservation of a session that came to nothing
			w.send(known, 1, 0, told{1: {4, 2}, 2: {4, 2}}, hooks{})
			return w.copies()
		}},
		"two versions of one request": {make: func(w *world) []Copy {
			p := w.send(known, 2, 0, told{1: {2, 2}, 2: {2, 2}}, hooks{})
			w.sendAgain(p, told{1: {2, 2}, 2: {2, 2}}, hooks{})
			w.send(known, 1, 1, told{1: {3, 3}, 2: {3, 3}}, hooks{})
			return w.copies()
		}},
		"an attempt that came to nothing": {make: func(w *world) []Copy {
			w.decidedOnly(w.payment(known, ether(3), 0), told{1: {3, 3}, 2: {3, 3}})
			w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
			return w.copies()
		}},
		"one vault says that less was used": {
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
				w.send(other, 2, 1, told{1: {3, 2}, 2: {2, 2}}, hooks{})
				return w.copies()
			},
			want: map[string]Code{"2 daily": LimitUncounted},
			says: "since 2027-01-14 08:10:05 UTC: vault 2 counted 2 ETH with this request, the logs show 3 ETH, of at most 5 ETH: it left out what was given, or a vault of its session hid that; for example attempt 01",
		},
		"less to one destination": {
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
				w.send(known, 2, 1, told{1: {3, 2}, 2: {3, 3}}, hooks{})
				return w.copies()
			},
			want: map[string]Code{"1 each": LimitUncounted},
		},
		"a signer hides a session from a vault that had no part in it": {
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
				w.send(other, 2, 1, told{2: {3, 2}, 3: {2, 2}}, hooks{})
				return w.copies()
			},
			want: map[string]Code{"3 daily": LimitUncounted},
		},
		"given back, though a share was released": { // by one of the two: the other's log has no release
			make: func(w *world) []Copy {
				w.decidedOnly(w.payment(known, ether(2), 0), told{1: {2, 2}, 2: {2, 2}})
				w.release(1)
				w.send(known, 3, 1, told{2: {3, 3}, 3: {3, 3}}, hooks{})
				return w.copies()
			},
			want: map[string]Code{"2 daily": LimitUncounted, "2 each": LimitUncounted, "3 each": LimitExceeded},
		},
		"given back by one, released by the other": { // whose word the third did not have
			make: func(w *world) []Copy {
				w.decidedOnly(w.payment(known, ether(1), 0), told{1: {1, 1}, 2: {1, 1}})
				w.release(1)
				o := &audit.Outcome{Attempt: [16]byte{w.attempt}, Request: w.last, Stage: audit.StageAborted, Detail: "silent"}
				w.append(2, audit.KindOutcome, o.Encode())
				w.send(known, 2, 1, told{2: {2, 2}, 3: {2, 2}}, hooks{})
				return w.copies()
			},
			want: map[string]Code{"2 daily": LimitUncounted, "2 each": LimitUncounted},
		},
		"over the limit, without the log that both had in common": {
			make: func(w *world) []Copy {
				w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
				w.send(other, 3, 1, told{2: {3, 3}, 3: {3, 3}}, hooks{})
				cs := w.copies()
				return []Copy{cs[0], cs[2]}
			},
			want: map[string]Code{"3 daily": LimitExceeded},
			says: "over all logs 6 ETH was given with this request, and the limit is 5 ETH",
		},
		"at once, as the vault tells that had both": { // 3 began before 2 had released the other
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
				w.now -= 5*minute + 3000
				w.send(other, 2, 1, told{2: {3, 2}, 3: {2, 2}}, hooks{})
				return w.copies()
			},
		},
		"at the window's end, where clocks differ": {
			make: func(w *world) []Copy {
				w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
				w.now += 24*60*minute - 5*minute - minute/2
				w.send(other, 3, 1, told{2: {6, 3}, 3: {3, 3}}, hooks{})
				cs := w.copies()
				return []Copy{cs[0], cs[2]}
			},
		},
		"begun before the window by one vault, within it by the other": {make: func(w *world) []Copy {
			w.straddle(told{1: {2, 2}, 3: {2, 2}})
			return w.copies()
		}},
		"within the window by the vault that leaves it out": {
			make: func(w *world) []Copy { w.straddle(told{2: {2, 2}, 3: {3, 2}}); return w.copies() },
			want: map[string]Code{"2 daily": LimitUncounted},
		},
		"over the limit, and no share was released": {
			make: func(w *world) []Copy {
				w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
				w.now += 5 * minute
				w.decidedOnly(w.payment(other, ether(3), 1), told{2: {3, 3}, 3: {3, 3}})
				cs := w.copies()
				return []Copy{cs[0], cs[2]}
			},
		},
		"after decisions that do not stand": { // of which the report says so
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{decision: func(d *audit.Decision, _ uint16) { d.Rule = "another" }})
				w.send(other, 2, 1, told{1: {2, 2}, 2: {2, 2}}, hooks{})
				return w.copies()
			},
			bad: DecisionVerdict,
		},
		"a peer that was in another session": { // what it knew did not come with its R1 in this one
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{})
				w.send(other, 2, 1, told{2: {3, 2}, 3: {2, 2}}, hooks{decision: func(d *audit.Decision, id uint16) {
					if id == 2 {
						d.R0Hash[7]++
					}
				}})
				return w.copies()
			},
			bad: OutcomePeer,
		},
		"another limit than the policy's": {
			make: func(w *world) []Copy {
				w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{decision: func(d *audit.Decision, id uint16) { d.Limits[0].Max = ether(6) }})
				return w.copies()
			},
			bad: DecisionVerdict,
		},
		"at once, so that nobody can tell": {
			make: func(w *world) []Copy {
				w.send(known, 3, 0, told{1: {3, 3}, 2: {3, 3}}, hooks{})
				w.now -= 5 * minute
				w.send(other, 3, 1, told{2: {5, 3}, 3: {3, 3}}, hooks{})
				cs := w.copies()
				return []Copy{cs[0], cs[2]}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t)
			r := w.verify(tt.make(w))
			got := map[string]Code{}
			var text string
			for _, f := range r.Faults {
				if f.Code == LimitUncounted || f.Code == LimitExceeded {
					limit, _, _ := strings.Cut(strings.SplitAfterN(f.Detail, `limit "`, 2)[1], `"`)
					got[fmt.Sprintf("%d %s", f.Vault, limit)] = f.Code
					text += f.String() + "\n"
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || !strings.Contains(text, tt.says) {
				t.Errorf("got %v, want %v\n%s%v", got, tt.want, text, r.Faults)
			}
			if len(r.Vaults) == 3 == strings.Contains(fmt.Sprint(r.Notes), "limits not summed over all vaults: log of vault 2 missing") {
				t.Errorf("%v", r.Notes)
			}
			if tt.bad != "" && !slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Code == tt.bad }) {
				t.Errorf("want %s: %v", tt.bad, r.Faults)
			}
			if len(tt.want) == 0 && tt.bad == "" && len(r.Vaults) == 3 && !r.OK {
				t.Errorf("%v", r.Faults)
			}
		})
	}
}

// decidedOnly is an attempt that ends after the decisions.
func (w *world) decidedOnly(p *payment, counted told) {
	w.tick()
	attempt := w.nextAttempt()
	parties := slices.Sorted(maps.Keys(counted))
	for _, id := range parties {
		w.counts = func(id uint16) []audit.LimitUse {
			return []audit.LimitUse{{Name: "daily", Used: ether(counted[id][0]), Max: ether(5)}, {Name: "each", Used: ether(counted[id][1]), Max: ether(3)}}
		}
		w.appendEntry(id, w.decide(id, p, attempt, parties).Entry())
	}
	w.last = p.bundle.Request.ID()
}

// straddle pays 1 ETH, which vault 2 decides some milliseconds after vault 1, and then 2 ETH
// to somebody else in a window that begins between the two.
func (w *world) straddle(counted told) {
	w.send(known, 1, 0, told{1: {1, 1}, 2: {1, 1}}, hooks{decision: func(d *audit.Decision, id uint16) {
		if id == 2 {
			d.Time += 10
		}
	}})
	p := w.payment(evm.Address{0x33}, ether(2), 1)
	w.now += 24*60*minute - 2000 + 5
	p.bundle.Request.Expires = w.now + minute
	p.bundle.ProposeSignature = signEd(w.people["carol"], request.ProposeStatement(p.bundle.Request.ID()))
	w.sendAgain(p, counted, hooks{})
}

// release has vault id release its share of the last attempt.
func (w *world) release(id uint16) {
	o := &audit.Outcome{Attempt: [16]byte{w.attempt}, Request: w.last, Stage: audit.StageReleased, Witnessed: []audit.SignedCheckpoint{w.checkpoint(3 - id)}}
	w.append(id, audit.KindOutcome, o.Encode())
}
