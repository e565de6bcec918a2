package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cofferhq/coffer/internal/chain/evm"
	"github.com/cofferhq/coffer/internal/chain/solana"
	"github.com/cofferhq/coffer/internal/cluster"
	"github.com/cofferhq/coffer/internal/request"
	"github.com/cofferhq/coffer/internal/vault"
	"github.com/cofferhq/coffer/mpc"
)

// Spending under limits. Several wallets, two people who ask, limits a wallet, a person
// and over the cluster; sessions at once over random subsets, with all that networks,
// disks, processes and coordinators do. What was signed is counted here, from the
// shares that left, and never by the vaults' code.

// spending is one seed at work.
type spending struct {
	*run
	wallets []*Wallet
	faults  int // of the wallets' keys: that many vaults may lie
	pays    []*payment
	tries   []*try
	of      map[*asked]*try
	lied    bool
	limited bool // by the rules of spendingRules
	// liar mode with faults 0: the sum may exceed, by a bound, and must be proven.
	bounded bool
	over    int  // signatures beyond the limit
	proven  bool // that the liar signed for two histories of its ledger
	// price, when set, is the request with prices as a member of an attempt gets it.
	price func(*try, mpc.ID) []byte
}

// payment is a request.
type payment struct {
	bundle *request.Bundle
	x      *Wallet
	who    string
	amount uint64
	nonce  uint64
	signed []uint64 // when a version of it was signed
	payee  byte     // which of the recipients whom all know
	yes    []yes
}

// evm and solana are the recipient's accounts.
func (p *payment) evm() evm.Address {
	to := Known
	to[18] = p.payee
	return to
}

func (p *payment) solana() solana.Address {
	to := KnownSolana
	to[30] = p.payee
	return to
}

// try is one attempt at a payment.
type try struct {
	pay      *payment
	command  *cluster.Command
	signers  []mpc.ID
	shares   map[mpc.ID]*cluster.Reply
	finished bool
}

// SimulateSpending runs one seed of it.
func SimulateSpending(seed uint64, lines Lines) (*Result, error) {
	s, err := newSpending(seed, lines)
	if err != nil {
		return nil, err
	}
	payments := 2 + s.rng.IntN(4)
	if s.rng.IntN(4) > 0 {
		payments += 12
	}
	for range payments {
		s.newPayment()
	}
	for range 400 + s.rng.IntN(400) {
		if err := s.step(); err != nil {
			return nil, fmt.Errorf("seed %d: %w", seed, err)
		}
		s.check.afterStep()
	}
	if err := s.calm(); err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	s.atEnd()
	s.trace.Sum(s.res.Trace[:0])
	return s.res, nil
}

func newSpending(seed uint64, lines Lines) (*spending, error) {
	rng := rand.New(rand.NewPCG(seed, 0x11311))
	mode, five := rng.IntN(4), rng.IntN(3) == 0
	deal := spendingOf3
	if five {
		deal = spendingOf5
	}
	base, err := deal()
	if err != nil {
		return nil, err
	}
	w, err := base.w.Fork(seed)
	if err != nil {
		return nil, err
	}
	s := spendingOn(w, seed, rng, base.loose, lines)
	switch mode {
	case 0, 1: // nobody lies
		if mode == 1 {
			s.wallets = append(slices.Clone(base.loose), base.vigilant...)
		}
	case 2: // as many lie as the keys withstand
		s.wallets, s.faults = base.vigilant, 1
	case 3: // one more lies than they withstand
		s.bounded = cheats
	}
	if mode >= 2 && cheats {
		s.cheat = w.IDs[rng.IntN(len(w.IDs))]
	}
	s.check.onShare, s.limited = s.share, true
	return s, s.skew()
}

// skew sets the clocks of half of the runs apart.
func (s *spending) skew() error {
	if s.rng.IntN(2) == 0 {
		return nil
	}
	s.Skew = map[mpc.ID]uint64{}
	for _, id := range s.IDs {
		s.Skew[id] = uint64(s.rng.IntN(14_000))
	}
	s.log("clocks are ahead by %v ms", s.Skew)
	return s.Tick(1)
}

func (s *spending) newPayment() *payment {
	p := &payment{x: s.wallets[s.rng.IntN(len(s.wallets))], amount: 1 + uint64(s.rng.IntN(4))/3, who: Trader, nonce: uint64(len(s.pays))}
	if s.rng.IntN(2) == 0 {
		p.who = Approvers[0]
	}
	s.bundle(p)
	s.pays = append(s.pays, p)
	return p
}

func (s *spending) bundle(p *payment) {
	s.Proposer = p.who
	defer func() { s.Proposer = "" }()
	if coinOf(p.x) == "SOL" {
		p.bundle = s.Pay(p.x, p.solana(), Lamports(p.amount))
	} else {
		p.bundle = s.Transfer(p.x, p.evm(), ETH(p.amount))
	}
}

// unsigned is the transaction of a payment; versions tell its blockhash or nonce apart.
func (s *spending) unsigned(p *payment, version byte) []byte {
	if coinOf(p.x) == "SOL" {
		return UnsignedSolana(p.x, p.solana(), Lamports(p.amount), 1+version)
	}
	return Unsigned(p.evm(), ETH(p.amount), p.nonce+uint64(version)*otherNonce)
}

