package ledgermodel

// grants says whether a vault may decide for a session: whether some knowledge that it
// may have leaves room for it.
func (m *Model) grants(s *State, v, i int) bool {
	var known [MaxVaults]uint8
	for w := range m.Vaults {
		switch {
		case w == v:
			known[w] = s.reserved(w)
		case !has(m.Corrupt, w) && has(m.Sessions[i].members(), w):
			known[w] = s.brought[i][w]
		}
	}
	if m.Rules.SessionKey {
		return m.some(s, v, i, 0, &known)
	}
	return m.fits(s, v, i, &known)
}

// some tries every knowledge: under the weakened rule one entry may hide another.
func (m *Model) some(s *State, v, i, w int, known *[MaxVaults]uint8) bool {
	if w == m.Vaults {
		return m.fits(s, v, i, known)
	}
	sure := known[w]
	defer func() { known[w] = sure }()
	all := s.reserved(w)
	for set := all; ; set = (set - 1) & all {
		if set&sure == sure {
			known[w] = set
			if m.some(s, v, i, w+1, known) {
				return true
			}
		}
		if set == 0 {
			return false
		}
	}
}

// fits evaluates: every other request counts once, with its largest amount, while one
// of its sessions is not released; and this one.
func (m *Model) fits(s *State, v, i int, known *[MaxVaults]uint8) bool {
	var most [MaxSessions]int
	own := &m.Sessions[i]
	seen := 0 // attempts, for the weakened rule
	for w := range m.Vaults {
		if m.Rules.OwnLedger && w != v {
			continue
		}
		for j := range m.Sessions {
			x := &m.Sessions[j]
			if !has(known[w], j) || x.Request == own.Request {
				continue
			}
			if m.Rules.SessionKey {
				if seen>>x.Attempt&1 == 1 {
					continue
				}
				seen |= 1 << x.Attempt
			}
			if !m.released(s, x) {
				most[x.Request] = max(most[x.Request], x.Amount)
			}
		}
	}
	sum := own.Amount
	for _, a := range most {
		sum += a
	}
	return sum <= m.Limit
}

// released says that a session never leads to a signature, as far as signers say.
func (m *Model) released(s *State, x *Session) bool {
	some, all := false, true
	for w := range m.Vaults {
		if has(x.Signers, w) || m.Rules.SessionKey {
			said := m.saysReleased(s, w, x.Attempt)
			some, all = some || said, all && (said || !has(x.Signers, w))
		}
	}
	if m.Rules.OneRelease || m.Rules.SessionKey {
		return some
	}
	return all
}

func (m *Model) saysReleased(s *State, w, attempt int) bool {
	if has(m.Corrupt, w) {
		return true
	}
	for j := range m.Sessions {
		if p := s.phase[w][j]; m.Sessions[j].Attempt == attempt && (p == over || p == never || p == late) {
			return true
		}
	}
	return false
}
