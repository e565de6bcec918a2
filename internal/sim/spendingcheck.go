package sim

import (
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// count holds every limit against what was signed, in every window that ends now. A
// request counts once, whenever a version of it was signed.
func (s *spending) count() {
	for i := range spendingRules {
		l := &spendingRules[i]
		type counter struct {
			wallet [32]byte
			who    string
		}
		sums := map[counter]uint64{}
		for _, p := range s.pays {
			if l.coin != "" && l.coin != coinOf(p.x) || !p.signedSince(s.Now, l.window) {
				continue
			}
			var k counter
			if l.perWallet {
				k.wallet = p.x.ID
			}
			if l.perPerson {
				k.who = p.who
			}
			sums[k] += p.counts(l)
		}
		for k, n := range sums {
			s.judge(l, fmt.Sprintf("%x %s", k.wallet[:4], k.who), n)
		}
	}
}

func (p *payment) counts(l *rule) uint64 {
	if l.coin == "" {
		return 1
	}
	return p.amount
}

func (p *payment) signedSince(now, window uint64) bool {
	for _, t := range p.signed {
		if t+window >= now {
			return true
		}
	}
	return false
}

// judge: the limit holds. With one liar more than the keys withstand, every honest
// vault still counts all that it took part in: of n−1 honest ones t−1 are in every
// signature, so that (n−1)/(t−1) limits are the most; and the liar is found out.
func (s *spending) judge(l *rule, of string, n uint64) {
	if n <= l.max {
		return
	}
	if !s.bounded || !s.lied {
		s.check.fault("limit exceeded: %s (%s) allows %d, and %d are signed", l.name, of, l.max, n)
		return
	}
	s.over++
	x := s.wallets[0]
	if honest, each := uint64(len(x.Parties)-1), uint64(x.Threshold-1); n*each > l.max*honest {
		s.check.fault("limit exceeded beyond the bound of f = 0: %s (%s) allows %d, %d are signed", l.name, of, l.max, n)
	}
	s.prove()
}

// prove looks for two copies of the liar's ledger that its own device has signed for
// and that contradict each other.
func (s *spending) prove() {
	if s.proven || s.cheat == 0 {
		return
	}
	keys, err := s.liarKeys()
	if err != nil {
		s.check.fault("genesis: %v", err)
		return
	}
	var held []vault.LedgerSide
	for _, id := range s.IDs {
		if v := s.Parties[id].Vault; v != nil && id != s.cheat {
			held = append(held, v.LedgerOf(s.cheat, s.logged(id)...))
		}
	}
	for i, a := range held {
		for _, b := range held[:i] {
			if _, err := vault.VerifyFork(keys, a, b); err == nil {
				s.proven = true
				s.log("vault %d has signed for two histories of its ledger", s.cheat)
				return
			}
		}
	}
}

func (s *spending) liarKeys() (audit.Keys, error) {
	st, err := governance.Start(s.Genesis)
	if err != nil {
		return audit.Keys{}, err
	}
	g, _ := st.Vault(uint16(s.cheat))
	return audit.Keys{Cluster: s.Genesis.Hash(), Vault: uint16(s.cheat), Decision: g.Decision, Log: g.Log}, nil
}

// suspected says whether some vault's log keeps a checkpoint in which the liar's device
// signs for a head of its ledger that belongs to no history which that vault was shown:
// the liar wrote something after its R1 and kept the event back. Without it nobody can
// say what the head stands for (THREAT_MODEL.md, f = 0).
func (s *spending) suspected() bool {
	keys, err := s.liarKeys()
	if err != nil {
		return false
	}
	for _, id := range s.IDs {
		v := s.Parties[id].Vault
		if v == nil || id == s.cheat {
			continue
		}
		logged := s.logged(id)
		events := v.LedgerOf(s.cheat, logged...).Events
		for i := range logged {
			cp, known := logged[i].Encode(), false
			for n := 0; n <= len(events) && !known; n++ {
				side := vault.LedgerSide{Events: events[:n], Checkpoint: cp}
				_, err := vault.VerifyFork(keys, side, side)
				known = strings.Contains(fmt.Sprint(err), "continues the other")
			}
			if !known && logged[i].Verify(keys) == nil {
				s.log("vault %d holds a head of vault %d's ledger that is of no history it knows", id, s.cheat)
				return true
			}
		}
	}
	return false
}

// logged are the liar's checkpoints that a vault's log keeps.
func (s *spending) logged(id mpc.ID) (out []audit.SignedCheckpoint) {
	for _, b := range s.Parties[id].Disk.Entries {
		e, err := audit.DecodeEntry(b)
		if err != nil || e.Kind != audit.KindOutcome {
			continue
		}
		o, err := audit.DecodeOutcome(e.Body)
		if err != nil {
			continue
		}
		for _, cp := range o.Witnessed {
			if cp.Vault == uint16(s.cheat) {
				out = append(out, cp)
			}
		}
	}
	return out
}

// calm ends all faults. Then allowances that nobody may have used come back, and with
// their windows all do.
func (s *spending) calm() error {
	s.log("calm")
	s.run.faults = false
	for round := range 6 {
		for _, id := range s.IDs {
			if s.Parties[id].Vault == nil && !s.mustStay(id) {
				if err := s.Restart(id); err != nil {
					return err
				}
			}
		}
		if err := s.settleFor(1, 6_000); err != nil {
			return err
		}
		if err := s.admins(round); err != nil {
			return err
		}
		if err := s.CatchUpAll(); err != nil {
			return err
		}
	}
	if s.lied { // a liar may deny service
		return nil
	}
	if s.res.Restores == 0 {
		if err := s.comesBack(); err != nil {
			return err
		}
	}
	if err := s.settleFor(24, 30_000); err != nil {
		return err
	}
	for range 3 {
		p := &payment{x: s.wallets[s.rng.IntN(len(s.wallets))], amount: 1, who: Trader, nonce: uint64(len(s.pays))}
		if err := s.demand(p, "after all windows have ended"); err != nil {
			return err
		}
		if err := s.settleFor(9, 30_000); err != nil {
			return err
		}
	}
	return nil
}

func (s *spending) settleFor(ticks int, ms uint64) error {
	for range ticks {
		if err := s.Settle(); err != nil {
			return err
		}
		if err := s.Tick(ms); err != nil {
			return err
		}
		if err := s.Settle(); err != nil {
			return err
		}
		s.check.afterStep()
	}
	return nil
}

// comesBack: what no vault has decided to sign, nobody can have given; so there is room
// for it again.
func (s *spending) comesBack() error {
	allowed := s.allowed()
	for _, x := range s.wallets {
		p := &payment{x: x, amount: 1, who: Approvers[0], nonce: uint64(len(s.pays))}
		if !s.room(p, allowed) {
			continue
		}
		if err := s.demand(p, "though what was reserved was given up"); err != nil {
			return err
		}
		allowed[p.bundle.Request.ID()] = true
		s.res.CameBack++
	}
	return nil
}

// allowed are the requests that some vault decided to sign.
func (s *spending) allowed() map[[32]byte]bool {
	allowed := map[[32]byte]bool{}
	for _, id := range s.IDs {
		for _, b := range s.Parties[id].Disk.Entries {
			e, err := audit.DecodeEntry(b)
			if err != nil || e.Kind != audit.KindDecision {
				continue
			}
			if d, err := audit.DecodeDecision(e.Body); err == nil && d.Allow {
				allowed[d.Request] = true
			}
		}
	}
	return allowed
}

// room says whether every limit has room for p beside all that may have been given.
func (s *spending) room(p *payment, allowed map[[32]byte]bool) bool {
	for i := range spendingRules {
		l := &spendingRules[i]
		if l.coin != "" && l.coin != coinOf(p.x) {
			continue
		}
		n := p.counts(l)
		for _, q := range s.pays {
			if !allowed[q.bundle.Request.ID()] || l.coin != "" && l.coin != coinOf(q.x) || l.perWallet && q.x != p.x || l.perPerson && q.who != p.who {
				continue
			}
			n += q.counts(l)
		}
		if n > l.max {
			return false
		}
	}
	return true
}

// demand has an honest coordinator try until it is signed.
func (s *spending) demand(p *payment, when string) error {
	s.bundle(p)
	s.pays = append(s.pays, p)
	return s.insist(p, when)
}

// insist has one try until a request is signed.
func (s *spending) insist(p *payment, when string) error {
	var said string
	for range 12 {
		signers, witnesses := s.subset(p.x)
		before := s.nextCommand
		if err := s.ask(p, s.command(p, signers, witnesses, 0), func(mpc.ID) bool { return true }); err != nil {
			return err
		}
		if err := s.Settle(); err != nil {
			return err
		}
		s.check.afterStep()
		if len(p.signed) > 0 {
			return nil
		}
		said = ""
		for n := before + 1; n <= s.nextCommand; n++ {
			said += Describe(s.Replies[n]) + "; "
		}
		if err := s.settleFor(1, 3_000); err != nil {
			return err
		}
	}
	s.check.fault("invariant 7: %d %s for %s are not signed %s: %s", p.amount, coinOf(p.x), p.who, when, said)
	return nil
}

// atEnd: whoever overspent is found out.
func (s *spending) atEnd() {
	s.prove()
	if s.over > 0 {
		s.res.Overspent++
		switch {
		case s.proven:
		case s.suspected():
			s.res.Suspected++
		default:
			s.check.fault("limit exceeded: %d times, and vault %d's signatures do not prove that it lied", s.over, s.cheat)
		}
	}
	if s.proven {
		s.res.Forks++
	}
	for _, id := range s.IDs {
		if s.Parties[id].Vault == nil && !s.mustStay(id) {
			s.check.fault("invariant 7: vault %d does not start any more", id)
		}
	}
}
