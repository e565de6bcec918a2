package vault

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer/internal/audit"
	"github.com/cofferhq/coffer/internal/governance"
	"github.com/cofferhq/coffer/internal/hsm"
	"github.com/cofferhq/coffer/internal/secret"
	"github.com/cofferhq/coffer/internal/signature"
	"github.com/cofferhq/coffer/mpc"
)

// Version is the software's, logged at every start.
const Version = "coffer-vault/1"

func newSecret(b []byte) secret.Bytes { return secret.New(b) }

func (v *Vault) draw(b []byte) error {
	if _, err := io.ReadFull(v.rand, b); err != nil {
		return fmt.Errorf("couldn't draw %d random bytes: %w", len(b), err)
	}
	return nil
}

func (v *Vault) logPublic() signature.PublicKey {
	return signature.PublicKey{Algorithm: signature.Ed25519, Key: string(v.logKey.Public().(ed25519.PublicKey))}
}

// clusterID is the genesis hash.
func (v *Vault) clusterID() [32]byte {
	if v.gov == nil {
		return [32]byte{}
	}
	return v.gov.Cluster
}

func (v *Vault) rootAAD() []byte { return []byte(fmt.Sprintf("coffer/vault-root/v1/%d", v.cfg.ID)) }

// start begins with the root key: the device opens the sealed one, or seals a
// new one on an empty disk.
func (v *Vault) start(loaded Loaded) error {
	if v.cfg.ID == 0 {
		return errors.New("vault id 0: ids start at 1")
	}
	var root, next []byte
	for _, r := range loaded.Records {
		switch r.Name {
		case recordRoot:
			root = r.Value
		case recordNextRoot:
			next = r.Value
		}
	}
	if root != nil {
		v.ask(DeviceCommand{Kind: DeviceUnseal, Class: hsm.ClassState, Data: root, AAD: v.rootAAD()}, func(res DeviceResult) error {
			switch {
			case res.Err == "":
				return v.open(res.Data, loaded)
			case next != nil && v.cfg.Next == nil:
				v.unsealNext(next, loaded, res)
				return nil
			}
			return notOpen(res)
		})
		return nil
	}
	if v.cfg.Next != nil {
		return errors.New("there is nothing to move to another device: this disk is empty")
	}
	if len(loaded.Records) > 0 || len(loaded.Entries) > 0 {
		return errors.New("the root key's record is missing, other records are there: the node's disk was changed; restore the whole directory")
	}
	if v.cfg.Genesis != nil {
		return errors.New("this vault has no keys yet: enrol it first (coffer vault --enrol), then start it with the genesis that names it")
	}
	key := make([]byte, chacha20poly1305.KeySize)
	if err := v.draw(key); err != nil {
		return err
	}
	fresh := secret.New(key)
	v.withSealEpoch(func() error {
		v.ask(DeviceCommand{Kind: DeviceSeal, Class: hsm.ClassState, Epoch: v.sealEpoch(), Data: fresh.Reveal(), AAD: v.rootAAD()}, func(res DeviceResult) error {
			if res.Err != "" {
				return fmt.Errorf("couldn't seal the root key: %s", res.Err)
			}
			return v.enrolFresh(fresh, res.Data)
		})
		return nil
	})
	return nil
}

// enrolFresh writes the first records of a new vault.
func (v *Vault) enrolFresh(root secret.Bytes, sealed []byte) error {
	defer root.Destroy()
	var err error
	if v.store, err = newStore(v.cfg.ID, root, v.rand); err != nil {
		return err
	}
	lasting, seed := make([]byte, chacha20poly1305.KeySize), make([]byte, ed25519.SeedSize)
	if err := errors.Join(v.draw(lasting), v.draw(seed)); err != nil {
		return err
	}
	v.logKey = ed25519.NewKeyFromSeed(seed)
	v.store.raw(recordRoot, sealed)
	err = errors.Join(v.store.put(recordLasting, lasting), v.store.useLasting(lasting), v.store.put(recordLogKey, seed))
	secret.Wipe(seed)
	if err != nil {
		return err
	}
	v.storeSealEpoch()
	return v.enrol()
}

