package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/mpc"
	"github.com/cofferhq/coffer/mpc/dkg"
)

// World money: limits in dollars by prices that sources sign, fresh and stale ones and
// ones that disagree; a calendar day that ends while vaults sign; limits of a wallet, an
// asset, a recipient, a person and all together; all of it while keys go to new epochs
// and new parties, and while the admins change the limits.

// money is one seed at work.
type money struct {
	*spending
	names   map[[32]byte]string
	certs   map[[32]byte][]*dkg.Certificate       // of the wallets' epochs, oldest first
	orders  map[[32]byte]*governance.SignedChange // under way
	begun   map[[32]byte]map[uint64]uint64        // epoch → commands given when the first log told of it
	newest  map[mpc.ID]map[[32]byte]uint64        // epoch in which a vault allowed something
	left    int                                   // orders still to be given
	terms   map[uint64]terms                      // by the change's seq
	books   map[mpc.ID]*termsBook
	tickets map[*try]*ticket
	signed  []*signing
	sol     uint64 // cents
	eth     uint64
	stash   []Frame // seen on the network
	nights  int
}

// ticket is what an attempt was asked with.
type ticket struct {
	order  int // of asking
	at     uint64
	quotes map[mpc.ID]quotes
	least  uint64 // cents, the least that an honest vault may take it to be worth
	most   uint64
	day    string // the first that it is by an honest member's clock
	terms  *terms // in force where the first share came from
}

// signing is a signature that exists.
type signing struct {
	pay    *payment
	ticket *ticket
	at     uint64
}

// SimulateMoney runs one seed of it.
func SimulateMoney(seed uint64, lines Lines) (*Result, error) {
	m, err := newMoney(seed, lines)
	if err != nil {
		return nil, err
	}
	for range 4 + m.rng.IntN(10) {
		m.newPayment()
	}
	for range 300 + m.rng.IntN(400) {
		if err := m.step(); err != nil {
			return nil, fmt.Errorf("seed %d: %w", seed, err)
		}
		m.check.afterStep()
	}
	if err := m.calm(); err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	for _, id := range m.IDs {
		if m.Parties[id].Vault == nil && !m.mustStay(id) {
			m.check.fault("invariant 7: vault %d does not start any more", id)
		}
	}
	m.trace.Sum(m.res.Trace[:0])
	return m.res, nil
}

func newMoney(seed uint64, lines Lines) (*money, error) {
	rng := rand.New(rand.NewPCG(seed, 0x3003))
	base, err := moneyOf4()
	if err != nil {
		return nil, err
	}
	from := *base.w
	from.Now = midnights[rng.IntN(len(midnights))] - uint64(rng.IntN(900_000))
	w, err := from.Fork(seed)
	if err != nil {
		return nil, err
	}
	w.Unanimous = true
	mode := rng.IntN(4)
	var wallets []*Wallet
	if mode != 3 {
		wallets = append(wallets, base.loose...)
	}
	if mode != 0 {
		wallets = append(wallets, base.vigilant...)
	}
	m := &money{
		names: base.names, certs: map[[32]byte][]*dkg.Certificate{}, orders: map[[32]byte]*governance.SignedChange{},
		begun: map[[32]byte]map[uint64]uint64{}, newest: map[mpc.ID]map[[32]byte]uint64{}, left: rng.IntN(4),
		terms: map[uint64]terms{}, books: map[mpc.ID]*termsBook{}, tickets: map[*try]*ticket{}, sol: 10_000, eth: 15_000,
	}
	for i, x := range wallets {
		own := *x // its epochs are this seed's
		wallets[i] = &own
		m.certs[x.ID], m.begun[x.ID] = []*dkg.Certificate{x.Certificate}, map[uint64]uint64{}
	}
	m.spending = spendingOn(w, seed, rng, wallets, lines)
	for _, id := range w.IDs {
		m.newest[id] = map[[32]byte]uint64{}
	}
	if mode == 3 && cheats {
		m.faults, m.cheat = 1, w.IDs[rng.IntN(len(w.IDs))]
	}
	m.check.onShare, m.check.onEpoch, m.check.onDecision, m.price = m.judged, m.entered, m.decided, m.quoted
	return m, m.skew()
}

