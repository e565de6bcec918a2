package sim

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// ceiling is a limit of world money as the simulation counts it.
type ceiling struct {
	name   string
	window uint64 // ms; 0: the day
	max    func(*terms) uint64
	of     func(*payment) string
	worth  bool // dollars are counted, in cents
	coins  bool
}

func ofWallet(p *payment) string { return fmt.Sprintf("%x", p.x.ID[:4]) }

var moneyCeilings = []ceiling{
	{name: "wallet", window: 600_000, max: func(t *terms) uint64 { return 100 * t.wallet }, of: ofWallet, worth: true},
	{name: "asset", window: 300_000, max: func(t *terms) uint64 { return 100 * t.asset }, of: func(p *payment) string { return coinOf(p.x) }, worth: true},
	{name: "day", max: func(t *terms) uint64 { return 100 * t.day }, of: func(*payment) string { return "" }, worth: true},
	{name: "payee", window: 300_000, max: func(t *terms) uint64 { return t.payee }, of: func(p *payment) string { return fmt.Sprint(coinOf(p.x), p.payee) }},
	{name: "trips", window: 300_000, max: func(t *terms) uint64 { return t.trips }, of: func(p *payment) string { return p.who }},
	{name: "coins", window: 600_000, max: func(t *terms) uint64 { return t.coins }, of: ofWallet, coins: true},
}

func (c *ceiling) counts(p *payment, cents uint64) uint64 {
	switch {
	case c.worth:
		return cents
	case !c.coins:
		return 1
	case coinOf(p.x) == "SOL":
		return p.amount
	}
	return 0
}

// countMoney holds every limit against what was signed. Of all that is in the window, what
// was asked for last counted the rest: its policy's limit is the one that holds.
func (m *money) countMoney() {
	last := m.signed[len(m.signed)-1]
	for i := range moneyCeilings {
		c := &moneyCeilings[i]
		type counter struct {
			last  *ticket
			worth map[*payment]uint64
		}
		sums := map[string]*counter{}
		for _, s := range m.signed {
			if c.window > 0 && s.at+c.window < m.Now || c.window == 0 && s.ticket.day != last.ticket.day {
				continue
			}
			k := sums[c.of(s.pay)]
			if k == nil {
				k = &counter{worth: map[*payment]uint64{}}
				sums[c.of(s.pay)] = k
			}
			if k.last == nil || s.ticket.order > k.last.order {
				k.last = s.ticket
			}
			n := c.counts(s.pay, s.ticket.least)
			if had, again := k.worth[s.pay]; again { // a request counts once
				n = min(n, had)
			}
			k.worth[s.pay] = n
		}
		for of, k := range sums {
			var n uint64
			for _, worth := range k.worth {
				n += worth
			}
			if most := c.max(k.last.terms); n > most {
				m.check.fault("limit exceeded: %s (%s) allows %d, and %d are signed", c.name, of, most, n)
			}
		}
	}
}

// entered: a wallet is in its next epoch, and in the same one at everybody.
func (m *money) entered(id mpc.ID, cert *dkg.Certificate) {
	key := cert.KeyID()
	i := slices.IndexFunc(m.wallets, func(x *Wallet) bool { return x.ID == key })
	if i < 0 {
		return // of a wallet that this seed does not use
	}
	x, known := m.wallets[i], m.certs[key]
	for _, c := range known {
		if c.Epoch == cert.Epoch {
			if c.Digest() != cert.Digest() {
				m.check.fault("epochs: there are two epochs %d of %x", cert.Epoch, key[:4])
			}
			return
		}
	}
	if cert.Epoch != x.Certificate.Epoch+1 || cert.PublicKey().Equal(x.Certificate.PublicKey()) != 1 {
		m.check.fault("epochs: vault %d enters epoch %d of %x after epoch %d, or with another key", id, cert.Epoch, key[:4], x.Certificate.Epoch)
		return
	}
	m.log("wallet %x is in epoch %d, of %v", key[:4], cert.Epoch, cert.Parties)
	m.certs[key], m.begun[key][cert.Epoch] = append(known, cert), m.nextCommand
	x.Certificate, x.Parties, x.Threshold = cert, cert.Parties, cert.Threshold
	delete(m.orders, key)
	m.res.Epochs++
}

// decided: no vault allows anything in an epoch that it has left, nor in one that had
// ended when it was asked.
func (m *money) decided(id mpc.ID, d *audit.Decision) {
	if id == m.cheat {
		return
	}
	if uint64(d.Epoch) < m.newest[id][d.Key] {
		m.check.fault("epochs: vault %d signs in epoch %d of %x after epoch %d", id, d.Epoch, d.Key[:4], m.newest[id][d.Key])
	}
	m.newest[id][d.Key] = uint64(d.Epoch)
	if at, ended := m.begun[d.Key][uint64(d.Epoch)+1]; ended && m.check.askedAt(d.Attempt) > at {
		m.check.fault("epochs: vault %d allows attempt %x in epoch %d, which had ended when it was asked", id, d.Attempt, d.Epoch)
	}
}