// open reads the disk under the root key.
func (v *Vault) open(rootKey []byte, loaded Loaded) error {
	root := secret.New(rootKey)
	if v.cfg.Next == nil {
		defer root.Destroy()
	}
	if root.Len() != chacha20poly1305.KeySize {
		return fmt.Errorf("root key of %d bytes, want %d", root.Len(), chacha20poly1305.KeySize)
	}
	var err error
	if v.store, err = newStore(v.cfg.ID, root, v.rand); err != nil {
		return err
	}
	records, m, err := v.store.load(loaded)
	if err != nil {
		return err
	}
	if err := v.loadSealEpoch(records); err != nil {
		return err
	}
	seed := records[recordLogKey]
	if len(seed) != ed25519.SeedSize {
		return errors.New("the log key's record is missing or has another length")
	}
	v.logKey = ed25519.NewKeyFromSeed(seed)
	secret.Wipe(seed)
	if v.cfg.Genesis == nil {
		if _, ok := records[recordGenesis]; ok {
			return errors.New("this vault belongs to a cluster already: start it with its genesis file")
		}
		return v.enrol()
	}
	if err := v.join(records); err != nil {
		return err
	}
	if err := v.loadLog(m, loaded); err != nil {
		return err
	}
	if err := v.loadLedgers(m, records); err != nil {
		return err
	}
	if err := v.loadEpochs(records); err != nil {
		return err
	}
	if err := v.loadKeys(records); err != nil {
		return err
	}
	if err := v.loadPasskeys(records); err != nil {
		return err
	}
	if err := v.loadRepairs(records); err != nil {
		return err
	}
	v.loadQuarantine(records)
	if err := v.loadWitnesses(records); err != nil {
		return err
	}
	if err := v.loadGate(records); err != nil {
		return err
	}
	if err := v.loadCounter(records); err != nil {
		return err
	}
	v.findUndone(loaded.Entries)
	v.findNeverAsked()
	if v.cfg.Next != nil {
		return v.rotate(root, m)
	}
	return v.run(m)
}

// enrol has the device sign the vault's card.
func (v *Vault) enrol() error {
	v.phase = phaseEnrol
	e := &governance.Enrolment{Vault: governance.Vault{
		ID: uint16(v.cfg.ID), Name: v.cfg.Name, Identity: v.cfg.Identity, Decision: v.cfg.Decision,
		Log:    v.logPublic(),
		Vendor: v.cfg.Info.Vendor, Model: v.cfg.Info.Model, Sealing: suites(v.cfg.Info.Suites),
		Approval: v.cfg.Approval, ApprovalArea: v.cfg.ApprovalArea, Evidence: v.cfg.Evidence,
	}}
	st := e.Vault.Statement()
	d := st.Digest()
	e.Log = signature.Signature{Algorithm: signature.Ed25519, Bytes: ed25519.Sign(v.logKey, d[:])}
	v.askRole(hsm.RoleIdentity, st, func(sig signature.Signature) {
		e.Identity = sig
		v.askRole(hsm.RoleDecision, st, func(sig signature.Signature) {
			e.Decision = sig
			v.card = e.Encode()
		})
	})
	return nil
}

// askRole has the device sign; a refusal of the device stops the start.
func (v *Vault) askRole(role hsm.Role, st signature.Statement, then func(signature.Signature)) {
	v.ask(DeviceCommand{Kind: DeviceSign, Role: role, Statement: st}, func(res DeviceResult) error {
		if res.Err != "" {
			return fmt.Errorf("the device does not sign with its %v key: %s", role, res.Err)
		}
		then(res.Signature)
		return nil
	})
}

func (v *Vault) askIdentity(st signature.Statement, then func(signature.Signature)) {
	v.askRole(hsm.RoleIdentity, st, then)
}

// join pins the genesis on the first start and replays the changes since.
func (v *Vault) join(records map[string][]byte) error {
	state, err := governance.Start(v.cfg.Genesis)
	if err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	hash := state.Cluster
	if pinned, ok := records[recordGenesis]; ok && string(pinned) != string(hash[:]) {
		return fmt.Errorf("this vault belongs to cluster %x, the genesis file is of cluster %x", pinned[:min(8, len(pinned))], hash[:8])
	}
	var names []string
	for n := range records {
		if strings.HasPrefix(n, recordChange) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		c, err := decodeKeptChange(records[n])
		if err != nil {
			return fmt.Errorf("record %s: %w", n, err)
		}
		if state, err = state.Replay(c.signed, c.adopted, c.told); err != nil {
			return fmt.Errorf("record %s: %w", n, err)
		}
	}
	if b, ok := records[recordGoverned]; ok {
		until, err := decodeTime(b)
		if err != nil {
			return fmt.Errorf("record %s: %w", recordGoverned, err)
		}
		state = state.At(until)
	}
	if _, ok := state.Vault(uint16(v.cfg.ID)); !ok {
		return v.inForce(state)
	}
	if err := v.retired(state); err != nil && v.cfg.Next == nil {
		return err
	}
	v.gov = state
	for _, g := range state.Vaults {
		id := mpc.ID(g.ID)
		v.ledgers[id] = &ledger{party: id}
		if id != v.cfg.ID {
			v.peers[id] = &peer{id: id, name: g.Name, identity: g.Identity, decision: g.Decision, log: g.Log}
		}
	}
	return nil
}