func (m *money) newPayment() {
	p := m.spending.newPayment()
	if p.payee = byte(m.rng.IntN(2)); p.payee > 0 {
		m.bundle(p)
	}
}

// step lets one thing happen.
func (m *money) step() error {
	busy := len(m.Frames)+len(m.Devices) > 0
	switch k := m.rng.IntN(1000); {
	case k < 560 && busy:
		return m.deliverSome(1 + m.rng.IntN(30))
	case k < 650:
		return m.attemptRecent()
	case k < 680 && len(m.Frames) > 0:
		return m.mistreat()
	case k < 720:
		ms := uint64(m.rng.IntN(6000))
		m.log("tick %d", ms)
		return m.Tick(ms)
	case k < 735:
		return m.pause(1 + m.rng.IntN(3))
	case k < 750:
		return m.abandon()
	case k < 765:
		if id := m.IDs[m.rng.IntN(len(m.IDs))]; m.Parties[id].Vault != nil && !m.mustStay(id) {
			m.log("crash %d", id)
			m.res.Crashes++
			m.Crash(id)
		}
	case k < 860:
		return m.restartOne()
	case k < 885:
		return m.deceive()
	case k < 892:
		return m.newTerms()
	case k < 920:
		return m.tellSome()
	case k < 955:
		return m.reshape()
	case k < 957 && m.rng.IntN(3) == 0 && !m.lied && m.nights < 2:
		return m.night(1 + m.rng.IntN(25))
	default:
		if busy {
			return m.deliverOne()
		}
	}
	return nil
}

// attemptRecent asks for one of the newest payments, sometimes a fresh one, sometimes
// of those who held the key's shares before.
func (m *money) attemptRecent() error {
	if m.rng.IntN(3) == 0 {
		m.newPayment()
	}
	p := m.pays[max(0, len(m.pays)-6)+m.rng.IntN(min(6, len(m.pays)))]
	x := *p.x
	if old := m.certs[x.ID]; len(old) > 1 && m.rng.IntN(15) == 0 {
		x.Parties, x.Threshold = old[len(old)-2].Parties, old[len(old)-2].Threshold
	}
	signers, witnesses := m.subset(&x)
	version := byte(0)
	if m.rng.IntN(12) == 0 {
		version = 1
	}
	c := m.command(p, signers, witnesses, version)
	if n := len(m.tries); n > 0 && m.rng.IntN(8) == 0 {
		c.Attempt = m.tries[n-1-m.rng.IntN(min(n, 3))].command.Attempt
	}
	return m.ask(p, c, func(mpc.ID) bool { return m.rng.IntN(12) > 0 })
}

// deceive is what a corrupt vault does: it denies, says that it gave nothing, deals wrong
// shares, withholds, and says again what it once said.
func (m *money) deceive() error {
	if m.cheat == 0 {
		return nil
	}
	switch m.rng.IntN(6) {
	case 0:
		to := m.IDs[m.rng.IntN(len(m.IDs))]
		if v := m.Parties[m.cheat].Vault; v != nil && to != m.cheat && lieInDealing(v, to) {
			m.log("vault %d will deal a wrong share to %d", m.cheat, to)
		}
		return nil
	case 1:
		to := m.IDs[m.rng.IntN(len(m.IDs))]
		m.log("vault %d says nothing to %d for a while", m.cheat, to)
		m.Intercept = func(f Frame) bool { return f.From != m.cheat || f.To != to }
		defer func() { m.Intercept = nil }()
		return m.deliverSome(40)
	case 2:
		for _, f := range m.Frames {
			if f.From == m.cheat && len(m.stash) < 50 {
				m.stash = append(m.stash, f)
			}
		}
		if len(m.stash) > 0 {
			f := m.stash[m.rng.IntN(len(m.stash))]
			m.log("vault %d says to %d what it once said", f.From, f.To)
			m.Frames = append(m.Frames, f)
		}
		return nil
	}
	return m.lie()
}

