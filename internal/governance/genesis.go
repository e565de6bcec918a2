package governance

import (
	"fmt"
	"slices"

	"github.com/cofferhq/coffer/internal/attest"
	"github.com/cofferhq/coffer/internal/identity"
	"github.com/cofferhq/coffer/internal/policy"
	"github.com/cofferhq/coffer/internal/refusal"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/internal/wire"
)

// MaxVaults bounds a cluster.
const MaxVaults = 16

// Bounds of a card, in bytes.
const (
	maxModel     = 64 // vendor and model
	maxSealing   = 256
	maxArea      = 512
	maxEvidence  = 33 << 10 // hsm.Evidence, encoded
	maxVault     = 36 << 10
	MaxEnrolment = 40 << 10 // encoded
)

// Vault is one vault's card: its keys, and what its device says of itself.
type Vault struct {
	ID       uint16 // the participant (mpc.ID): 1 to MaxVaults
	Name     string
	Identity signature.PublicKey // P-256 in the HSM: who this vault is to its peers
	Decision signature.PublicKey // P-256 in the HSM: signs checkpoints
	Log      signature.PublicKey // Ed25519: signs the log's notes
	Vendor   string              // of the HSM
	Model    string
	Sealing  string // the suites by which the device seals, in its own words

	// Approval is the device's key that signs with the device approvers' signatures
	// only; zero where there is none. ApprovalArea describes it in the device's own
	// terms (TPMT_PUBLIC): by it a peer computes what the approvers sign.
	Approval     signature.PublicKey
	ApprovalArea []byte

	// Evidence is what the device says of itself (hsm.Evidence, encoded); empty where
	// it says nothing: then vendor and model are declared by people.
	Evidence []byte
}

const (
	vaultVersion     = 2
	enrolmentVersion = 1
	genesisVersion   = 2
)

// Encode is the canonical encoding.
func (v *Vault) Encode() []byte {
	w := wire.NewWriter(vaultVersion).Uint16(v.ID).String(v.Name)
	signature.WriteKey(w, v.Identity)
	signature.WriteKey(w, v.Decision)
	signature.WriteKey(w, v.Log)
	w.String(v.Vendor).String(v.Model).String(v.Sealing)
	if v.HasApproval() {
		signature.WriteKey(w, v.Approval)
	} else {
		w.Var(nil)
	}
	return w.Var(v.ApprovalArea).Var(v.Evidence).Bytes()
}

// HasApproval says whether the device has an approval key.
func (v *Vault) HasApproval() bool { return v.Approval != signature.PublicKey{} }

// DecodeVault is the inverse of Encode.
func DecodeVault(b []byte) (*Vault, error) {
	r := wire.NewReader(b, vaultVersion)
	v := &Vault{
		ID: r.Uint16("vault id"), Name: r.Name("name"),
		Identity: signature.ReadKey(r, "identity key"), Decision: signature.ReadKey(r, "decision key"), Log: signature.ReadKey(r, "log key"),
		Vendor: r.Text("vendor", maxModel), Model: r.Text("model", maxModel), Sealing: r.Text("sealing", maxSealing),
	}
	if raw := r.Var("approval key", maxArea); r.Err() == nil && len(raw) > 0 {
		var err error
		if v.Approval, err = signature.DecodePublicKey(raw); err != nil {
			r.Fail(fmt.Errorf("approval key: %w", err))
		}
	}
	v.ApprovalArea, v.Evidence = optional(r.Var("approval area", maxArea)), optional(r.Var("evidence", maxEvidence))
	err := r.Done()
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode vault: %w", err)
	}
	return v, nil
}