func (v *Vault) loadLog(m *manifest, loaded Loaded) error {
	if uint64(len(loaded.Entries)) < m.LogSize {
		return fmt.Errorf("the log has %d entries, the vault wrote %d: the node's disk was changed", len(loaded.Entries), m.LogSize)
	}
	v.log = audit.Load(loaded.Entries[:m.LogSize])
	if v.log.Root() != m.LogRoot {
		return fmt.Errorf("the log's root is not the one that the vault wrote, at %d entries: the node's disk was changed", m.LogSize)
	}
	if len(loaded.Entries) > int(m.LogSize) {
		return fmt.Errorf("the log has %d entries, the vault wrote %d", len(loaded.Entries), m.LogSize)
	}
	for i, b := range loaded.Entries {
		e, err := audit.DecodeEntry(b)
		switch {
		case err != nil:
		case e.Kind == audit.KindReceipt:
			if x, err := audit.DecodeReceipt(e.Body); err == nil {
				v.receipts[x.Attempt] = true
			}
		case e.Kind == audit.KindGovernance:
			v.loadAdoption(uint64(i), e, b)
		}
	}
	if len(loaded.Checkpoint) > 0 {
		cp, err := audit.DecodeSignedCheckpoint(loaded.Checkpoint)
		if err != nil {
			return fmt.Errorf("the newest checkpoint: %w", err)
		}
		if err := v.verifyOwn(cp); err != nil {
			return err
		}
		if root, err := v.log.RootAt(cp.Size); err != nil || root != cp.Root {
			return errors.New("the newest checkpoint on the node's disk is not of this log")
		}
		v.checkpoint = cp
	}
	return nil
}

func (v *Vault) loadLedgers(m *manifest, records map[string][]byte) error {
	var names []string
	for n := range records {
		if strings.HasPrefix(n, recordLedger) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		var party mpc.ID
		var seq uint64
		if _, err := fmt.Sscanf(n, recordLedger+"%d/%016x", &party, &seq); err != nil || v.ledgers[party] == nil {
			return fmt.Errorf("record %s has no ledger's name", n)
		}
		e, err := decodeEvent(records[n])
		if err != nil {
			return fmt.Errorf("record %s: %w", n, err)
		}
		if h := v.ledgers[party].append(records[n]); h.Seq != seq {
			return fmt.Errorf("record %s: event %d expected: the node's disk was changed", n, h.Seq)
		}
		v.index.add(party, e)
	}
	heads := v.heads()
	ok := len(heads) == len(m.Ledgers) || len(m.Ledgers) == 0
	for i := range m.Ledgers {
		ok = ok && m.Ledgers[i] == heads[i]
	}
	if !ok || len(m.Ledgers) == 0 && len(names) > 0 {
		return errors.New("the ledgers on the node's disk are not those of the manifest: events were removed, or older ones brought back")
	}
	return nil
}

// run enters service.
func (v *Vault) run(m *manifest) error {
	first := v.log.Size() == 0
	v.phase = phaseRunning
	v.boot = max(m.Boot+1, v.gov.MinBoot(uint16(v.cfg.ID)))
	v.store.dirty = true // the new boot counter is durable before the hello leaves
	if first {
		hash := v.clusterID()
		if err := v.store.put(recordGenesis, hash[:]); err != nil {
			return err
		}
		v.appendLog(audit.KindGenesis, v.cfg.Genesis.Encode())
	}
	if err := v.inForce(v.gov); err != nil {
		v.standOutside(err)
		return nil
	}
	return v.enterService()
}

// enterService begins a start that others hear of.
func (v *Vault) enterService() error {
	if err := v.settleOnNext(); err != nil {
		return err
	}
	v.logBoot()
	v.continueResumption()
	v.bindCounter()
	v.resumeRatchet()
	return v.makeHello()
}

func (v *Vault) logBoot() {
	b := audit.Boot{Vault: uint16(v.cfg.ID), Counter: v.boot, Software: Version, Device: v.cfg.Info.Vendor + " " + v.cfg.Info.Model,
		Hash: v.cfg.Software, Isolation: strings.Join(v.cfg.Isolation, "; ")}
	v.appendLog(audit.KindBoot, b.Encode())
}