// newTerms has the admins change one or two of the limits.
func (m *money) newTerms() error {
	t := firstTerms
	if n := len(m.changes); n > 0 && m.rng.IntN(2) == 0 {
		t = m.lastTerms()
	}
	for range 1 + m.rng.IntN(2) {
		f := t.each()[m.rng.IntN(6)]
		*f = max(1, *f*uint64(1+m.rng.IntN(4))/2)
	}
	m.log("the admins set the limits to %+v", t)
	c, err := m.Publish(governance.KindPolicy, t.document().Encode())
	if err == nil {
		m.terms[c.Change.Seq] = t
	}
	return err
}

// lastTerms are those of the newest policy.
func (m *money) lastTerms() terms {
	t := firstTerms
	for seq := uint64(1); seq <= uint64(len(m.changes)); seq++ {
		if n, ok := m.terms[seq]; ok {
			t = n
		}
	}
	return t
}

func (m *money) tellSome() error {
	for _, id := range m.IDs {
		if m.Parties[id].Vault != nil && m.rng.IntN(4) > 0 {
			m.log("the changes reach %d", id)
			if err := m.CatchUp(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// night: all vaults are down for some hours.
func (m *money) night(hours int) error {
	m.nights++
	m.log("all vaults stand still for %d hours", hours)
	for _, id := range m.IDs {
		if m.Parties[id].Vault != nil {
			m.Crash(id)
		}
	}
	m.Now += uint64(hours)*3_600_000 + uint64(m.rng.IntN(3_600_000))
	for _, id := range m.IDs {
		if err := m.Restart(id); err != nil {
			return err
		}
	}
	return m.deliverSome(60)
}

// quoted are the prices that go to a member, and what they say that the attempt is worth.
func (m *money) quoted(t *try, id mpc.ID) []byte {
	k := m.tickets[t]
	if k == nil {
		k = &ticket{order: len(m.tickets), at: m.Now, quotes: map[mpc.ID]quotes{}}
		m.tickets[t] = k
	}
	q := k.quotes[0]
	if q == nil || m.run.faults && m.rng.IntN(40) == 0 { // others get others
		q = m.collect()
		k.quotes[0] = q
	}
	k.quotes[id] = q
	if id != m.cheat {
		now := m.Now + m.Skew[id]
		worth := t.pay.amount * q.cents(coinOf(t.pay.x), now)
		if day := m.dayOf(now); k.day == "" || day < k.day {
			k.day = day
		}
		if k.most == 0 || worth < k.least {
			k.least = worth
		}
		k.most = max(k.most, worth)
	}
	b := *t.pay.bundle
	b.Prices = q
	b.Sort()
	return b.Encode()
}

// collect is a coordinator that asks the sources, one of which lies if it likes.
func (m *money) collect() quotes {
	if m.run.faults {
		m.sol += m.sol * uint64(m.rng.IntN(7)) / 100
		m.sol -= m.sol * uint64(m.rng.IntN(6)) / 100
		m.eth += m.eth * uint64(m.rng.IntN(5)) / 200
	}
	near := func(c uint64) uint64 { return c + c*uint64(m.rng.IntN(8))/1000 }
	q := quotes{m.quote(tickers[0], near(m.sol), near(m.eth), m.Now), m.quote(tickers[1], near(m.sol), near(m.eth), m.Now-uint64(m.rng.IntN(30_000)))}
	if !m.run.faults {
		return q
	}
	liar := func(sol, eth uint64) quotes { return append(q, m.quote(tickers[2], max(1, sol), max(1, eth), m.Now)) }
	switch m.rng.IntN(24) {
	case 0: // it says that coins are worth nothing
		return liar(m.sol/100, m.eth/100)
	case 1: // or much
		return liar(m.sol*5, m.eth*5)
	case 2: // or a little less than all others
		return liar(m.sol-m.sol/200, m.eth-m.eth/200)
	case 3: // its friend is asked alone with one that is honest
		return quotes{q[0], m.quote(tickers[2], m.sol/100, m.eth/100, m.Now)}
	case 4: // old
		at := m.Now - quoteAge - 15_000
		return quotes{m.quote(tickers[0], near(m.sol/4), near(m.eth/4), at), m.quote(tickers[1], near(m.sol/4), near(m.eth/4), at)}
	case 5: // old, and a new one that lies with them
		at := m.Now - quoteAge - 15_000
		return quotes{m.quote(tickers[0], m.sol/4, m.eth/4, at), m.quote(tickers[2], m.sol/4, m.eth/4, m.Now)}
	case 6:
		return q[:1]
	}
	return q
}

// judged is a share, or a witness's certificate, that left a vault.
func (m *money) judged(a *asked, rep *cluster.Reply) {
	t := m.of[a]
	k := m.tickets[t]
	if a.vault != m.cheat {
		in := m.inForce(a.vault)
		switch {
		case k.terms == nil:
			k.terms = &in
		case *k.terms != in:
			m.check.fault("governance: attempt %x mixes policies: %+v, and at vault %d %+v", a.attempt, *k.terms, a.vault, in)
		}
		if k.quotes[a.vault].cents(coinOf(t.pay.x), k.at+m.Skew[a.vault]) == 0 {
			m.check.fault("prices: vault %d lets attempt %x pass, and its quotes are too old, too few or disagree", a.vault, a.attempt)
		}
	}
	if !slices.Contains(t.signers, a.vault) {
		if len(rep.Body) > 0 {
			m.check.fault("vault %d witnesses attempt %x and gives a share", a.vault, a.attempt)
		}
		return
	}
	t.shares[a.vault] = rep
	if len(t.shares) < len(t.signers) || t.finished {
		return
	}
	t.finished = true
	var err error
	for _, cert := range m.certs[t.pay.x.ID] {
		x := *t.pay.x
		x.Certificate, x.Parties, x.Threshold = cert, cert.Parties, cert.Threshold
		if err = combineFor(&x, t); err == nil {
			break
		}
	}
	if err != nil {
		if m.cheat == 0 || !slices.Contains(t.signers, m.cheat) {
			m.check.fault("attempt %x: all shares and no signature: %v", a.attempt, err)
		}
		return
	}
	m.log("signed: request %x", a.request)
	t.pay.signed = append(t.pay.signed, m.Now)
	m.signed = append(m.signed, &signing{t.pay, k, m.Now})
	m.res.Signatures++
	m.countMoney()
}

// termsBook is what the simulation holds to be in force at a vault.
type termsBook struct {
	read  int
	now   terms
	waits terms
	due   uint64 // 0: none waits
}

func (b *termsBook) at(now uint64) terms {
	if b.due != 0 && b.due <= now {
		b.now, b.due = b.waits, 0
	}
	return b.now
}

// inForce reads on in a vault's log: a policy none of whose limits is higher is in force
// at once, any other after the cooling-off time.
func (m *money) inForce(id mpc.ID) terms {
	b := m.books[id]
	if b == nil {
		b = &termsBook{now: firstTerms}
		m.books[id] = b
	}
	entries := m.Parties[id].Disk.Entries
	for ; b.read < len(entries); b.read++ {
		e, err := audit.DecodeEntry(entries[b.read])
		if err != nil || e.Kind != audit.KindChange {
			continue
		}
		for _, c := range m.changes {
			t, policy := m.terms[c.Change.Seq]
			if !policy || !bytes.Equal(c.Encode(), e.Body) {
				continue
			}
			if in := b.at(e.Time); t.within(&in) {
				b.now, b.due = t, 0
			} else {
				b.waits, b.due = t, e.Time+cooling
			}
		}
	}
	return b.at(m.Now + m.Skew[id])
}