// optional makes nothing nil.
func optional(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// deviceKeys are the algorithms of keys in a device.
var deviceKeys = []signature.Algorithm{signature.P256, signature.RSA3072}

func (v *Vault) check() error {
	if v.ID == 0 || v.ID > MaxVaults {
		return refuseGenesis("vault id %d, want 1 to %d", v.ID, MaxVaults)
	}
	if err := wire.CheckName(v.Name); err != nil {
		return refuseGenesis("vault %d: %v", v.ID, err)
	}
	for _, k := range []struct {
		name string
		key  signature.PublicKey
		want []signature.Algorithm
		say  string
	}{
		{"identity", v.Identity, deviceKeys, "p256 or rsa3072"},
		{"decision", v.Decision, deviceKeys, "p256 or rsa3072"},
		{"log", v.Log, []signature.Algorithm{signature.Ed25519}, "ed25519"},
	} {
		if !slices.Contains(k.want, k.key.Algorithm) {
			return refuseGenesis("vault %d: the %s key is %v, want %s", v.ID, k.name, k.key.Algorithm, k.say)
		}
	}
	for _, s := range []string{v.Vendor, v.Model} {
		if err := wire.CheckText(s, maxModel); err != nil {
			return refuseGenesis("vault %d: vendor or model: %v", v.ID, err)
		}
	}
	return v.checkDevice()
}

// checkDevice checks what the card says of its device beyond the keys that sign it.
func (v *Vault) checkDevice() error {
	if err := wire.CheckText(v.Sealing, maxSealing); err != nil {
		return refuseGenesis("vault %d: sealing: %v", v.ID, err)
	}
	if v.HasApproval() && v.Approval.Algorithm != signature.P256 {
		return refuseGenesis("vault %d: the approval key is %v, want %v", v.ID, v.Approval.Algorithm, signature.P256)
	}
	if v.HasApproval() != (len(v.ApprovalArea) > 0) || len(v.ApprovalArea) > maxArea {
		return refuseGenesis("vault %d: an approval key comes with its area of 1 to %d bytes, got %d", v.ID, maxArea, len(v.ApprovalArea))
	}
	if v.HasApproval() {
		// Evidence is of the area, certificates are checked under the key: two keys
		// would let a device show one and a program sign with the other.
		k, err := attest.ReadApprovalKey(v.ApprovalArea)
		if err != nil {
			return refuseGenesis("vault %d: approval area: %v", v.ID, err)
		}
		if k != v.Approval {
			return refuseGenesis("vault %d: the approval key is %s, its area describes %s", v.ID, v.Approval.Fingerprint(), k.Fingerprint())
		}
	}
	if len(v.Evidence) > maxEvidence {
		return refuseGenesis("vault %d: evidence of %d bytes, at most %d", v.ID, len(v.Evidence), maxEvidence)
	}
	return nil
}

func (v *Vault) keys() []signature.PublicKey {
	ks := []signature.PublicKey{v.Identity, v.Decision, v.Log}
	if v.HasApproval() {
		ks = append(ks, v.Approval)
	}
	return ks
}

func refuseGenesis(format string, args ...any) error {
	return refusal.Newf("genesis.invalid", "", format, args...)
}

// Enrolment is a card, signed by its three keys: whoever made it holds them all.
type Enrolment struct {
	Vault    Vault
	Identity signature.Signature
	Decision signature.Signature
	Log      signature.Signature
}

// Statement is what each of the vault's three keys signs.
func (v *Vault) Statement() signature.Statement {
	return signature.Statement{Domain: "coffer/enrol/v1", Body: v.Encode()}
}

// Encode is the canonical encoding.
func (e *Enrolment) Encode() []byte {
	w := wire.NewWriter(enrolmentVersion).Var(e.Vault.Encode())
	signature.WriteSignature(w, e.Identity)
	signature.WriteSignature(w, e.Decision)
	signature.WriteSignature(w, e.Log)
	return w.Bytes()
}

// DecodeEnrolment is the inverse of Encode. It verifies no signature: Verify does.
func DecodeEnrolment(b []byte) (*Enrolment, error) {
	r := wire.NewReader(b, enrolmentVersion)
	e := new(Enrolment)
	if raw := r.Var("vault", maxVault); r.Err() == nil {
		if v, err := DecodeVault(raw); err != nil {
			r.Fail(err)
		} else {
			e.Vault = *v
		}
	}
	e.Identity = signature.ReadSignature(r, "identity signature")
	e.Decision = signature.ReadSignature(r, "decision signature")
	e.Log = signature.ReadSignature(r, "log signature")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("couldn't decode enrolment: %w", err)
	}
	return e, nil
}

// Verify checks the card and its three signatures.
func (e *Enrolment) Verify() error {
	if err := e.Vault.check(); err != nil {
		return err
	}
	st := e.Vault.Statement()
	for _, s := range []struct {
		name string
		key  signature.PublicKey
		sig  signature.Signature
	}{{"identity", e.Vault.Identity, e.Identity}, {"decision", e.Vault.Decision, e.Decision}, {"log", e.Vault.Log, e.Log}} {
		if err := signature.Verify(s.key, st, s.sig); err != nil {
			return refuseGenesis("vault %d: its card is not signed by its %s key", e.Vault.ID, s.name)
		}
	}
	return nil
}

