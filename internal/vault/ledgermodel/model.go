package ledgermodel

// Bounds of a model.
const (
	MaxVaults   = 5
	MaxSessions = 6
)

// Session is what a coordinator may have vaults do.
type Session struct {
	Attempt   int // the id that the coordinator gives; honest ones differ
	Request   int
	Amount    int
	Signers   uint8 // bits: vault 0 is the lowest
	Witnesses uint8
}

// Rules are those of the ledger, with the ways in which they can be weakened.
type Rules struct {
	OwnLedger   bool // a vault counts what it reserved itself
	LateRelease bool // a vault releases what it has sent its final share of
	SessionKey  bool // the union has one entry an attempt, whoever wrote it
	OneRelease  bool // the allowance comes back when one signer has released
}

// Model is a cluster, what may run in it, and a limit.
type Model struct {
	Vaults   int
	Sessions []Session
	Limit    int
	Corrupt  uint8 // vaults that lie: they claim to have released everything, and sign everything
	Crashes  int
	Rules    Rules
}

type phase uint8

const (
	idle  phase = iota
	sent0       // reserved, R0 sent
	sent1
	sent2  // decided, certificate sent
	final  // the final share may have left
	late   // so it may, and it was released for all that
	over   // released
	never  // released without ever having been reserved
	undone // crashed before it decided: it may release
	stuck  // crashed after it decided: it never will
)

// State is a cluster at one moment.
type State struct {
	phase   [MaxVaults][MaxSessions]phase
	brought [MaxSessions][MaxVaults]uint8 // by R1: the sessions that the vault has reserved; 0: not sent
	certs   [MaxSessions]uint8            // who has sent its certificate
	crashes uint8
}

// reserved are the sessions in a vault's ledger.
func (s *State) reserved(v int) (set uint8) {
	for i, p := range s.phase[v] {
		if p != idle && p != never {
			set |= 1 << i
		}
	}
	return set
}

// Key is a short name of the state.
func (m *Model) Key(s *State, b []byte) []byte {
	b = append(b[:0], s.crashes)
	for i := range m.Sessions {
		b = append(b, s.certs[i])
		for v := range m.Vaults {
			b = append(b, byte(s.phase[v][i]), s.brought[i][v])
		}
	}
	return b
}

func has(set uint8, v int) bool { return set>>v&1 == 1 }

func (x *Session) members() uint8 { return x.Signers | x.Witnesses }

// Spent is the sum of the requests for which every final share exists.
func (m *Model) Spent(s *State) int {
	var most [MaxSessions]int
	for i := range m.Sessions {
		x := &m.Sessions[i]
		done := true
		for v := range m.Vaults {
			if p := s.phase[v][i]; has(x.Signers, v) && !has(m.Corrupt, v) && p != final && p != late {
				done = false
			}
		}
		if done {
			most[x.Request] = max(most[x.Request], x.Amount)
		}
	}
	sum := 0
	for _, a := range most {
		sum += a
	}
	return sum
}

// Next calls f with every state that may come next.
func (m *Model) Next(s *State, f func(*State)) {
	for v := range m.Vaults {
		if has(m.Corrupt, v) {
			continue // whatever it sends is there whenever others look for it
		}
		for i := range m.Sessions {
			if has(m.Sessions[i].members(), v) {
				m.step(s, v, i, f)
			}
		}
		if int(s.crashes) < m.Crashes {
			m.crash(s, v, f)
		}
	}
}

func (m *Model) step(s *State, v, i int, f func(*State)) {
	x := &m.Sessions[i]
	to := func(p phase) *State {
		n := *s
		n.phase[v][i] = p
		return &n
	}
	switch s.phase[v][i] {
	case idle:
		if m.used(s, v, x.Attempt) {
			return
		}
		if m.given(s, i) {
			f(to(never)) // another has given up: this vault never begins
		}
		f(to(sent0))
	case sent0:
		if m.all(x, v, func(w int) bool { p := s.phase[w][i]; return p != idle && p != never }) {
			n := to(sent1)
			n.brought[i][v] = s.reserved(v)
			f(n)
		}
		f(to(over))
	case sent1:
		if m.all(x, v, func(w int) bool { return s.brought[i][w] > 0 }) && m.grants(s, v, i) {
			n := to(sent2)
			n.certs[i] |= 1 << v
			f(n)
		}
		f(to(over))
	case sent2:
		if !has(x.Signers, v) {
			return // a witness has done its part
		}
		if m.all(x, v, func(w int) bool { return has(s.certs[i], w) }) {
			f(to(final))
		}
		f(to(over))
	case final:
		if m.Rules.LateRelease {
			f(to(late))
		}
	case undone:
		f(to(over))
	}
}

// all says something of all other members; liars do and say whatever is wanted.
func (m *Model) all(x *Session, v int, ok func(int) bool) bool {
	for w := range m.Vaults {
		if w != v && has(x.members(), w) && !has(m.Corrupt, w) && !ok(w) {
			return false
		}
	}
	return true
}

// used says that a vault has taken part in an attempt already.
func (m *Model) used(s *State, v, attempt int) bool {
	for j := range m.Sessions {
		if m.Sessions[j].Attempt == attempt && s.phase[v][j] != idle {
			return true
		}
	}
	return false
}

// given says that a member has given a session up.
func (m *Model) given(s *State, i int) bool {
	for w := range m.Vaults {
		if p := s.phase[w][i]; p == over || p == late {
			return true
		}
	}
	return false
}

func (m *Model) crash(s *State, v int, f func(*State)) {
	n, lost := *s, false
	for i := range m.Sessions {
		switch s.phase[v][i] {
		case sent0, sent1:
			n.phase[v][i], lost = undone, true
		case sent2:
			n.phase[v][i], lost = stuck, true
		}
	}
	if lost {
		n.crashes++
		f(&n)
	}
}
