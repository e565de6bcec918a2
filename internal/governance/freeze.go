package governance

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/chain"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// Freeze is the body of a change of kind freeze: no vault signs with a wallet's key,
// or with any key, until a thaw of the same. One admin freezes; thawing takes the
// quorum.
type Freeze struct {
	Wallet [32]byte // key id; zero: all
	Thaw   bool
	Reason string // for people, never empty
}

const (
	freezeVersion   = 1
	withdrawVersion = 1
	chainsVersion   = 1
	// MaxFrozen bounds how many wallets are frozen one by one.
	MaxFrozen = 1024
	// MaxChains bounds the list of chains.
	MaxChains = 64
)

// What says what the order is about.
func (f *Freeze) What() string { return frozenName(f.Wallet) }

func frozenName(wallet [32]byte) string {
	if wallet == ([32]byte{}) {
		return "all wallets"
	}
	return fmt.Sprintf("the wallet with key %x", wallet[:8])
}

// Encode is the canonical encoding.
func (f *Freeze) Encode() []byte {
	return wire.NewWriter(freezeVersion).Fixed(f.Wallet[:]).Bool(f.Thaw).String(f.Reason).Bytes()
}

// DecodeFreeze is the inverse of Encode.
func DecodeFreeze(b []byte) (*Freeze, error) {
	r, f := wire.NewReader(b, freezeVersion), new(Freeze)
	r.Into("wallet", f.Wallet[:])
	f.Thaw, f.Reason = r.Bool("thaw"), r.Text("reason", maxReason)
	if r.Err() == nil && f.Reason == "" {
		r.Failf("reason: none is given; want one, for those who read the log")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode freeze: %w", err)
	}
	return f, nil
}

// JSON is the order in the form that people read.
func (f *Freeze) JSON() []byte {
	action, wallet := "freeze", "all"
	if f.Thaw {
		action = "thaw"
	}
	if f.Wallet != ([32]byte{}) {
		wallet = hex.EncodeToString(f.Wallet[:])
	}
	return orderJSON(struct {
		Action string `json:"action"`
		Wallet string `json:"wallet"`
		Reason string `json:"reason"`
	}{action, wallet, f.Reason})
}

func orderJSON(x any) []byte {
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		panic("governance: an order does not marshal: " + err.Error()) // it has numbers and texts only
	}
	return b
}

// Frozen is a freeze in force.
type Frozen struct {
	Wallet [32]byte // zero: all
	Seq    uint64   // of its change
	By     string
	Reason string
}

func (f *Frozen) String() string {
	return fmt.Sprintf("%s: frozen by %s in change %d: %s", frozenName(f.Wallet), f.By, f.Seq, f.Reason)
}

// FrozenWallet says whether a wallet is frozen, by itself or with all others.
func (st *State) FrozenWallet(key [32]byte) (*Frozen, bool) {
	for i := range st.Frozen {
		if f := &st.Frozen[i]; f.Wallet == key || f.Wallet == ([32]byte{}) {
			return f, true
		}
	}
	return nil, false
}

func (st *State) frozenAt(wallet [32]byte) int {
	return slices.IndexFunc(st.Frozen, func(f Frozen) bool { return f.Wallet == wallet })
}

func (st *State) checkFreeze(f *Freeze) error {
	i := st.frozenAt(f.Wallet)
	switch {
	case f.Reason == "":
		return refusal.Newf("change.body", "a reason, for those who read the log", "no reason is given")
	case f.Thaw && i < 0:
		return refusal.Newf("change.body", "a thaw of what is frozen", "thaw: %s is not frozen by an order of its own", f.What())
	case !f.Thaw && i >= 0:
		return refusal.Newf("change.body", "", "%s is frozen already, since change %d", f.What(), st.Frozen[i].Seq)
	case !f.Thaw && len(st.Frozen) >= MaxFrozen:
		return refusal.Newf("change.body", "a freeze of all wallets", "%d wallets are frozen one by one already", len(st.Frozen))
	}
	return nil
}

func (st *State) withFreeze(c *Change, f *Freeze) {
	if f.Thaw {
		st.Frozen = slices.DeleteFunc(slices.Clone(st.Frozen), func(x Frozen) bool { return x.Wallet == f.Wallet })
		return
	}
	st.Frozen = append(slices.Clone(st.Frozen), Frozen{f.Wallet, c.Seq, c.Author, f.Reason})
}

// Withdrawal is the body of a change of kind withdraw: a change that waits for its
// cooling-off time does not come in force. One admin withdraws.
type Withdrawal struct {
	Seq    uint64 // of the pending change
	Reason string // for people, never empty
}

// Encode is the canonical encoding.
func (w *Withdrawal) Encode() []byte {
	return wire.NewWriter(withdrawVersion).Uint64(w.Seq).String(w.Reason).Bytes()
}

// DecodeWithdrawal is the inverse of Encode.
func DecodeWithdrawal(b []byte) (*Withdrawal, error) {
	r := wire.NewReader(b, withdrawVersion)
	w := &Withdrawal{Seq: r.Uint64("seq"), Reason: r.Text("reason", maxReason)}
	if r.Err() == nil && w.Reason == "" {
		r.Failf("reason: none is given; want one, for those who read the log")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode withdrawal: %w", err)
	}
	return w, nil
}

// JSON is the order in the form that people read.
func (w *Withdrawal) JSON() []byte {
	return orderJSON(struct {
		Withdraw uint64 `json:"withdraw"`
		Reason   string `json:"reason"`
	}{w.Seq, w.Reason})
}

// EncodeChains is the body of a change of kind chains, and part of the genesis: the
// chains (CAIP-2, sorted) that vaults sign for. None: every chain that they can read.
func EncodeChains(chains []string) []byte {
	w := wire.NewWriter(chainsVersion).Count(len(chains))
	for _, c := range chains {
		w.String(c)
	}
	return w.Bytes()
}

// DecodeChains is the inverse of EncodeChains.
func DecodeChains(b []byte) ([]string, error) {
	r := wire.NewReader(b, chainsVersion)
	var out []string
	for range r.Count("chains", MaxChains, 4) {
		out = append(out, r.Text("chain", 64))
	}
	err := r.Done()
	if err == nil {
		err = checkChains(out)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode chains: %w", err)
	}
	return out, nil
}

func checkChains(chains []string) error {
	if len(chains) > MaxChains {
		return fmt.Errorf("%d chains, at most %d", len(chains), MaxChains)
	}
	for i, c := range chains {
		if err := chain.CheckID(c); err != nil {
			return err
		}
		if i > 0 && chains[i-1] >= c {
			return fmt.Errorf("chains: %s comes after %s, want them different and sorted", c, chains[i-1])
		}
	}
	return nil
}

// ChainAllowed says whether vaults sign for a chain.
func (st *State) ChainAllowed(id string) bool {
	return len(st.Chains) == 0 || slices.Contains(st.Chains, id)
}

// CheckSigning says whether the governance lets a wallet sign for a chain, before any
// policy is asked. The error is a *refusal.Refusal.
func (st *State) CheckSigning(key [32]byte, chain string) error {
	if f, ok := st.FrozenWallet(key); ok {
		return refusal.Newf("wallet.frozen", "a thaw by the admin quorum (coffer thaw)", "%s", f)
	}
	if !st.ChainAllowed(chain) {
		return refusal.Newf("chain.closed", "one of "+strings.Join(st.Chains, ", "), "chain %s is not one that this cluster signs for", wire.CleanText(chain, 80))
	}
	return nil
}
