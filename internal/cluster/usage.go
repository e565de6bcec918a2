package cluster

import (
	"fmt"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/wire"
)

// Usage is how much of each limit one vault counts as used: the answer to
// CommandLimits.
type Usage struct {
	Time     uint64   // unix ms, the vault's
	Policy   [32]byte // root of the policy in force there
	Counters []CounterUsage
	// More is how many counters are in use beyond those listed; of each limit the
	// fullest are.
	More uint32
}

// CounterUsage is one counter of a limit. What the limit does not count by is empty.
type CounterUsage struct {
	Limit       string
	Wallet      [32]byte
	Asset       string // CAIP-19
	Initiator   string
	Destination string // CAIP-10
	Used        chain.Amount
	// Frees is when the next part comes back, unix ms, and Then what is used after it;
	// 0 when nothing is used, or it is not known.
	Frees uint64
	Then  chain.Amount
	Error string // why it cannot be counted
}

const (
	usageVersion = 1
	maxCounters  = 1024
)

// Encode is the canonical encoding.
func (u *Usage) Encode() []byte {
	w := wire.NewWriter(usageVersion).Uint64(u.Time).Fixed(u.Policy[:]).Count(len(u.Counters))
	for i := range u.Counters {
		c := &u.Counters[i]
		w.String(c.Limit).Fixed(c.Wallet[:]).String(c.Asset).String(c.Initiator).String(c.Destination)
		chain.WriteAmount(w, &c.Used)
		chain.WriteAmount(w.Uint64(c.Frees), &c.Then)
		w.String(c.Error)
	}
	return w.Uint32(u.More).Bytes()
}

// DecodeUsage is the inverse of Encode.
func DecodeUsage(b []byte) (*Usage, error) {
	r := wire.NewReader(b, usageVersion)
	u := &Usage{Time: r.Uint64("time")}
	r.Into("policy", u.Policy[:])
	for range r.Count("counters", maxCounters, 64) {
		c := CounterUsage{Limit: r.Text("limit", maxWord)}
		r.Into("wallet", c.Wallet[:])
		c.Asset, c.Initiator, c.Destination = r.Text("asset", maxWord), r.Text("initiator", maxWord), r.Text("destination", maxWord)
		c.Used, c.Frees, c.Then = chain.ReadAmount(r, "used"), r.Uint64("frees"), chain.ReadAmount(r, "then")
		c.Error = r.Text("error", maxWord)
		u.Counters = append(u.Counters, c)
	}
	u.More = r.Uint32("more")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode usage of limits: %w", err)
	}
	return u, nil
}
