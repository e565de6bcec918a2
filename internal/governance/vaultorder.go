package governance

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// VaultAction is what a VaultOrder does to a vault.
type VaultAction uint8

// The actions. Numbers are never reused.
const (
	ReplaceVault VaultAction = 1 // the vault has another device or another log: its new card is in force
	ResumeVault  VaultAction = 2 // a vault whose disk was rolled back goes on from an older head
	LiftVault    VaultAction = 3 // the quarantine of a pair, or the suspension of a vault, ends
	SuspendVault VaultAction = 4 // nobody works with the vault until that is lifted
)

const lastVaultAction = SuspendVault

func (a VaultAction) String() string {
	switch a {
	case ReplaceVault:
		return "replace"
	case ResumeVault:
		return "resume"
	case LiftVault:
		return "lift"
	case SuspendVault:
		return "suspend"
	}
	return fmt.Sprintf("vault-action-%d", uint8(a))
}

// Quorum says whether the action takes the admin quorum. To suspend a vault does
// not: it only stops, as a freeze does, and whoever finds a host stolen need not
// first find a colleague. All others let a vault take part that would not.
func (a VaultAction) Quorum() bool { return a != SuspendVault }

// Position is a place in a vault's log: its first Size entries, which have Root.
type Position struct {
	Size uint64
	Root [32]byte
}

func (p Position) String() string { return fmt.Sprintf("%d entries, root %x", p.Size, p.Root[:8]) }

// VaultOrder is the body of a change of kind vault. What an action does not use is
// zero or empty.
type VaultOrder struct {
	Action VaultAction
	Vault  uint16
	// Boot is the least number of a start of the vault that counts from now on:
	// hellos and checkpoints of an older start are of a history that has ended.
	Boot      uint64     // replace, resume
	From      Position   // resume: where the vault goes on
	Held      Position   // resume: the newest head that its peers hold, which is given up
	Peer      uint16     // lift: the other vault of the pair; 0: the suspension
	Enrolment *Enrolment // replace: the new card
	Reason    string     // for people, never empty
}

// BootMargin is how far above every start that is known an order's boot number is
// drafted: until enough have signed it and its time has come, the vault may start again,
// each time with the next number, and all of those must have ended then.
const BootMargin = 1_000_000

// MaxBoot bounds the boot number of an order, so that there is always one above it.
const MaxBoot = 1 << 48

const (
	vaultOrderVersion = 1
	maxReason         = 256 // bytes
)

// Encode is the canonical encoding.
func (o *VaultOrder) Encode() []byte {
	w := wire.NewWriter(vaultOrderVersion).Uint8(uint8(o.Action)).Uint16(o.Vault).Uint64(o.Boot)
	w.Uint64(o.From.Size).Fixed(o.From.Root[:]).Uint64(o.Held.Size).Fixed(o.Held.Root[:]).Uint16(o.Peer)
	if o.Enrolment == nil {
		w.Var(nil)
	} else {
		w.Var(o.Enrolment.Encode())
	}
	return w.String(o.Reason).Bytes()
}

// DecodeVaultOrder is the inverse of Encode. It verifies no signature: Apply does.
func DecodeVaultOrder(b []byte) (*VaultOrder, error) {
	r := wire.NewReader(b, vaultOrderVersion)
	o := &VaultOrder{Action: VaultAction(r.Uint8("action"))}
	if r.Err() == nil && (o.Action < ReplaceVault || o.Action > lastVaultAction) {
		r.Failf("action: unknown value %d, want 1 to %d", o.Action, lastVaultAction)
	}
	o.Vault, o.Boot = r.Uint16("vault"), r.Uint64("boot")
	o.From.Size = r.Uint64("size")
	r.Into("root", o.From.Root[:])
	o.Held.Size = r.Uint64("held size")
	r.Into("held root", o.Held.Root[:])
	o.Peer = r.Uint16("peer")
	if raw := r.Var("enrolment", MaxEnrolment); r.Err() == nil && len(raw) > 0 {
		var err error
		if o.Enrolment, err = DecodeEnrolment(raw); err != nil {
			r.Fail(err)
		}
	}
	o.Reason = r.Text("reason", maxReason)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode vault order: %w", err)
	}
	return o, nil
}

