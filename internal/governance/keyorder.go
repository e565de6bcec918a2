package governance

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/wire"
)

// Action is what a KeyOrder does to a key that exists.
type Action uint8

// The actions. Numbers are never reused.
const (
	Refresh Action = 1 // new shares for the same parties; what leaked of the old ones is worthless
	Reshare Action = 2 // new shares for Parties, any Threshold of whom sign
	Abandon Action = 3 // end the open attempts at an epoch: those who could abort are gone
	Erase   Action = 4 // erase the shares of ended epochs though not every vault has said that it is active
	SetTier Action = 5 // the vaults keep their shares in the custody tier Tier from now on
)

const lastAction = SetTier

func (a Action) String() string {
	switch a {
	case Refresh:
		return "refresh"
	case Reshare:
		return "reshare"
	case Abandon:
		return "abandon"
	case Erase:
		return "erase"
	case SetTier:
		return "tier"
	}
	return fmt.Sprintf("action-%d", uint8(a))
}

// Quorum says whether the action takes the admin quorum. A refresh does not: it
// changes neither who holds shares nor how many must agree, so that one admin, who
// could not sign alone before, cannot after it. Whoever names the parties of a
// reshare says who can spend; an abandoned attempt or an erased epoch can cost
// the key, if whoever orders it is wrong about what is lost; a custody tier says
// what it takes to use a share.
func (a Action) Quorum() bool { return a != Refresh }

// KeyOrder is the body of a change of kind key: the admins' word that a key goes
// to its next epoch. The change that holds it is its authority; its hash names it.
type KeyOrder struct {
	Action Action
	Key    [32]byte
	Name   string // of the wallet, for people; the vault checks that it is the key's
	Epoch  uint64 // that the key is in when it is carried out: an order is not carried out twice
	// Certificate is the digest of the present epoch's certificate: whoever is to hold
	// a share for the first time knows by it from which epoch to take it.
	Certificate [32]byte
	Parties     []uint16 // reshare: the vaults that hold shares afterwards, sorted
	Threshold   uint16   // reshare
	Insist      bool     // reshare: though the vaults' devices are too much alike
	Tier        Tier     // tier
}

const keyOrderVersion = 2

// Encode is the canonical encoding.
func (o *KeyOrder) Encode() []byte {
	w := wire.NewWriter(keyOrderVersion).Uint8(uint8(o.Action)).Fixed(o.Key[:]).String(o.Name).Uint64(o.Epoch).Fixed(o.Certificate[:]).Count(len(o.Parties))
	for _, p := range o.Parties {
		w.Uint16(p)
	}
	return w.Uint16(o.Threshold).Uint8(uint8(o.Tier)).Bool(o.Insist).Bytes()
}

// DecodeKeyOrder is the inverse of Encode.
func DecodeKeyOrder(b []byte) (*KeyOrder, error) {
	r := wire.NewReader(b, keyOrderVersion)
	o := &KeyOrder{Action: Action(r.Uint8("action"))}
	if r.Err() == nil && (o.Action < Refresh || o.Action > lastAction) {
		r.Failf("action: unknown value %d, want 1 to %d", o.Action, lastAction)
	}
	r.Into("key", o.Key[:])
	o.Name, o.Epoch = r.Name("name"), r.Uint64("epoch")
	r.Into("certificate", o.Certificate[:])
	for range r.Count("parties", MaxVaults, 2) {
		o.Parties = append(o.Parties, r.Uint16("party"))
	}
	o.Threshold = r.Uint16("threshold")
	o.Tier, o.Insist = Tier(r.Uint8("tier")), r.Bool("insist")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode key order: %w", err)
	}
	return o, nil
}

// JSON is the order in the form that people read.
func (o *KeyOrder) JSON() []byte {
	var tier string
	if o.Tier != 0 {
		tier = o.Tier.String()
	}
	b, err := json.MarshalIndent(struct {
		Action      string   `json:"action"`
		Wallet      string   `json:"wallet"`
		Key         string   `json:"key"`
		Epoch       uint64   `json:"epoch"`
		Certificate string   `json:"certificate"`
		Parties     []uint16 `json:"parties,omitempty"`
		Threshold   uint16   `json:"threshold,omitempty"`
		Insist      bool     `json:"insist,omitempty"`
		Tier        string   `json:"tier,omitempty"`
	}{o.Action.String(), o.Name, hex.EncodeToString(o.Key[:]), o.Epoch, hex.EncodeToString(o.Certificate[:]), o.Parties, o.Threshold, o.Insist, tier}, "", "  ")
	if err != nil {
		panic("governance: a key order does not marshal: " + err.Error()) // it has numbers and names only
	}
	return b
}

func (st *State) checkKeyOrder(o *KeyOrder) error {
	if o.Epoch == 0 {
		return refusal.Newf("change.body", "the epoch that the key is in", "epoch 0: epochs start at 1")
	}
	if err := o.checkTier(); err != nil {
		return err
	}
	if o.Action != Reshare {
		if o.Insist {
			return refusal.Newf("change.body", "", "%s: it insists on devices that are alike; only a reshare chooses devices", o.Action)
		}
		if len(o.Parties) > 0 || o.Threshold != 0 {
			return refusal.Newf("change.body", "", "%s: it names parties or a threshold, which stay as they are", o.Action)
		}
		return nil
	}
	err := st.checkParties(o.Parties, int(o.Threshold), func(fix, format string, args ...any) error {
		return refusal.Newf("change.body", fix, format, args...)
	})
	if err != nil {
		return err
	}
	return st.checkDiversity(o.Parties, int(o.Threshold), o.Insist)
}

// checkParties checks who is to hold shares.
func (st *State) checkParties(parties []uint16, t int, bad func(fix, format string, args ...any) error) error {
	for i, p := range parties {
		if _, ok := st.Vault(p); !ok {
			return bad("vaults of this cluster", "parties: there is no vault %d", p)
		}
		if i > 0 && parties[i-1] >= p {
			return bad("different vaults, sorted", "parties: vault %d comes after vault %d", p, parties[i-1])
		}
	}
	n := len(parties)
	if t < 2 || t > n {
		return bad(fmt.Sprintf("a threshold of 2 to %d", n), "threshold %d of %d vaults", t, n)
	}
	if 2*t <= n {
		return bad(fmt.Sprintf("a threshold of at least %d", n/2+1),
			"threshold %d of %d vaults: two sets of signers could share no vault, and then two versions of one payment could both be signed", t, n)
	}
	return nil
}

// Order is a key order in force, with the hash of the change that holds it.
type Order struct {
	Hash [32]byte
	Seq  uint64
	KeyOrder
}

// FindOrder finds an order by the hash of its change.
func (st *State) FindOrder(hash [32]byte) (*Order, bool) {
	for i := range st.Orders {
		if st.Orders[i].Hash == hash {
			return &st.Orders[i], true
		}
	}
	return nil, false
}

func (st *State) withOrder(x *content, o *KeyOrder) []Order {
	out := append(slices.Clone(st.Orders), Order{x.hash, x.change.Seq, *o})
	slices.SortFunc(out, func(a, b Order) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}