// reshape has the admins order new shares, or new parties, for a wallet, or has such an
// order carried out.
func (m *money) reshape() error {
	x := m.wallets[m.rng.IntN(len(m.wallets))]
	if m.orders[x.ID] != nil {
		return m.carryOutFor(x)
	}
	if m.left == 0 {
		return nil
	}
	m.left--
	action, t := governance.Refresh, 0
	var parties []mpc.ID
	if m.rng.IntN(3) > 0 {
		action, t = governance.Reshare, x.Threshold
		parties = slices.Clone(m.IDs)
		if out := m.rng.IntN(len(parties) + 1); out < len(parties) {
			parties = slices.Delete(parties, out, out+1)
		} else if x.Faults > 0 {
			parties = slices.Clone(x.Parties) // two of four would be too few
		}
	}
	m.log("the admins order a %s of %x in epoch %d, to %v", action, x.ID[:4], x.Certificate.Epoch, parties)
	o, err := m.OrderChange(x, m.names[x.ID], action, t, parties...)
	if err != nil {
		return err
	}
	m.orders[x.ID] = o
	return m.carryOutFor(x)
}

func (m *money) carryOutFor(x *Wallet) error {
	dealers := slices.Clone(x.Parties)
	o := m.orders[x.ID]
	if d, err := governance.DecodeKeyOrder(o.Change.Body); err != nil {
		return err
	} else if d.Action == governance.Reshare {
		m.rng.Shuffle(len(dealers), func(i, j int) { dealers[i], dealers[j] = dealers[j], dealers[i] })
		dealers = dealers[:x.Threshold]
		slices.Sort(dealers)
	}
	m.log("coordinator has the order about %x carried out, dealers %v", x.ID[:4], dealers)
	ids, err := m.StartHandover(x, o, dealers...)
	for id, n := range ids {
		m.moves.asked[n] = id
	}
	return err
}

// calm ends all faults: orders are carried out, allowances that nobody may have used come
// back, and the next days all of them.
func (m *money) calm() error {
	m.log("calm")
	m.run.faults = false
	for range 8 {
		for _, id := range m.IDs {
			if m.Parties[id].Vault == nil && !m.mustStay(id) {
				if err := m.Restart(id); err != nil {
					return err
				}
			}
		}
		if err := m.settleFor(1, 15_000); err != nil {
			return err
		}
		if err := m.CatchUpAll(); err != nil {
			return err
		}
		for _, x := range m.wallets {
			if m.orders[x.ID] != nil {
				if err := m.carryOutFor(x); err != nil {
					return err
				}
				if err := m.settleFor(2, 1_500); err != nil {
					return err
				}
			}
		}
	}
	if m.cheat != 0 { // a liar may deny service
		return nil
	}
	for key := range m.orders {
		m.check.fault("invariant 7: an order about wallet %x was not carried out when the faults had stopped", key[:4])
	}
	if err := m.comeBack(); err != nil {
		return err
	}
	if err := m.night(48); err != nil {
		return err
	}
	if err := m.settleFor(4, 6_000); err != nil {
		return err
	}
	return m.freshDay()
}

// freshDay: all windows have ended, and what they allow is signed.
func (m *money) freshDay() error {
	t, given := m.lastTerms(), map[[32]byte]bool{}
	for _, x := range m.wallets {
		p := &payment{x: x, amount: 1, who: Trader, nonce: uint64(len(m.pays))}
		if !m.roomIn(&t, p, given) {
			continue
		}
		if err := m.demand(p, "after all windows have ended"); err != nil {
			return err
		}
		given[p.bundle.Request.ID()] = true
	}
	return nil
}

// comeBack: what no vault has decided to sign, nobody can have given; so there is room
// for it again.
func (m *money) comeBack() error {
	allowed := m.allowed()
	t := m.lastTerms()
	for _, x := range m.wallets {
		p := &payment{x: x, amount: 1, who: Approvers[0], nonce: uint64(len(m.pays)), payee: 1}
		if !m.roomIn(&t, p, allowed) {
			continue
		}
		if err := m.demand(p, "though what was reserved was given up"); err != nil {
			return err
		}
		allowed[p.bundle.Request.ID()] = true
		m.res.CameBack++
	}
	return nil
}

// roomIn says whether every limit has room for p beside all that may have been given,
// whatever it was worth.
func (m *money) roomIn(t *terms, p *payment, allowed map[[32]byte]bool) bool {
	worth := map[*payment]uint64{}
	for a, k := range m.tickets {
		worth[a.pay] = max(worth[a.pay], k.most)
	}
	price := m.sol
	if coinOf(p.x) == "ETH" {
		price = m.eth
	}
	for i := range moneyCeilings {
		c := &moneyCeilings[i]
		n := c.counts(p, p.amount*(price+price/50))
		for _, q := range m.pays {
			if allowed[q.bundle.Request.ID()] && c.of(q) == c.of(p) {
				n += c.counts(q, worth[q])
			}
		}
		if n > c.max(t) {
			return false
		}
	}
	return true
}