// JSON is the order in the form that people read.
func (o *VaultOrder) JSON() []byte {
	type position struct {
		Size uint64 `json:"size"`
		Root string `json:"root"`
	}
	at := func(p Position) *position {
		if p == (Position{}) {
			return nil
		}
		return &position{p.Size, hex.EncodeToString(p.Root[:])}
	}
	type card struct {
		Name     string `json:"name"`
		Vendor   string `json:"vendor"`
		Model    string `json:"model"`
		Identity string `json:"identity"`
		Decision string `json:"decision"`
		Log      string `json:"log"`
		// Whoever signs for a card without an approval key, or under another authority's
		// policy, does away with the people whom the old device asked.
		Approval string `json:"approval"`
		Policy   string `json:"approval_policy,omitempty"`
	}
	var c *card
	if o.Enrolment != nil {
		v := &o.Enrolment.Vault
		c = &card{v.Name, v.Vendor, v.Model, v.Identity.String(), v.Decision.String(), v.Log.String(), "none", ""}
		if v.HasApproval() {
			c.Approval = v.Approval.String()
			if a, err := attest.DecodeArea(v.ApprovalArea); err == nil {
				c.Policy = hex.EncodeToString(a.Policy)
			}
		}
	}
	b, err := json.MarshalIndent(struct {
		Action string    `json:"action"`
		Vault  uint16    `json:"vault"`
		Boot   uint64    `json:"boot,omitempty"`
		From   *position `json:"from,omitempty"`
		Held   *position `json:"held,omitempty"`
		Peer   uint16    `json:"peer,omitempty"`
		Card   *card     `json:"card,omitempty"`
		Reason string    `json:"reason"`
	}{o.Action.String(), o.Vault, o.Boot, at(o.From), at(o.Held), o.Peer, c, o.Reason}, "", "  ")
	if err != nil {
		panic("governance: a vault order does not marshal: " + err.Error()) // it has numbers and texts only
	}
	return b
}

// VaultChange is a vault order in force, with the change that holds it.
type VaultChange struct {
	Hash [32]byte
	Seq  uint64
	VaultOrder
}

// Suspended says whether the admins have suspended a vault, and by which change.
// (A vault that was caught equivocating is suspended by its peers; that is theirs
// to know.)
func (st *State) Suspended(id uint16) (*VaultChange, bool) {
	for i := len(st.VaultOrders) - 1; i >= 0; i-- {
		switch o := &st.VaultOrders[i]; {
		case o.Vault != id:
		case o.Action == SuspendVault:
			return o, true
		case o.Action == LiftVault && o.Peer == 0:
			return nil, false
		}
	}
	return nil, false
}

// spent says whether an order in force means nothing any more, since a newer one
// suspends the same vault or lifts that.
func (st *State) spent(i int) bool {
	about := func(o *VaultChange) bool {
		return o.Action == SuspendVault || o.Action == LiftVault && o.Peer == 0
	}
	old := &st.VaultOrders[i]
	return about(old) && slices.ContainsFunc(st.VaultOrders[i+1:], func(o VaultChange) bool { return o.Vault == old.Vault && about(&o) })
}

// MinBoot is the least number of a start of a vault that counts; 0 before any
// order names one.
func (st *State) MinBoot(id uint16) uint64 {
	var boot uint64
	for i := range st.VaultOrders {
		if o := &st.VaultOrders[i]; o.Vault == id {
			boot = max(boot, o.Boot)
		}
	}
	return boot
}

// FreshLog says whether the order starts a new log of the vault: then a head of the
// old one says nothing about the new. A vault that keeps its log key under another
// device keeps its log.
func (st *State) FreshLog(o *VaultOrder) bool {
	old, ok := st.Vault(o.Vault)
	return ok && o.Action == ReplaceVault && o.Enrolment.Vault.Log != old.Log
}

func refuseVault(fix, format string, args ...any) error {
	return refusal.Newf("change.body", fix, format, args...)
}

// checkVaultOrder checks an order against the vaults of the moment.
func (st *State) checkVaultOrder(o *VaultOrder) error {
	if _, ok := st.Vault(o.Vault); !ok {
		return refuseVault("a vault of this cluster", "there is no vault %d", o.Vault)
	}
	if o.Reason == "" {
		return refuseVault("a reason, for those who read the log", "%s of vault %d: no reason is given", o.Action, o.Vault)
	}
	if err := o.checkUnused(); err != nil {
		return err
	}
	if o.Action == ReplaceVault || o.Action == ResumeVault {
		if least := st.MinBoot(o.Vault) + 1; o.Boot < least {
			return refuseVault(fmt.Sprintf("a boot number of at least %d", least), "%s of vault %d from boot %d: starts below %d have ended already", o.Action, o.Vault, o.Boot, least)
		}
	}
	if o.Boot > MaxBoot {
		return refuseVault(fmt.Sprintf("a boot number of at most %d", uint64(MaxBoot)), "%s of vault %d from boot %d: no order after it could name a later start", o.Action, o.Vault, o.Boot)
	}
	switch o.Action {
	case ReplaceVault:
		return st.checkReplace(o)
	case ResumeVault:
		if o.From.Size == 0 {
			return refuseVault("a log's size and root, as the vault reports them", "resume of vault %d from 0 entries: every log begins with the genesis", o.Vault)
		}
		if o.Held.Size == 0 {
			return refuseVault("the newest head that a peer holds", "resume of vault %d: no head of its peers is named, so that nothing is given up", o.Vault)
		}
	case LiftVault:
		if _, ok := st.Vault(o.Peer); o.Peer != 0 && !ok || o.Peer == o.Vault {
			return refuseVault("another vault of this cluster, or none", "lift of the pair of vaults %d and %d: there is no such pair", o.Vault, o.Peer)
		}
	}
	return nil
}