// Genesis is how a cluster begins. It never changes.
type Genesis struct {
	Name       string
	Created    uint64
	Enrolments []Enrolment // sorted by vault id
	Roster     *identity.Roster
	Policy     *policy.Document
	Cooling    uint64   // milliseconds that a change which is not proven to tighten waits, at most MaxCooling; 0: none waits
	Chains     []string // that vaults sign for (CAIP-2), sorted; none: every chain that they can read
}

// Encode is the canonical encoding.
func (g *Genesis) Encode() []byte {
	w := wire.NewWriter(genesisVersion).String(g.Name).Uint64(g.Created).Count(len(g.Enrolments))
	for i := range g.Enrolments {
		w.Var(g.Enrolments[i].Encode())
	}
	return w.Var(g.Roster.Encode()).Var(g.Policy.Encode()).Uint64(g.Cooling).Var(EncodeChains(g.Chains)).Bytes()
}

// DecodeGenesis is the inverse of Encode. What it returns passes Check.
func DecodeGenesis(b []byte) (*Genesis, error) {
	r := wire.NewReader(b, genesisVersion)
	g := &Genesis{Name: r.Name("name"), Created: r.Uint64("created")}
	for range r.Count("vaults", MaxVaults, 200) {
		raw := r.Var("enrolment", MaxEnrolment)
		if r.Err() != nil {
			break
		}
		e, err := DecodeEnrolment(raw)
		if err != nil {
			r.Fail(err)
			break
		}
		g.Enrolments = append(g.Enrolments, *e)
	}
	roster, document := r.Var("roster", identity.MaxRoster), r.Var("policy", policy.MaxDocument)
	g.Cooling = r.Uint64("cooling")
	chains := r.Var("chains", 64*MaxChains+64)
	err := r.Done()
	if err == nil {
		g.Chains, err = DecodeChains(chains)
	}
	if err == nil {
		g.Roster, err = identity.DecodeRoster(roster)
	}
	if err == nil {
		g.Policy, err = policy.DecodeDocument(document)
	}
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't decode genesis: %w", err)
	}
	return g, nil
}

// Check verifies the genesis: cards signed, keys different, roster and policy
// valid together. The error is a *refusal.Refusal.
func (g *Genesis) Check() error {
	if err := wire.CheckName(g.Name); err != nil {
		return refuseGenesis("cluster: %v", err)
	}
	if g.Roster == nil || g.Policy == nil {
		return refuseGenesis("the genesis has no roster or no policy")
	}
	if len(g.Enrolments) < 2 || len(g.Enrolments) > MaxVaults {
		return refuseGenesis("%d vaults, want 2 to %d", len(g.Enrolments), MaxVaults)
	}
	if err := g.checkVaults(); err != nil {
		return err
	}
	if g.Cooling > MaxCooling {
		return refuseGenesis("cooling-off time of %d ms, at most %d (30 days)", g.Cooling, uint64(MaxCooling))
	}
	if err := checkChains(g.Chains); err != nil {
		return refuseGenesis("%v", err)
	}
	if err := g.Roster.Check(); err != nil {
		return err
	}
	if err := g.Policy.Check(g.Roster); err != nil {
		return err
	}
	return checkInvariants(g.Policy, g.Roster)
}

// checkVaults also sees to it that no key serves twice, be it in two vaults or in
// a vault and a person's hand.
func (g *Genesis) checkVaults() error {
	owner := make(map[signature.PublicKey]string)
	for i := range g.Roster.Principals {
		for _, k := range g.Roster.Principals[i].Credentials {
			owner[k] = g.Roster.Principals[i].ID
		}
	}
	names := make(map[string]bool)
	for i := range g.Enrolments {
		v := &g.Enrolments[i].Vault
		if err := g.Enrolments[i].Verify(); err != nil {
			return err
		}
		if i > 0 && g.Enrolments[i-1].Vault.ID >= v.ID {
			return refuseGenesis("vault %d comes after vault %d: want different ids, sorted", v.ID, g.Enrolments[i-1].Vault.ID)
		}
		if names[v.Name] {
			return refuseGenesis("two vaults have the name %s", v.Name)
		}
		names[v.Name] = true
		for _, k := range v.keys() {
			if other, taken := owner[k]; taken {
				return refuseGenesis("vault %d: its key %s serves %s already, want a key of its own for every purpose", v.ID, k.Fingerprint(), other)
			}
			owner[k] = fmt.Sprintf("vault %d", v.ID)
		}
	}
	return nil
}

// Hash is the cluster's id.
func (g *Genesis) Hash() [32]byte { return wire.Hash("coffer/genesis/v1", g.Encode()) }

// MaxCooling is the longest cooling-off time, in milliseconds: 30 days.
const MaxCooling = 30 * 24 * 3600 * 1000