// subset draws who signs and who witnesses.
func (s *spending) subset(x *Wallet) (signers, witnesses []mpc.ID) {
	ids := slices.Clone(x.Parties)
	s.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	signers, witnesses = ids[:x.Threshold], ids[x.Threshold:quorum(x)]
	slices.Sort(signers)
	slices.Sort(witnesses)
	return signers, witnesses
}

// step lets one thing happen.
func (s *spending) step() error {
	busy := len(s.Frames)+len(s.Devices) > 0
	switch k := s.rng.IntN(100); {
	case k < 60 && busy:
		return s.deliverSome(1 + s.rng.IntN(12))
	case k < 68:
		return s.attempt()
	case k < 71 && len(s.Frames) > 0:
		return s.mistreat()
	case k < 75:
		ms := uint64(s.rng.IntN(6000))
		s.log("tick %d", ms)
		return s.Tick(ms)
	case k < 76:
		return s.pause(1 + s.rng.IntN(3))
	case k < 78:
		return s.abandon()
	case k < 80:
		if id := s.IDs[s.rng.IntN(len(s.IDs))]; s.Parties[id].Vault != nil && !s.mustStay(id) {
			s.log("crash %d", id)
			s.res.Crashes++
			s.Crash(id)
		}
	case k < 88:
		return s.restartOne()
	case k < 91:
		return s.lie()
	case k < 93 && s.cheat == 0:
		return s.copyDisk()
	default:
		if busy {
			return s.deliverOne()
		}
	}
	return nil
}

func (s *spending) mustStay(id mpc.ID) bool { return s.lied && id == s.cheat }

func (s *spending) restartOne() error {
	for _, id := range s.IDs {
		if s.Parties[id].Vault == nil {
			s.log("restart %d", id)
			return s.Restart(id)
		}
	}
	return nil
}

// pause lets minutes go by: sessions end, windows move on.
func (s *spending) pause(minutes int) error {
	s.log("%d minutes go by", minutes)
	for range 2 * minutes {
		if err := s.Tick(30_000); err != nil {
			return err
		}
		if err := s.deliverSome(60); err != nil {
			return err
		}
	}
	return nil
}

// attempt asks a subset for some payment, in one of the ways that a coordinator,
// honest or not, could: under an attempt id that others were given for something else,
// not all of them, another version.
func (s *spending) attempt() error {
	p := s.pays[s.rng.IntN(len(s.pays))]
	signers, witnesses := s.subset(p.x)
	version := byte(0)
	if s.rng.IntN(12) == 0 {
		version = 1
	}
	c := s.command(p, signers, witnesses, version)
	if n := len(s.tries); n > 0 && s.rng.IntN(5) == 0 {
		c.Attempt = s.tries[n-1-s.rng.IntN(min(n, 3))].command.Attempt
	}
	return s.ask(p, c, func(mpc.ID) bool { return s.rng.IntN(8) > 0 })
}

func (s *spending) command(p *payment, signers, witnesses []mpc.ID, version byte) *cluster.Command {
	c := &cluster.Command{Kind: cluster.CommandSign, Attempt: s.Attempt(), Body: p.bundle.Encode(), Unsigned: s.unsigned(p, version)}
	for _, id := range signers {
		c.Signers = append(c.Signers, uint16(id))
	}
	for _, id := range witnesses {
		c.Witnesses = append(c.Witnesses, uint16(id))
	}
	return c
}

func (s *spending) ask(p *payment, c *cluster.Command, reaches func(mpc.ID) bool) error {
	t := &try{pay: p, command: c, shares: map[mpc.ID]*cluster.Reply{}}
	s.tries = append(s.tries, t)
	s.log("coordinator asks for %d %s of %x for %s, request %x, attempt %x, of %v with %v", p.amount, coinOf(p.x), p.x.ID[:4], p.who, p.bundle.Request.ID(), c.Attempt, c.Signers, c.Witnesses)
	for _, n := range c.Signers {
		t.signers = append(t.signers, mpc.ID(n))
	}
	for _, n := range slices.Concat(c.Signers, c.Witnesses) {
		id := mpc.ID(n)
		if s.Parties[id].Vault == nil || !reaches(id) {
			continue
		}
		a := &asked{job: new(job), attempt: c.Attempt, request: p.bundle.Request.ID(), unsigned: c.Unsigned, signers: t.signers, vault: id}
		s.of[a], s.byID[s.nextCommand+1] = t, a
		own := *c
		if s.price != nil {
			own.Body = s.price(t, id)
		}
		if _, err := s.Command(id, &own); err != nil {
			return err
		}
	}
	return nil
}

// abandon has a coordinator give an attempt up.
func (s *spending) abandon() error {
	if len(s.tries) == 0 {
		return nil
	}
	t := s.tries[s.rng.IntN(len(s.tries))]
	id := t.signers[s.rng.IntN(len(t.signers))]
	if s.Parties[id].Vault == nil {
		return nil
	}
	s.log("coordinator abandons %x at %d", t.command.Attempt, id)
	_, err := s.Command(id, &cluster.Command{Kind: cluster.CommandAbandon, Attempt: t.command.Attempt})
	return err
}