// checkUnused refuses what an action does not use: an admin who signs sees nothing
// that means nothing.
func (o *VaultOrder) checkUnused() error {
	for _, f := range []struct {
		name string
		used bool
		by   []VaultAction
	}{
		{"a boot number", o.Boot != 0, []VaultAction{ReplaceVault, ResumeVault}},
		{"a place in the log", o.From != Position{}, []VaultAction{ResumeVault}},
		{"a held head", o.Held != Position{}, []VaultAction{ResumeVault}},
		{"a peer", o.Peer != 0, []VaultAction{LiftVault}},
		{"a card", o.Enrolment != nil, []VaultAction{ReplaceVault}},
	} {
		if f.used && !slices.Contains(f.by, o.Action) {
			return refuseVault("", "%s of vault %d: it names %s, which belongs to %s", o.Action, o.Vault, f.name, f.by[0])
		}
	}
	return nil
}

// checkReplace checks a vault's new card: the same vault, a key that is new, and
// none that serves or has served anything else. An old device's keys never come
// back: they may be in a thief's hands.
func (st *State) checkReplace(o *VaultOrder) error {
	if o.Enrolment == nil {
		return refuseVault("the card that the new device made (coffer vault --enrol)", "replace of vault %d: no card", o.Vault)
	}
	v := &o.Enrolment.Vault
	if err := o.Enrolment.Verify(); err != nil {
		return err
	}
	old, _ := st.Vault(o.Vault)
	if v.ID != old.ID || v.Name != old.Name {
		return refuseVault(fmt.Sprintf("a card of vault %d, %s", old.ID, old.Name), "replace of vault %d: the card is of vault %d, %s", o.Vault, v.ID, v.Name)
	}
	present := old.keys()
	fresh := slices.ContainsFunc(v.keys(), func(k signature.PublicKey) bool { return !slices.Contains(present, k) })
	if !fresh {
		return refuseVault("a card of another device or another log", "replace of vault %d: the card has the keys of the one in force, and no other", o.Vault)
	}
	for i, k := range v.keys() {
		if slices.Index(v.keys(), k) != i {
			return refuseVault("keys of its own for every purpose", "replace of vault %d: its key %s serves twice", o.Vault, k.Fingerprint())
		}
		if p, ok := st.Roster.Owner(k); ok {
			return refuseVault("keys of its own for every purpose", "replace of vault %d: its key %s is %s's", o.Vault, k.Fingerprint(), p.ID)
		}
		if c, role := st.keyServes(k); c != nil && (!slices.Contains(present, k) || role != v.roleOf(k)) {
			return refuseVault("keys of its own for every purpose, that never served before",
				"replace of vault %d: its key %s serves, or has served, as the %s key of vault %d", o.Vault, k.Fingerprint(), role, c.Vault.ID)
		}
	}
	return nil
}

// keyServes finds the newest card that has a key, and the key's role there.
func (st *State) keyServes(k signature.PublicKey) (*Card, string) {
	for i := len(st.cards) - 1; i >= 0; i-- {
		if role := st.cards[i].Vault.roleOf(k); role != "" {
			return &st.cards[i], role
		}
	}
	return nil, ""
}

// withVaultOrder puts an order that was checked in force.
func (st *State) withVaultOrder(x *content, o *VaultOrder) {
	c := x.change
	st.VaultOrders = append(slices.Clone(st.VaultOrders), VaultChange{x.hash, c.Seq, *o})
	slices.SortFunc(st.VaultOrders, func(a, b VaultChange) int { return cmp.Compare(a.Seq, b.Seq) })
	if o.Action != ReplaceVault {
		return
	}
	st.cards = append(slices.Clone(st.cards), Card{Vault: o.Enrolment.Vault, From: c.Seq})
	st.Vaults = slices.Clone(st.Vaults)
	for i := range st.Vaults {
		if st.Vaults[i].ID == o.Vault {
			st.Vaults[i] = o.Enrolment.Vault
		}
	}
}