// copyDisk takes a copy of a disk, or puts one back.
func (s *spending) copyDisk() error {
	id := s.IDs[s.rng.IntN(len(s.IDs))]
	shot := s.shots[id]
	if shot == nil {
		s.log("the host of %d copies its disk", id)
		s.shots[id] = &snapshot{s.Parties[id].Disk.Clone(), 0}
		return nil
	}
	if s.res.Restores >= 1 || s.rng.IntN(3) > 0 {
		return nil
	}
	return s.putBack(id, shot.disk)
}

// lie has the liar deny what it promised. With more liars than the keys withstand it
// does so as well as it can: its ledger goes to those only who were there.
func (s *spending) lie() error {
	if s.cheat == 0 || s.Parties[s.cheat].Vault == nil {
		return nil
	}
	liar := s.Parties[s.cheat].Vault
	switch s.rng.IntN(4) {
	case 0:
		if s.faults > 0 && releaseAll(liar) {
			s.lied, s.stays = true, s.cheat
			s.log("vault %d says that it gave nothing", s.cheat)
			return s.Step(s.cheat, vault.Input{})
		}
		return nil
	case 1:
		if s.lied {
			return nil
		}
	}
	return s.attack()
}

// attack: a payment with some, which nobody else hears of; then another with the
// others.
func (s *spending) attack() error {
	x := s.wallets[s.rng.IntN(len(s.wallets))]
	if coinOf(x) != "SOL" || s.lied && s.rng.IntN(3) > 0 {
		return nil
	}
	one, two := s.sides(x)
	mark, ok := ledgerMark(s.Parties[s.cheat].Vault)
	if !ok {
		return nil
	}
	s.lied, s.stays = true, s.cheat
	apart := func(f Frame) bool {
		return f.From == s.cheat && !slices.Contains(one, f.To) || slices.Contains(one, f.From) && f.From != s.cheat && !slices.Contains(one, f.To)
	}
	s.Intercept = func(f Frame) bool { return !apart(f) }
	defer func() { s.Intercept = nil }()
	if err := s.payWith(x, one); err != nil {
		return err
	}
	if s.Parties[s.cheat].Vault == nil || !hideLedger(s.Parties[s.cheat].Vault, mark) {
		return nil
	}
	s.log("vault %d denies what it promised after event %d", s.cheat, mark)
	s.Intercept = nil
	return s.payWith(x, two)
}

// sides are two quorums that the liar is in, with as few others in both as can be.
func (s *spending) sides(x *Wallet) (one, two []mpc.ID) {
	others := slices.DeleteFunc(slices.Clone(x.Parties), func(id mpc.ID) bool { return id == s.cheat })
	s.rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	q := quorum(x)
	one = append([]mpc.ID{s.cheat}, others[:q-1]...)
	two = append([]mpc.ID{s.cheat}, others[len(others)-q+1:]...)
	return one, two
}

func (s *spending) payWith(x *Wallet, members []mpc.ID) error {
	p := &payment{x: x, amount: 2, who: Trader, nonce: uint64(len(s.pays))}
	s.bundle(p)
	s.pays = append(s.pays, p)
	signers, witnesses := slices.Clone(members[:x.Threshold]), slices.Clone(members[x.Threshold:])
	slices.Sort(signers)
	slices.Sort(witnesses)
	if err := s.ask(p, s.command(p, signers, witnesses, 0), func(mpc.ID) bool { return true }); err != nil {
		return err
	}
	return s.deliverSome(60)
}

// share is a final share that left: with the last of them a signature exists.
func (s *spending) share(a *asked, rep *cluster.Reply) {
	t := s.of[a]
	if !slices.Contains(t.signers, a.vault) {
		if len(rep.Body) > 0 {
			s.check.fault("vault %d witnesses attempt %x and gives a share", a.vault, a.attempt)
		}
		return
	}
	t.shares[a.vault] = rep
	if len(t.shares) < len(t.signers) || t.finished {
		return
	}
	t.finished = true
	if err := s.combine(t); err != nil {
		if !s.lied {
			s.check.fault("attempt %x: all shares and no signature: %v", a.attempt, err)
		}
		return
	}
	s.log("signed: request %x", a.request)
	t.pay.signed = append(t.pay.signed, s.Now)
	s.res.Signatures++
	if s.limited {
		s.count()
	}
}

func (s *spending) combine(t *try) error { return combineFor(t.pay.x, t) }

// combineFor makes the signature of an attempt's shares.
func combineFor(x *Wallet, t *try) error {
	if coinOf(x) == "SOL" {
		_, err := CombineEd25519(x, t.pay.bundle, t.command.Unsigned, t.shares)
		return err
	}
	tx, err := evm.DecodeUnsigned(t.command.Unsigned)
	if err != nil {
		return err
	}
	digest, err := tx.Digest()
	if err != nil {
		return err
	}
	_, err = Combine(x, digest, t.shares)
	return err
}
